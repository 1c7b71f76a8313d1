"""What a restart makes of every job and gate."""

from __future__ import annotations

import msgspec
import pytest

from daemon.core.effects import Lookup
from daemon.core.gate import Closure, Gate
from daemon.core.job import (
    Cancelling,
    Finished,
    Generating,
    Held,
    InDoubt,
    Job,
    Preparing,
    Queued,
    Submitting,
)
from daemon.core.judge import Moment
from daemon.core.machine import fold, next_effect
from daemon.core.policy import Abilities, Policy, absence_counts_at
from daemon.core.recovery import concerns, recover, recover_gate, rested
from tests.core.jobs import (
    INTENT,
    NOW,
    READY_REMOTE,
    REMOTE,
    RESENT,
    cancelled,
    cancelling,
    downloading,
    failed,
    generating,
    held,
    in_doubt,
    limited,
    preparing,
    queued,
    submitting,
    succeeded,
)

ABLE = Policy(abilities=Abilities(lookup=True))
SENT_NOW = msgspec.structs.replace(INTENT, sent_at=NOW)


def restarted(job: Job, policy: Policy | None = None, now: float = NOW) -> Job:
    return fold(job, recover(job, policy or Policy(), Moment(now)))


def test_a_submit_that_was_cut_is_a_doubt_and_is_not_sent() -> None:
    job = restarted(submitting())
    assert (job.state, job.work, job.billed) == ("in_doubt", InDoubt(SENT_NOW), "unknown")
    assert job.error is not None
    assert "stopped before the answer" in job.error.message
    assert next_effect(job) is None


def test_a_submit_that_was_cut_is_looked_up_where_that_is_possible() -> None:
    job = restarted(submitting(), ABLE)
    assert next_effect(job) == Lookup(SENT_NOW, NOW)


@pytest.mark.parametrize("due", [None, NOW - 5.0])
def test_how_long_the_daemon_was_away_proves_nothing_about_a_request(due: float | None) -> None:
    job = restarted(submitting(Submitting(INTENT, due)), ABLE, now=NOW + 86_400.0)
    assert isinstance(job.work, Submitting)
    assert absence_counts_at(job.work.intent, ABLE) == NOW + 86_400.0 + 600.0 + 30.0


def test_a_submit_that_was_cut_is_sent_once_more_where_an_operator_chose_that() -> None:
    resubmit = limited(on_unknown="resubmit")
    assert restarted(submitting(), resubmit).work == Queued("backoff", NOW, SENT_NOW)
    assert restarted(submitting(Submitting(RESENT)), resubmit).state == "in_doubt"


@pytest.mark.parametrize("work", [Submitting(INTENT, NOW + 5.0)])
def test_a_lookup_goes_on_unless_the_engine_can_do_none_any_more(work: Submitting) -> None:
    assert restarted(submitting(work), ABLE).work == Submitting(SENT_NOW, work.reconcile_at)
    assert restarted(submitting(work, error=None)).state == "in_doubt"


def test_a_cancelled_submit_that_was_cut_is_a_doubt_too() -> None:
    out = cancelling(Cancelling(intent=INTENT))
    job = restarted(out)
    assert (job.state, job.billed) == ("in_doubt", "unknown")
    assert job.error is not None
    assert next_effect(restarted(out, ABLE)) == Lookup(SENT_NOW, NOW)
    looking = cancelling(Cancelling(intent=INTENT, reconcile_at=NOW + 5.0))
    assert restarted(looking).state == "in_doubt"
    assert restarted(looking, ABLE).work == Cancelling(intent=SENT_NOW, reconcile_at=NOW + 5.0)


def test_a_job_that_only_prepared_queues_again_and_lost_nothing() -> None:
    job = restarted(preparing(Preparing(RESENT)))
    assert job.work == Queued("interrupted", None, RESENT)
    assert (job.attempt, job.retries, job.errors_total) == (0, 0, 0)


def test_a_task_is_looked_at_no_sooner_than_an_interval_after_the_start() -> None:
    due = restarted(generating(), now=NOW + 1.0)
    assert isinstance(due.work, Generating)
    assert due.work.remote.next_poll_at == NOW + 11.0
    later = Generating(msgspec.structs.replace(REMOTE, next_poll_at=NOW + 30.0))
    assert restarted(generating(later)).work == later


@pytest.mark.parametrize("job", [downloading(), cancelling()])
def test_downloads_and_stops_go_on_where_they_were(job: Job) -> None:
    after = restarted(job)
    assert (after.state, after.work, after.rev) == (job.state, job.work, job.rev + 1)


@pytest.mark.parametrize("job", [queued(), in_doubt(), held(), succeeded(), failed(), cancelled()])
def test_what_nobody_was_at_work_on_needs_no_event(job: Job) -> None:
    assert recover(job, Policy(), Moment(NOW)) == ()


@pytest.mark.parametrize("job", [held(), failed(), cancelled(), cancelled(Finished(READY_REMOTE))])
def test_slow_looks_that_are_due_at_the_start_are_spread_over_their_interval(job: Job) -> None:
    for jitter, wait in ((0.0, 10.0), (0.5, 155.0)):
        later = rested(job, Policy(), Moment(NOW + 1.0, jitter))
        remote = getattr(later.work, "remote", None)
        assert remote is not None
        assert remote.next_poll_at == NOW + 1.0 + wait


@pytest.mark.parametrize(
    "job",
    [
        succeeded(),
        held(Held()),
        generating(),
        held(Held(msgspec.structs.replace(REMOTE, next_poll_at=NOW + 9.0))),
    ],
)
def test_other_jobs_are_left_as_the_start_finds_them(job: Job) -> None:
    assert rested(job, Policy(), Moment(NOW + 1.0)) is job


def test_a_pause_outlives_a_restart_and_its_probe_does_not() -> None:
    paused = Closure("quota", NOW - 5.0, "429")
    lunch, full = Closure("operator", NOW - 1.0, "lunch"), Closure("space", None, "disk full")
    gate = Gate((paused, lunch, full), epoch=3, probe=7, ramp=2)
    (event,) = recover_gate("veo", gate, NOW)
    assert event.gate == Gate((paused,), epoch=3, ramp=2)
    assert event.provider == "veo"


def test_a_gate_without_a_probe_needs_no_event() -> None:
    assert recover_gate("veo", Gate((Closure("auth", None, "401"),), epoch=1), NOW) == ()


@pytest.mark.parametrize(
    "job",
    [
        queued(),
        queued(Queued("backoff", NOW, INTENT)),
        failed(Finished()),
        cancelled(Finished()),
        succeeded(),
    ],
    ids=lambda job: job.state,
)
def test_a_job_that_a_start_passes_over_would_not_have_changed(job: Job) -> None:
    assert not concerns(job)
    assert recover(job, ABLE, Moment(NOW)) == ()
    assert rested(job, ABLE, Moment(NOW)) is job
    assert next_effect(job) is None


@pytest.mark.parametrize(
    "job",
    [
        preparing(),
        submitting(),
        generating(),
        downloading(),
        cancelling(),
        in_doubt(),
        held(),
        failed(Finished(REMOTE)),
        cancelled(Finished(READY_REMOTE)),
    ],
    ids=lambda job: job.state,
)
def test_a_start_looks_at_whatever_may_be_paid_for(job: Job) -> None:
    assert concerns(job)
