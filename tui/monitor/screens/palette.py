"""Finding an action by its words: type, choose, enter."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from tui.monitor.actions import Action
from tui.monitor.screens.dialog import Dialog
from tui.monitor.widgets.lines import Fixed, Line
from tui.text import Cell, clean, pad

SHOWN_MAX = 14
TYPED_CHARS_MAX = 40


def found(actions: Sequence[Action], typed: str) -> list[Action]:
    """The actions whose title has all the words, in the order of the table.

    >>> from tui.monitor.actions import ACTIONS
    >>> [action.id for action in found(ACTIONS, "mark here")]
    ['mark_to_here']
    """
    words = typed.casefold().split()
    return [one for one in actions if all(word in one.title.casefold() for word in words)]


class Palette(Dialog[str]):
    """Closes with the id of an action, or nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,ctrl+n", "move(1)", "down", show=False),
        Binding("up,ctrl+p", "move(-1)", "up", show=False),
        Binding("enter", "take", "take", show=False),
        Binding("escape", "dismiss(None)", "leave", show=False),
    ]

    def __init__(self, actions: Sequence[Action]) -> None:
        super().__init__()
        self._actions = actions
        self.typed = ""
        self.index = 0

    @property
    def deaf(self) -> bool:
        """What is typed early is meant for it."""
        return False

    def compose(self) -> ComposeResult:
        """What was typed, and what it finds."""
        with Vertical():
            yield Fixed(id="text")

    def say_lines(self) -> None:
        """Draw it all."""
        actions = found(self._actions, self.typed)
        self.index = max(0, min(self.index, len(actions) - 1))
        room = max(1, min(SHOWN_MAX, self.size.height - 4))
        first = max(0, self.index - room + 1)
        lines = [Line((Cell(" > ", "cyan"), Cell(f"{self.typed}_", "bold"))), Line()]
        for place, action in enumerate(actions[first : first + room], first):
            cells = (Cell(f"   {pad(action.shown, 12)}", "cyan"), Cell(action.title))
            lines.append(Line(cells, "cursor" if place == self.index else "plain"))
        if not actions:
            lines.append(Line((Cell("   nothing is called so", "dim"),)))
        self.fixed("text").styles.height = room + 2
        self.fixed("text").show(lines)

    def takes(self, event: events.Key) -> bool:
        """Letters narrow it."""
        if event.key == "backspace":
            self.typed = self.typed[:-1]
        elif event.is_printable and event.character is not None:
            self.typed = clean(self.typed + event.character)[:TYPED_CHARS_MAX]
        else:
            return False
        self.index = 0
        self.say_lines()
        return True

    def action_move(self, by: int) -> None:
        """To another line."""
        self.index += by
        self.say_lines()

    def action_take(self) -> None:
        """Take the action under the cursor."""
        actions = found(self._actions, self.typed)
        if actions:
            self.dismiss(actions[self.index].id)
