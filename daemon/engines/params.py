"""Checks of a job's params against what a provider documents: tables, one row a field."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from daemon.core.suggest import did_you_mean, shown
from daemon.engines.engine import Problem


class Param(Struct, frozen=True):
    """What a field takes: in words, and as a test."""

    expected: str
    fits: Callable[[Any], bool]


def choice(*values: str | int) -> Param:
    """One of `values`, of its very type: `5` isn't `"5"`.

    >>> choice(5, 10).expected, choice(5, 10).fits(5), choice(1, 2).fits(True)
    ('5 or 10', True, False)
    """
    *most, last = (f'"{one}"' if isinstance(one, str) else str(one) for one in values)
    words = f"{', '.join(most)} or {last}" if most else last
    return Param(
        words, lambda value: any(type(value) is type(one) and value == one for one in values)
    )


def whole(least: int, most: int) -> Param:
    """A whole number from `least` to `most`.

    >>> whole(1, 4).fits(4), whole(1, 4).fits(5), whole(1, 4).fits(2.0)
    (True, False, False)
    """
    return Param(
        f"a whole number from {least} to {most}",
        lambda value: type(value) is int and least <= value <= most,
    )


def text(least: int = 1, most: int = 10_000) -> Param:
    """A text of so many characters."""
    return Param(
        f"text of {least} to {most:,} characters",
        lambda value: isinstance(value, str) and least <= len(value) <= most,
    )


def matching(fits: Callable[[str], bool], expected: str) -> Param:
    """A text that `fits`."""
    return Param(expected, lambda value: isinstance(value, str) and fits(value))


SWITCH = Param("true or false", lambda value: isinstance(value, bool))


def problems_of(
    params: Mapping[str, Any], table: Mapping[str, Param], elsewhere: Mapping[str, str] = {}
) -> Iterator[Problem]:
    """Every param that isn't in `table`, or doesn't fit there. `elsewhere` tells of the provider's
    other fields where they come from.

    >>> table = {"duration": choice(5, 10)}
    >>> [str(one.message) for one in problems_of({"duraton": 5, "duration": 7}, table)]
    ["unknown param; did you mean 'duration'?", 'expected 5 or 10, got 7']
    """
    for name, value in params.items():
        param = table.get(name)
        if name in elsewhere:
            yield Problem(f"params.{name}", elsewhere[name])
        elif param is None:
            hint = did_you_mean(name, table) or f"; there are {', '.join(sorted(table))}"
            yield Problem(f"params.{name}", f"unknown param{hint}")
        elif not param.fits(value):
            yield Problem(f"params.{name}", f"expected {param.expected}, got {shown(value)}")
