"""Text as a terminal may show it: foreign text made harmless, measured in cells, cut and aligned.

Pure, and used by the commands and the monitor alike. Prompts, names and providers' messages come
from anywhere: escape codes in them would move the cursor, rename the window or fill the clipboard,
and marks that turn or hide text would lie about what will be done. After `clean` none are left.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple
from unicodedata import category, east_asian_width

from daemon.core.times import DAY_S, HOUR_S, MINUTE_S

CLEANED_CHARS_MAX = 4_096
"""Longer text is cut before it is looked at: no screen shows so much of one field."""
MARKS_MAX = 2
"""So many combining marks stay on a character; no script needs more on one of its letters."""
COLUMN_CELLS_MIN = 8
"""A column is not squeezed below this."""
GAP = "  "
CUT = "…"
HIDDEN = "·"
LINE_BREAK = "↵"
UNREADABLE = "\N{REPLACEMENT CHARACTER}"

_PLAIN = re.compile(
    "[ -~\u00a1-\u00ac\u00ae-\u024f\u0400-\u044f\u2010-\u2027\u2190-\u21ff\u2500-\u259f"
    "\u3001-\u3002\u3008-\u3011\u3041-\u3096\u30a1-\u30fa\u30fc\u4e00-\u9ffc\uac00-\ud7a3"
    "\uff01-\uff5e]*"
)
"""Letters and signs that nearly all text is made of; none of them needs a second look."""
_NARROW = re.compile(
    "[ -~\u00a1-\u00ac\u00ae-\u024f\u0400-\u044f\u2010-\u2027\u2190-\u21ff\u2500-\u259f]*"
)
"""Those of them that take one cell each."""
_LINE_BREAKS = frozenset("\n\r\x0b\x0c\x85\u2028\u2029")
_HANGUL_FILLERS = frozenset("\u115f\u1160\u3164\uffa0")
_MARKS = frozenset({"Mn", "Me"})


# ---- cleaning ----


def clean(text: str) -> str:
    """`text` on one line, with nothing in it that a terminal obeys or a reader can't see.

    Control codes become their pictures and line breaks `↵`; what turns the direction of text, has
    no width, or is no character at all becomes `·`; of accents piled up two stay.

    >>> clean("red\\x1b[2J kite\\r\\nsoft")
    'red␛[2J kite↵soft'
    >>> clean("abc\\u202edef"), clean("a\\x9b31m")
    ('abc·def', 'a�31m')
    """
    if len(text) > CLEANED_CHARS_MAX:
        text = text[: CLEANED_CHARS_MAX - 1] + CUT
    if _PLAIN.fullmatch(text):
        return text
    kept: list[str] = []
    marks = 0
    for character in text.replace("\r\n", "\n"):
        marks = marks + 1 if category(character) in _MARKS else 0
        if marks <= MARKS_MAX:
            kept.append(_harmless(character))
    return "".join(kept)


def clean_lines(text: str) -> list[str]:
    """The lines of `text`, each cleaned: for places that have room for several.

    >>> clean_lines("one\\r\\n\\ttwo")
    ['one', '␉two']
    """
    return [clean(line) for line in text[:CLEANED_CHARS_MAX].splitlines()]


@lru_cache(maxsize=4_096)
def _harmless(character: str) -> str:
    if character in _LINE_BREAKS:
        return LINE_BREAK
    if character < " ":
        return chr(0x2400 + ord(character))  # the pictures of the control codes, in their order
    match category(character):
        case "Cc":
            return UNREADABLE
        case "Cf" | "Cs" | "Co" | "Cn":
            return HIDDEN
        case "Zs":
            return " "
        case "Mn" if "\ufe00" <= character <= "\ufe0f" or character >= "\U000e0100":
            return ""  # variation selectors: terminals disagree about their width
        case _:
            return HIDDEN if character in _HANGUL_FILLERS else character


# ---- cells ----


def width(text: str) -> int:
    """How many cells of a terminal a cleaned text takes.

    >>> width("kite"), width("红风筝"), width("e\\u0301")
    (4, 6, 1)
    """
    return len(text) if _NARROW.fullmatch(text) else sum(map(_width, text))


@lru_cache(maxsize=4_096)
def _width(character: str) -> int:
    if category(character) in {"Mn", "Me", "Cf"} or "\u1160" <= character <= "\u11ff":
        return 0  # the vowels and finals of Hangul join the syllable before them
    return 2 if east_asian_width(character) in {"W", "F"} else 1


def cut(text: str, cells: int) -> str:
    """A cleaned text in at most `cells`, with an ellipsis where something is missing.

    >>> cut("a red kite", 6), cut("红风筝", 4), cut("kite", 4)
    ('a red…', '红…', 'kite')
    """
    if width(text) <= cells:
        return text
    return text[: _fitting(text, cells - width(CUT))] + CUT if cells > 0 else ""


def _fitting(text: str, cells: int) -> int:
    """How many characters of `text`, which is wider, fit into `cells`."""
    if _NARROW.fullmatch(text):
        return max(0, cells)
    for place, character in enumerate(text):
        cells -= _width(character)
        if cells < 0:
            return place
    return len(text)


def pad(text: str, cells: int, *, right: bool = False) -> str:
    """A cleaned text in exactly `cells`: cut, or filled with blanks (before it if `right`).

    >>> pad("红风筝", 8), pad("7", 3, right=True)
    ('红风筝  ', '  7')
    """
    text = cut(text, cells)
    blanks = " " * (cells - width(text))
    return blanks + text if right else text + blanks


def wrap(text: str, cells: int) -> list[str]:
    """A cleaned text over lines of at most `cells`, broken at blanks where it can be.

    >>> wrap("a red kite", 6), wrap("红风筝", 4), wrap("", 4)
    (['a red', 'kite'], ['红风', '筝'], [''])
    """
    cells = max(2, cells)  # the widest character must fit, or this would never end
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if width(longer) <= cells:
            line = longer
            continue
        if line:
            lines.append(line)
        line = word
        while width(line) > cells:
            place = _fitting(line, cells)
            lines.append(line[:place])
            line = line[place:]
    return [*lines, line]


# ---- figures ----


def age(seconds: float) -> str:
    """A stretch of time in at most six cells; below zero is zero.

    >>> age(40), age(1_265), age(7_500), age(100_000), age(864_000)
    ('0:40', '21:05', '2h05m', '1d03h', '10d00h')
    """
    whole = max(0, int(seconds))
    if whole < HOUR_S:
        return f"{whole // MINUTE_S}:{whole % MINUTE_S:02}"
    if whole < DAY_S:
        return f"{whole // HOUR_S}h{whole % HOUR_S // MINUTE_S:02}m"
    return f"{whole // DAY_S}d{whole % DAY_S // HOUR_S:02}h"


def size(count: float) -> str:
    """A number of bytes, in units of a thousand.

    >>> size(812), size(81_234), size(1_400_000), size(3e12)
    ('812 B', '81 kB', '1.4 MB', '3,000 GB')
    """
    for unit in ("B", "kB", "MB"):
        if count < 999.5:
            return f"{count:.1f} {unit}" if unit != "B" and count < 9.95 else f"{count:.0f} {unit}"
        count /= 1_000
    return f"{count:.1f} GB" if count < 9.95 else f"{count:,.0f} GB"


def counted(count: int, noun: str) -> str:
    """A number with its noun, in the singular or the plural.

    >>> counted(1, "job"), counted(2_000, "job")
    ('1 job', '2,000 jobs')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


# ---- colour and tables ----

Style = Literal["", "bold", "dim", "red", "green", "yellow", "cyan"]
_SGR: Final[dict[Style, str]] = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}


class Cell(NamedTuple):
    """What stands in one place of a table, still as it came, and how it is painted."""

    text: str
    style: Style = ""


class Column(NamedTuple):
    """The head of a column; a wider cell than `cells_max` is cut, on any terminal."""

    title: str
    right: bool = False
    cells_max: int = CLEANED_CHARS_MAX


def paint(text: str, style: Style, *, colour: bool) -> str:
    """A cleaned text in its colour, or as it is where there are no colours.

    >>> paint("held", "yellow", colour=True), paint("held", "yellow", colour=False)
    ('\\x1b[33mheld\\x1b[0m', 'held')
    """
    return f"\x1b[{_SGR[style]}m{text}\x1b[0m" if colour and style and text else text


def table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Cell]],
    *,
    cells: int | None,
    colour: bool = False,
) -> list[str]:
    """A head and the rows under it, aligned, every cell cleaned.

    No line is longer than `cells` (None: there is no limit), as long as its columns can give way:
    the last one first, then the widest, none to less than COLUMN_CELLS_MIN.

    >>> table([Column("ID", right=True), Column("NAME")], [[Cell("12"), Cell("kite")]], cells=80)
    ['ID  NAME', '12  kite']
    """
    cleaned = [[Cell(clean(cell.text), cell.style) for cell in row] for row in rows]
    widths = [width(column.title) for column in columns]
    for row in cleaned:
        for place, cell in enumerate(row):
            widths[place] = max(widths[place], min(width(cell.text), columns[place].cells_max))
    if cells is not None:
        _squeeze(widths, cells)
    head = [Cell(column.title, "dim") for column in columns]
    return [_line(columns, row, widths, colour=colour) for row in [head, *cleaned]]


def _squeeze(widths: list[int], cells: int) -> None:
    """Take cells from the last column, then from the widest, as long as any can give."""
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - cells
    while excess > 0:
        last = len(widths) - 1
        widest = max(range(len(widths)), key=widths.__getitem__)
        place = last if widths[last] > COLUMN_CELLS_MIN else widest
        given = min(excess, widths[place] - COLUMN_CELLS_MIN) if place == last else 1
        if widths[place] <= COLUMN_CELLS_MIN:
            return
        widths[place] -= given
        excess -= given


def _line(
    columns: Sequence[Column], row: Sequence[Cell], widths: Sequence[int], *, colour: bool
) -> str:
    parts = []
    for column, cell, cells in zip(columns, row, widths, strict=True):
        text = cut(cell.text, cells)
        blanks = " " * (cells - width(text))
        painted = paint(text, cell.style, colour=colour)
        parts.append(blanks + painted if column.right else painted + blanks)
    return GAP.join(parts).rstrip(" ")
