"""Events as rows of a list, and as the lines of their detail. Pure; texts are cleaned already."""

import time
from collections.abc import Iterator
from typing import Final, Literal, get_args

from msgspec import UNSET

from daemon.core.events import Event
from daemon.core.gate import Gate
from daemon.core.job import Failure
from tui.clock import Clock
from tui.monitor.board import Entry, Gap
from tui.monitor.symbols import GAP
from tui.text import Cell, Style, clean, counted, cut, pad, width
from tui.wording import STATE_SHOWN, failure_shown

_STYLES: dict[str, Style] = {
    "succeeded": "green",
    "rescued": "green",
    "saved": "green",
    "failed": "red",
    "doubted": "red",
    "config_refused": "red",
    "held": "yellow",
    "submit_failed": "yellow",
    "poll_failed": "yellow",
    "download_failed": "yellow",
    "provider_paused": "yellow",
    "cancelling": "yellow",
    "cancelled": "dim",
    "polled": "dim",
}
TYPE_CELLS = 16
Level = Literal["all", "changes", "trouble"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
PROGRESS: Final = frozenset({"polled", "provider_changed"})
"""Events that only tell what a row tells anyway."""


def matters(entry: Entry, level: Level) -> bool:
    """Whether an entry is listed at a level; gaps are at each.

    >>> polled = Event(at=0.0, type="polled", job=1, progress=0.61)
    >>> [matters(polled, level) for level in LEVELS]
    [True, False, False]
    """
    if isinstance(entry, Gap) or level == "all":
        return True
    if level == "changes":
        return entry.type not in PROGRESS
    return _STYLES.get(entry.type) in ("red", "yellow") or isinstance(entry.error, Failure)


def story(event: Event) -> str:
    """What an event tells besides its type.

    >>> story(Event(at=0.0, type="polled", job=1, progress=0.61))
    '61%'
    """
    return "; ".join(part for part in _parts(event) if part)


def _parts(event: Event) -> Iterator[str]:
    if isinstance(event.reason, str) and event.type in ("held", "provider_paused", "resolved"):
        yield event.reason
    if isinstance(event.errors_consecutive, int) and event.errors_consecutive > 0:
        yield f"{counted(event.errors_consecutive, 'error')} in a row"
    if isinstance(event.error, Failure):
        yield failure_shown(event.error)
    if isinstance(event.progress, float):
        yield f"{event.progress:.0%}"
    if event.outputs is not UNSET and event.outputs:
        more = f" and {len(event.outputs) - 1} more" if len(event.outputs) > 1 else ""
        yield clean(event.outputs[0].path) + more
    if event.gate is not UNSET:
        yield from _gate_parts(event.gate)
    if event.type == "edited":
        yield from _edited_parts(event)
    if isinstance(event.detail, str):
        yield event.detail
    if isinstance(event.by, str):
        yield f"by {event.by}"


def _edited_parts(event: Event) -> Iterator[str]:
    if isinstance(event.name, str):
        yield f"name {event.name}"
    if isinstance(event.priority, int):
        yield f"priority {event.priority}"
    if isinstance(event.labels, tuple):
        yield f"labels {', '.join(event.labels) or 'none'}"


def _gate_parts(gate: Gate) -> Iterator[str]:
    for cause in gate.causes:
        yield f"{cause.cause}: {clean(cause.reason)}"
    if gate.quota_consecutive:
        yield f"{counted(gate.quota_consecutive, 'refusal')} by quota in a row"
    if gate.errors_consecutive:
        yield f"{counted(gate.errors_consecutive, 'error')} in a row"
    elif not gate.causes:
        yield "no errors"


def moment(clock: Clock, at: float) -> str:
    """The time of day, with milliseconds: `14:04:13.202`."""
    return f"{time.strftime('%H:%M:%S', clock.local(at))}.{int(at * 1_000) % 1_000:03}"


def entry_row(entry: Entry, clock: Clock, cells: int, edge: str) -> tuple[Cell, ...]:
    """A line of the list of events; a gap is a line across it."""
    if isinstance(entry, Gap):
        text = cut(f" {gap_story(entry, clock)} ", cells)
        left = (cells - width(text)) // 2
        return (Cell(GAP * left + text + GAP * (cells - width(text) - left), "yellow"),)
    job = "" if entry.job is UNSET else str(entry.job)
    provider = "" if entry.provider is UNSET else entry.provider
    state = "" if entry.state is UNSET else STATE_SHOWN[entry.state].text
    head = (
        Cell(f"{edge} {moment(clock, entry.at)} ", "dim"),
        Cell(f"{pad(job, 6, right=True)} {pad(provider, 10)} "),
        Cell(f"{pad(entry.type, TYPE_CELLS)} ", _STYLES.get(entry.type, "")),
        Cell(f"{pad(state, 10)} ", "dim") if cells >= 100 else Cell(""),
    )
    room = max(0, cells - sum(width(cell.text) for cell in head))
    return (*head, Cell(cut(story(entry)[: room * 3 + 1], room), _STYLES.get(entry.type, "")))


def entry_head(cells: int) -> str:
    """The titles over the list of events."""
    state = f"{'STATE':<10} " if cells >= 100 else ""
    return f"  {'TIME':<12} {'JOB':>6} {'PROVIDER':<10} {'EVENT':<{TYPE_CELLS}} {state}"


def gap_story(gap: Gap, clock: Clock) -> str:
    """`connection lost 14:01:10 - 14:01:13, 37 events replayed`."""
    since = time.strftime("%H:%M:%S", clock.local(gap.since_at))
    until = time.strftime("%H:%M:%S", clock.local(gap.until_at))
    anew = "everything read anew, " if gap.anew else ""
    replayed = f"{counted(gap.replayed, 'event')} replayed"
    return f"connection lost {since} - {until}, {anew}{replayed}"


def mentions(entry: Entry, text: str) -> bool:
    """Whether a search for `text` (folded) finds the entry."""
    if isinstance(entry, Gap):
        return False
    where = (
        entry.type,
        "" if entry.provider is UNSET else entry.provider,
        "" if entry.job is UNSET else str(entry.job),
        story(entry),
    )
    return any(text in one.casefold() for one in where)
