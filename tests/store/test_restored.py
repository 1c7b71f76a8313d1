"""What a job of an old copy becomes: held with what was paid, or a doubt; never submitted again."""

from __future__ import annotations

import msgspec
import pytest

from daemon.core.commands import Release, Requeue, command
from daemon.core.events import apply, streamed
from daemon.core.gate import Gate, blocking
from daemon.core.job import (
    FINISHED,
    STATES,
    Attempt,
    Cancelling,
    Downloading,
    Finished,
    Generating,
    Held,
    InDoubt,
    Intent,
    Job,
    Preparing,
    Queued,
    Remote,
    Result,
    Stage,
    State,
    Submitting,
    Work,
    live_remote,
    public,
)
from daemon.core.judge import Moment
from daemon.core.policy import Policy
from daemon.store.restored import WATCH_S, knows, placeholder, revive, shut
from tests.store.facts import paid

NOW = 100.0
INTENT = Intent(1, "key-1", "http://mock", "digest", sent_at=2.0)
TASK = Remote("key-1", "http://mock", "task-1", 3.0, next_poll_at=13.0)
READY = msgspec.structs.replace(TASK, results=(Result("http://mock/1.png"),))
SENT = Attempt(1, "key-1", submitted_at=2.0)
ACCEPTED = Attempt(1, "key-1", "task-1", submitted_at=2.0, accepted_at=3.0)

WORKS: dict[State, tuple[Work, ...]] = {
    "queued": (Queued(), Queued("requeued", None, INTENT)),
    "preparing": (Preparing(), Preparing(INTENT)),
    "submitting": (Submitting(INTENT), Submitting(INTENT, reconcile_at=9.0)),
    "generating": (Generating(TASK),),
    "downloading": (Downloading(READY, 5.0),),
    "cancelling": (Cancelling(intent=INTENT), Cancelling(remote=TASK)),
    "in_doubt": (InDoubt(INTENT),),
    "held": (Held(), Held(TASK), Held(None, INTENT)),
    "succeeded": (Finished(),),
    "failed": (Finished(), Finished(TASK)),
    "cancelled": (Finished(), Finished(TASK)),
}
CASES = [(state, work) for state in STATES for work in WORKS[state]]


def job_in(state: State, work: Work) -> Job:
    remote = getattr(work, "remote", None)
    untouched = work in (Queued(), Preparing(), Held())
    record = () if untouched else (ACCEPTED,) if remote or state in FINISHED else (SENT,)
    return Job(
        id=1,
        provider="mock",
        state=state,
        reason="approval" if state == "held" else None,
        attempt=len(record),
        remote_id="task-1" if remote or state in FINISHED else None,
        created_at=1.0,
        updated_at=3.0,
        finished_at=3.0 if state in FINISHED else None,
        stages=(Stage("queue", 0, 1.0, 1.0, "ok"), Stage("prepare", 1, 2.0)),
        rev=7,
        attempts=record,
        work=work,
    )


@pytest.mark.parametrize(("state", "work"), CASES)
def test_a_finished_job_stays_and_an_unfinished_one_waits_for_a_person(
    state: State, work: Work
) -> None:
    job = job_in(state, work)
    found = revive(job, [], NOW)
    if state in FINISHED or state == "in_doubt":
        assert found is None
        return
    assert found is not None
    doubted = getattr(work, "intent", None) is not None
    assert found.job.state == ("in_doubt" if doubted else "held")
    assert found.job.reason == (None if doubted else "restored")
    assert found.job.rev == job.rev + 1
    assert found.job.updated_at == NOW
    assert found.job.stages[-1].result == "interrupted"
    assert found.replayed == 0


@pytest.mark.parametrize(("state", "work"), CASES)
def test_an_accepted_id_that_the_copy_does_not_know_is_what_the_job_goes_on_with(
    state: State, work: Work
) -> None:
    lines = [paid(1, "task-3", attempt=3, at=30.0), paid(1, "task-2", attempt=2, at=20.0)]
    found = revive(job_in(state, work), lines, NOW)
    assert found is not None
    job = found.job
    assert (job.state, job.reason, job.attempt, job.finished_at) == ("held", "restored", 3, None)
    assert job.remote_id == "task-3"
    assert live_remote(job) == Remote(
        "key-3", "http://mock", "task-3", 30.0, next_poll_at=NOW + WATCH_S
    )
    assert isinstance(job.attempts, tuple)
    known = {one.key: one.remote_id for one in job.attempts if one.accepted_at is not None}
    assert known.items() >= {("key-2", "task-2"), ("key-3", "task-3")}
    assert found.replayed == 2


@pytest.mark.parametrize(("state", "work"), CASES)
@pytest.mark.parametrize("asked", [Release(), Requeue()])
def test_going_on_with_a_paid_job_never_submits(
    state: State, work: Work, asked: Release | Requeue
) -> None:
    found = revive(job_in(state, work), [paid(1, "task-9", attempt=9, at=30.0)], NOW)
    assert found is not None
    (event,) = command(found.job, asked, Policy(), Moment(NOW), by="ana")
    assert event.state == "generating"


@pytest.mark.parametrize(("state", "work"), CASES)
@pytest.mark.parametrize("news", [[], [paid(1, "task-9", attempt=9, at=30.0)]])
def test_folding_the_event_gives_the_same_public_job(
    state: State, work: Work, news: list[object]
) -> None:
    job = job_in(state, work)
    found = revive(job, news, NOW)  # type: ignore[arg-type]
    if found is not None:
        assert apply(public(job), streamed(found.event)) == public(found.job)


def test_the_answer_to_a_request_that_was_out_is_put_in() -> None:
    found = revive(job_in("submitting", Submitting(INTENT)), [paid(1)], NOW)
    assert found is not None
    assert found.job.work == Held(
        Remote("key-1", "http://mock", "task-1", 3.0, next_poll_at=NOW + WATCH_S)
    )
    assert found.job.attempts == (Attempt(1, "key-1", "task-1", submitted_at=2.0, accepted_at=3.0),)


def test_a_known_task_is_kept_with_its_results() -> None:
    found = revive(job_in("downloading", Downloading(READY, 5.0)), [paid(1)], NOW)
    assert found is not None
    assert live_remote(found.job) == msgspec.structs.replace(READY, next_poll_at=NOW + WATCH_S)
    assert found.replayed == 0


def test_a_result_that_came_with_the_answer_is_put_in() -> None:
    line = msgspec.structs.replace(paid(7, ""), results=(Result("spool:a"),))
    work = placeholder([line], NOW).job.work
    assert isinstance(work, Held)
    assert work.remote is not None
    assert work.remote.results == (Result("spool:a"),)


def test_what_was_doubted_and_is_to_be_sent_again_stays_so() -> None:
    found = revive(job_in("queued", Queued("requeued", None, INTENT)), [], NOW)
    assert found is not None
    assert found.job.work == Held(None, INTENT)


def test_a_doubt_after_a_restore_may_have_cost_money() -> None:
    found = revive(job_in("submitting", Submitting(INTENT)), [], NOW)
    assert found is not None
    assert found.job.billed == "unknown"
    assert found.job.work == InDoubt(INTENT)


def test_the_same_key_accepted_twice_is_news_only_the_second_time() -> None:
    job = job_in("generating", Generating(TASK))
    assert knows(job, paid(1, "task-1", at=3.0))
    assert knows(job, paid(1, "task-0", at=2.5)), "an earlier answer to the same key"
    assert not knows(job, paid(1, "task-2", at=4.0)), "sent again, and accepted again"


def test_an_id_that_a_person_attached_is_known() -> None:
    job = msgspec.structs.replace(
        job_in("succeeded", Finished()), attempts=(SENT,), remote_id="task-7"
    )
    assert knows(job, paid(1, "task-7", at=50.0))


def test_a_job_that_the_copy_does_not_have_gets_a_place() -> None:
    found = placeholder([paid(8, "b", attempt=2, at=6.0), paid(8, "a", attempt=1, at=5.0)], NOW)
    job = found.job
    assert (job.id, job.state, job.reason, job.attempt) == (8, "held", "restored", 2)
    assert (job.remote_id, job.created_at, job.prompt) == ("b", 5.0, "")
    assert found.event.value == public(job)
    assert found.replayed == 2


def test_a_gate_is_closed_until_an_operator_opens_it() -> None:
    gate, events = shut("mock", Gate(epoch=4), NOW)
    assert [one.cause for one in blocking(gate, NOW + 1e9)] == ["operator"]
    assert gate.epoch == 4
    assert [(event.type, event.gate) for event in events] == [("provider_paused", gate)]
