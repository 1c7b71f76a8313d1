"""Naming the file that what is listed goes to."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from tui.monitor.screens.dialog import Dialog
from tui.monitor.widgets.entry import Entry
from tui.monitor.widgets.lines import Fixed, Line
from tui.text import Cell, counted


class Naming(Dialog[str]):
    """Closes with a path, or nothing."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "leave", show=False)
    ]

    def __init__(self, rows: int, proposed: str) -> None:
        super().__init__()
        self._rows = rows
        self._proposed = proposed

    @property
    def deaf(self) -> bool:
        """What is typed early is meant for it."""
        return False

    def compose(self) -> ComposeResult:
        """How much it is, and the name."""
        with Vertical():
            text = Fixed(id="text")
            text.styles.height = 3
            yield text
            yield Entry(" file: ", "", id="file")

    def on_mount(self) -> None:
        """It is typed at once."""
        super().on_mount()
        entry = self.query_one(Entry)
        entry.put(self._proposed)
        entry.open()

    def say_lines(self) -> None:
        """Draw it all."""
        told = f" save {counted(self._rows, 'row')}: enter; esc leaves it"
        how = " NDJSON, or CSV if the name ends in .csv; never over a file"
        self.fixed("text").show([Line((Cell(told, "bold"),)), Line((Cell(how, "dim"),)), Line()])

    def on_entry_submitted(self, event: Entry.Submitted) -> None:
        """That is the name."""
        self.dismiss(event.text.strip() or None)

    def on_entry_left(self) -> None:
        """Leave it."""
        self.dismiss(None)
