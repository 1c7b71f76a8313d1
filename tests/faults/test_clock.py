"""The machine's clock is set, by hours, while jobs wait: no wait gets longer, none is cut short."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from daemon.core.gate import Gate
from daemon.core.job import Output, Result
from daemon.core.judge import close, gate_events
from daemon.core.outcomes import Absent, Accepted, Fault, Pending, Ready, Saved
from daemon.core.policy import Abilities, Limits
from tests.fakes.clock import FakeClock, settle
from tests.fakes.shell import LIMITS, Shell

if TYPE_CHECKING:
    from tests.fakes.performer import Answer

READY = Ready((Result("mock:1"),))
SAVED = Saved((Output("/out/1.png", 10, "ab" * 32, "image/png"),))
LOST = Fault("submit", "transport.timeout.read", effect="unknown")
QUOTA = Fault("submit", "http", http=429, effect="none")
LATER = Fault("submit", "http", http=503, retry_after_s=20.0, effect="none")
HOURS = 5 * 3_600.0
LOOKUP = Abilities(lookup=True)


class SettableClock(FakeClock):
    """A clock whose wall time is set, as by hand or by NTP; the time that passes isn't."""

    ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


def shell(
    *, limits: Limits = LIMITS, abilities: Abilities | None = None, **more: list[Answer]
) -> tuple[Shell, SettableClock]:
    clock = SettableClock()
    answers: dict[str, list[Answer]] = {
        "Submit": [Accepted("r1", "mock:")],
        "Poll": [READY],
        "Fetch": [SAVED],
        **more,
    }
    return Shell(answers, limits=limits, abilities=abilities, clock=clock), clock


@pytest.mark.parametrize("by", [HOURS, -HOURS])
async def test_a_lookup_that_finds_nothing_proves_nothing_earlier_for_a_clock_that_was_set(
    by: float,
) -> None:
    told, clock = shell(abilities=LOOKUP, Submit=[LOST], Lookup=[Absent()])
    told.performer.gates["Submit"] = gate = asyncio.Event()
    told.add()
    await told.run(1.0)
    clock.ahead = by  # while the request is out
    gate.set()
    grace = LIMITS.submit_timeout_s + LIMITS.reconcile_grace_s
    await told.run(grace - 5.0)
    assert told.performer.count("Lookup") >= 1
    assert told.performer.count("Submit") == 1
    assert told.job(1).state == "submitting"
    await told.run(15.0)
    assert told.performer.count("Submit") == 2


@pytest.mark.parametrize("by", [HOURS, -HOURS])
async def test_a_task_gets_its_time_and_is_asked_for_at_the_same_pace(by: float) -> None:
    told, clock = shell(Poll=[Pending(0.1)])
    told.add()
    await told.run(25.0)
    polls = told.performer.count("Poll")
    clock.ahead = by
    await told.run(100.0)
    assert told.performer.count("Poll") == pytest.approx(polls + 10, abs=1)
    job = told.job(1)
    assert job.state == "generating"
    assert job.deadline_at is not None
    left = LIMITS.generate_timeout_s - 125.0
    assert job.deadline_at - clock.now() == pytest.approx(left, abs=2.0)
    await told.run(left + 15.0)
    assert told.job(1).reason == "deadline"


@pytest.mark.parametrize("by", [HOURS, -HOURS])
async def test_a_backoff_is_as_long_as_it_was(by: float) -> None:
    told, clock = shell(Submit=[LATER, Accepted("r1", "mock:")])
    told.add()
    await told.run(0.5)
    assert told.job(1).state == "queued"
    clock.ahead = by
    told.supervisor.look_at_clock()
    await told.run(30.0)
    assert told.job(1).state == "succeeded"


async def test_a_quota_pause_lasts_no_hours_more_for_a_clock_set_back() -> None:
    told, clock = shell(Submit=[QUOTA, Accepted("r1", "mock:")])
    told.add()
    await told.run(1.0)
    clock.ahead = -HOURS
    told.supervisor.look_at_clock()
    await told.run(LIMITS.quota_pause_s + 30.0)
    assert told.job(1).state == "succeeded"


async def test_a_paced_provider_goes_on_after_the_clock_was_set_back() -> None:
    limits = Limits(concurrency=5, submits_per_minute=30)
    told, clock = shell(limits=limits)
    told.add(4)
    await told.run(1.0)
    clock.ahead = -HOURS
    told.supervisor.look_at_clock()
    await told.run(60.0)
    assert {told.job(number).state for number in (1, 2, 3, 4)} == {"succeeded"}


async def test_a_schedule_is_kept_by_the_clock_on_the_wall() -> None:
    told, clock = shell()
    told.add(not_before_at=clock.now() + HOURS)
    await told.run(1.0)
    assert told.job(1).state == "queued"
    clock.ahead = HOURS
    told.supervisor.look_at_clock()
    await told.run(30.0)
    assert told.job(1).state == "succeeded"


@pytest.mark.parametrize("slept", [HOURS - 60.0, HOURS + 60.0])
async def test_a_machine_that_slept_starts_what_was_scheduled_at_its_time(slept: float) -> None:
    told, clock = shell()
    told.add(not_before_at=clock.now() + HOURS)
    await told.run(1.0)
    clock.ahead = slept  # wall time went on, monotonic time didn't
    told.supervisor.look_at_clock()
    await told.run(100.0)
    assert told.job(1).state == "succeeded"


async def test_a_pause_until_a_time_ends_at_it_though_the_machine_slept() -> None:
    told, clock = shell()
    until = clock.now() + HOURS
    shut = close(Gate(), "operator", until, "lunch", source="operator")
    told.book.record(gate_events("p", Gate(), shut, "provider_paused", clock.now()))
    told.add()
    await told.run(1.0)
    clock.ahead = HOURS - 60.0
    told.supervisor.look_at_clock()
    await told.run(100.0)
    assert told.job(1).state == "succeeded"


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_slot_that_lingers_is_let_go_in_time_though_the_clock_was_set_back(
    restarted: bool,
) -> None:
    limits = msgspec.structs.replace(LIMITS, concurrency=1, cancel_grace_s=50.0)
    told, clock = shell(limits=limits, Submit=[LOST, Accepted("r1", "mock:")])
    told.add(2)
    await told.run(1.0)
    assert told.job(1).state == "in_doubt"
    clock.ahead = -HOURS
    if restarted:
        await told.stop()
        told = Shell(told.performer.answers, limits=limits, clock=clock, store=told.store)
        told.book.load(told.store.rows.values())
        told.book.index()
        told.supervisor.recover()
    else:
        told.supervisor.look_at_clock()
    await told.run(100.0)
    assert told.job(2).state == "succeeded"


async def test_a_clock_that_is_kept_right_moves_nothing() -> None:
    told, clock = shell(Poll=[Pending(0.1)])
    told.add()
    await told.run(25.0)
    rev = told.job(1).rev
    for _ in range(20):
        clock.ahead += 0.5
        await told.run(10.0)
    assert told.job(1).rev == rev


async def test_a_start_with_a_clock_that_was_set_back_waits_for_nothing_longer() -> None:
    told, clock = shell(Poll=[Pending(0.1)], limits=Limits(concurrency=5))
    told.add()
    await told.run(25.0)
    assert told.job(1).state == "generating"
    await told.stop()
    clock.ahead = -HOURS
    again, _ = shell()
    again = Shell(again.performer.answers, clock=clock)
    again.take_over(told.store)
    again.supervisor.recover()
    await settle()
    await again.run(60.0)
    assert again.job(1).state == "succeeded"
    assert again.performer.count("Submit") == 0
