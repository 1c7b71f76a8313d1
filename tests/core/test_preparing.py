"""From the queue to the intent: nothing has left the machine."""

from __future__ import annotations

import pytest

from daemon.core.faults import Rule
from daemon.core.gate import Closure, Gate
from daemon.core.job import Failure, InDoubt, Preparing, Queued, Submitting
from daemon.core.outcomes import Fault, Interrupted, Outcome, Pending, Picked, Prepared, Saved
from daemon.core.policy import IllegalOutcomeError, Policy
from tests.core.jobs import NOW, RESENT, TARGET, after, preparing, queued

READY = Prepared("fresh-key", TARGET, "digest")
PAUSED = Gate((Closure("quota", NOW + 300.0, "429"),))


def broken(kind: str = "local.io") -> Fault:
    return Fault("prepare", kind, message="worker died")


def test_a_picked_job_prepares_and_its_wait_is_over() -> None:
    then = after(queued(), Picked())
    assert then.types == ["started"]
    assert (then.job.state, then.job.started_at, then.job.attempt) == ("preparing", NOW, 0)
    assert [(s.stage, s.attempt, s.result) for s in then.job.stages] == [
        ("queue", 1, "ok"),
        ("prepare", 1, "running"),
    ]


def test_a_job_that_starts_again_keeps_when_it_started_first() -> None:
    assert after(queued(started_at=5.0), Picked()).job.started_at == 5.0


def test_a_prepared_job_writes_its_intent_with_everything_that_recovery_needs() -> None:
    then = after(preparing(), READY, gate=Gate(epoch=4))
    assert then.types == ["prepared", "submitting"]
    assert isinstance(then.work, Submitting)
    intent = then.work.intent
    assert (intent.attempt, intent.key, intent.target) == (1, "fresh-key", TARGET)
    assert (intent.digest, intent.sent_at, intent.epoch) == ("digest", NOW, 4)
    assert not intent.resent
    assert then.job.attempt == 1
    assert then.record.submitted_at == NOW


def test_a_new_attempt_gets_the_next_number() -> None:
    assert after(preparing(attempt=3), READY).job.attempt == 4


def test_a_doubted_intent_is_sent_again_with_its_own_key_attempt_and_target() -> None:
    then = after(preparing(Preparing(RESENT), attempt=1), Prepared("other", "http://b", "d2"))
    intent = then.work.intent
    assert (intent.key, intent.attempt, intent.target) == ("key-1", 1, TARGET)
    assert intent.resent
    assert intent.sent_at == NOW


def test_a_gate_that_closed_meanwhile_sends_the_job_back_without_an_attempt() -> None:
    then = after(preparing(Preparing(RESENT)), READY, gate=PAUSED)
    assert then.types == ["interrupted"]
    assert (then.job.state, then.job.attempt, then.job.retries) == ("queued", 0, 0)
    assert then.work == Queued("provider", None, RESENT)
    assert then.job.errors_total == 0


def test_an_interrupted_preparation_costs_nothing() -> None:
    then = after(preparing(errors_total=2), Interrupted())
    assert then.work == Queued("interrupted")
    assert (then.job.errors_total, then.job.retries, then.job.attempt) == (2, 0, 0)


def test_a_picture_that_cannot_be_read_fails_the_job_unbilled() -> None:
    then = after(preparing(), broken("local.decode"))
    assert (then.job.state, then.job.billed, then.job.finished_at) == ("failed", "no", NOW)
    assert then.job.error is not None
    assert then.job.error.rule == "shared.prepare-decode"


def test_a_broken_preparation_is_tried_twice_more_and_then_fails() -> None:
    job = preparing()
    for errors in (1, 2):
        then = after(job, broken())
        assert then.types == ["submit_failed"]
        assert (then.job.state, then.job.errors_consecutive) == ("queued", errors)
        assert then.job.retries == 0
        job = after(then.job, Picked()).job
    assert after(job, broken()).job.state == "failed"


def test_errors_of_the_submit_do_not_count_against_a_preparation() -> None:
    refused = Failure(phase="submit", kind="http", http=503)
    job = preparing(errors_consecutive=4, errors_total=4, error=refused)
    then = after(job, broken())
    assert (then.job.state, then.job.errors_consecutive) == ("queued", 1)
    assert then.job.errors_total == 5


def test_a_good_preparation_clears_its_own_errors_and_no_others() -> None:
    for phase, kept in (("prepare", 0), ("submit", 2)):
        error = Failure(phase=phase, kind="http")  # type: ignore[arg-type]
        job = preparing(errors_consecutive=2, errors_total=2, error=error)
        assert after(job, READY).job.errors_consecutive == kept


def test_a_full_disk_sends_the_job_back_and_counts_no_error() -> None:
    then = after(preparing(), broken("local.nospace"))
    assert (then.job.state, then.job.errors_total) == ("queued", 0)
    assert then.gate.causes[0].cause == "space"


@pytest.mark.parametrize(
    ("rule", "state", "errors"),
    [
        (Rule(name="r", phase="prepare", do="hold"), "held", 1),
        (Rule(name="r", phase="prepare", do="tolerate", counted=False), "queued", 0),
        (Rule(name="r", phase="prepare", do="resubmit", limit=2), "queued", 1),
        (Rule(name="r", phase="prepare", do="reconcile"), "queued", 1),
        (Rule(name="r", phase="prepare", do="pause"), "queued", 0),
        (Rule(name="r", phase="prepare", do="fail"), "in_doubt", 1),
    ],
)
def test_a_rule_decides_about_a_failed_preparation(rule: Rule, state: str, errors: int) -> None:
    then = after(preparing(Preparing(RESENT)), broken(), Policy(rules=(rule,)))
    assert (then.job.state, then.job.errors_total) == (state, errors)
    assert RESENT in (getattr(then.work, "resend", None), getattr(then.work, "intent", None))


def test_a_preparation_waits_longer_after_each_failure() -> None:
    job = preparing()
    waits = []
    for _ in range(2):
        then = after(job, broken(), jitter=1.0)
        waits.append(then.work.retry_at - NOW)
        job = after(then.job, Picked()).job
    assert waits == [2.0, 4.0]


@pytest.mark.parametrize("outcome", [Pending(), Saved(()), Picked()])
def test_an_answer_that_no_preparation_can_have_is_our_own_mistake(outcome: Outcome) -> None:
    with pytest.raises(IllegalOutcomeError, match="job 1 in preparing"):
        after(preparing(), outcome)


def test_a_queued_job_waits_for_the_schedule_alone() -> None:
    with pytest.raises(IllegalOutcomeError):
        after(queued(), READY)


def test_a_retried_job_keeps_its_place_in_the_timeline() -> None:
    then = after(preparing(), broken())
    assert [stage.result for stage in then.job.stages] == ["retry", "running"]
    assert then.job.stages[-1].stage == "queue"


def test_a_doubt_that_cannot_be_prepared_again_stays_a_doubt() -> None:
    job = preparing(Preparing(RESENT), billed="unknown")
    then = after(job, Fault("prepare", "local.decode", message="no picture"))
    assert (then.job.state, then.work, then.job.billed) == ("in_doubt", InDoubt(RESENT), "unknown")
    assert then.job.error is not None
    assert then.job.error.message == "no picture"
