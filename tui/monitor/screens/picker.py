"""Choosing what the list is sorted by."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from daemon.core.query import SORT_KEYS
from tui.monitor.screens.dialog import Dialog
from tui.monitor.view import USUAL_SORT
from tui.monitor.widgets.lines import Fixed, Line
from tui.text import Cell

LETTERS = {
    USUAL_SORT: "y",
    "id": "i",
    "state": "s",
    "provider": "p",
    "age": "a",
    "errors": "e",
    "attempt": "t",
    "priority": "r",
    "name": "n",
    "batch": "b",
    "updated": "u",
}
TOLD = {
    USUAL_SORT: "in doubt, at work, held, queued in turn, finished last",
    "age": "youngest first",
    "errors": "in a row, then in all",
    "state": "as a job's life goes",
}


class SortPicker(Dialog[str]):
    """Closes with a sort key, or nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "down", show=False),
        Binding("up", "move(-1)", "up", show=False),
        Binding("enter", "take", "take", show=False),
        Binding("escape,q", "dismiss(None)", "leave", show=False),
    ]

    def __init__(self, current: str) -> None:
        super().__init__()
        self.names = (USUAL_SORT, *SORT_KEYS)
        self.index = self.names.index(current)

    def compose(self) -> ComposeResult:
        """A line a key."""
        with Vertical():
            yield Fixed(id="text")

    @property
    def deaf(self) -> bool:
        """Nothing is lost by a key that comes early."""
        return False

    def say_lines(self) -> None:
        """Draw it all."""
        lines = [Line((Cell(" sort by: a letter, or arrows and enter", "bold"),)), Line()]
        room = max(1, min(len(self.names), self.size.height - 4))
        first = max(0, self.index - room + 1)
        for place, name in enumerate(self.names[first : first + room], first):
            here = place == self.index
            cells = (
                Cell(f" {'>' if here else ' '} ", "bold"),
                Cell(LETTERS[name], "cyan"),
                Cell(f"  {name:<10}"),
                Cell(TOLD.get(name, ""), "dim"),
            )
            lines.append(Line(cells, "cursor" if here else "plain"))
        self.fixed("text").styles.height = room + 2
        self.fixed("text").show(lines)

    def takes(self, event: events.Key) -> bool:
        """A letter chooses its key."""
        for name in self.names:
            if event.character == LETTERS[name]:
                self.dismiss(name)
                return True
        return False

    def action_move(self, by: int) -> None:
        """To another line."""
        self.index = (self.index + by) % len(self.names)
        self.say_lines()

    def action_take(self) -> None:
        """Take the key under the cursor."""
        self.dismiss(self.names[self.index])
