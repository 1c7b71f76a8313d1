"""Lines of cells, painted by difference: what every part of the monitor is drawn with.

A widget says what each of its lines holds; `redraw` compares that with what was painted, and has
only the columns repainted that changed. Nothing is mounted for a row, and nothing for a change.
"""

from typing import ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui.monitor.actions import LISTS, bindings
from tui.text import Cell, width

WHEEL_LINES = 3


class Line(NamedTuple):
    """The cells of a line, left to right, and the ground they stand on."""

    cells: tuple[Cell, ...] = ()
    ground: str = "plain"


class Lines(ScrollView, can_focus=False):
    """A block of lines. What stands below the last one is empty."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "ground--plain",
        "ground--head",
        "ground--bar",
        "ground--cursor",
        "ground--cursor-away",
        "ground--stale",
        "ground--warning",
        "cell--bold",
        "cell--dim",
        "cell--red",
        "cell--green",
        "cell--yellow",
        "cell--cyan",
        "cell--key",
    }

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's own name
        super().__init__(id=id)
        self._painted: dict[int, Line] = {}
        self._looks: dict[tuple[str, str], RichStyle] = {}

    # ---- what a kind of lines says ----

    def line(self, y: int) -> Line:
        """What stands in line `y` of the part that is seen."""
        raise IndexError(y)

    def total(self) -> int:
        """How many lines there are, seen or not."""
        return self.size.height

    # ---- painting ----

    def redraw(self) -> None:
        """Have repainted what is not as it was painted last."""
        if not self.is_on_screen:
            return
        total = self.total()
        if total != self.virtual_size.height:
            # No layout depends on it: there are no scroll bars.
            self.set_reactive(Widget.virtual_size, Size(self.size.width, total))
            self.scroll_lines_to(self.top)
        size, painted = self.size, self._painted
        differences = (
            _difference(painted.get(y), self._line_or_none(y), y, size) for y in range(size.height)
        )
        changed = [region for region in differences if region is not None]
        if changed:
            self.refresh(*changed)

    def repaint(self) -> None:
        """Have everything repainted."""
        self._painted.clear()
        self.refresh()

    def _line_or_none(self, y: int) -> Line:
        try:
            return self.line(y)
        except IndexError:
            return Line()

    def render_line(self, y: int) -> Strip:
        """The line as Textual wants it; it is remembered as painted."""
        line = self._line_or_none(y)
        self._painted[y] = line
        segments = [Segment(cell.text, self._look(line.ground, cell.style)) for cell in line.cells]
        strip = Strip(segments)
        return strip.adjust_cell_length(self.size.width, self._look(line.ground, ""))

    def _look(self, ground: str, style: str) -> RichStyle:
        look = self._looks.get((ground, style))
        if look is None:
            look = self.rich_style + self.get_component_rich_style(f"ground--{ground}")
            if style and (ground, style) != ("stale", "dim"):  # stale is dimmer still
                look += self.get_component_rich_style(f"cell--{style}", partial=True)
            self._looks[ground, style] = look
        return look

    def notify_style_update(self) -> None:
        """Forget the colours: the theme or the style sheet changed."""
        super().notify_style_update()
        self._looks.clear()
        self._painted.clear()

    # ---- scrolling: of the view, never of the cursor ----

    @property
    def top(self) -> int:
        """The first line that is seen."""
        return round(self.scroll_y)

    def scroll_lines_to(self, top: int) -> None:
        """See the lines from `top` on, as far as there are lines."""
        last = max(0, self.total() - self.size.height)
        self.scroll_to(y=max(0, min(top, last)), animate=False, force=True)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """See what is below."""
        event.stop()
        self.scroll_lines_to(self.top + WHEEL_LINES)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """See what is above."""
        event.stop()
        self.scroll_lines_to(self.top - WHEEL_LINES)


def _difference(old: Line | None, new: Line, y: int, size: Size) -> Region | None:
    """The region of line `y` where `new` differs from `old`.

    One region, from the first change to the last: Textual sends a line from its beginning for each.
    """
    if old == new:
        return None
    whole = Region(0, y, size.width, 1)
    if old is None or old.ground != new.ground or len(old.cells) != len(new.cells):
        return whole
    first, last, x = size.width, 0, 0
    for before, after in zip(old.cells, new.cells, strict=True):
        cells = width(after.text)
        if before != after:
            if width(before.text) != cells:
                return whole
            first, last = min(first, x), x + cells
        x += cells
    return Region(first, y, last - first, 1)


class Fixed(Lines):
    """Lines that are given, not asked for: a bar, a text."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's own name
        super().__init__(id=id)
        self._lines: list[Line] = []

    def show(self, lines: list[Line]) -> None:
        """Have these lines, and paint what changed."""
        self._lines = lines
        self.redraw()

    def line(self, y: int) -> Line:
        """One of the lines that were given."""
        return self._lines[self.top + y]

    def total(self) -> int:
        """As many as were given."""
        return len(self._lines)


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
        self.redraw()

    def on_resize(self) -> None:
        """The cursor stays in sight."""
        self.see_cursor()

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
