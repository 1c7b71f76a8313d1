"""A night in a fraction of a second: an event loop on which time passes only while nobody works.

Everything the daemon awaits (sleeps, timers, futures) is asyncio's own; there is just nothing to
wait for outside. When no task can run, the clock moves to the next timer. So the order of things
is asyncio's, and the same for the same seed.
"""

from __future__ import annotations

import asyncio
from typing import Any

from tests.core.world import Chance

START_AT = 1_000_000.0
ROUNDING_S = 1e-6
"""A timer never fires early, not even by the rounding of a float."""


class _Time:
    """In the place of a selector: waiting for `timeout` seconds is moving on by as many."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing is going to happen")
        self.now += timeout
        return []


class NightLoop(asyncio.BaseEventLoop):
    """An event loop without a world outside. `time()` is the true time; it starts at 0."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Time()
        self.set_exception_handler(lambda loop, context: None)  # what a crash cuts says nothing

    def time(self) -> float:
        return self._selector.now

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none: what `select` found is nothing."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who could be woken."""


class NightClock:
    """The daemon's clock: the true time, put wrong by `offset_s`; chance is the history's."""

    def __init__(self, loop: NightLoop, chance: Chance) -> None:
        self.offset_s = 0.0
        self._loop = loop
        self._chance = chance
        self._keys = 0

    def now(self) -> float:
        return START_AT + self.offset_s + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = self._loop.create_future()
        timer = self._loop.call_later(max(0.0, seconds) + ROUNDING_S, _wake, woken)
        try:
            await woken
        finally:
            timer.cancel()

    def jitter(self) -> float:
        return self._chance.random()

    def key(self) -> str:
        self._keys += 1
        return f"key-{self._keys}"


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
