"""The slow watch: paid work that nobody waits for any more, until verdict, result or expiry."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from daemon.core.decisions import waited
from daemon.core.effects import Fetch, Poll
from daemon.core.job import Finished, Held
from daemon.core.machine import next_effect
from daemon.core.outcomes import (
    Absent,
    Accepted,
    Fault,
    Interrupted,
    Outcome,
    Pending,
    Prepared,
    Ready,
    Saved,
)
from daemon.core.policy import Abilities, IllegalOutcomeError, Policy
from tests.core.jobs import (
    NOW,
    OPEN_RECORD,
    OUTPUT,
    POLL_ERROR,
    READY_REMOTE,
    REMOTE,
    RESULTS,
    after,
    cancelled,
    download_fault,
    failed,
    held,
    poll_fault,
    succeeded,
    verdict,
)

CLOSED = (msgspec.structs.replace(OPEN_RECORD, finished_at=1.0, result="failed"),)
FORGETTING = Policy(abilities=Abilities(retention_s=5.0))


@pytest.mark.parametrize("job", [held(), failed(), cancelled()])
def test_a_task_without_a_verdict_is_looked_at_slowly(job: Any) -> None:
    assert next_effect(job) == Poll(REMOTE, NOW, slow=True)
    assert after(job, Pending(0.4)).events == ()
    assert waited(job, NOW, Policy()).work.remote.next_poll_at == NOW + 300.0  # type: ignore[union-attr]


@pytest.mark.parametrize("job", [held(), failed(attempts=CLOSED)])
def test_a_late_result_makes_a_held_or_failed_job_go_on(job: Any) -> None:
    then = after(job, Ready(RESULTS))
    assert then.types == ["rescued"]
    assert (then.job.state, then.job.finished_at, then.job.reason) == ("downloading", None, None)
    done = after(then.job, Saved((OUTPUT,)))
    assert (done.job.state, done.job.billed) == ("succeeded", "yes")
    assert done.record.result == "succeeded"


def test_a_late_result_of_a_cancelled_job_is_filed_and_the_job_stays_cancelled() -> None:
    then = after(cancelled(), Ready(RESULTS))
    assert (then.types, then.job.state) == (["polled"], "cancelled")
    assert next_effect(then.job) == Fetch(then.work.remote, NOW)
    done = after(then.job, Saved((OUTPUT,)))
    assert done.types == ["rescued"]
    assert (done.job.state, done.job.billed, done.job.outputs) == ("cancelled", "kept", (OUTPUT,))
    assert next_effect(done.job) is None


def test_a_late_result_without_anything_to_fetch_ends_the_watch_of_a_cancelled_job() -> None:
    then = after(cancelled(), Ready(()))
    assert then.work == Finished()


def test_a_late_result_of_a_cancelled_job_is_fetched_later_and_later() -> None:
    job, waits = cancelled(Finished(READY_REMOTE)), []
    for _ in range(4):
        then = after(job, download_fault(500))
        assert then.types == ["download_failed"]
        waits.append(then.work.remote.next_poll_at - NOW)
        job = then.job
    assert waits == [300.0, 600.0, 1200.0, 2400.0]


def test_a_late_result_whose_link_is_dead_is_asked_for_anew() -> None:
    then = after(cancelled(Finished(READY_REMOTE)), download_fault(403))
    assert next_effect(then.job) == Poll(then.work.remote, NOW + 300.0, slow=True)


def test_a_spooled_result_without_a_task_is_never_asked_for() -> None:
    spooled = msgspec.structs.replace(READY_REMOTE, remote_id="")
    then = after(cancelled(Finished(spooled)), download_fault(403))
    assert next_effect(then.job) == Fetch(then.work.remote, NOW + 300.0)
    empty = msgspec.structs.replace(spooled, results=())
    assert next_effect(held(Held(empty))) is None


def test_a_verdict_fails_a_held_job() -> None:
    then = after(held(), verdict())
    assert (then.job.state, then.job.billed, then.work) == ("failed", "unknown", Finished())
    assert then.job.error is not None
    assert then.job.error.rule == "watch"


@pytest.mark.parametrize("outcome", [verdict(), Absent()])
@pytest.mark.parametrize("job", [failed(), cancelled()])
def test_a_verdict_ends_the_watch_of_a_finished_job(job: Any, outcome: Outcome) -> None:
    then = after(job, outcome)
    assert (then.types, then.job.state, then.work) == (["polled"], job.state, Finished())
    assert then.job.billed == "unknown"


def test_a_held_job_whose_task_is_gone_is_lost_and_may_have_cost() -> None:
    then = after(held(error=POLL_ERROR), Absent())
    assert (then.job.state, then.job.reason, then.work) == ("held", "lost", Held())
    assert (then.job.billed, then.record.result) == ("unknown", "lost")
    assert "no longer watched" in str(then.events[0].detail)


@pytest.mark.parametrize("outcome", [Pending(), poll_fault(504), poll_fault(404)])
@pytest.mark.parametrize("job", [held(), failed(), cancelled()])
def test_the_watch_ends_with_the_retention_of_the_provider(job: Any, outcome: Outcome) -> None:
    then = after(job, outcome, FORGETTING)
    assert then.work.remote is None
    assert next_effect(then.job) is None
    assert after(job, outcome).types == []


def test_a_result_is_taken_even_after_the_retention() -> None:
    assert after(held(), Ready(RESULTS), FORGETTING).job.state == "downloading"


@pytest.mark.parametrize("kind", ["local.nospace", "local.io"])
def test_a_result_that_this_machine_can_not_keep_is_not_given_up_after_the_retention(
    kind: str,
) -> None:
    full = Fault("download", kind, effect="accepted")
    then = after(cancelled(Finished(READY_REMOTE)), full, FORGETTING)
    assert then.types == ["download_failed"]
    assert then.work.remote.results == RESULTS


def test_an_uncollected_result_is_given_up_after_the_retention() -> None:
    then = after(cancelled(Finished(READY_REMOTE)), download_fault(500), FORGETTING)
    assert then.work == Finished()


@pytest.mark.parametrize("job", [held(), failed(), cancelled()])
def test_a_stop_leaves_the_watch_as_it_is(job: Any) -> None:
    assert after(job, Interrupted(), FORGETTING).events == ()


@pytest.mark.parametrize("job", [held(), failed(), cancelled()])
@pytest.mark.parametrize("outcome", [Accepted("r", "t"), Prepared("k", "t", "d")])
def test_an_answer_that_no_watch_can_have_is_our_own_mistake(job: Any, outcome: Outcome) -> None:
    with pytest.raises(IllegalOutcomeError):
        after(job, outcome)


@pytest.mark.parametrize("job", [succeeded(), held(Held()), failed(Finished())])
def test_a_job_without_a_task_is_not_watched(job: Any) -> None:
    assert next_effect(job) is None
    with pytest.raises(IllegalOutcomeError):
        after(job, Ready(RESULTS))


@pytest.mark.parametrize("job", [held(Held(READY_REMOTE)), failed(Finished(READY_REMOTE))])
def test_a_known_result_waits_for_an_operator(job: Any) -> None:
    assert next_effect(job) is None
