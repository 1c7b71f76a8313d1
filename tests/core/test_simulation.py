"""Nights of four providers' weather: a few seeds here, thousands by hand (simulation.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from daemon.book import Book
from daemon.core.commands import Cancel
from daemon.core.events import Event
from tests.core.night.report import Failed
from tests.core.night.simulation import NightBook
from tests.core.simulation import Parts, night, simulate, stormy
from tests.core.world import Dice


def skipping_a_revision(book: Book, events: Sequence[Event]) -> Sequence[Event]:
    return [
        msgspec.structs.replace(event, rev=99) if event.type == "submitted" else event
        for event in events
    ]


CALM = msgspec.structs.replace(
    stormy(), jobs=8, hours=1.0, commands=0, crashes=0, storms=0, pauses=0, reloads=0
)
BROKEN = Parts(facts=skipping_a_revision)


@pytest.mark.parametrize("seed", range(10))
def test_a_stormy_night_breaks_no_promise(seed: int) -> None:
    simulation = simulate(seed)
    assert len(simulation.jobs) == stormy().jobs
    assert sum(simulation.auditor.sent.values()) >= stormy().jobs / 2


def test_the_same_seed_is_the_same_night_to_the_last_byte() -> None:
    first, second = night(3), night(3)
    assert first == second
    assert simulate(4).digest != simulate(5).digest


def test_other_seeds_are_other_dice() -> None:
    assert Dice(1).random() != Dice(2).random()
    assert 0.4 < sum(Dice(seed).random() for seed in range(500)) / 500 < 0.6


def test_the_storms_really_happen() -> None:
    """What a few nights together must have seen, or they prove nothing."""
    seen: set[str] = set()
    for seed in range(100, 108):
        seen |= {name for name, times in simulate(seed).auditor.tally.items() if times}
    for name in (
        "answer: lost (504, cut, timed out)",
        "answer: nobody reached",
        "answer: the result itself",
        "clock: jumped",
        "configuration: reloaded",
        "crash: a request is on its way",
        "crash: a request was answered, the answer is on its way",
        "crash: facts that were never stored",
        "crash: out of nowhere",
        "gate: probe accepted, ramping",
        "gate: shut for health",
        "gate: shut for quota",
        "job: in doubt",
        "job: late result rescued",
        "job: sent again by policy",
        "lookup: absent",
        "lookup: adopted",
        "restart: orderly",
        "weather: gone for an hour",
    ):
        assert name in seen, name


def test_a_night_without_weather_ends_with_every_job_done() -> None:
    simulation = simulate(1, CALM)
    assert simulation.auditor.tally["job: succeeded"] >= 1


class HarriedBook(NightBook):
    """Somebody cancels each job between its intent and its request."""

    def record(self, events: Sequence[Event]) -> asyncio.Future[int]:
        for event in events:
            if event.type == "submitting" and isinstance(event.job, int):
                asyncio.get_running_loop().call_soon(self.cancel, event.job)
        return super().record(events)

    def cancel(self, number: int) -> None:
        self._night.act(self.jobs[number], Cancel())


def test_a_cancel_before_the_request_leaves_ends_the_job_unpaid() -> None:
    plan = msgspec.structs.replace(CALM, jobs=3)
    simulation = simulate(1, plan, Parts(book=HarriedBook))
    ends = {(job.state, job.billed) for job in simulation.jobs.values() if job.attempt > 0}
    assert ends == {("cancelled", "no")}


def test_a_failing_seed_tells_its_story() -> None:
    with pytest.raises(Failed) as raised:
        simulate(7, msgspec.structs.replace(stormy(), hours=1.0), BROKEN)
    story = str(raised.value)
    assert story.startswith("seed 7 breaks a promise: revisions_have_no_hole")
    assert "promised: Each event of a job is one revision" in story
    assert story.endswith("again: python -m tests.core.simulation 1 --from 7")
