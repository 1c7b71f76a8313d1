"""The one job that is shown whole, in a pane or on a screen of its own."""

from typing import TYPE_CHECKING, Any, NamedTuple

from daemon.core.job import Job
from tui.monitor.detail import Detail
from tui.monitor.sheet import Page, job_sheet, short_sheet
from tui.monitor.widgets.lines import Fixed, Line

if TYPE_CHECKING:
    from tui.monitor.app import Monitor

SHORT_LINES_MAX = 8
"""A lower pane has no room for tables: it gets a short sheet."""


class _Drawn(NamedTuple):
    """What a sheet was written from."""

    job: Job
    whole: Job | None
    rest: tuple[Any, ...]


class JobSheet(Fixed):
    """Lines about a job; what only the whole one has is asked for."""

    def __init__(self, app: "Monitor", *, id: str) -> None:  # noqa: A002  Textual's own name
        super().__init__(id=id)
        self.detail = Detail(app.feed.ask)
        self._monitor = app
        self._drawn: _Drawn | None = None

    def draw(self, job: Job, now: float, *, asks: bool) -> None:
        """Show `job`, with the reason that it is shown with. `asks`: the daemon may be asked."""
        if self.detail.want(job, now) and asks:
            self.run_worker(self._load(now), exit_on_error=True)
        elif asks and (due_s := self.detail.due_s(now)) is not None:
            self._monitor.wake_in(due_s)
        detail, size = self.detail, self.size
        drawn = _Drawn(job, detail.whole, (job.reason, detail.sentence, int(now), size))
        if drawn == self._drawn:
            return
        self._drawn = drawn
        page = Page(size.width, now, self._monitor.clock)
        write = short_sheet if size.height <= SHORT_LINES_MAX else job_sheet
        lines = write(detail.merged(job), detail.sentence, page, whole=detail.whole is not None)
        self.show([Line(line) for line in lines])

    def clear(self, lines: list[Line]) -> None:
        """Show these lines instead: there is no job."""
        self._drawn = None
        self.show(lines)

    async def _load(self, now: float) -> None:
        await self.detail.load(now)
        self._monitor.wake()
