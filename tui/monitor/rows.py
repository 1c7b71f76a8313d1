"""A job as a row of the table: which columns there is room for, and what stands in them. Pure."""

from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec import Struct

from daemon.core.job import ACTIVE, FINISHED, Job, State
from daemon.core.times import HOUR_S, MINUTE_S
from tui.text import Cell, Style, age, cut, pad, width
from tui.wording import failure_shown, state_shown

ERRORS_LOUD = 3
"""From so many errors in a row on the count carries a `!`."""
TICKING_S_MAX = 600
"""An older job's age is told in minutes: nobody counts its seconds any more."""
TEXT_CELLS_MIN = 8
PROVIDER_CELLS = (9, 14)
ROW_WIDTH_MIN = 60

GLYPHS: Final[dict[State | str, str]] = {
    "queued": "·",
    "waiting": "⋯",
    "preparing": "◔",
    "submitting": "↑",
    "generating": "◐",
    "downloading": "↓",
    "cancelling": "~",
    "in_doubt": "?",
    "held": "‖",
    "succeeded": "✓",
    "failed": "✗",
    "cancelled": "⊘",
}


class Slot(NamedTuple):
    """A column as it is laid out: its head, its cells, and the sort key a click on it means."""

    key: str
    title: str
    cells: int
    right: bool = False
    sort: str | None = None


class Layout(Struct, frozen=True):
    """The columns of a table of `cells`, left to right; the last one takes what is left."""

    slots: tuple[Slot, ...]


def layout(cells: int, *, id_cells: int, provider_cells: int) -> Layout:
    """The columns that fit into `cells`: what is least needed goes first.

    >>> [slot.key for slot in layout(60, id_cells=4, provider_cells=10).slots]
    ['edge', 'id', 'glyph', 'state', 'provider', 'errors', 'text']
    """
    low, high = PROVIDER_CELLS
    wanted = [
        (0, Slot("edge", "", 2)),
        (0, Slot("id", "ID", max(3, id_cells), right=True, sort="id")),
        (0, Slot("glyph", "", 1)),
        (0, Slot("state", "STATE", 12, sort="state")),
        (0, Slot("provider", "PROVIDER", max(low, min(high, provider_cells)), sort="provider")),
        (76, Slot("attempt", "TRY", 4, right=True, sort="attempt")),
        (0, Slot("errors", "ERR", 5, right=True, sort="errors")),
        (66, Slot("age", "AGE", 6, right=True, sort="age")),
        (96, Slot("left", "LEFT", 6, right=True)),
        (130, Slot("priority", "PRI", 4, right=True, sort="priority")),
        (150, Slot("batch", "BATCH", 14, sort="batch")),
        (110, Slot("name", "NAME", 16, sort="name")),
    ]
    slots = [slot for least, slot in wanted if cells >= least]
    taken = sum(slot.cells + 1 for slot in slots)
    text = Slot("text", "PROMPT / LAST ERROR", max(TEXT_CELLS_MIN, cells - taken - 1))
    return Layout((*slots, text))


class Context(Struct, frozen=True):
    """What a row shows besides its job: the time, the symbols, what was asked of it."""

    now: float
    named: bool = False
    asked: str | None = None


def row(job: Job, columns: Layout, context: Context, *, edge: str) -> tuple[Cell, ...]:
    """The cells of `job`, each as wide as its column and a blank after each, but for the last.

    >>> job = Job(id=7, provider="veo", prompt="a kite", created_at=0.0, updated_at=0.0)
    >>> cells = row(job, layout(60, id_cells=3, provider_cells=8), Context(40.0), edge="")
    >>> "".join(cell.text for cell in cells).split()
    ['7', '·', 'queued', 'veo', '0', 'a', 'kite']
    """
    cells = []
    for slot in columns.slots:
        cell = Cell(edge) if slot.key == "edge" else _CELLS[slot.key](job, context)
        near = cell.text[: slot.cells * 3 + 1]  # what is far outside costs nothing to measure
        if slot.key == "text":
            cells.append(Cell(cut(near, slot.cells), cell.style))
        else:
            cells.append(Cell(pad(near, slot.cells, right=slot.right) + " ", cell.style))
    return tuple(cells)


def ticking(job: Job, now: float) -> tuple[str, str]:
    """What of a row changes though its job doesn't: as long as this is the same, so is the row.

    >>> job = Job(id=7, provider="veo", created_at=0.0, updated_at=0.0)
    >>> ticking(job, 70.0) == ticking(job, 71.0)
    True
    """
    context = Context(now)
    return _age(job, context).text, _left(job, context).text


def _glyph(job: Job, _: Context) -> Cell:
    shown = state_shown(job)
    waits = job.state == "queued" and job.reason is not None
    return Cell(GLYPHS["waiting" if waits else job.state], shown.style)


def _state(job: Job, context: Context) -> Cell:
    if context.asked is not None:
        return Cell(f"{context.asked}…", "yellow")
    return state_shown(job)


def _errors(job: Job, _: Context) -> Cell:
    count = job.errors_consecutive
    if count == 0:
        return Cell("0", "dim")
    limit = f"/{job.errors_consecutive_max}" if job.errors_consecutive_max else ""
    loud = count >= ERRORS_LOUD
    return Cell(f"{count}{limit}{'!' if loud else ''}", "red" if loud else "yellow")


def coarse_age(seconds: float) -> str:
    """An age that changes once a minute at most: what rests needs no repaint each second.

    >>> coarse_age(40), coarse_age(252), coarse_age(7_500), coarse_age(100_000)
    ('<1m', '4m', '2h05m', '1d03h')
    """
    if seconds < MINUTE_S:
        return "<1m"
    return f"{int(seconds) // MINUTE_S}m" if seconds < HOUR_S else age(seconds)


def _age(job: Job, context: Context) -> Cell:
    seconds = context.now - job.created_at
    ticking = job.state in ACTIVE and seconds < TICKING_S_MAX
    text = age(seconds) if ticking else coarse_age(seconds)
    return Cell(text, "" if ticking else "dim")


def _left(job: Job, context: Context) -> Cell:
    if job.state != "generating" or job.deadline_at is None:
        return Cell("", "dim")
    left = job.deadline_at - context.now
    if left <= 0:
        return Cell("due", "yellow")
    near = left < MINUTE_S
    return Cell(age(left) if near else coarse_age(left), "yellow" if near else "dim")


def speaks_of_error(job: Job) -> bool:
    """Whether the last error matters more than the prompt just now.

    >>> speaks_of_error(Job(id=1, provider="veo", created_at=0.0, updated_at=0.0))
    False
    """
    if job.error is None:
        return False
    return job.errors_consecutive > 0 or job.state in ("failed", "in_doubt", "held")


def _text(job: Job, context: Context) -> Cell:
    style: Style = "dim" if job.state in FINISHED else ""
    reason = f"({job.reason}) " if job.reason else ""
    if speaks_of_error(job) and job.error is not None:
        loud: Style = "" if job.state in ("failed", "in_doubt", "held") else style
        return Cell(reason + failure_shown(job.error), loud)
    name = f"{job.name}: " if job.name and not context.named else ""
    return Cell(reason + name + job.prompt, style)


_CELLS: Final[dict[str, Callable[[Job, Context], Cell]]] = {
    "id": lambda job, _: Cell(str(job.id)),
    "glyph": _glyph,
    "state": _state,
    "provider": lambda job, _: Cell(job.provider),
    "attempt": lambda job, _: Cell(str(job.attempt), "dim" if job.attempt < 2 else ""),
    "errors": _errors,
    "age": _age,
    "left": _left,
    "priority": lambda job, _: Cell(str(job.priority), "" if job.priority else "dim"),
    "batch": lambda job, _: Cell(job.batch or "", "dim"),
    "name": lambda job, _: Cell(job.name or ""),
    "text": _text,
}


def widest(texts: list[str], usual: int) -> int:
    """The cells of the widest of a few texts, or `usual` if there are none.

    >>> widest(["veo", "cogvideox"], 8)
    9
    """
    return max(map(width, texts), default=usual)
