"""Decisions that thousands of simulated nights asked for (simulation.py)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from daemon.core.commands import Edit, Requeue, command
from daemon.core.decisions import settle
from daemon.core.effects import Poll
from daemon.core.gate import Gate
from daemon.core.job import Cancelling, Finished, Held, Job, Result
from daemon.core.judge import Moment
from daemon.core.machine import fold, next_effect
from daemon.core.outcomes import Accepted, Fault, Ready
from daemon.core.policy import IllegalOutcomeError, Policy
from tests.core.jobs import (
    INTENT,
    NOW,
    READY_REMOTE,
    REMOTE,
    cancelled,
    cancelling,
    generating,
    held,
    in_doubt,
    submitting,
)

TWICE = Accepted("remote-7", INTENT.target)


@pytest.mark.parametrize(
    "job",
    [submitting(), in_doubt(), cancelling(Cancelling(intent=INTENT))],
    ids=lambda job: job.state,
)
def test_an_id_that_stands_twice_in_paid_jsonl_is_adopted_once(job: Job) -> None:
    """A kill while a start adopts an id leaves a second line of it: the next start must go on."""
    events = settle(job, Gate(), TWICE, Policy(), Moment(NOW))
    after = fold(job, [event for event in events if event.job == job.id])
    assert after.remote_id == "remote-7"
    assert settle(after, Gate(), TWICE, Policy(), Moment(NOW)) == ()


@pytest.mark.parametrize("job", [submitting(), in_doubt()], ids=lambda job: job.state)
def test_a_spooled_answer_that_stands_twice_in_paid_jsonl_is_adopted_once(job: Job) -> None:
    answer = Ready((Result("spool:a"),))
    after = fold(
        job, [one for one in settle(job, Gate(), answer, Policy(), Moment(NOW)) if one.job]
    )
    assert after.state == "downloading"
    assert settle(after, Gate(), answer, Policy(), Moment(NOW)) == ()


def test_an_edit_of_a_watched_job_asks_no_sooner_than_an_interval_later() -> None:
    """It interrupts a look that may be out, so the look that is due begins anew."""
    job = held(Held(REMOTE), reason="deadline")
    later = NOW + Policy().limits.poll_interval_s
    events = command(job, Edit(priority=3), Policy(), Moment(NOW), by="ana")
    assert next_effect(fold(job, events)) == Poll(replace(REMOTE, next_poll_at=later), later, True)
    rested = held(Held(replace(REMOTE, next_poll_at=later + 90.0)), reason="deadline")
    events = command(rested, Edit(priority=3), Policy(), Moment(NOW), by="ana")
    assert fold(rested, events).work == rested.work


def test_a_requeue_whose_link_fails_asks_for_a_fresh_one_no_sooner_than_an_interval_later() -> None:
    """The result of a cancelled job was found a moment ago, by a look."""
    job = cancelled(Finished(replace(READY_REMOTE, next_poll_at=NOW)))
    job = fold(job, command(job, Requeue(), Policy(), Moment(NOW), by="ana"))
    expired = Fault("download", "http", http=403, effect="accepted")
    job = fold(job, settle(job, Gate(), expired, Policy(), Moment(NOW + 1.0)))
    effect = next_effect(job)
    assert isinstance(effect, Poll)
    assert effect.at == NOW + Policy().limits.poll_interval_s


def test_the_acceptance_of_another_task_is_no_answer_of_a_job_that_generates() -> None:
    job = generating()
    assert settle(job, Gate(), Accepted(REMOTE.remote_id, "t"), Policy(), Moment(NOW)) == ()
    with pytest.raises(IllegalOutcomeError):
        settle(job, Gate(), TWICE, Policy(), Moment(NOW))
