"""Cancelling ends, and its end is true: cancelled with what is known of the money, or a doubt."""

from __future__ import annotations

import msgspec
import pytest

from daemon.core.commands import Cancel
from daemon.core.effects import Fetch, Lookup, Poll, Stop
from daemon.core.job import Cancelling, Finished, Held, InDoubt, Job
from daemon.core.kinds import FOREIGN
from daemon.core.machine import next_effect
from daemon.core.outcomes import (
    Absent,
    Accepted,
    Fault,
    Interrupted,
    Outcome,
    Pending,
    Picked,
    Ready,
    Saved,
    Stopped,
)
from daemon.core.policy import Abilities, IllegalOutcomeError, Policy
from tests.core.jobs import (
    INTENT,
    NOW,
    OUTPUT,
    READY_REMOTE,
    REMOTE,
    RESULTS,
    TARGET,
    After,
    after,
    cancelling,
    downloading,
    generating,
    held,
    lost,
    poll_fault,
    preparing,
    queued,
    refusal,
    submitting,
    told,
    unreached,
)

ABLE = Policy(abilities=Abilities(lookup=True, cancel=True))
OUT = Cancelling(intent=INTENT)
LOOKING = Cancelling(intent=INTENT, reconcile_at=NOW)
PROVEN_AT = INTENT.sent_at + 630.0


@pytest.mark.parametrize("job", [queued(), preparing(), held(Held(), reason="approval")])
def test_what_was_never_submitted_is_cancelled_at_once_and_unbilled(job: Job) -> None:
    then = told(job, Cancel("wrong prompt"))
    assert then.types == ["cancelled"]
    assert (then.job.state, then.job.billed, then.job.by) == ("cancelled", "no", "ana")
    assert (then.job.finished_at, then.events[0].detail) == (NOW, "wrong prompt")


def test_a_submit_that_is_out_is_waited_for() -> None:
    then = told(submitting(), Cancel())
    assert (then.job.state, then.work) == ("cancelling", OUT)
    assert next_effect(then.job) is None


@pytest.mark.parametrize("job", [generating(), held()])
def test_a_task_is_told_to_stop(job: Job) -> None:
    then = told(job, Cancel())
    assert next_effect(then.job) == Stop(REMOTE, NOW)
    assert then.job.reason is None


def test_a_lookup_goes_on_while_cancelling() -> None:
    then = told(submitting(msgspec.structs.replace(submitting().work, reconcile_at=77.0)), Cancel())  # type: ignore[arg-type, type-var]
    assert next_effect(then.job) == Lookup(INTENT, 77.0)


# ---- the answer to the submit ----


def test_an_acceptance_that_comes_late_is_kept_and_stopped() -> None:
    then = after(cancelling(OUT), Accepted("remote-9", "http://b"))
    assert then.types == ["submitted"]
    assert (then.job.state, then.job.remote_id) == ("cancelling", "remote-9")
    assert then.record.remote_id == "remote-9"
    assert next_effect(then.job) == Stop(then.work.remote, NOW)


def test_an_acceptance_that_names_no_task_needs_a_person_while_cancelling_too() -> None:
    then = after(cancelling(OUT), Accepted("", TARGET))
    assert (then.job.state, then.job.billed) == ("in_doubt", "unknown")


def test_a_task_that_ended_by_being_stopped_is_not_watched_whatever_it_cost() -> None:
    then = after(cancelling(), Stopped("unknown", ended=True))
    assert (then.job.state, then.job.billed, then.work) == ("cancelled", "unknown", Finished())


def test_a_synchronous_result_that_comes_late_is_kept() -> None:
    then = after(cancelling(OUT), Ready(RESULTS))
    assert then.types == ["ready"]
    done = after(then.job, Stopped("unknown"))
    assert (done.job.state, done.job.billed) == ("cancelled", "yes")
    assert next_effect(done.job) == Fetch(done.work.remote, NOW)


@pytest.mark.parametrize("fault", [refusal(503), refusal(400), refusal(429), unreached()])
def test_a_refusal_ends_the_cancelling_unbilled(fault: Fault) -> None:
    then = after(cancelling(OUT), fault)
    assert (then.job.state, then.job.billed) == ("cancelled", "no")


def test_a_synchronous_verdict_ends_the_cancelling_and_may_have_cost() -> None:
    then = after(cancelling(OUT), Fault("submit", "provider.failed", effect="accepted"))
    assert (then.job.state, then.job.billed) == ("cancelled", "unknown")


@pytest.mark.parametrize(
    "fault", [lost(), Fault("submit", "http", http=400, code="1231", effect="accepted")]
)
def test_a_lost_answer_needs_a_person(fault: Fault) -> None:
    then = after(cancelling(OUT), fault)
    assert (then.job.state, then.work, then.job.billed) == ("in_doubt", InDoubt(INTENT), "unknown")
    assert then.job.error is not None


def test_a_lost_answer_is_never_sent_again_by_a_policy_once_cancelled() -> None:
    from tests.core.jobs import limited

    assert after(cancelling(OUT), lost(), limited(on_unknown="resubmit")).job.state == "in_doubt"


def test_a_lost_answer_is_looked_up_where_that_is_possible() -> None:
    then = after(cancelling(OUT), lost(), ABLE)
    assert (then.job.state, then.work) == ("cancelling", LOOKING)
    assert next_effect(then.job) == Lookup(INTENT, NOW)


@pytest.mark.parametrize(
    "fault", [unreached(), refusal(404), poll_fault(404), lost(), refusal(400)]
)
def test_a_lookup_that_failed_while_cancelling_proves_nothing(fault: Fault) -> None:
    then = after(cancelling(LOOKING), fault, ABLE)
    assert (then.job.state, then.work.reconcile_at) == ("cancelling", NOW + 10.0)


def test_lookups_end_with_the_retention_in_a_doubt() -> None:
    then = after(cancelling(LOOKING), unreached(), ABLE, now=INTENT.sent_at + 86_400.0)
    assert then.job.state == "in_doubt"


def test_absence_while_cancelling_counts_only_after_the_grace() -> None:
    early = after(cancelling(LOOKING), Absent(), ABLE)
    assert (early.job.state, early.work.reconcile_at) == ("cancelling", PROVEN_AT)
    late = after(early.job, Absent(), ABLE, now=PROVEN_AT + 1.0)
    assert (late.job.state, late.job.billed) == ("cancelled", "no")


# ---- the stop ----


def test_a_stop_that_cost_nothing_ends_it_all() -> None:
    then = after(cancelling(), Stopped("no"))
    assert (then.job.state, then.job.billed, then.work) == ("cancelled", "no", Finished())
    assert next_effect(then.job) is None


def test_a_task_that_nobody_could_stop_is_watched() -> None:
    then = after(cancelling(), Stopped("unknown"))
    assert (then.job.state, then.job.billed) == ("cancelled", "unknown")
    assert next_effect(then.job) == Poll(then.work.remote, NOW + 300.0, slow=True)


def test_a_result_that_the_stop_finds_is_fetched() -> None:
    then = after(cancelling(), Ready(RESULTS))
    assert (then.job.state, then.job.billed) == ("cancelled", "yes")
    assert next_effect(then.job) == Fetch(then.work.remote, NOW)
    kept = after(then.job, Saved((OUTPUT,)))
    assert (kept.job.state, kept.job.billed) == ("cancelled", "kept")


@pytest.mark.parametrize("outcome", [Stopped("no"), Stopped("unknown"), Absent(), Ready(())])
def test_a_result_that_was_known_is_fetched_whatever_the_stop_says(outcome: Outcome) -> None:
    job = told(downloading(), Cancel()).job
    then = after(job, outcome)
    assert (then.job.state, then.job.billed) == ("cancelled", "yes")
    assert then.work.remote.results == RESULTS


@pytest.mark.parametrize("outcome", [Absent(), Ready(())])
def test_a_task_that_is_gone_is_not_watched(outcome: Outcome) -> None:
    then = after(cancelling(), outcome)
    assert (then.job.state, then.job.billed, then.work.remote) == ("cancelled", "unknown", None)


def test_a_stop_that_fails_is_tried_three_times_and_then_the_task_is_watched() -> None:
    job = cancelling()
    for tries in (1, 2):
        then = after(job, poll_fault(None), jitter=1.0)
        assert then.types == ["poll_failed"]
        assert (then.work.tries, then.work.next_try_at) == (tries, NOW + 2.0**tries)
        job = then.job
    then = after(job, poll_fault(None))
    assert (then.job.state, then.job.billed) == ("cancelled", "unknown")
    assert then.work.remote.next_poll_at == NOW + 300.0
    assert "could not be told" in str(then.events[0].detail)


def test_a_known_result_survives_stops_that_fail() -> None:
    job = cancelling(Cancelling(remote=READY_REMOTE, tries=2, next_try_at=NOW))
    then = after(job, poll_fault(None))
    assert (then.job.billed, then.work.remote.results) == ("yes", RESULTS)


# ---- the rest ----


@pytest.mark.parametrize("work", [OUT, LOOKING, Cancelling(remote=REMOTE)])
def test_a_stop_of_the_daemon_leaves_the_cancelling_as_it_is(work: Cancelling) -> None:
    assert after(cancelling(work), Interrupted()).events == ()


@pytest.mark.parametrize("work", [OUT, Cancelling(remote=REMOTE), Cancelling()])
@pytest.mark.parametrize("outcome", [Pending(), Picked()])
def test_an_answer_that_no_cancelling_can_have_is_our_own_mistake(
    work: Cancelling, outcome: Outcome
) -> None:
    with pytest.raises(IllegalOutcomeError):
        after(cancelling(work), outcome)


def fair(job: Job, policy: Policy) -> Outcome:
    """What a provider in good health answers to the effect that `job` calls for."""
    match next_effect(job):
        case None:
            return Accepted("remote-1", TARGET)  # the submit that was out
        case Lookup():
            return Absent()
        case Stop():
            return Stopped("unknown")
        case effect:
            raise AssertionError(effect)


@pytest.mark.parametrize("policy", [Policy(), ABLE])
@pytest.mark.parametrize(
    "job",
    [
        queued(),
        preparing(),
        submitting(),
        generating(),
        downloading(),
        held(),
        held(Held()),
        submitting(msgspec.structs.replace(submitting().work, reconcile_at=NOW)),  # type: ignore[arg-type, type-var]
    ],
)
def test_a_cancel_ends_from_every_live_state(job: Job, policy: Policy) -> None:
    then: After = told(job, Cancel(), policy)
    for step in range(4):
        if then.job.state == "cancelled":
            break
        now = NOW + 1_000.0 * step
        then = after(then.job, fair(then.job, policy), policy, now=now)
    assert then.job.state == "cancelled"
    assert then.job.billed is not None


def test_a_cancelled_doubt_of_another_kind_of_provider_is_a_persons_matter() -> None:
    able = Policy(abilities=Abilities(lookup=True))
    looking = cancelling(Cancelling(intent=INTENT, reconcile_at=NOW))
    foreign = Fault("submit", FOREIGN, effect="unknown")
    assert after(looking, foreign, able).job.state == "in_doubt"
    assert after(looking, lost(), able).job.state == "cancelling"
