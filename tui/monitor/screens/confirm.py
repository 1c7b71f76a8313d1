"""The question before what can't be undone: it starts on Keep."""

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from tui.monitor.orders import Question
from tui.monitor.screens.dialog import Dialog
from tui.monitor.widgets.lines import Fixed, Line
from tui.text import Cell, Style, cut, wrap


class Confirm(Dialog[bool]):
    """Closes with whether the operator agreed. `again` asks it of the jobs as they are by now."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "yes", "yes", show=False),
        Binding("n,escape,q", "keep", "keep", show=False),
        Binding("left,right,tab,shift+tab,h,l", "other", "other", show=False),
        Binding("enter", "chosen", "do what is chosen", show=False),
    ]

    def __init__(self, question: Question, again: Callable[[], Question] | None = None) -> None:
        super().__init__()
        self.question = question
        self._again = again
        self.on_keep = True
        self.typed = ""

    def compose(self) -> ComposeResult:
        """The jobs, what becomes of money, and the two answers."""
        with Vertical():
            yield Fixed(id="text")

    def say_lines(self) -> None:
        """Draw it all."""
        text = self.fixed("text")
        room = max(0, text.size.width - 2)
        asked = self.question
        lines: list[Line] = []
        for cell in asked.lines:
            lines += [Line((Cell(f" {line}", cell.style),)) for line in wrap(cell.text, room)]
        lines += [Line(), Line(self._typing()), Line(self._buttons())]
        jobs = self._jobs(self.size.height - len(lines) - 4)
        lines[:0] = [Line((Cell(f" {cut(cell.text, room)}", cell.style),)) for cell in jobs]
        lines[:0] = [Line((Cell(f" {asked.title}", "bold"),)), Line()]
        text.styles.height = len(lines)
        text.show(lines)

    def _jobs(self, lines: int) -> Sequence[Cell]:
        """As many of the jobs as leave room for what they cost and for the answers."""
        jobs = self.question.jobs
        return jobs if len(jobs) <= lines else jobs[: max(1, lines)]

    def _typing(self) -> tuple[Cell, ...]:
        if not self.question.number:
            return (Cell(" y yes   n, esc keep", "dim"),)
        asked = f" type {self.question.number} to go on, then y: "
        return Cell(asked, "yellow"), Cell(f"{self.typed}_", "bold"), Cell("   esc keep", "dim")

    def look_again(self) -> None:
        """Ask it of the jobs as they are; from the beginning if more is at stake than was."""
        asked = self.question if self._again is None else self._again()
        if asked == self.question:
            return
        was, self.question = self.question, asked
        if asked.number != was.number or (asked.grave and not was.grave):
            self.on_keep, self.typed = True, ""
            self.listen_later()
        self.say_lines()

    def _buttons(self) -> tuple[Cell, ...]:
        keep, yes = " Keep ", f" {self.question.yes} "
        marks = (">[", "]<"), (" [", "] ")
        on, off = marks if self.on_keep else marks[::-1]
        chosen: Style = "bold" if self.ready else "dim"
        plain: Style = "" if self.ready else "dim"
        return (
            Cell(f" {on[0]}{keep}{on[1]}", "bold" if self.on_keep else ""),
            Cell(f"  {off[0]}{yes}{off[1]}", plain if self.on_keep else chosen),
        )

    @property
    def ready(self) -> bool:
        """Whether yes would be taken: the number, if one is asked for, was typed."""
        return not self.question.number or self.typed == str(self.question.number)

    def takes(self, event: events.Key) -> bool:
        """Take the digits of the number."""
        if self.deaf or not self.question.number:
            return False
        if event.key == "backspace":
            self.typed = self.typed[:-1]
        elif event.character is not None and event.character.isdigit():
            self.typed = (self.typed + event.character)[:9]
        else:
            return False
        self.say_lines()
        return True

    def action_yes(self) -> None:
        """Agree, if the number was typed."""
        if self.ready and not self.deaf:
            self.dismiss(True)

    def action_keep(self) -> None:
        """Leave everything as it is."""
        self.dismiss(False)

    def action_other(self) -> None:
        """Go to the other answer."""
        self.on_keep = not self.on_keep
        self.say_lines()

    def action_chosen(self) -> None:
        """Take the answer that is chosen."""
        if self.on_keep:
            self.action_keep()
        else:
            self.action_yes()
