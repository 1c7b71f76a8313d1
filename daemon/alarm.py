"""One wake-up: at the next moment at which something may start by itself."""

import asyncio
from collections.abc import Callable

from daemon.clock import Clock
from daemon.core.schedule import FOREVER


class Alarm:
    """Calls `ring` once, at the moment that was set last."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._task: asyncio.Task[None] | None = None
        self._at = FOREVER

    def set(self, at: float, now: float) -> None:
        """Ring at `at`, in seconds since the epoch; at infinity: not at all."""
        if self._task is not None and not self._task.done() and at == self._at:
            return
        self.cancel()
        self._at = at
        if at < FOREVER:
            self._task = asyncio.get_running_loop().create_task(self._sleep(at - now))

    def cancel(self) -> None:
        """Don't ring. Whoever hears that the clock was set sets it anew: a sleep is as long as it
        was, and its moment is not.
        """
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._ring()
