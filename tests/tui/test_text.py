"""Foreign text: made harmless, measured in cells, cut and aligned."""

import doctest
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tui.text
import tui.wording
from tui.text import (
    CLEANED_CHARS_MAX,
    Cell,
    Column,
    age,
    clean,
    clean_lines,
    cut,
    pad,
    paint,
    size,
    table,
    width,
    wrap,
)

ANY = st.text(st.characters() | st.characters(categories=["Cc", "Cf", "Mn", "Cs", "Zs"]))
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ud800-\udfff\U000e0000-\U000e01ef]"
)


@pytest.mark.parametrize("module", [tui.text, tui.wording])
def test_the_examples_in_the_docstrings_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("a red kite", "a red kite"),
        ("一只猫走在月球上、电影感", "一只猫走在月球上、电影感"),
        ("Ça va — “oui”…", "Ça va — “oui”…"),
        ("\x1b]52;c;cm0gLXJmIC8=\x07", "␛]52;c;cm0gLXJmIC8=␇"),
        ("\x1b]0;title\x1b\\", "␛]0;title␛\\"),
        ("\x9b31mred", "�31mred"),
        ("\x7f\x80\x9d", "���"),
        ("one\r\ntwo\nthree\rfour", "one↵two↵three↵four"),
        ("a\u2028b\u2029c\x85d", "a↵b↵c↵d"),
        ("a\tb\0c\x08d", "a␉b␀c␈d"),
        ("\u202egnp.exe\u202c", "·gnp.exe·"),
        ("a\u200bb\u200db\u2060c\ufeffd", "a·b·b·c·d"),
        ("soft\u00adhyphen", "soft·hyphen"),
        ("\u115f\u1160\u3164\uffa0", "····"),
        ("tag\U000e0041\U000e007f", "tag··"),
        ("\ud800lone", "·lone"),
        ("private\ue000", "private·"),
        ("unassigned\u0378", "unassigned·"),
        ("heart\u2764\ufe0f", "heart\u2764"),
        ("z\u0301\u0302\u0303\u0304\u0305", "z\u0301\u0302"),
        ("nbsp\u00a0wide\u3000", "nbsp wide "),
        ("[red]text[/] [@click=app.quit]x[/]", "[red]text[/] [@click=app.quit]x[/]"),
        ("", ""),
    ],
)
def test_foreign_text_is_shown_without_what_a_terminal_obeys(foreign: str, shown: str) -> None:
    assert clean(foreign) == shown


@given(ANY)
def test_whatever_comes_in_nothing_unsafe_comes_out(text: str) -> None:
    assert not UNSAFE.search(clean(text))
    assert clean(clean(text)) == clean(text)


def test_the_quick_way_and_the_careful_way_agree_on_every_character() -> None:
    for number in range(0x10000):
        character = chr(number)
        cleaned = clean(character)
        assert clean(f"\x1b{character}") == f"␛{cleaned}"
        assert width(f"红{cleaned}") == 2 + width(cleaned)


def test_long_text_is_cut_before_it_is_looked_at() -> None:
    assert len(clean("x" * 10_000_000)) == CLEANED_CHARS_MAX
    assert clean("x" * CLEANED_CHARS_MAX) == "x" * CLEANED_CHARS_MAX
    assert clean("\x1b" * 10_000).endswith("…")


def test_lines_are_kept_apart_where_there_is_room_for_them() -> None:
    assert clean_lines("one\n\n\x1b[1mtwo\r\n") == ["one", "", "␛[1mtwo"]
    assert sum(map(len, clean_lines("line\n" * 100_000))) <= CLEANED_CHARS_MAX


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("", 0),
        ("kite", 4),
        ("红风筝", 6),
        ("カメラ", 6),
        ("ｶﾒﾗ", 3),
        ("서울", 4),
        ("e\u0301", 1),
        ("🎬", 2),
        ("\uff37", 2),
        ("한", 2),
        ("…·␛", 3),
    ],
)
def test_text_is_measured_in_cells_of_a_terminal(text: str, cells: int) -> None:
    assert width(text) == cells


@given(ANY, st.integers(0, 40))
def test_text_is_cut_and_filled_to_the_cell(text: str, cells: int) -> None:
    cleaned = clean(text)
    assert width(cut(cleaned, cells)) <= cells
    assert width(pad(cleaned, cells)) == cells
    assert width(pad(cleaned, cells, right=True)) == cells
    if width(cleaned) <= cells:
        assert cut(cleaned, cells) == cleaned


@given(ANY, st.integers(1, 40))
def test_wrapping_loses_nothing_but_blanks(text: str, cells: int) -> None:
    cleaned = clean(text)
    lines = wrap(cleaned, cells)
    assert all(width(line) <= max(2, cells) for line in lines)
    assert "".join(lines).replace(" ", "") == cleaned.replace(" ", "")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0:00"), (59.9, "0:59"), (3_599, "59:59"), (3_600, "1h00m"), (86_399, "23h59m")],
)
def test_an_age_takes_few_cells(seconds: float, shown: str) -> None:
    assert age(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (9_949, "9.9 kB"), (999_499, "999 kB")],
)
def test_a_size_has_two_or_three_digits(count: int, shown: str) -> None:
    assert size(count) == shown


COLUMNS = [Column("ID", right=True), Column("PROVIDER", cells_max=6), Column("PROMPT")]
ROWS = [
    [Cell("7"), Cell("veo"), Cell("一只猫走在月球上")],
    [Cell("12", "red"), Cell("cogvideox"), Cell("red\x1b[2J\nkite")],
]


def test_a_table_is_aligned_by_cells_and_cleaned() -> None:
    assert table(COLUMNS, ROWS, cells=None) == [
        "ID  PROVIDER  PROMPT",
        " 7  veo       一只猫走在月球上",
        "12  cogvide…  red␛[2J↵kite",
    ]


def test_a_narrow_table_takes_from_the_last_column_first() -> None:
    assert table(COLUMNS, ROWS, cells=24) == [
        "ID  PROVIDER  PROMPT",
        " 7  veo       一只猫走…",
        "12  cogvide…  red␛[2J↵k…",
    ]


@given(st.lists(ANY, min_size=3, max_size=3), st.integers(28, 90))
def test_no_line_of_a_table_is_longer_than_its_terminal(texts: list[str], cells: int) -> None:
    rows = [[Cell(text) for text in texts]]
    columns = [Column("A"), Column("B", right=True), Column("C")]
    assert all(width(line) <= cells for line in table(columns, rows, cells=cells))


def test_colours_change_no_alignment() -> None:
    plain = table(COLUMNS, ROWS, cells=80)
    painted = table(COLUMNS, ROWS, cells=80, colour=True)
    assert painted != plain
    assert [re.sub(r"\x1b\[\d*m", "", line) for line in painted] == plain


def test_nothing_is_painted_without_colour_or_style() -> None:
    assert paint("kite", "red", colour=False) == "kite"
    assert paint("kite", "", colour=True) == "kite"
    assert paint("", "red", colour=True) == ""
