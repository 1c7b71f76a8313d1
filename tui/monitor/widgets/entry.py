"""A line to type into: a filter, a search, an id."""

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from tui.monitor.widgets.lines import Line, Lines
from tui.text import Cell, clean, width

CHARS_MAX = 4_096


class Entry(Lines, can_focus=True):
    """What is typed is cleaned as it comes. The caret stands still: nothing blinks."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "take it", show=False),
        Binding("escape", "leave", "clear it", show=False),
        Binding("backspace", "delete_left", "delete", show=False),
        Binding("delete", "delete_right", "delete what follows", show=False),
        Binding("ctrl+u", "clear", "delete all", show=False),
        Binding("ctrl+w", "delete_word", "delete a word", show=False),
        Binding("left", "move(-1)", "left", show=False),
        Binding("right", "move(1)", "right", show=False),
        Binding("home,ctrl+a", "move(-4096)", "to the beginning", show=False),
        Binding("end,ctrl+e", "move(4096)", "to the end", show=False),
    ]

    class Changed(Message):
        """The text is another one."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Submitted(Changed):
        """Enter."""

    class Left(Message):
        """Escape."""

    def __init__(self, prompt: str, hint: str, *, id: str | None = None) -> None:  # noqa: A002  Textual's own name
        super().__init__(id=id)
        self.text = ""
        self._prompt = prompt
        self._hint = hint
        self._at = 0

    def open(self) -> None:
        """Be seen, and take the keys from now on."""
        self.display = True
        self.screen.set_focus(self)
        self.redraw()

    def close(self) -> None:
        """Be gone; what was typed stays."""
        self.display = False

    def put(self, text: str) -> None:
        """Have this text in it."""
        self.text = clean(text)[:CHARS_MAX]
        self._at = len(self.text)
        self.redraw()

    def line(self, y: int) -> Line:
        """The prompt, the text around the caret, or the hint."""
        if y > 0:
            raise IndexError(y)
        if not self.text:
            return Line(
                (Cell(self._prompt, "cyan"), Cell("_", "bold"), Cell(self._hint, "dim")), "head"
            )
        room = max(1, self.size.width - width(self._prompt) - 2)
        before = self.text[max(0, self._at - room) : self._at]
        while width(before) > room:
            before = before[1:]
        cells = (
            Cell(self._prompt, "cyan"),
            Cell(before),
            Cell("_", "bold"),
            Cell(self.text[self._at :]),
        )
        return Line(cells, "head")

    def total(self) -> int:
        """One."""
        return 1

    # ---- keys ----

    def check_consume_key(self, key: str, character: str | None) -> bool:  # noqa: ARG002  Textual's own signature
        """Printable keys are typed, whatever they mean elsewhere."""
        return character is not None and character.isprintable()

    def takes(self, event: events.Key) -> bool:
        """Type a printable key; whether it was one."""
        if not event.is_printable or event.character is None:
            return False
        self._insert(event.character)
        return True

    def on_key(self, event: events.Key) -> None:
        """What is typed means nothing else; tab doesn't take the keys elsewhere."""
        if self.takes(event) or event.key in ("tab", "shift+tab"):
            event.stop()
            event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        """Type many, without the line breaks that are copied along at the ends."""
        event.stop()
        self._insert(event.text.strip("\r\n"))

    def _insert(self, text: str) -> None:
        text = clean(text)[: CHARS_MAX - len(self.text)]
        self._change(self.text[: self._at] + text + self.text[self._at :], self._at + len(text))

    def _change(self, text: str, at: int) -> None:
        changed = text != self.text
        self.text, self._at = text, max(0, min(at, len(text)))
        self.redraw()
        if changed:
            self.post_message(self.Changed(text))

    def action_submit(self) -> None:
        """Take it."""
        self.post_message(self.Submitted(self.text))

    def action_leave(self) -> None:
        """Leave it."""
        self.post_message(self.Left())

    def action_delete_left(self) -> None:
        """Delete the character before the caret."""
        if self._at > 0:
            self._change(self.text[: self._at - 1] + self.text[self._at :], self._at - 1)

    def action_delete_right(self) -> None:
        """Delete the character behind the caret."""
        self._change(self.text[: self._at] + self.text[self._at + 1 :], self._at)

    def action_delete_word(self) -> None:
        """Delete the word before the caret."""
        kept = self.text[: self._at].rstrip()
        kept = kept[: kept.rfind(" ") + 1]
        self._change(kept + self.text[self._at :], len(kept))

    def action_clear(self) -> None:
        """Delete all."""
        self._change("", 0)

    def action_move(self, by: int) -> None:
        """Move the caret."""
        self._at = max(0, min(self._at + by, len(self.text)))
        self.redraw()
