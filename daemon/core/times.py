"""Points in time and durations as people write and read them (interfaces.md 1, "Words").

Nothing here reads a clock: `now` is an argument, in seconds since the epoch, and so is the offset
of local time from UTC.
"""

import math
import re
from datetime import datetime, timedelta, timezone
from typing import Annotated

from msgspec import Meta

ACCEPTED_TIMES = "ISO 8601, HH:MM (the next one), or +90s, +10m, +2h, +1d"
ACCEPTED_DURATIONS = "a number with s, m, h or d, such as 90s, 10m, 1.5h or 3d"
AT_MAX = 253_402_214_400.0
"""9999-12-31T00:00Z: the last day that every calendar function can still show."""
At = Annotated[float, Meta(ge=0, le=AT_MAX)]
"""A point in time that came from outside, in seconds since the epoch."""

MINUTE_S = 60
HOUR_S = 3_600
DAY_S = 86_400
_UNITS_S = {"s": 1, "m": MINUTE_S, "h": HOUR_S, "d": DAY_S}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])", re.ASCII)
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)


def parse_time(text: str, *, now: float, utc_offset_s: int) -> float:
    """Seconds since the epoch for a TIME: ISO 8601, `HH:MM` (the next one) or `+90s`.

    ISO without a zone, and `HH:MM`, are local time: UTC plus `utc_offset_s`. Raises ValueError,
    naming what is accepted, for anything else and for times before 1970 or after 9999.

    >>> parse_time("+10m", now=1_000.0, utc_offset_s=0)
    1600.0
    >>> parse_time("08:30", now=0.0, utc_offset_s=3_600)
    27000.0
    >>> parse_time("1970-01-02T00:00+01:00", now=0.0, utc_offset_s=0)
    82800.0
    >>> parse_time("soon", now=0.0, utc_offset_s=0)
    Traceback (most recent call last):
    ValueError: expected ISO 8601, HH:MM (the next one), or +90s, +10m, +2h, +1d
    """
    text = text.strip()
    if text.startswith("+") and _DURATION.fullmatch(text, 1):
        at = now + parse_duration(text[1:])
    elif clock := _CLOCK.fullmatch(text):
        at = _next_clock(clock, now=now, utc_offset_s=utc_offset_s)
    else:
        at = _iso(text, utc_offset_s)
    if not 0 <= at <= AT_MAX:
        raise ValueError("expected a time between 1970 and 9999")
    return at


def _next_clock(clock: re.Match[str], *, now: float, utc_offset_s: int) -> float:
    hours, minutes, seconds = (int(part or 0) for part in clock.groups())
    local = now + utc_offset_s
    at = local - local % DAY_S + hours * HOUR_S + minutes * MINUTE_S + seconds
    return at - utc_offset_s + (DAY_S if at <= local else 0)


def _iso(text: str, utc_offset_s: int) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"expected {ACCEPTED_TIMES}") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone(timedelta(seconds=utc_offset_s)))
    return moment.timestamp()


def parse_duration(text: str) -> float:
    """Seconds in a duration: a number and one of s, m, h, d.

    Raises ValueError, naming what is accepted, for anything else: a number without a unit too,
    for it could be meant in minutes as well as in seconds.

    >>> parse_duration("10m"), parse_duration("1.5h")
    (600.0, 5400.0)
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected {ACCEPTED_DURATIONS}")
    return float(match[1]) * _UNITS_S[match[2]]


def describe_duration(seconds: float) -> str:
    """A duration for people, in full units of what matters at its size; below zero is zero.

    >>> describe_duration(252.9), describe_duration(7_500), describe_duration(3 * 86_400)
    ('4:12', '2 h 05 min', '3 d')
    >>> describe_duration(100_000)
    '1 d 3 h'
    """
    whole = max(0, int(seconds))
    if whole < HOUR_S:
        return f"{whole // MINUTE_S}:{whole % MINUTE_S:02}"
    if whole < DAY_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S:02} min"
    hours = whole % DAY_S // HOUR_S
    return f"{whole // DAY_S} d" + (f" {hours} h" if hours else "")


def describe_when(at: float, now: float) -> str:
    """How far `at` lies from `now`, for people: a countdown ahead, a round figure behind.

    A countdown ends with "in 0:01", never with "in 0:00".

    >>> describe_when(1_401, 1_000), describe_when(800, 1_000), describe_when(1_000, 1_000)
    ('in 6:41', '3 min ago', 'now')
    >>> describe_when(990, 1_000)
    '10 s ago'
    """
    if at > now:
        return f"in {describe_duration(math.ceil(at - now))}"
    ago = int(now - at)
    if ago == 0:
        return "now"
    if ago < MINUTE_S:
        return f"{ago} s ago"
    if ago < HOUR_S:
        return f"{ago // MINUTE_S} min ago"
    return f"{describe_duration(ago)} ago"
