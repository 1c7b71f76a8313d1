"""Rows under a head, with a cursor: what all lists of the monitor are."""

from typing import ClassVar

from textual import events
from textual.binding import BindingType

from tui.monitor.actions import LISTS, bindings
from tui.monitor.widgets.entry import Entry
from tui.monitor.widgets.lines import Line, Lines


class Grid(Lines, can_focus=True):
    """Rows under a head, with a cursor. Subclasses say what a row is and where the cursor is."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(LISTS)

    def count(self) -> int:
        """How many rows there are."""
        return 0

    def head(self) -> Line:
        """The titles of the columns."""
        return Line()

    def row(self, index: int) -> Line:
        """A row, by its place in the list."""
        raise IndexError(index)

    @property
    def cursor(self) -> int:
        """The row of the cursor."""
        return 0

    def put_cursor(self, index: int) -> None:
        """Put the cursor on a row that exists."""

    # ---- lines ----

    def total(self) -> int:
        """The rows and their head."""
        return self.count() + 1

    def line(self, y: int) -> Line:
        """The head stays; rows scroll under it."""
        if y == 0:
            return self.head()
        index = self.top + y - 1
        if index >= self.count():
            raise IndexError(index)
        return self.row(index)

    # ---- moving ----

    @property
    def page(self) -> int:
        """How many rows are seen at once."""
        return max(1, self.size.height - 1)

    def go(self, index: int) -> None:
        """Put the cursor on a row, as near as there is one, and see it."""
        if self.count() == 0:
            return
        self.put_cursor(max(0, min(index, self.count() - 1)))
        self.see_cursor()
        self.redraw()

    def see_cursor(self) -> None:
        """Scroll as little as shows the cursor."""
        top, cursor = self.top, self.cursor
        if cursor < top:
            self.scroll_lines_to(cursor)
        elif cursor >= top + self.page:
            self.scroll_lines_to(cursor - self.page + 1)

    def keep_in_place(self, rows: int) -> None:
        """Scroll by so many rows: the list grew, or shrank, above the cursor."""
        if rows and self.top > 0:
            self.scroll_lines_to(self.top + rows)

    def on_resize(self) -> None:
        """The cursor stays in sight."""
        self.see_cursor()

    def focus_on_click(self) -> bool:
        """A click leaves the keys to what is typed into: its caret says that they go there."""
        return not any(entry.display for entry in self.screen.query(Entry))

    def on_focus(self) -> None:
        """The cursor shows where the keys go."""
        self.redraw()

    def on_blur(self) -> None:
        """Likewise."""
        self.redraw()

    def on_click(self, event: events.Click) -> None:
        """A click puts the cursor there."""
        if event.y > 0 and self.top + event.y - 1 < self.count():
            self.go(self.top + event.y - 1)

    def action_line_down(self) -> None:
        """To the next row."""
        self.go(self.cursor + 1)

    def action_line_up(self) -> None:
        """To the row before."""
        self.go(self.cursor - 1)

    def action_page_down(self) -> None:
        """A page down."""
        self.go(self.cursor + self.page)

    def action_page_up(self) -> None:
        """A page up."""
        self.go(self.cursor - self.page)

    def action_first(self) -> None:
        """To the first row."""
        self.go(0)

    def action_last(self) -> None:
        """To the last row."""
        self.go(self.count() - 1)
