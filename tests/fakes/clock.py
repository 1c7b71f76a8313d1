"""A clock that moves only when told to, and sleepers that wake in the order of their time."""

import asyncio
import heapq
import itertools


class FakeClock:
    """Wall and monotonic time advance together, by `advance`. Jitter is a fixed draw."""

    def __init__(self, now: float = 1_000_000.0, jitter: float = 0.0) -> None:
        self._now = now
        self._start = now
        self._draw = jitter
        self._order = itertools.count()
        self._keys = itertools.count(1)
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now - self._start

    def jitter(self) -> float:
        return self._draw

    def key(self) -> str:
        return f"{next(self._keys):032x}"

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        await woken

    @property
    def next_wake_at(self) -> float | None:
        """When the next sleeper is due, or None."""
        live = [at for at, _, woken in self._sleepers if not woken.done()]
        return min(live, default=None)

    async def advance(self, seconds: float) -> None:
        """Move on by `seconds`, waking every sleeper at its own moment."""
        end = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue
            self._now = max(self._now, at)
            woken.set_result(None)
            await settle()
        self._now = end
        await settle()


async def settle(turns: int = 20) -> None:
    """Let every task that can run do so."""
    for _ in range(turns):
        await asyncio.sleep(0)
