"""A provider's daily reset: `00:00 Asia/Shanghai`."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from daemon.configuration.places import Place
from daemon.core.suggest import did_you_mean, shown

_RESET = re.compile(r"([01]?\d|2[0-3]):([0-5]\d) ([A-Za-z][A-Za-z0-9_+/-]*)", re.ASCII)


def _zone(name: str) -> tzinfo | None:
    if name == "UTC":
        return UTC  # also where the system has no time zones
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder of zones
        return None


def daily_reset(value: Any, place: Place) -> Any:
    """Check of a time of the day and a time zone's name."""
    match = _RESET.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        place.refuse(f'expected a time and a zone such as "00:00 UTC", got {shown(value)}')
    elif _zone(match[3]) is None:
        zones = available_timezones()
        missing = "this system has no time zones (install tzdata), but for UTC"
        unknown = f"unknown time zone {shown(match[3])}{did_you_mean(match[3], zones)}"
        place.refuse(unknown if zones else missing)
    return value


def next_reset(reset: str, now: float) -> float:
    """When the reset comes next after `now`; both in seconds since the epoch.

    `reset` is one that the check above let pass.
    """
    match = _RESET.fullmatch(reset)
    zone = None if match is None else _zone(match[3])
    if match is None or zone is None:
        raise ValueError(f"not a daily reset: {reset!r}")
    local = datetime.fromtimestamp(now, zone)
    at = local.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0, fold=0)
    if at.timestamp() <= now:
        at += timedelta(days=1)  # a day of the calendar: it may have 23 or 25 hours
    return at.timestamp()
