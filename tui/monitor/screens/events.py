"""The events as they come: followed, or stood still to read; found by their words."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, ClassVar

from msgspec import UNSET
from textual.app import ComposeResult
from textual.binding import BindingType

from daemon.core.events import Event
from tui.monitor import board
from tui.monitor.actions import EVENTS, EVERYWHERE, LISTS, bindings
from tui.monitor.saving import plain
from tui.monitor.screens.frame import Frame
from tui.monitor.stories import (
    LEVELS,
    Level,
    entry_head,
    entry_row,
    matters,
    mentions,
    moment,
    story,
)
from tui.monitor.symbols import CURSOR, RULE
from tui.monitor.widgets.entry import Entry
from tui.monitor.widgets.grid import Grid
from tui.monitor.widgets.lines import Fixed, Line
from tui.text import Cell, clean, counted, width, wrap

DETAIL_LINES_MAX = 5


class EventList(Grid):
    """The newest event is the last row. While it follows, the cursor stays on it."""

    def __init__(self, screen: "EventsScreen") -> None:
        super().__init__(id="table")
        self._events = screen
        self.entries: list[board.Entry] = []
        self.following = True
        self._numbers: Sequence[int] = ()
        self._number = 0

    def count(self) -> int:
        """As many as are kept."""
        return len(self.entries)

    def head(self) -> Line:
        """The titles of the columns."""
        return Line((Cell(entry_head(self.size.width)),), "head")

    def row(self, index: int) -> Line:
        """An event, or a gap."""
        app = self._events.monitor
        under = index == self.cursor
        edge = CURSOR if under else " "
        cells = entry_row(self.entries[index], app.clock, self.size.width, edge)
        stale = app.feed.phase == "away"
        return Line(cells, "cursor" if under else "stale" if stale else "plain")

    @property
    def cursor(self) -> int:
        """The row of the cursor: it stays on its event while old ones are dropped."""
        return max(0, min(bisect_left(self._numbers, self._number), len(self.entries) - 1))

    def put_cursor(self, index: int) -> None:
        """Put it there; on the last row it follows again."""
        self._number = self._numbers[index]
        self.following = index == len(self.entries) - 1
        self._events.monitor.wake()

    def take(self, entries: list[board.Entry], numbers: Sequence[int]) -> None:
        """Have these; `numbers` count from the first that ever came."""
        dropped = bisect_left(self._numbers, numbers[0]) if self.entries and numbers else 0
        self.entries, self._numbers = entries, numbers
        if self.following:
            self._number = numbers[-1] if numbers else 0
            self.scroll_lines_to(len(entries))
        elif dropped:
            self.scroll_lines_to(self.top - dropped)


class EventsScreen(Frame):
    """The list of events, and the one under the cursor in full."""

    PLACES: ClassVar[tuple[str, ...]] = (EVENTS, LISTS)
    TRAIL = "events"
    BINDINGS: ClassVar[list[BindingType]] = bindings(EVENTS, EVERYWHERE)

    def body(self) -> ComposeResult:
        """The list, and a sheet under it."""
        self.wanted = ""
        self.level: Level = "all"
        yield EventList(self)
        yield Fixed(id="event")
        yield Entry(" / ", " words to find", id="filter")

    def on_mount(self) -> None:
        """The keys go to the list."""
        self._seen: tuple[int, Level] = (-1, "all")
        self.table.focus()

    @property
    def table(self) -> EventList:
        """The list of events."""
        return self.query_one(EventList)

    def under_cursor(self) -> Event | None:
        """The event under the cursor, unless it is a gap."""
        table = self.table
        entry = table.entries[table.cursor] if table.entries else None
        return entry if isinstance(entry, Event) else None

    def draw_body(self, now: float) -> None:  # noqa: ARG002  as declared
        """The list with what came, and the event under the cursor."""
        known, table = self.monitor.board, self.table
        seen = (known.entries_total, self.level)
        if seen != self._seen and self.monitor.frozen is None:
            relevelled = seen[1] != self._seen[1]
            self._seen = seen
            self._take()
            if relevelled:
                table.see_cursor()
        table.redraw()
        sheet = self.fixed("event")
        sheet.show(self._sheet(sheet.size.width))

    def _take(self) -> None:
        known = self.monitor.board
        first, entries = known.entries_total - len(known.entries), list(known.entries)
        numbers: Sequence[int] = range(first, known.entries_total)
        if self.level != "all":
            chosen = [
                n for n, one in zip(numbers, entries, strict=True) if matters(one, self.level)
            ]
            entries, numbers = [entries[number - first] for number in chosen], chosen
        self.table.take(entries, numbers)

    def _sheet(self, cells: int) -> list[Line]:
        event = self.under_cursor()
        if event is None:
            return [Line((Cell(RULE * cells, "dim"),))]
        job = "" if event.job is UNSET else f" job {event.job}"
        head = (
            f"{RULE * 2} {moment(self.monitor.clock, event.at)} {event.type}{job} seq {event.seq} "
        )
        lines = [Line((Cell(head + RULE * max(0, cells - width(head)), "dim"),))]
        told = wrap(story(event), max(2, cells - 2))[:DETAIL_LINES_MAX]
        return [*lines, *(Line((Cell(f" {line}"),)) for line in told)]

    def foot_cells(self, now: float) -> tuple[Cell, ...]:  # noqa: ARG002  as declared
        """Whether it follows, what is looked for, how many are kept."""
        table = self.table
        follow = "following" if table.following else "standing still: f follows"
        look = f"   find: {clean(self.wanted)}" if self.wanted else ""
        level = "" if self.level == "all" else f"   level: {self.level}"
        known = self.monitor.board
        listed = "" if self.level == "all" else f"{counted(len(table.entries), 'event')} listed, "
        kept = f"{listed}{len(known.entries):,} of {known.entries_total:,} kept "
        room = self.size.width - width(follow + level + look) - width(kept) - 1
        return Cell(f" {follow}{level}{look}"), Cell(" " * max(0, room)), Cell(kept, "dim")

    # ---- actions ----

    def action_follow(self) -> None:
        """Stay at the newest, or stand still."""
        table = self.table
        if table.following:
            table.following = False
        elif table.entries:
            table.go(len(table.entries) - 1)
        self.monitor.wake()

    def action_level(self) -> None:
        """List all, then all but progress, then only trouble."""
        if self.monitor.frozen is not None:
            self.monitor.say("the view is frozen: z lets it go on", "yellow")
            return
        self.level = LEVELS[(LEVELS.index(self.level) + 1) % len(LEVELS)]
        self.monitor.wake()

    def seen(self) -> list[dict[str, Any]]:
        """The events that are listed, for a file."""
        return [plain(entry) for entry in self.table.entries]

    def action_open(self) -> None:
        """Show the job of the event."""
        event = self.under_cursor()
        if event is not None and event.job is not UNSET:
            self.monitor.show_jobs(f"id:{event.job}")

    def action_copy_id(self) -> None:
        """Copy the id of the event's job."""
        event = self.under_cursor()
        if event is not None and event.job is not UNSET:
            self.app.copy_to_clipboard(str(event.job))
            self.monitor.say(f"copied {event.job}")

    @property
    def entry(self) -> Entry:
        """Where the search is typed."""
        return self.query_one(Entry)

    def action_search(self) -> None:
        """Type what to find."""
        self.entry.put(self.wanted)
        self.entry.open()

    def on_entry_submitted(self, event: Entry.Submitted) -> None:
        """Go to the nearest match before the cursor."""
        self.wanted = event.text.strip()
        self._close()
        self.action_match_before()

    def on_entry_left(self) -> None:
        """Forget what was looked for."""
        self.wanted = ""
        self._close()

    def _close(self) -> None:
        self.entry.close()
        self.set_focus(self.table)
        self.monitor.wake()

    def action_match(self) -> None:
        """Go to the next match."""
        self._seek(range(self.table.cursor + 1, self.table.count()))

    def action_match_before(self) -> None:
        """Go to the match before."""
        self._seek(range(self.table.cursor - 1, -1, -1))

    def _seek(self, rows: range) -> None:
        wanted = self.wanted.casefold()
        if not wanted:
            self.monitor.say("/ says what to find", "dim")
            return
        for row in rows:
            if mentions(self.table.entries[row], wanted):
                self.table.go(row)
                return
        self.monitor.say(f"no other event mentions {self.wanted}", "yellow")
