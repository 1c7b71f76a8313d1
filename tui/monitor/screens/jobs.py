"""The jobs: the table, the pane with the job under the cursor, the events of all."""

from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from daemon.core.query import QueryError, parse_query
from tui.monitor.actions import EVERYWHERE, JOBS, LISTS, bindings
from tui.monitor.board import Gap
from tui.monitor.detail import Detail
from tui.monitor.screens.acting import Acting
from tui.monitor.sheet import Page, job_sheet
from tui.monitor.stories import entry_row
from tui.monitor.symbols import RULE
from tui.monitor.view import USUAL_SORT, Sort
from tui.monitor.widgets.entry import Entry
from tui.monitor.widgets.job_table import JobTable
from tui.monitor.widgets.lines import Fixed, Line
from tui.text import Cell, clean, counted, cut, width

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from daemon.core.job import Job
    from tui.monitor.board import Entry as Told

STILL_S = 2.0
"""The order is left alone while the cursor was moved less than this ago."""


def _notable(entries: "Sequence[Told]") -> "Iterator[Told]":
    """The newest first, without those that only tell how far a job is: its row shows that."""
    return (one for one in reversed(entries) if isinstance(one, Gap) or one.type != "polled")


class JobsScreen(Acting):
    """All jobs, live."""

    PLACES: ClassVar[tuple[str, ...]] = (JOBS, LISTS)
    BINDINGS: ClassVar[list[BindingType]] = bindings(JOBS, EVERYWHERE)

    def body(self) -> ComposeResult:
        """The table with its panes; which of them are seen, the style sheet says."""
        app = self.monitor
        self.detail = Detail(app.feed.ask)
        self.query_text = ""
        with Horizontal(id="middle"):
            yield JobTable(app.view, id="table")
            yield Fixed(id="side")
        yield Fixed(id="bottom")
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
        """The marked jobs, else the one under the cursor."""
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
        table.asked = app.asked
        table.frozen = app.frozen
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
        if now - table.touched_at < STILL_S:
            self.set_timer(STILL_S, app.wake)
            return
        rows = app.view.follow(app.board.dirty, now)
        app.board.dirty = {}
        table.keep_in_place(rows)

    def _draw_pane(self, now: float) -> None:
        pane = self.fixed("side" if self.fixed("side").display else "bottom")
        if not pane.display:
            return
        job = self._shown_job()
        if self.monitor.frozen is not None:
            self.detail.want(job, now)
        elif self.detail.want(job, now) and self.monitor.feed.live:
            self.run_worker(self._load(now), exit_on_error=True)
        elif (due_s := self.detail.due_s(now)) is not None:
            self.set_timer(due_s, self.monitor.wake)
        if job is None:
            pane.show([Line((Cell(self._nothing(), "dim"),))])
            return
        page = Page(pane.size.width, now, self.monitor.clock)
        shown = self.detail.merged(self.monitor.board.shown(job, now))
        whole = self.detail.whole is not None
        pane.show(
            [Line(line) for line in job_sheet(shown, self.detail.sentence, page, whole=whole)]
        )

    def _shown_job(self) -> "Job | None":
        """The job under the cursor: as it is, or as it was when the view was frozen."""
        job, frozen = self.under_cursor(), self.monitor.frozen
        return job if job is None or frozen is None else frozen.get(job.id)

    async def _load(self, now: float) -> None:
        await self.detail.load(now)
        self.monitor.wake()

    def _nothing(self) -> str:
        app = self.monitor
        if app.board.jobs:
            return " no job matches: esc clears the filter"
        return " no jobs yet: genq add PROVIDER --prompt TEXT" if app.feed.live else ""

    def _draw_stream(self) -> None:
        pane = self.fixed("stream")
        if not pane.display or self.monitor.frozen:
            return
        app = self.monitor
        last = list(islice(_notable(app.board.entries), max(0, pane.size.height - 1)))
        cells = pane.size.width
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
        marks = f" - {len(view.marks)} marked" if view.marks else ""
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
        if self.under_cursor() is not None:
            from tui.monitor.screens.job import JobScreen  # noqa: PLC0415  when it is first opened

            self.app.push_screen(JobScreen())

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
        self.monitor.view.marks.clear()
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

    def on_entry_submitted(self) -> None:
        """Keep the filter."""
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

    def narrow(self, text: str) -> None:
        """Have only the jobs that the query holds for; a text that is no query is told of."""
        app = self.monitor
        if text == self.query_text:
            return
        try:
            query = parse_query(text)
            app.hush()
        except QueryError as error:
            app.say(str(error), "yellow")
            text = text.rpartition(" ")[0]  # what stands before the word that is being typed
            try:
                query = parse_query(text)
            except QueryError:
                return
        self.query_text = text
        app.arrange(app.view.sort, query)

    def action_back(self) -> None:
        """Clear the filter, then the marks."""
        if self.query_text:
            self.clear_filter()
        elif self.monitor.view.marks:
            self.action_unmark()

    def trail_words(self) -> str:
        """What the list is, for the help: how many jobs, in what order."""
        view = self.monitor.view
        order = "" if view.sort.name == USUAL_SORT else f" by {view.sort}"
        return f"{counted(len(view.ids), 'job')}{order}"
