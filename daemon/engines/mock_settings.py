"""What the mock can be told: the keys of its section, and the params of a job."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from daemon.core.suggest import did_you_mean, shown
from daemon.engines.engine import Problem

OUTPUTS_MAX = 100
PROMPT_CHARS_MAX = 2_000
"""Of a prompt, kept in the ledger; scripts look at so much, too."""

_YEAR_S = 366 * 86_400
Kind = Literal["image", "video"]
Share = Annotated[float, Meta(ge=0, le=1)]
Seconds = Annotated[float, Meta(ge=0, le=_YEAR_S)]
Side = Annotated[int, Meta(ge=16, le=4096)]


class MockSettings(Struct, frozen=True, kw_only=True):
    """The mock's own keys of a provider's section (interfaces.md 3, "The mock").

    `lookup` and `cancel`: whether this provider can do so; `register_s`: so long after acceptance
    a lookup doesn't find the task. `script` is the path of a weather script; whoever reads the
    file gives the engine the Script. Raises ValueError for a `generate_s` that makes no sense.
    """

    submit_s: Seconds = 0.2
    # Without limits of its own: msgspec 0.22 crashes on those of a number that may be a tuple.
    generate_s: float | tuple[float, float] = (1.0, 3.0)
    download_s: Seconds = 0.0
    register_s: Seconds = 0.0
    polls_504: Share = 0.0
    submit_refused: Share = 0.0
    lost_answers: Share = 0.0
    failures: Share = 0.0
    quota_every: Annotated[int, Meta(ge=0)] = 0
    quota_for_s: Seconds = 5.0
    outputs: Annotated[int, Meta(ge=0, le=OUTPUTS_MAX)] = 1
    seed: int = 0
    script: str = ""
    lookup: bool = False
    cancel: bool = True

    def __post_init__(self) -> None:
        least, most = self.generate_range_s
        if not 0 <= least <= most <= _YEAR_S:
            raise ValueError("generate_s is seconds from 0, as a number or as [least, most]")

    @property
    def generate_range_s(self) -> tuple[float, float]:
        """The shortest and the longest time that a task takes."""
        given = self.generate_s
        return given if isinstance(given, tuple) else (given, given)


class Shape(Struct, frozen=True, kw_only=True):
    """What to make: the params of a job. Sides in pixels, `duration` of a video in seconds."""

    kind: Kind = "image"
    width: Side = 640
    height: Side = 360
    duration: Annotated[float, Meta(ge=1, le=10)] = 5.0


_TYPES: Mapping[str, Any] = {one.name: one.type for one in msgspec.structs.fields(Shape)}
EXPECTED = {
    "kind": "image or video",
    "width": "a whole number of pixels from 16 to 4096",
    "height": "a whole number of pixels from 16 to 4096",
    "duration": "seconds from 1 to 10",
}


def shape_of(params: Mapping[str, Any], kind: Kind) -> Shape:
    """What to make, as far as `params` tell it in the mock's words; else `kind`, in usual sizes.

    >>> shape_of({"width": 320, "height": "high", "aspect_ratio": "16:9"}, "video")
    Shape(kind='video', width=320, height=360, duration=5.0)
    """
    told = {name: params[name] for name in _TYPES if name in params}
    right = {name: value for name, value in told.items() if _fits(name, value)}
    return Shape(**{"kind": kind, **right})


def problems_of(params: Mapping[str, Any]) -> Iterator[Problem]:
    """Every param that the mock doesn't know, or can't make.

    >>> [str(one.message) for one in problems_of({"with": 640})]
    ["unknown param; did you mean 'width'?"]
    """
    for name, value in params.items():
        if name not in _TYPES:
            hint = did_you_mean(name, _TYPES) or f"; there are {', '.join(_TYPES)}"
            yield Problem(f"params.{name}", f"unknown param{hint}")
        elif not _fits(name, value):
            yield Problem(f"params.{name}", f"expected {EXPECTED[name]}, got {shown(value)}")


def _fits(name: str, value: object) -> bool:
    try:
        msgspec.convert(value, _TYPES[name], strict=True)
    except msgspec.ValidationError:
        return False
    return True
