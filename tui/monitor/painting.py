"""What goes to the terminal when something changed: the cells that did, and few codes about them.

Textual's own update sends a line from its beginning to the change, and names both colours anew for
every piece of text. Over a slow line, and at thirty frames a second, that is most of what is sent.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from rich.color import ColorSystem
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, Compositor, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from tui.text import width

Span = tuple[int, int, int]
"""A line, the first of its cells that is painted, and the first behind them."""
Chops = Mapping[int, Strip | None]
"""The strips of a line, by the cell that they begin at."""

_RESET: Final = "\x1b[0m"


class TightCompositor(Compositor):
    """Paints only the lines with changes, and of them only the changed cells."""

    def render_partial_update(self) -> ChopsUpdate | None:
        """An update of what is dirty; None if nothing is."""
        regions, screen = self._dirty_regions.copy(), self.size.region
        self._dirty_regions.clear()
        inside = (region.intersection(screen) for region in regions)
        spans = list(self._regions_to_spans(region for region in inside if region))
        if not spans:
            return None
        lines: dict[int, Chops] = {}
        for band in _bands(spans):
            crop = Region.from_union([Region(x1, y, x2 - x1, 1) for y, x1, x2 in band])
            chops = self._render_chops(crop, crop.line_range.__contains__)
            lines.update((y, chops[y]) for y in crop.line_range)
        return TightUpdate(lines, spans)

    def _get_renders(
        self, crop: Region | None = None
    ) -> Iterable[tuple[Region, Region, list[Strip]]]:
        """What widgets show, of the lines of `crop`; Textual's own has them render all lines."""
        for widget, (region, clip) in self.visible_widgets.items():
            seen = region.intersection(clip)
            if crop is not None:
                seen = seen.intersection(Region(seen.x, crop.y, seen.width, crop.height))
            if seen:
                inside = seen.translate((-region.x, -region.y))
                yield seen, clip, widget.render_lines(inside)

    def render_full_update(self, simplify: bool = False) -> LayoutUpdate:
        """An update of everything; a simplified one, for pictures, is Textual's."""
        if simplify:
            return super().render_full_update(simplify)
        self._dirty_regions.clear()
        screen = self.size.region
        lines = dict(enumerate(self._render_chops(screen, screen.line_range.__contains__)))
        spans = [(y, 0, screen.width) for y in screen.line_range]
        return TightUpdate(lines, spans)  # type: ignore[return-value]  # all are written alike


def _bands(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """The spans, by stretches of lines that follow each other."""
    band = [spans[0]]
    for span in spans[1:]:
        if span[0] - band[-1][0] > 1:
            yield band
            band = []
        band.append(span)
    yield band


class TightUpdate(ChopsUpdate):
    """The cells of some spans."""

    def __init__(self, lines: Mapping[int, Chops], spans: list[Span]) -> None:
        super().__init__([], spans, [])
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The same without places, line by line: for a picture of the whole screen."""
        for y, x1, x2 in self.spans:
            for _, segment in _segments(self._lines[y], x1, x2):
                yield segment
            yield Segment.line()

    def render_segments(self, console: Console) -> str:
        """The codes and texts to write."""
        system = console._color_system or ColorSystem.TRUECOLOR  # noqa: SLF001  no name for it
        written: list[str] = []
        look: Style | None = None
        for y, x1, x2 in self.spans:
            at = -1
            for x, segment in _segments(self._lines[y], x1, x2):
                if x != at:
                    written.append(f"\x1b[{y + 1};{x + 1}H")
                if segment.style != look:
                    written.append(turned(look, segment.style, system))
                    look = segment.style
                written.append(segment.text)
                at = x + width(segment.text)
        if look is not None:
            written.append(_RESET)
        return "".join(written)


def _segments(chops: Chops, x1: int, x2: int) -> Iterator[tuple[int, Segment]]:
    """The texts from the cell `x1` to before `x2`, each with its place.

    They are counted in our own cells: texts of some scripts are wider for terminals than for Rich.
    """
    for start, strip in chops.items():
        if strip is None or start >= x2 or start + strip.cell_length <= x1:
            continue
        x = start
        for segment in strip:
            cells = width(segment.text)
            if x1 <= x and x + cells <= x2:
                yield x, segment
            elif x < x2 and x + cells > x1:
                first, last = max(0, x1 - x), min(cells, x2 - x)
                yield x + first, segment.split_cells(last)[0].split_cells(first)[1]
            x += cells


@lru_cache(maxsize=4_096)
def turned(was: Style | None, now: Style | None, system: ColorSystem) -> str:
    """The code that makes what follows look as `now`, where it looked as `was`; None is plain.

    >>> red, blue = Style.parse("red on black"), Style.parse("blue on black")
    >>> turned(None, red, ColorSystem.STANDARD), turned(red, blue, ColorSystem.STANDARD)
    ('\\x1b[31;40m', '\\x1b[34m')
    """
    if now is None:
        return _RESET
    if was is None:
        return _code(now, system)
    lost = (was.color and not now.color) or (was.bgcolor and not now.bgcolor)
    if lost or was.without_color != now.without_color:
        return _RESET + _code(now, system)
    color = None if was.color == now.color else now.color
    ground = None if was.bgcolor == now.bgcolor else now.bgcolor
    return _code(Style(color=color, bgcolor=ground), system)


def _code(style: Style, system: ColorSystem) -> str:
    ansi = Strip.render_ansi(style, system)
    return f"\x1b[{ansi}m" if ansi else ""
