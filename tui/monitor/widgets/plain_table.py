"""A table of few rows, given whole: each has a key, and the cursor stays on its key."""

from collections.abc import Hashable, Mapping

from textual.message import Message

from tui.monitor.symbols import CURSOR
from tui.monitor.widgets.grid import Grid
from tui.monitor.widgets.lines import Line
from tui.text import Cell


class PlainTable(Grid):
    """Rows of cells under `titles`."""

    class Moved(Message):
        """The cursor is on another row."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's own name
        super().__init__(id=id)
        self.titles = ""
        self.stale = False
        self._keys: list[Hashable] = []
        self._rows: list[tuple[Cell, ...]] = []
        self._cursor = 0

    def have(self, rows: Mapping[Hashable, tuple[Cell, ...]]) -> None:
        """Have these rows. If the cursor's is gone, it takes the one that is there now."""
        key = self.key
        self._keys, self._rows = list(rows), list(rows.values())
        if key in rows:
            self._cursor = self._keys.index(key)
        self.redraw()
        self.see_cursor()

    @property
    def key(self) -> Hashable:
        """The key of the cursor's row; None without rows."""
        return self._keys[self.cursor] if self._keys else None

    def count(self) -> int:
        """As many as there are."""
        return len(self._rows)

    def head(self) -> Line:
        """The titles of the columns."""
        return Line((Cell(self.titles),), "head")

    def row(self, index: int) -> Line:
        """A row, with the cursor before it where it is."""
        under = index == self.cursor
        ground = "cursor" if under else "stale" if self.stale else "plain"
        return Line((Cell(f"{CURSOR if under else ' '} "), *self._rows[index]), ground)

    @property
    def cursor(self) -> int:
        """The row of the cursor."""
        return max(0, min(self._cursor, len(self._rows) - 1))

    def put_cursor(self, index: int) -> None:
        """Put it there."""
        self._cursor = index
        self.post_message(self.Moved())
