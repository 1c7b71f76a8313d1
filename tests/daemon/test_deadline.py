"""Waiting with a limit, by a clock that the test moves."""

import asyncio

import pytest

from daemon.serving.deadline import within
from tests.fakes.clock import FakeClock, settle


async def test_what_is_done_in_time_is_the_result() -> None:
    clock = FakeClock()

    async def work() -> int:
        await clock.sleep(1)
        return 7

    waiting = asyncio.ensure_future(within(clock, 2, work()))
    await clock.advance(1)
    assert await waiting == 7
    assert clock.next_wake_at is None


async def test_what_takes_longer_is_cancelled_and_told() -> None:
    clock = FakeClock()
    cancelled = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    waiting = asyncio.ensure_future(within(clock, 2, work()))
    await clock.advance(2)
    with pytest.raises(TimeoutError, match="not done within 2 s"):
        await waiting
    assert cancelled == [True]


async def test_its_own_error_is_passed_on() -> None:
    async def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await within(FakeClock(), 2, work())


async def test_one_who_stops_waiting_stops_the_work() -> None:
    started = asyncio.Event()
    ended = asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.ensure_future(within(FakeClock(), 2, work()))
    await started.wait()
    waiting.cancel()
    await settle()
    assert ended.is_set()
    assert waiting.cancelled()
