"""Deciding about a job of which nobody knows whether it was paid for."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from daemon.core.job import Job
from daemon.wire.messages import Act
from tui.monitor.screens.dialog import Dialog
from tui.monitor.widgets.entry import Entry
from tui.monitor.widgets.lines import Fixed, Line
from tui.text import Cell, cut
from tui.wording import failure_shown


class Resolving(Dialog[Act]):
    """Closes with what to do, or nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "attach", "attach", show=False),
        Binding("p", "pay_again", "pay again", show=False),
        Binding("w", "write_off", "write off", show=False),
        Binding("y", "yes", "yes", show=False),
        Binding("escape,q,n", "leave", "leave it", show=False),
    ]

    def __init__(self, job: Job, again: Callable[[], Job | None]) -> None:
        super().__init__()
        self._job = job
        self._again = again
        self._asked: Act | None = None

    def look_again(self) -> None:
        """Leave it, if the doubt was resolved meanwhile, or is another one."""
        job = self._again()
        if job is None or job.state != "in_doubt" or job.attempt != self._job.attempt:
            self.dismiss(None)

    def compose(self) -> ComposeResult:
        """What is known, the three ways, the place for an id."""
        with Vertical():
            text = Fixed(id="text")
            text.styles.height = 9
            yield text
            entry = Entry(" id: ", " the provider's id of the task", id="remote")
            entry.display = False
            yield entry

    def say_lines(self) -> None:
        """Draw it all."""
        job, text = self._job, self.fixed("text")
        room = max(0, text.size.width - 2)
        error = "" if job.error is None else failure_shown(job.error)
        lines = [
            (Cell(f" job {job.id} IN DOUBT: was it accepted, and paid?", "bold"),),
            (Cell(f" {cut(error, room)}", "dim"),),
            (),
            (Cell(" a ", "cyan"), Cell("attach: the provider has it; type its id")),
            (Cell(" p ", "cyan"), Cell("pay again: send it once more, with the same key")),
            (Cell(" w ", "cyan"), Cell("write off: whether it was billed stays unknown")),
            (),
            (Cell(f" {self._question()}", "yellow"),),
            (Cell(" esc leaves it as it is", "dim"),),
        ]
        text.show([Line(cells) for cells in lines])

    def _question(self) -> str:
        match self._asked:
            case Act(how="pay-again"):
                return "this may pay a second time: y"
            case Act(how="write-off"):
                return "the result, if there is one, is given up: y"
            case _:
                return ""

    def action_attach(self) -> None:
        """Type the id that was found."""
        self.query_one(Entry).open()

    def on_entry_submitted(self, event: Entry.Submitted) -> None:
        """Attach that id."""
        if event.text.strip():
            self.dismiss(self._act("attach", event.text.strip()))

    def on_entry_left(self) -> None:
        """Leave it as it is."""
        self.dismiss(None)

    def action_pay_again(self) -> None:
        """Ask once more: it may cost."""
        self._asked = self._act("pay-again")
        self.say_lines()

    def action_write_off(self) -> None:
        """Ask once more: it can't be undone."""
        self._asked = self._act("write-off")
        self.say_lines()

    def action_yes(self) -> None:
        """Do what was asked about."""
        if self._asked is not None:
            self.dismiss(self._asked)

    def action_leave(self) -> None:
        """Leave it as it is."""
        self.dismiss(None)

    def _act(self, how: str, remote_id: str = "") -> Act:
        return Act(verb="resolve", jobs=(self._job.id,), how=how, remote_id=remote_id)  # type: ignore[arg-type]  # one of the three
