"""What operators ask: done, or refused with the way out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from daemon.core.commands import (
    Cancel,
    Command,
    Edit,
    Hold,
    RefusedError,
    Release,
    Requeue,
    Resolve,
)
from daemon.core.effects import Fetch, Poll
from daemon.core.job import Attempt, Finished, Held, InDoubt, Job, Preparing, Queued
from daemon.core.machine import next_effect
from daemon.core.outcomes import Fault, Picked, Prepared, Saved
from tests.core.jobs import (
    INTENT,
    NOW,
    OPEN_RECORD,
    OUTPUT,
    POLL_ERROR,
    READY_REMOTE,
    REMOTE,
    RESENT,
    TARGET,
    after,
    cancelled,
    cancelling,
    downloading,
    failed,
    generating,
    held,
    in_doubt,
    one_of_each,
    preparing,
    queued,
    submitting,
    succeeded,
    told,
)

ATTACH = Resolve("attach", "remote-5")
CLOSED = (msgspec.structs.replace(OPEN_RECORD, finished_at=1.0, result="failed"),)
TRIED: dict[str, Any] = {
    "retries": 3,
    "errors_consecutive": 5,
    "errors_total": 9,
    "error": POLL_ERROR,
}


# ---- requeue ----


@pytest.mark.parametrize("job", [held(**TRIED), failed(**TRIED), cancelled(**TRIED)])
def test_a_requeue_goes_on_with_paid_work_and_submits_nothing(job: Job) -> None:
    then = told(job, Requeue())
    assert then.types == ["requeued"]
    assert (then.job.state, then.work.remote.remote_id) == ("generating", "remote-1")
    assert (then.job.retries, then.job.errors_consecutive, then.job.errors_total) == (0, 0, 9)
    assert (then.job.attempt, then.job.finished_at, then.job.reason) == (1, None, None)
    assert then.job.deadline_at == NOW + 1200.0
    assert isinstance(next_effect(then.job), Poll)


@pytest.mark.parametrize(
    ("due_in", "waits"), [(290.0, 10.0), (4.0, 4.0), (0.0, 10.0), (-9.0, 10.0)]
)
def test_a_requeue_looks_within_an_interval_and_no_sooner_than_was_due(
    due_in: float, waits: float
) -> None:
    """A look that is due may be out at this moment, and two are never closer than an interval."""
    job = held(Held(msgspec.structs.replace(REMOTE, next_poll_at=NOW + due_in)))
    assert told(job, Requeue()).work.remote.next_poll_at == NOW + waits


def test_a_requeue_keeps_a_deadline_that_is_still_ahead() -> None:
    assert told(held(deadline_at=NOW + 60.0), Requeue()).job.deadline_at == NOW + 60.0


@pytest.mark.parametrize(
    "job", [held(Held(READY_REMOTE)), failed(Finished(READY_REMOTE), attempts=CLOSED)]
)
def test_a_requeue_fetches_a_result_that_is_known(job: Job) -> None:
    then = told(job, Requeue())
    assert then.job.state == "downloading"
    assert next_effect(then.job) == Fetch(READY_REMOTE, NOW)
    done = after(then.job, Saved((OUTPUT,)))
    assert (done.record.result, done.job.billed) == ("succeeded", "yes")


@pytest.mark.parametrize("job", [held(**TRIED), failed(**TRIED), cancelled(**TRIED)])
def test_a_fresh_requeue_pays_anew_and_says_that_the_old_task_may_cost(job: Job) -> None:
    then = told(job, Requeue(fresh=True))
    assert (then.job.state, then.work) == ("queued", Queued("requeued"))
    assert (then.job.billed, then.job.remote_id, then.job.retries) == ("unknown", None, 0)
    assert then.record.finished_at is not None
    again = after(after(then.job, Picked()).job, Prepared("key-2", TARGET, "d"))
    assert (again.job.attempt, again.work.intent.key) == (2, "key-2")


def test_a_fresh_requeue_of_a_known_result_says_that_it_was_paid_for() -> None:
    assert told(held(Held(READY_REMOTE)), Requeue(fresh=True)).job.billed == "yes"


def test_a_succeeded_job_is_made_again_and_keeps_its_outputs() -> None:
    then = told(succeeded(), Requeue(reason="another one"))
    assert (then.job.state, then.job.outputs, then.job.billed) == ("queued", (OUTPUT,), "yes")
    assert (then.job.finished_at, then.job.started_at) == (None, None)
    assert then.events[0].detail == "another one"


def test_a_job_that_never_cost_anything_may_cost_something_once_requeued() -> None:
    then = told(failed(Finished(), billed="no", attempts=CLOSED), Requeue())
    assert (then.job.state, then.job.billed) == ("queued", None)


def test_a_requeue_of_a_held_doubt_sends_the_same_key_and_a_fresh_one_does_not() -> None:
    job = held(Held(None, RESENT), billed="unknown")
    assert told(job, Requeue()).work.resend == RESENT
    then = told(job, Requeue(fresh=True))
    assert (then.work.resend, then.job.billed) == (None, "unknown")


def test_the_record_of_a_refused_attempt_outlives_what_happens_in_the_queue() -> None:
    refused = msgspec.structs.replace(OPEN_RECORD, finished_at=1.0, result="refused")
    job = queued(Queued("backoff", NOW + 5.0), attempt=1, attempts=(refused,))
    assert told(job, Cancel()).record == refused
    broken = Fault("prepare", "local.decode")
    assert after(after(job, Picked()).job, broken).record == refused


@pytest.mark.parametrize(
    "job",
    [
        queued(Queued("requeued", None, RESENT)),
        preparing(Preparing(RESENT)),
        held(Held(None, RESENT), reason="operator"),
    ],
    ids=lambda job: job.state,
)
def test_a_doubt_that_is_not_sent_again_after_all_is_the_doubt_that_it_was(job: Job) -> None:
    job = msgspec.structs.replace(job, billed="unknown")
    then = told(job, Cancel("too dear"))
    assert (then.types, then.job.state, then.work) == (["doubted"], "in_doubt", InDoubt(RESENT))
    assert (then.job.billed, then.job.reason, then.job.finished_at) == ("unknown", None, None)
    assert (then.job.by, then.events[0].detail) == ("ana", "too dear")
    assert told(then.job, Resolve("attach", "r-9")).job.state == "generating"


# ---- hold and release ----


@pytest.mark.parametrize("job", [queued(Queued("new", None, RESENT)), preparing(Preparing(RESENT))])
def test_a_job_that_was_not_submitted_is_held_with_what_it_was_to_send(job: Job) -> None:
    then = told(job, Hold("not today"))
    assert (then.job.state, then.job.reason, then.work.resend) == ("held", "operator", RESENT)
    assert [stage.result for stage in then.job.stages] == ["interrupted"]


def test_a_released_job_queues_again() -> None:
    then = told(held(Held(), reason="approval", attempt=0, attempts=(), retries=2), Release(True))
    assert (then.job.state, then.work, then.job.reason) == ("queued", Queued("new"), None)
    assert then.job.retries == 2
    again = told(held(Held(None, RESENT), reason="operator"), Release())
    assert again.work == Queued("requeued", None, RESENT)


def test_a_release_goes_on_with_paid_work() -> None:
    then = told(held(**TRIED), Release())
    assert then.types == ["released"]
    assert (then.job.state, then.job.errors_consecutive) == ("generating", 0)


def test_an_approval_releases_only_what_waits_for_one() -> None:
    with pytest.raises(RefusedError, match="genq release 1"):
        told(held(), Release(approval=True))


# ---- doubts ----


def test_a_doubt_is_settled_by_the_remote_id_that_was_found() -> None:
    then = told(in_doubt(errors_consecutive=2, errors_total=2), ATTACH)
    assert then.types == ["resolved"]
    assert (then.job.state, then.job.remote_id) == ("generating", "remote-5")
    assert (then.work.remote.key, then.work.remote.target) == ("key-1", TARGET)
    assert then.record.remote_id == "remote-5"
    assert (then.job.deadline_at, then.job.errors_consecutive) == (NOW + 1200.0, 0)


def test_a_doubt_is_paid_again_with_the_same_key_and_attempt() -> None:
    then = told(in_doubt(), Resolve("pay-again"))
    assert then.work == Queued("requeued", None, INTENT)
    sent = after(after(then.job, Picked()).job, Prepared("other", "http://b", "d"))
    assert (sent.work.intent.key, sent.work.intent.attempt, sent.job.attempt) == ("key-1", 1, 1)
    assert sent.job.billed == "unknown"


def test_a_doubt_that_is_written_off_fails_and_its_cost_stays_unknown() -> None:
    then = told(in_doubt(), Resolve("write-off"))
    assert (then.job.state, then.job.billed, then.job.finished_at) == ("failed", "unknown", NOW)
    assert then.record.result == "written-off"
    assert next_effect(then.job) is None


@pytest.mark.parametrize("how", ["pay-again", "write-off", "attach"])
def test_the_reason_of_a_resolution_is_kept_with_what_was_done(how: Any) -> None:
    (event,) = told(in_doubt(), Resolve(how, "remote-5", "seen in the console")).events
    assert str(event.detail).endswith(": seen in the console")


def test_a_remote_id_of_another_attempt_is_refused() -> None:
    other = Attempt(1, "key-0", remote_id="remote-5", finished_at=5.0)
    job = in_doubt(attempt=2, attempts=(other, Attempt(2, "key-1")))
    with pytest.raises(RefusedError, match="the task of attempt 1; attach the one of attempt 2"):
        told(job, ATTACH)


@pytest.mark.parametrize("text", ["two words", "a\x1b[2J", "a\nb", "a\u00a0b", "\u202ea", "\0"])
def test_a_remote_id_that_no_provider_gives_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match=r"^job 1: the remote id has blanks or control"):
        told(in_doubt(), Resolve("attach", text))


def test_a_remote_id_is_no_longer_than_its_limit() -> None:
    assert told(in_doubt(), Resolve("attach", "é" * 512)).job.state == "generating"
    with pytest.raises(RefusedError, match=r"513 characters; the limit is 512"):
        told(in_doubt(), Resolve("attach", "a" * 513))


def test_an_empty_remote_id_is_refused() -> None:
    with pytest.raises(RefusedError, match="needs the remote id"):
        told(in_doubt(), Resolve("attach"))


# ---- edit ----


def test_an_edit_changes_what_was_given_and_nothing_else() -> None:
    asked = Edit(priority=7, prompt="b", labels=("x",), params={"fps": 30}, not_before_at=99.0)
    then = told(queued(name="n", prompt="a"), asked)
    assert then.types == ["edited"]
    assert (then.job.priority, then.job.prompt, then.job.labels) == (7, "b", ("x",))
    assert (then.job.name, then.job.params, then.job.not_before_at) == ("n", {"fps": 30}, 99.0)
    assert isinstance(then.events[0].name, msgspec.UnsetType)


def test_a_name_that_is_taken_away_is_none() -> None:
    assert told(queued(name="n"), Edit(name="")).events[0].name is None
    then = told(queued(), Edit(name="", priority=1))
    assert then.job.name is None
    assert isinstance(then.events[0].name, msgspec.UnsetType)


def test_an_edit_of_a_held_job_leaves_it_held_for_its_reason() -> None:
    then = told(held(reason="deadline"), Edit(priority=7))
    assert (then.job.state, then.job.reason, then.job.priority) == ("held", "deadline", 7)


@pytest.mark.parametrize("asked", [Edit(prompt="b"), Edit(params={"fps": 30})])
@pytest.mark.parametrize(
    "job", [held(), queued(Queued("new", None, RESENT)), held(Held(None, RESENT))]
)
def test_what_was_submitted_can_not_be_asked_otherwise(job: Job, asked: Edit) -> None:
    with pytest.raises(RefusedError, match="submitted already"):
        told(job, asked)
    assert told(job, Edit(prompt="", name="n")).job.name == "n"


# ---- refusals ----

ACCEPTED: dict[str, tuple[Command, ...]] = {
    "queued": (Cancel(), Hold(), Edit(priority=1)),
    "preparing": (Cancel(), Hold()),
    "submitting": (Cancel(),),
    "generating": (Cancel(),),
    "downloading": (Cancel(),),
    "cancelling": (),
    "in_doubt": (ATTACH,),
    "held": (Cancel(), Requeue(), Release(), Edit(priority=1)),
    "succeeded": (Requeue(),),
    "failed": (Requeue(),),
    "cancelled": (Requeue(),),
}
COMMANDS: tuple[Command, ...] = (Cancel(), Requeue(), Hold(), Release(), ATTACH, Edit(priority=1))


@pytest.mark.parametrize("asked", COMMANDS)
@pytest.mark.parametrize("job", one_of_each())
def test_a_command_is_done_where_it_makes_sense_and_refused_by_name_elsewhere(
    job: Job, asked: Command
) -> None:
    if asked in ACCEPTED[job.state]:
        assert told(job, asked).job.rev == job.rev + 1
        return
    with pytest.raises(RefusedError, match=r"^job 1 "):
        told(job, asked)


@pytest.mark.parametrize("asked", [Cancel(), Requeue()])
def test_a_doubt_points_to_what_resolves_it(asked: Any) -> None:
    with pytest.raises(RefusedError, match=r"genq resolve 1 attach REMOTE_ID \| pay-again"):
        told(in_doubt(), asked)


@pytest.mark.parametrize("job", [submitting(), generating(), downloading()])
def test_a_live_job_can_not_be_held_and_is_told_why(job: Job) -> None:
    with pytest.raises(RefusedError, match="cancel it, or let it finish"):
        told(job, Hold())


def test_what_is_being_cancelled_is_not_cancelled_again() -> None:
    with pytest.raises(RefusedError, match="being cancelled already"):
        told(cancelling(), Cancel())


def test_a_command_by_nobody_in_particular_is_taken() -> None:
    assert told(queued(by="ana"), Hold(), by=None).job.by is None
