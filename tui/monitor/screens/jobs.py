"""The jobs: the table, the pane with the job under the cursor, the events of all."""

from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.geometry import Size

from daemon.core.query import QueryError, parse_query
from tui.monitor.actions import EVERYWHERE, JOBS, LISTS, bindings
from tui.monitor.screens.acting import Acting
from tui.monitor.stories import entry_row, matters
from tui.monitor.symbols import RULE
from tui.monitor.view import Sort
from tui.monitor.widgets.entry import Entry
from tui.monitor.widgets.job_sheet import JobSheet
from tui.monitor.widgets.job_table import JobTable
from tui.monitor.widgets.lines import Fixed, Line
from tui.text import Cell, clean, cut, width

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from daemon.core.job import Job
    from tui.monitor.board import Entry as Told

STILL_S = 2.0
"""The order is left alone while the cursor was moved less than this ago."""
STREAM_S = 0.25
NOBODY_THERE = " start genqd: the jobs appear by themselves"


def _notable(entries: "Sequence[Told]") -> "Iterator[Told]":
    """The newest first, without those that are told by rows."""
    return (one for one in reversed(entries) if matters(one, "changes"))


class JobsScreen(Acting):
    """All jobs, live."""

    PLACES: ClassVar[tuple[str, ...]] = (JOBS, LISTS)
    BINDINGS: ClassVar[list[BindingType]] = bindings(JOBS, EVERYWHERE)

    def body(self) -> ComposeResult:
        """The table with its panes; which of them are seen, the style sheet says."""
        app = self.monitor
        self.query_text = ""
        self._told: tuple[int, Size] | None = None
        self._told_at = 0.0
        with Horizontal(id="middle"):
            yield JobTable(app.view, id="table")
            yield JobSheet(app, id="side")
        yield JobSheet(app, id="bottom")
        yield Fixed(id="stream")
        yield Entry(" / ", " state:failed provider:veo err:>2 age:>2h words", id="filter")

    def on_mount(self) -> None:
        """The keys go to the table; the pane is open."""
        self.add_class("pane")
        self.table.focus()

    @property
    def table(self) -> JobTable:
        """The table of jobs."""
        return self.query_one(JobTable)

    def chosen(self) -> "list[Job]":
        """The marked jobs, else the one under the cursor, which stays there from now on."""
        self.monitor.view.anchored = True
        return self.monitor.view.chosen()

    def under_cursor(self) -> "Job | None":
        """The job under the cursor."""
        view = self.monitor.view
        return None if view.cursor is None else self.monitor.board.jobs.get(view.cursor)

    # ---- drawing ----

    def draw_body(self, now: float) -> None:
        """Take changed jobs to their places, and redraw the table and the panes."""
        app, table = self.monitor, self.table
        table.now = now
        table.stale = app.feed.phase == "away" and bool(app.board.snapshots)
        table.asked = app.errands.asked
        table.frozen, table.nothing = app.frozen, self._nothing()
        if not app.frozen:
            self._follow(now)
        table.lay_out()
        if app.rearranged:
            app.rearranged = False
            table.redraw()  # so that it knows how many rows there are
            table.see_cursor()
        table.redraw()
        self._draw_pane(now)
        self._draw_stream()

    def _follow(self, now: float) -> None:
        app, table = self.monitor, self.table
        if app.arranging or not (app.board.dirty or app.view.unsettled):
            return
        if 0 <= (still_s := now - table.touched_at) < STILL_S:  # below 0: the clock was set back
            app.wake_in(STILL_S - still_s)
            return
        rows = app.view.follow(app.board.dirty, now)
        app.board.dirty = {}
        table.keep_in_place(rows)

    def _draw_pane(self, now: float) -> None:
        pane = self.query_one("#side" if self.fixed("side").display else "#bottom", JobSheet)
        if not pane.display:
            return
        app, job = self.monitor, self._shown_job()
        if job is None:
            pane.clear([])
        else:
            asks = app.feed.live and app.frozen is None
            pane.draw(app.board.shown(job, now), now, asks=asks)

    def _shown_job(self) -> "Job | None":
        """The job under the cursor: as it is, or as it was when the view was frozen."""
        job, frozen = self.under_cursor(), self.monitor.frozen
        return job if job is None or frozen is None else frozen.get(job.id)

    def _nothing(self) -> str:
        app = self.monitor
        if not app.board.snapshots:
            return NOBODY_THERE if app.feed.phase == "away" else ""
        if app.board.jobs and self.query_text:
            return " no job matches: esc clears the filter"
        return " no jobs yet: genq add PROVIDER --prompt TEXT"

    def _draw_stream(self) -> None:
        """The last events; a few times a second is as often as anybody reads them."""
        pane, app = self.fixed("stream"), self.monitor
        told = (app.board.entries_total, pane.size)
        if not pane.display or app.frozen is not None or told == self._told:
            return
        now = app.clock.monotonic()
        if now - self._told_at < STREAM_S and self._told is not None:
            app.wake_in(STREAM_S - (now - self._told_at))
            return
        self._told, self._told_at = told, now
        cells = pane.size.width
        last = islice(_notable(app.board.entries), max(0, pane.size.height - 1))
        head = f"{RULE * 2} events "
        lines = [Line((Cell(head + RULE * max(0, cells - width(head)), "dim"),))]
        rows = [entry_row(one, app.clock, cells, "") for one in last]
        pane.show([*lines, *(Line(row) for row in rows)])

    def foot_cells(self, now: float) -> tuple[Cell, ...]:  # noqa: ARG002  as declared
        """Filter, sort, which rows are seen, how many are marked."""
        view, table = self.monitor.view, self.table
        total = len(view.ids)
        first = min(total, table.top + 1)
        last = min(total, table.top + table.page)
        unseen = f" ({view.unseen:,} not listed)" if view.unseen else ""
        marks = f" - {len(view.marks):,} marked{unseen}" if view.marks else ""
        right = f"{first:,}-{last:,} of {total:,}{marks} "
        query = clean(self.query_text) or "none"
        left = f" filter: {query}   sort: {view.sort}"
        room = self.size.width - width(right) - 1
        left = cut(left, room)
        return (
            Cell(left),
            Cell(" " * (room - width(left) + 1)),
            Cell(right, "bold" if marks else ""),
        )

    # ---- the list ----

    def action_open(self) -> None:
        """Show the job under the cursor on a screen of its own."""
        job = self.under_cursor()
        if job is not None:
            self.monitor.view.anchored = True
            from tui.monitor.screens.job import JobScreen  # noqa: PLC0415  when it is first opened

            self.app.push_screen(JobScreen(job.id))

    def action_mark(self) -> None:
        """Mark the job under the cursor, and go to the next."""
        self.monitor.view.mark()
        self.table.action_line_down()
        self.monitor.wake()

    def action_mark_to_here(self) -> None:
        """Mark all from the last mark to the cursor."""
        self.monitor.view.mark_to_here()
        self.monitor.wake()

    def action_unmark(self) -> None:
        """Take all marks away."""
        self.monitor.view.unmark(tuple(self.monitor.view.marks))
        self.monitor.wake()

    def action_pane(self) -> None:
        """Show or hide the detail."""
        self.toggle_class("pane")
        self.call_after_refresh(self.monitor.wake)

    def action_reverse(self) -> None:
        """Turn the order round."""
        sort = self.monitor.view.sort
        self.sort(Sort(sort.name, not sort.down))

    def action_sort(self) -> None:
        """Choose a column to sort by."""
        from tui.monitor.screens.picker import SortPicker  # noqa: PLC0415  when it is first opened

        def picked(name: str | None) -> None:
            if name is not None:
                self.sort(Sort(name))

        self.app.push_screen(SortPicker(self.monitor.view.sort.name), picked)

    def sort(self, sort: Sort) -> None:
        """Have the list in this order."""
        self.monitor.arrange(sort, self.monitor.view.query)

    def on_job_table_head_clicked(self, message: JobTable.HeadClicked) -> None:
        """Sort by the column; once more turns it round."""
        now = self.monitor.view.sort
        name = message.sort
        self.sort(Sort(name, not now.down) if name == now.name else Sort(name))

    def on_job_table_moved(self) -> None:
        """The pane follows the cursor."""
        self.monitor.wake()

    # ---- narrowing ----

    @property
    def entry(self) -> Entry:
        """Where the filter is typed."""
        return self.query_one(Entry)

    def action_filter(self) -> None:
        """Type what to narrow the list to."""
        self.entry.put(self.query_text)
        self.entry.open()

    def on_entry_changed(self, event: Entry.Changed) -> None:
        """Narrow while it is typed; what isn't a query yet changes nothing."""
        self.narrow(event.text)

    def on_entry_submitted(self, event: Entry.Submitted) -> None:
        """Keep it, if it is one: with a word left out it would list more than was meant."""
        if self.narrow(event.text):
            self._close_filter()

    def on_entry_left(self) -> None:
        """Clear the filter."""
        self.clear_filter()

    def clear_filter(self) -> None:
        """Show all jobs again."""
        self.narrow("")
        self._close_filter()

    def _close_filter(self) -> None:
        self.entry.close()
        self.set_focus(self.table)
        self.monitor.wake()

    def narrow(self, text: str) -> bool:
        """List what the query holds for; of what is none, say why, and leave its last word out."""
        app, whole = self.monitor, True
        if text == self.query_text:
            return True
        try:
            query = parse_query(text)
            app.hush()
        except QueryError as error:
            app.say(str(error), "yellow")
            whole, text = False, text.rpartition(" ")[0]
            try:
                query = parse_query(text)
            except QueryError:
                return False
        self.query_text = text
        app.arrange(app.view.sort, query)
        return whole

    def action_back(self) -> None:
        """Clear the filter, then the marks."""
        if self.query_text:
            self.clear_filter()
        elif self.monitor.view.marks:
            self.action_unmark()

    def seen(self) -> "list[dict[str, Any]]":
        """The listed jobs, for a file."""
        from tui.monitor.saving import job_row  # noqa: PLC0415  when it is first needed

        app = self.monitor
        jobs = app.board.jobs if app.frozen is None else app.frozen
        return [job_row(jobs[number]) for number in app.view.ids if number in jobs]
