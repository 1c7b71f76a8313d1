"""Waiting no longer than so long, by the clock that was passed in."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from daemon.clock import Clock

T = TypeVar("T")


async def within(clock: Clock, limit_s: float, work: Awaitable[T]) -> T:
    """The result of `work`. Raises TimeoutError after `limit_s`; then `work` has been cancelled."""
    task = asyncio.ensure_future(work)
    alarm = asyncio.ensure_future(clock.sleep(limit_s))
    try:
        await asyncio.wait({task, alarm}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise TimeoutError(f"not done within {limit_s:g} s")
        return task.result()
    finally:
        alarm.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
