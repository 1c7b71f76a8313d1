"""When a provider's daily quota starts anew: `00:00 Asia/Shanghai`."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


def next_reset(text: str, now: float) -> float:
    """The next moment after `now` at which it is `HH:MM` in the zone of `text`.

    Seconds since the epoch. Raises ValueError, and ZoneInfoNotFoundError (a KeyError), for a text
    that the configuration refuses.

    >>> next_reset("00:00 Asia/Shanghai", 0.0)
    57600.0
    """
    clock, zone = text.split()
    hours, minutes = (int(part) for part in clock.split(":"))
    local = datetime.fromtimestamp(now, tz=UTC).astimezone(ZoneInfo(zone))
    at = local.replace(hour=hours, minute=minutes, second=0, microsecond=0)
    if at.timestamp() <= now:
        at = (at + timedelta(days=1)).replace(hour=hours, minute=minutes)
    return at.timestamp()
