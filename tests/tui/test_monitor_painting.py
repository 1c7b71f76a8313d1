"""What an update writes: the cells that changed, where they stand, and no code twice."""

from __future__ import annotations

from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip

from tui.monitor.painting import TightUpdate, turned
from tui.monitor.widgets.lines import Line, differences
from tui.text import Cell, width

RED, BLUE = Style.parse("red on black"), Style.parse("blue on black")
CONSOLE = Console(color_system="standard", force_terminal=True)


def strip(*parts: tuple[str, Style | None]) -> Strip:
    segments = [Segment(text, style) for text, style in parts]
    return Strip(segments, sum(width(text) for text, _ in parts))


def written(*spans: tuple[int, int, int]) -> str:
    line = {
        0: strip(("abc", RED), ("红风筝", RED), ("xyz", BLUE)),
        12: strip(("side", None)),
    }
    return TightUpdate({0: line, 1: line}, list(spans)).render_segments(CONSOLE)


def test_only_the_cells_of_the_span_are_written_at_their_place() -> None:
    assert written((0, 9, 12)) == "\x1b[1;10H\x1b[34;40mxyz\x1b[0m"


def test_a_style_that_goes_on_is_named_once_and_a_new_colour_alone() -> None:
    assert written((0, 0, 12)) == "\x1b[1;1H\x1b[31;40mabc红风筝\x1b[34mxyz\x1b[0m"


def test_two_lines_share_the_style_and_plain_text_has_none() -> None:
    assert written((0, 9, 12), (1, 9, 16)) == ("\x1b[1;10H\x1b[34;40mxyz\x1b[2;10Hxyz\x1b[0mside")


def test_a_span_that_ends_within_a_text_cuts_it() -> None:
    assert written((1, 1, 5)) == "\x1b[2;2H\x1b[31;40mbc红\x1b[0m"


def test_texts_that_rich_measures_otherwise_keep_their_neighbours_in_place() -> None:
    line = {0: strip(("हिन्दी", RED), ("x", BLUE))}
    update = TightUpdate({0: line}, [(0, 5, 6)])
    assert update.render_segments(CONSOLE) == "\x1b[1;6H\x1b[34;40mx\x1b[0m"


def test_what_a_style_loses_is_reset() -> None:
    bold = RED + Style(bold=True)
    assert turned(bold, RED, ColorSystem.STANDARD) == "\x1b[0m\x1b[31;40m"
    assert turned(RED, Style(color="red"), ColorSystem.STANDARD) == "\x1b[0m\x1b[31m"
    assert turned(RED, None, ColorSystem.STANDARD) == "\x1b[0m"


# ---- what is painted anew ----

SIZE = Size(40, 2)
OLD = Line((Cell("   7 "), Cell("kite 0001 "), Cell("take 12, red")))


def changed(*texts: str) -> list[Region]:
    return list(differences(OLD, Line(tuple(Cell(text) for text in texts)), 1, SIZE))


def test_of_a_changed_cell_what_follows_the_first_change_is_painted() -> None:
    assert changed("   7 ", "kite 0002 ", "take 12, red") == [Region(13, 1, 2, 1)]
    assert changed("   8 ", "kite 0001 ", "take 12, blue") == [
        Region(3, 1, 2, 1),
        Region(24, 1, 4, 1),
    ]


def test_a_last_text_that_got_shorter_leaves_nothing_behind() -> None:
    assert changed("   7 ", "kite 0001 ", "take 12") == [Region(22, 1, 5, 1)]
    assert changed("   7 ", "kite 0001 ", "红色") == [Region(15, 1, 12, 1)]


def test_where_cells_move_or_the_ground_changes_the_line_is_painted() -> None:
    assert changed("   7 ", "kite ", "take 12, red") == [Region(5, 1, 35, 1)]
    other = Line(OLD.cells, "cursor")
    assert list(differences(OLD, other, 1, SIZE)) == [Region(0, 1, 40, 1)]
