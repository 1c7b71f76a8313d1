"""The kinds of values that a configuration holds, as checks.

A check takes a value as `tomllib` gives it and its place; it returns the value to be used, or
refuses it at its place with a message that says what would be right.
"""

import datetime
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon.configuration.places import Place
from daemon.core.suggest import did_you_mean, shown

Check = Callable[[Any, Place], Any]

TEXT_CHARS_MAX = 1_000
ITEMS_MAX = 1_000
"""Elements of a list, keys of a free table."""
PARAMS_DEPTH_MAX = 20
YEAR_S = 366 * 86_400
"""No wait, and no time limit, is longer."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_MODE = re.compile("0?[0-7]{3}")


def is_plain(value: str, place: Place, chars_max: int = TEXT_CHARS_MAX) -> bool:
    """Whether a text is of bearable length and without control characters; else refused."""
    if len(value) > chars_max:
        place.refuse(f"has {len(value):,} characters; the limit is {chars_max:,}")
    elif _CONTROL.search(value):
        place.refuse("must not contain NUL or other control characters")
    else:
        return True
    return False


def text(value: Any, place: Place) -> Any:
    """Any text of one line; it may be empty."""
    if not isinstance(value, str):
        place.refuse(f"expected text in quotes, got {shown(value)}")
    else:
        is_plain(value, place)
    return value


def matching(pattern: str, expected: str) -> Check:
    """An empty text, or one that `pattern` matches as a whole; `expected` describes it."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: Any, place: Place) -> Any:
        fits = isinstance(value, str) and compiled.fullmatch(value)
        if not fits and value != "":
            place.refuse(f"expected {expected}, got {shown(value)}")
        return value

    return check


def choice(*words: str) -> Check:
    """One of `words`; the empty one is told as such."""
    told = ", ".join(word or "nothing" for word in words)

    def check(value: Any, place: Place) -> Any:
        if value not in words:
            hint = did_you_mean(value, words) if isinstance(value, str) else ""
            place.refuse(f"expected one of {told}; got {shown(value)}{hint}")
        return value

    return check


def switch(value: Any, place: Place) -> Any:
    """True or false."""
    if not isinstance(value, bool):
        place.refuse(f"expected true or false, got {shown(value)}")
    return value


def whole(least: int, most: int = 1_000_000) -> Check:
    """A whole number from `least` to `most`."""

    def check(value: Any, place: Place) -> Any:
        if type(value) is not int or not least <= value <= most:
            place.refuse(f"expected a whole number from {least} to {most}, got {shown(value)}")
        return value

    return check


def number(least: float, most: float, *, above: bool = False) -> Check:
    """A number from `least` to `most`, with or without a fraction; `above`: not `least` itself."""
    expected = f"a number {'above' if above else 'from'} {least:g} to {most:.9g}"

    def check(value: Any, place: Place) -> Any:
        fits = type(value) in (int, float) and least <= value <= most
        if fits and not (above and value == least):
            return float(value)
        place.refuse(f"expected {expected}, got {shown(value)}")
        return value

    return check


def seconds(*, zero: bool = True) -> Check:
    """A duration; `zero`: it may be 0."""
    return number(0, YEAR_S, above=not zero)


share = number(0, 1)
"""A share of calls or jobs."""


def span(value: Any, place: Place) -> Any:
    """Seconds, as one number or as [least, most]: returned as a pair."""
    if not isinstance(value, list):
        one = seconds()(value, place)
        return (one, one)
    before = len(place.reading.problems)
    ends = tuple(seconds()(end, place.below(index)) for index, end in enumerate(value[:3]))
    if len(place.reading.problems) == before and (len(ends) != 2 or ends[0] > ends[1]):
        place.refuse("expected seconds, as a number or as [least, most]")
    return ends


def mode(value: Any, place: Place) -> Any:
    """File permissions as octal text, as `chmod` takes them; returned as a number."""
    if not isinstance(value, str) or not _MODE.fullmatch(value):
        place.refuse(f'expected permissions as octal text such as "0660", got {shown(value)}')
        return value
    bits = int(value, 8)
    if bits & 0o600 != 0o600:
        place.refuse(f"{shown(value)} would shut the daemon itself out: it starts with 06 or 07")
    return bits


def folder(value: Any, place: Place) -> Any:
    """A folder's path; returned absolute."""
    path = optional_path(value, place)
    if value == "":
        place.refuse("must not be empty")
    return path


def optional_path(value: Any, place: Place) -> Any:
    """A path, returned absolute, or None for an empty text."""
    if not isinstance(value, str):
        place.refuse(f"expected a path in quotes, got {shown(value)}")
    elif value.startswith("~"):
        place.refuse("'~' isn't expanded here: write the whole path")
    elif is_plain(value, place) and value:
        return Path(place.resolve(value))
    return None


def state_folder(value: Any, place: Place) -> Any:
    """The state folder: a relative one gives way to the system's own, where there is one."""
    path = folder(value, place)
    ground = place.reading.ground
    relative = path is not None and not Path(value).is_absolute()
    if ground.state is not None and relative and place.origin.kind in ("default", "file"):
        return ground.state
    return path


def each(check: Check, expected: str) -> Check:
    """A list whose elements all pass `check`; returned as a tuple."""

    def check_all(value: Any, place: Place) -> Any:
        if not isinstance(value, list):
            place.refuse(f"expected {expected}, got {shown(value)}")
            return ()
        if len(value) > ITEMS_MAX:
            place.refuse(f"has {len(value):,} elements; the limit is {ITEMS_MAX:,}")
            return ()
        return tuple(check(one, place.below(index)) for index, one in enumerate(value))

    return check_all


def texts(value: Any, place: Place) -> Any:
    """A table of texts."""
    if not isinstance(value, dict):
        place.refuse(f"expected a table of texts, got {shown(value)}")
        return {}
    for key, one in value.items():
        text(one, place.below(key))
    return value


def params(value: Any, place: Place) -> Any:
    """A table of a provider's own names and values: whatever JSON can hold too."""
    if not isinstance(value, dict):
        place.refuse(f"expected a table, such as {{ duration = 5 }}, got {shown(value)}")
        return {}
    _check_json(value, place, PARAMS_DEPTH_MAX)
    return value


def _check_json(value: Any, place: Place, depth: int) -> None:
    match value:
        case dict() | list() if depth == 0 or len(value) > ITEMS_MAX:
            place.refuse("is too large, or too deeply nested, to be a provider's parameter")
        case dict():
            for key, one in value.items():
                _check_json(one, place.below(key), depth - 1)
        case list():
            for index, one in enumerate(value):
                _check_json(one, place.below(index), depth - 1)
        case str() if "\0" in value:
            place.refuse("must not contain a NUL character")
        case float() if not math.isfinite(value):
            place.refuse(f"{value} is no number that a provider can be sent")
        case int() if abs(value) >= 1 << 64:
            place.refuse("is a number too large to be sent")
        case datetime.date() | datetime.time():
            place.refuse("dates and times are sent as text: put quotes around it")
        case _:
            pass
