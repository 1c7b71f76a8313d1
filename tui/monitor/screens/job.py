"""One job on a screen of its own."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from daemon.core.job import Job
from tui.monitor.actions import DETAIL, EVERYWHERE, bindings
from tui.monitor.screens.acting import Acting
from tui.monitor.widgets.job_sheet import JobSheet
from tui.monitor.widgets.lines import Line
from tui.text import Cell, counted


class JobScreen(Acting):
    """One job whole, whatever becomes of the list; `[` and `]` go on from the list's cursor."""

    PLACES: ClassVar[tuple[str, ...]] = (DETAIL,)
    BINDINGS: ClassVar[list[BindingType]] = bindings(DETAIL, EVERYWHERE)

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def body(self) -> ComposeResult:
        """The sheet."""
        yield JobSheet(self.monitor, id="sheet")

    def trail(self) -> str:
        """Which job."""
        return f"jobs / {self.number}"

    def under_cursor(self) -> Job | None:
        """The job that is shown."""
        return self.monitor.board.jobs.get(self.number)

    def chosen(self) -> list[Job]:
        """That job, whatever is marked in the list."""
        job = self.under_cursor()
        return [] if job is None else [job]

    def draw_body(self, now: float) -> None:
        """The sheet, with what came meanwhile."""
        app, sheet = self.monitor, self.query_one(JobSheet)
        known = app.board.jobs if app.frozen is None else app.frozen
        job = known.get(self.number)
        if job is None:
            sheet.clear([Line((Cell(" the job is gone", "dim"),))])
        else:
            asks = app.feed.live and app.frozen is None
            sheet.draw(app.board.shown(job, now), now, asks=asks)

    def foot_cells(self, now: float) -> tuple[Cell, ...]:  # noqa: ARG002  as declared
        """Where in the list it is."""
        view = self.monitor.view
        if view.cursor != self.number:
            return (Cell(f" not among the {counted(len(view.ids), 'job')} that are listed"),)
        return (Cell(f" job {view.index + 1:,} of {len(view.ids):,}"),)

    def action_back(self) -> None:
        """To the list."""
        self.app.pop_screen()

    def action_previous(self) -> None:
        """The job before it in the list."""
        self._go(-1)

    def action_next(self) -> None:
        """The job after it in the list."""
        self._go(1)

    def _go(self, by: int) -> None:
        view = self.monitor.view
        view.move(view.index + by)
        if view.cursor is not None:
            self.number = view.cursor
        self.fixed("sheet").scroll_lines_to(0)
        self.monitor.wake()

    def _scroll(self, by: int) -> None:
        sheet = self.fixed("sheet")
        sheet.scroll_lines_to(sheet.top + by)
        sheet.redraw()

    def action_line_down(self) -> None:
        """See a line further down."""
        self._scroll(1)

    def action_line_up(self) -> None:
        """See a line further up."""
        self._scroll(-1)

    def action_page_down(self) -> None:
        """See the next page."""
        self._scroll(self.fixed("sheet").size.height)

    def action_page_up(self) -> None:
        """See the page before."""
        self._scroll(-self.fixed("sheet").size.height)

    def action_first(self) -> None:
        """See the beginning."""
        self._scroll(-1_000_000)

    def action_last(self) -> None:
        """See the end."""
        self._scroll(1_000_000)
