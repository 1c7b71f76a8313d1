"""Lines of cells, painted by difference: what every part of the monitor is drawn with.

A widget says what each of its lines holds; `redraw` compares that with what was painted, and has
only the columns repainted that changed. Nothing is mounted for a row, and nothing for a change.
"""

from collections.abc import Iterator
from typing import ClassVar, Final, NamedTuple

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual import events
from textual.color import Color
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui.text import Cell, width

WHEEL_LINES = 3
CELLS_MIN, LINES_MIN = 60, 12
"""In a smaller terminal nobody sees what a key is about to do."""
DIMMED = 0.45
"""So near to its ground is text that matters less."""

_NOTHING: Final = RichStyle()
_BARE: Final = {
    "bar": RichStyle(reverse=True),
    "cursor": RichStyle(reverse=True),
    "cursor-away": RichStyle(underline=True),
    "warning": RichStyle(bold=True),
    "stale": RichStyle(dim=True),
    "dim": RichStyle(dim=True),
    "red": RichStyle(bold=True),
}
"""What grounds and cells look like where there are no colours."""


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
        self._first = 0

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
        if self.total() != self.virtual_size.height:
            self.scroll_lines_to(self.top)
        size, painted = self.size, self._painted
        changed: list[Region] = []
        for y in range(size.height):
            old, new = painted.get(y), self._line_or_none(y)
            if new is not old and new != old:
                changed += differences(old, new, y, size)
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
        room = self.size.width - sum(width(cell.text) for cell in line.cells)
        if room < 0:
            return Strip(segments).adjust_cell_length(self.size.width)
        if room:
            segments.append(Segment(" " * room, self._look(line.ground, "")))
        return Strip(segments, self.size.width)

    def _look(self, ground: str, style: str) -> RichStyle:
        look = self._looks.get((ground, style))
        if look is None:
            look = self.rich_style + self.get_component_rich_style(f"ground--{ground}")
            if style == "dim" and ground != "stale":
                look = _dimmed(look)
            elif style and ground != "stale":  # nothing of what may be old is loud
                look += self.get_component_rich_style(f"cell--{style}", partial=True)
            if self.app.no_color:
                look += _BARE.get(ground, _NOTHING) + _BARE.get(style, _NOTHING)
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
        return self._first

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Keep `top`, which is asked for with every line."""
        super().watch_scroll_y(old_value, new_value)
        self._first = round(new_value)

    def scroll_lines_to(self, top: int) -> None:
        """See the lines from `top` on, as far as there are lines."""
        total = self.total()
        if total != self.virtual_size.height:
            # No layout depends on it: there are no scroll bars.
            self.set_reactive(Widget.virtual_size, Size(self.size.width, total))
        last = max(0, total - self.size.height)
        self.scroll_to(y=max(0, min(top, last)), animate=False, force=True)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """See what is below."""
        event.stop()
        self.scroll_lines_to(self.top + WHEEL_LINES)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """See what is above."""
        event.stop()
        self.scroll_lines_to(self.top - WHEEL_LINES)


def cramped(size: Size) -> bool:
    """Whether a terminal of this size is too small to act in.

    >>> cramped(Size(80, 24)), cramped(Size(80, 11))
    (False, True)
    """
    return size.width < CELLS_MIN or size.height < LINES_MIN


def _dimmed(look: RichStyle) -> RichStyle:
    """`look` with its text nearer to its ground."""
    if look.color is None or look.bgcolor is None:
        return look
    text, ground = Color.from_rich_color(look.color), Color.from_rich_color(look.bgcolor)
    return look + RichStyle(color=text.blend(ground, DIMMED).rich_color)


def differences(old: Line | None, new: Line, y: int, size: Size) -> Iterator[Region]:
    """The regions of line `y` where `new` differs from `old`: what changed of its cells."""
    if old is None or old.ground != new.ground or len(old.cells) != len(new.cells):
        yield Region(0, y, size.width, 1)
        return
    x, last = 0, len(new.cells) - 1
    for place, (before, after) in enumerate(zip(old.cells, new.cells, strict=True)):
        cells = width(after.text)
        if before != after:
            were = width(before.text)
            if were != cells and place != last:  # what follows moves
                yield Region(x, y, size.width - x, 1)
                return
            same = _same(before, after)
            yield Region(x + same, y, max(cells, were) - same, 1)
        x += cells


def _same(before: Cell, after: Cell) -> int:
    """How many cells at the beginning of both are the same; looks no further than ASCII."""
    if before.style != after.style or not (before.text.isascii() and after.text.isascii()):
        return 0
    shorter = min(len(before.text), len(after.text))
    same = (was == now for was, now in zip(before.text, after.text, strict=False))
    return next((place for place, one in enumerate(same) if not one), shorter)


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
