"""Time and chance: the only file of the daemon that reads either.

Everything else is given a `Clock`. Tests give a fake one (tests/fakes/clock.py) that moves by hand.
"""

import asyncio
import random
import time
import uuid
from typing import Protocol


class Clock(Protocol):
    """What the shell may know of time and chance. Seconds everywhere; `now` since the epoch."""

    def now(self) -> float:
        """Wall time: survives restarts, may jump."""

    def monotonic(self) -> float:
        """Time within this process: never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; at once if that isn't positive."""

    def jitter(self) -> float:
        """A fresh draw from [0, 1)."""

    def key(self) -> str:
        """A fresh key for a paid request: 32 hexadecimal digits, never given twice."""


class SystemClock:
    """The real one."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of real time."""
        await asyncio.sleep(max(0.0, seconds))

    def jitter(self) -> float:
        """From the system's own generator."""
        return random.random()

    def key(self) -> str:
        """A random UUID's digits."""
        return uuid.uuid4().hex


def local_offset_s(now: float) -> int:
    """How many seconds local time is ahead of UTC at `now`, for TIME arguments."""
    return int(time.localtime(now).tm_gmtoff)
