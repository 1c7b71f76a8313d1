"""How long a provider asks us to wait, in the words that providers have for it.

Every function answers with seconds from now, or None where nothing is said that makes sense.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

_DURATION = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?")
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)(?: ?(Z|[+-]\d\d:?\d\d))?"
)


def header_s(headers: Mapping[str, str], now: float) -> float | None:
    """What `retry-after-ms` or `Retry-After` says: seconds or an HTTP date (RFC 9110, 10.2.3).

    The names in `headers` are in small letters; `now` is wall time.

    >>> header_s({"retry-after": "120"}, 0.0), header_s({"retry-after-ms": "1500"}, 0.0)
    (120.0, 1.5)
    >>> header_s({"retry-after": "Thu, 01 Jan 1970 00:01:00 GMT"}, 20.0)
    40.0
    >>> header_s({"retry-after": "soon"}, 0.0)
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000.0
    text = headers.get("retry-after", "")
    seconds = _number(text)
    return _until_date(text, now) if seconds is None else seconds


def duration_s(text: str) -> float | None:
    """A duration as Google writes it.

    >>> duration_s("37.5s"), duration_s("10h17m5.7s"), duration_s("later")
    (37.5, 37025.7, None)
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        return None
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def longest(*waits: float | None) -> float | None:
    """The longest of the waits that were named, for all of them count.

    >>> longest(None, 2.0, 7.5), longest(None)
    (7.5, None)
    """
    return max((wait for wait in waits if wait is not None), default=None)


def reset_s(text: str, now: float, *, utc_offset_h: int) -> float | None:
    """How long until the last date and time in `text`: a clock's reading at that offset from UTC,
    unless it names its own.

    >>> reset_s("your limit will reset at 1970-01-01 08:01:00", 0.0, utc_offset_h=8)
    60.0
    >>> reset_s("your limit will reset at 1970-01-01T00:01:00Z", 0.0, utc_offset_h=8)
    60.0
    >>> reset_s("try again later", 0.0, utc_offset_h=8)
    """
    found = _MOMENT.findall(text)
    if not found:
        return None
    date, clock, zone = found[-1]
    try:
        at = datetime.fromisoformat(f"{date}T{clock}{zone}")
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=timezone(timedelta(hours=utc_offset_h)))
    return max(0.0, at.timestamp() - now)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _until_date(text: str, now: float) -> float | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    if at.tzinfo is None:  # "-0000": no zone is known, and HTTP dates are in GMT
        at = at.replace(tzinfo=UTC)
    return max(0.0, at.timestamp() - now)
