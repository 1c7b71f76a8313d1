"""A result: one JSON object a line, as README.md of this folder explains."""

import os
from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec
from msgspec import Struct


class Reference(Struct, frozen=True):
    """What a figure is held against: a peer, or a ceiling, measured in the same run."""

    name: str
    value: float


class Line(Struct, frozen=True, kw_only=True):
    """One figure. `met` is None where nothing was measured; `why` then says why."""

    name: str
    value: float | None
    unit: str
    goal: str
    met: bool | None
    ratio: float | None = None
    reference: Reference | None = None
    load: float = 0.0
    more: dict[str, Any] = {}
    why: str = ""


def line(
    name: str,
    value: float,
    unit: str,
    goal: str,
    *,
    met: bool,
    reference: Reference | None = None,
    **more: Any,
) -> Line:
    """The line of a figure, with its ratio to `reference` and the machine's load just now."""
    return Line(
        name=name,
        value=rounded(value),
        unit=unit,
        goal=goal,
        met=met,
        ratio=rounded(value / reference.value) if reference and reference.value else None,
        reference=Reference(reference.name, rounded(reference.value)) if reference else None,
        load=round(os.getloadavg()[0], 2),
        more={key: rounded(one) if isinstance(one, float) else one for key, one in more.items()},
    )


def skipped(name: str, why: str) -> Line:
    """The line of a figure that couldn't be measured."""
    return Line(name=name, value=None, unit="", goal="", met=None, why=why)


def encode(one: Line) -> str:
    """`one` as JSON, without a newline."""
    return msgspec.json.encode(one).decode()


def rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of `values` lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def middle(values: Sequence[float]) -> float:
    """The median."""
    return float(median(values))
