"""Time for the commands: the one file of the client that reads it, or waits.

The daemon's clock belongs to an event loop, and importing one costs a command a third of its time.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """What a command may know of time. Seconds everywhere; `now` since the epoch."""

    def now(self) -> float:
        """Wall time."""

    def monotonic(self) -> float:
        """Time within this process: never goes back."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""

    def local(self, at: float) -> time.struct_time:
        """A moment on the calendar of the person in front of the terminal."""


class SystemClock:
    """The real one."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()  # noqa: TID251  a command's only clock

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()  # noqa: TID251  a command's only clock

    def sleep(self, seconds: float) -> None:
        """Block for `seconds`."""
        time.sleep(seconds)  # noqa: TID251  a command has no loop to block

    def local(self, at: float) -> time.struct_time:
        """By the system's time zone, or $TZ."""
        return time.localtime(at)


def stamp(clock: Clock, at: float) -> str:
    """A moment as people write it down: `2026-11-22 14:03:22`, local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", clock.local(at))


def short_stamp(clock: Clock, at: float) -> str:
    """A moment without its year, for columns: `11-22 14:03:22`, local time."""
    return time.strftime("%m-%d %H:%M:%S", clock.local(at))
