"""What the top line tells: the connection, and the numbers that operators act on."""

from daemon.core.job import State
from tui.monitor.board import Board
from tui.monitor.feed import Feed
from tui.monitor.symbols import AWAY, LIVE, PAUSED
from tui.text import Cell, counted
from tui.wording import STATE_SHOWN

_TOLD: tuple[State, ...] = ("in_doubt", "held", "failed", "succeeded")


def link_cell(feed: Feed, now: float, *, missed: int | None) -> Cell:
    """The connection: live, or since when it isn't, and why. `missed`: events since a freeze."""
    if missed is not None:
        frozen = f"{PAUSED} frozen, {counted(missed, 'event')} missed: z"
        rest = "" if feed.phase == "live" else f"  {link_cell(feed, now, missed=None).text}"
        return Cell(frozen + rest, "yellow")
    if feed.phase == "live":
        latency = "" if feed.latency_s is None else f" {feed.latency_s * 1_000:.0f} ms"
        return Cell(f"{LIVE} live{latency}", "green")
    if feed.phase == "reading":
        return Cell(f"{AWAY} reading {counted(feed.read, 'job')}", "cyan")
    if feed.lost_at is not None:
        return Cell(f"{AWAY} stale {max(0.0, now - feed.lost_at):.0f} s: {feed.problem}", "yellow")
    return Cell(f"{AWAY} {feed.problem or 'connecting'}", "yellow")


def count_cells(board: Board) -> list[Cell]:
    """What waits and what is at work, then what needs a person, then the rest; no zeros there."""
    counts = board.counts
    running = sum(board.running(name) for name in board.providers)
    slots = sum(one.row.concurrency for one in board.providers.values() if one.row.enabled)
    cells = [
        Cell(f"queued {counts.get('queued', 0):,}"),
        Cell(f"running {running}/{slots}" if slots else f"running {running}"),
    ]
    for state in _TOLD:
        if counts.get(state):
            shown = STATE_SHOWN[state]
            cells.append(Cell(f"{shown.text} {counts[state]:,}", shown.style))
    return cells
