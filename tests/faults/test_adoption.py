"""A provider that is missing at the start and comes back by a reload: its paid work goes on."""

from __future__ import annotations

import asyncio

import pytest

from daemon.core.gate import Closure, Gate
from daemon.core.job import Output, Result
from daemon.core.outcomes import Accepted, Pending, Ready, Saved
from tests.fakes.clock import FakeClock
from tests.fakes.performer import Answer
from tests.fakes.shell import Shell

HOURS = 5 * 3_600.0


class SettableClock(FakeClock):
    """A clock whose wall time can be set."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


def answers(**more: list[Answer]) -> dict[str, list[Answer]]:
    made: dict[str, list[Answer]] = {
        "Submit": [Accepted("r1", "mock:")],
        "Poll": [Ready((Result("mock:1"),))],
        "Fetch": [Saved((Output("/out/1.png", 10, "ab" * 32, "image/png"),))],
    }
    return {**made, **more}


def started_without_provider(before: Shell, clock: FakeClock) -> tuple[Shell, object]:
    """The next start, with a configuration that has no engine for the jobs."""
    again = Shell(answers(), clock=clock)
    engine = again.providers["p"].engine
    again.providers["p"].engine = None
    again.take_over(before.store)
    again.supervisor.recover()
    return again, engine


async def test_a_task_is_polled_again_when_its_provider_is_back() -> None:
    before = Shell(answers(Poll=[Pending()]))
    before.add()
    await before.run(25.0)
    await before.stop()
    again, engine = started_without_provider(before, before.clock)
    await again.run(600.0)
    assert again.job(1).state == "generating"
    assert again.performer.asked == []
    again.providers["p"].engine = engine  # type: ignore[assignment]
    again.supervisor.adopt()
    await again.run(60.0)
    assert again.job(1).state == "succeeded"
    assert again.performer.count("Submit") == 0


@pytest.mark.parametrize(
    "found",
    [
        Gate((Closure("quota", 0.0, "429"),), epoch=1, probe=7),
        Gate((Closure("space", None, "full", "config"),)),
    ],
    ids=["a probe that was cut", "a disk that was full"],
)
async def test_a_gate_found_shut_opens_for_a_provider_that_is_back_as_at_a_start(
    found: Gate,
) -> None:
    before = Shell(answers())
    before.add(not_before_at=before.clock.now() + 50.0)
    await before.run(1.0)
    await before.stop()
    again = Shell(answers(), clock=before.clock)
    provider = again.providers.pop("p")
    again.book.gates["p"] = found
    again.take_over(before.store)
    again.supervisor.recover()
    await again.run(100.0)
    again.providers["p"] = provider
    again.supervisor.adopt()
    await again.run(100.0)
    assert again.job(1).state == "succeeded"


async def test_a_request_that_was_out_stays_a_doubt_whatever_the_clock_does() -> None:
    clock = SettableClock()
    before = Shell(answers(), clock=clock)
    before.performer.gates["Submit"] = asyncio.Event()
    before.add()
    await before.run(1.0)
    before.supervisor.hurry()
    await before.run()
    again, engine = started_without_provider(before, clock)
    clock.ahead = HOURS
    again.supervisor.look_at_clock()
    again.providers["p"].engine = engine  # type: ignore[assignment]
    clock.ahead = 0.0
    again.supervisor.look_at_clock()
    await again.run(10.0)
    assert again.performer.asked == []
    again.supervisor.adopt()
    await again.run(600.0)
    assert again.job(1).state == "in_doubt"
    assert again.performer.count("Submit") == 0
