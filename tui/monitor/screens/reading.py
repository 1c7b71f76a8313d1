"""A text to read: an error in full, the help. Any key that leaves a list leaves it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from daemon.core.job import Job
from tui.monitor.screens.dialog import Dialog
from tui.monitor.sheet import Cells, Page, error_sheet
from tui.monitor.widgets.lines import Fixed, Line

if TYPE_CHECKING:
    from tui.monitor.app import Monitor


class Reading(Dialog[None]):
    """Shows what `write` says for the room there is."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,e,question_mark,f1", "dismiss(None)", "back", show=False),
        Binding("j,down", "scroll(1)", "down", show=False),
        Binding("k,up", "scroll(-1)", "up", show=False),
        Binding("pagedown,space", "scroll(10)", "a page down", show=False),
        Binding("pageup", "scroll(-10)", "a page up", show=False),
    ]

    def __init__(self, write: Callable[[Page], list[Cells]]) -> None:
        super().__init__()
        self._write = write

    @classmethod
    def error(cls, job: Job) -> "Reading":
        """The last error of `job` in full."""
        return cls(lambda page: error_sheet(job, page))

    @property
    def deaf(self) -> bool:
        """It answers nothing: a key that comes early may close it."""
        return False

    def compose(self) -> ComposeResult:
        """The text."""
        with Vertical():
            yield Fixed(id="text")

    def say_lines(self) -> None:
        """Write it for this width."""
        app = cast("Monitor", self.app)
        text = self.fixed("text")
        page = Page(text.size.width or 60, app.clock.now(), app.clock)
        lines = [Line(line) for line in self._write(page)]
        text.styles.height = min(len(lines), max(1, self.size.height - 4))
        text.show(lines)

    def action_scroll(self, by: int) -> None:
        """See other lines."""
        text = self.fixed("text")
        text.scroll_lines_to(text.top + by)
        text.redraw()
