"""The paid request: never sent twice on its own, never lost, and always told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from daemon.core.effects import Lookup, Submit
from daemon.core.faults import Rule
from daemon.core.gate import Closure, Gate
from daemon.core.job import Downloading, Failure, Generating, InDoubt, Queued, Submitting
from daemon.core.kinds import FOREIGN
from daemon.core.machine import next_effect
from daemon.core.outcomes import (
    Absent,
    Accepted,
    Fault,
    Interrupted,
    Outcome,
    Pending,
    Ready,
    Saved,
    Unsent,
)
from daemon.core.policy import Abilities, IllegalOutcomeError, Limits, Policy
from tests.core.jobs import (
    INTENT,
    NOW,
    RESENT,
    RESULTS,
    TARGET,
    after,
    in_doubt,
    limited,
    lost,
    refusal,
    submitting,
    unreached,
)

ABLE = Policy(abilities=Abilities(lookup=True))
RESUBMIT = limited(on_unknown="resubmit")
PROVEN_AT = INTENT.sent_at + 600.0 + 30.0
LOOKING = Submitting(INTENT, reconcile_at=NOW)


def test_an_accepted_job_generates_and_is_looked_at_one_interval_later() -> None:
    job = submitting(errors_consecutive=2, error=Failure(phase="submit", kind="http"))
    then = after(job, Accepted("remote-1", "http://b"))
    assert then.types == ["submitted"]
    assert isinstance(then.work, Generating)
    remote = then.work.remote
    assert (remote.remote_id, remote.target, remote.key) == ("remote-1", "http://b", "key-1")
    assert (remote.accepted_at, remote.next_poll_at) == (NOW, NOW + 10.0)
    assert (then.job.remote_id, then.job.deadline_at) == ("remote-1", NOW + 1200.0)
    assert then.job.errors_consecutive == 0
    assert then.record.accepted_at == NOW
    assert then.record.remote_id == "remote-1"


@pytest.mark.parametrize("policy", [Policy(), RESUBMIT])
def test_an_acceptance_that_names_no_task_is_a_doubt_and_not_sent_again(policy: Policy) -> None:
    then = after(submitting(), Accepted("", TARGET), policy)
    assert (then.job.state, then.job.billed) == ("in_doubt", "unknown")
    assert then.job.error is not None
    assert "names no task" in then.job.error.message


def test_an_acceptance_that_was_noted_before_a_kill_settles_the_doubt_it_left() -> None:
    then = after(in_doubt(), Accepted("remote-5", "http://b"))
    assert then.types == ["resolved"]
    assert (then.job.state, then.job.remote_id) == ("generating", "remote-5")
    assert (then.work.remote.target, then.record.remote_id) == ("http://b", "remote-5")
    assert after(in_doubt(), Accepted("", TARGET)).types == []
    with pytest.raises(IllegalOutcomeError):
        after(in_doubt(), Absent())


def test_a_synchronous_answer_goes_straight_to_the_download() -> None:
    then = after(submitting(), Ready(RESULTS))
    assert then.types == ["ready"]
    assert then.work == Downloading(then.work.remote, NOW)
    assert then.work.remote.results == RESULTS
    assert (then.job.remote_id, then.work.remote.remote_id) == (None, "")


# ---- surely refused ----


def test_a_refused_submit_goes_back_to_the_queue_as_a_new_attempt() -> None:
    then = after(submitting(), refusal(503), jitter=1.0)
    assert then.types == ["submit_failed"]
    assert then.work == Queued("backoff", NOW + 2.0)
    assert (then.job.retries, then.job.errors_consecutive, then.job.errors_total) == (1, 1, 1)
    record = then.record
    assert (record.result, record.finished_at) == ("refused", NOW)
    assert record.error == then.job.error


@pytest.mark.parametrize(("retries", "state"), [(0, "queued"), (4, "queued"), (5, "failed")])
def test_submit_retries_are_what_the_job_shows(retries: int, state: str) -> None:
    then = after(submitting(retries=retries), refusal(503))
    assert then.job.state == state
    assert then.job.billed == (None if state == "queued" else "no")


def test_a_rule_may_set_its_own_limit_on_retries() -> None:
    rule = Rule(name="r", phase="submit", http="503", do="retry", limit=1)
    assert after(submitting(), refusal(), Policy(rules=(rule,))).job.state == "queued"
    assert after(submitting(retries=1), refusal(), Policy(rules=(rule,))).job.state == "failed"


@pytest.mark.parametrize(
    ("http", "cause", "queue_cause"),
    [(429, "quota", "quota"), (401, "auth", "provider"), (402, "auth", "provider")],
)
def test_a_refusal_for_quota_or_key_burns_nothing(http: int, cause: str, queue_cause: str) -> None:
    job = submitting(retries=2, errors_consecutive=1, errors_total=4)
    then = after(job, refusal(http))
    assert (then.types, then.gate_types) == (["submit_failed"], ["provider_paused"])
    assert then.work == Queued(queue_cause)  # type: ignore[arg-type]
    assert (then.job.retries, then.job.errors_total) == (2, 4)
    assert then.job.error is not None
    assert then.job.error.http == http
    assert then.gate.causes[0].cause == cause


def test_a_refused_request_fails_at_once_unbilled() -> None:
    then = after(submitting(), refusal(400))
    assert (then.job.state, then.job.billed) == ("failed", "no")
    assert then.record.result == "failed"
    assert then.work.remote is None


def test_a_rule_may_hold_a_refused_job_for_the_operator() -> None:
    rule = Rule(name="r", phase="submit", http="400", do="hold")
    then = after(submitting(), refusal(400), Policy(rules=(rule,)))
    assert (then.job.state, then.job.reason) == ("held", "operator")
    assert then.record.result == "refused"


def test_a_provider_that_is_down_costs_the_jobs_behind_no_retries() -> None:
    gate = Gate(unreached=4)
    then = after(submitting(retries=5), unreached(), gate=gate)
    assert then.gate.causes[0].cause == "health"
    assert then.work == Queued("provider")
    assert (then.job.retries, then.job.state) == (5, "queued")


def test_an_answer_that_comes_after_the_pause_for_health_costs_no_retry_either() -> None:
    gate = Gate((Closure("health", NOW - 1.0, "down"),), unreached=5, epoch=INTENT.epoch + 1)
    then = after(submitting(retries=1), unreached(), gate=gate)
    assert (then.job.retries, then.work) == (1, Queued("provider"))


def test_before_the_gate_shuts_an_unreached_provider_costs_a_retry() -> None:
    then = after(submitting(retries=1), unreached(), gate=Gate(unreached=1))
    assert (then.job.retries, then.work.cause) == (2, "backoff")


def test_a_rule_that_fails_unreached_submits_is_obeyed_though_the_gate_is_shut() -> None:
    rule = Rule(name="r", phase="submit", kind="transport.*", effect="none", do="fail")
    gate = Gate((Closure("health", NOW + 60.0, "down"),), unreached=5)
    assert after(submitting(), unreached(), Policy(rules=(rule,)), gate=gate).job.state == "failed"


# ---- unknown ----


@pytest.mark.parametrize(
    "fault",
    [
        lost(),
        Fault("submit", "http", http=504, effect="unknown"),
        Fault("submit", "http", http=408, effect="unknown"),
        Fault("submit", "protocol", effect="unknown"),
        Fault("submit", "internal", effect="unknown"),
    ],
)
@pytest.mark.parametrize("do", ["retry", "resubmit", "tolerate", "fail", "pause", "hold"])
def test_no_rule_shadows_the_guard_over_lost_answers(fault: Fault, do: Any) -> None:
    rule = Rule(name="bold", phase="any", do=do, limit=9)
    then = after(submitting(), fault, Policy(rules=(rule,)))
    assert (then.job.state, then.job.billed) == ("in_doubt", "unknown")
    assert then.work == InDoubt(INTENT)
    assert then.job.error is not None
    assert then.job.error.rule == "guard"
    assert then.job.finished_at is None
    assert next_effect(then.job) is None


def test_an_accepted_request_whose_id_is_lost_is_in_doubt_and_not_sent_again() -> None:
    known = Fault("submit", "http", http=400, code="1231", effect="accepted")
    for policy in (Policy(), RESUBMIT):
        then = after(submitting(), known, policy)
        assert (then.job.state, then.job.billed) == ("in_doubt", "unknown")
        assert then.job.error is not None
        assert then.job.error.rule == "shared.accepted"


def test_a_synchronous_verdict_fails_the_job_and_may_have_cost() -> None:
    said = Fault("submit", "provider.failed", message="filtered", effect="accepted")
    then = after(submitting(), said)
    assert (then.job.state, then.job.billed) == ("failed", "unknown")


def test_a_rule_may_resubmit_after_a_synchronous_verdict_within_its_limit() -> None:
    said = Fault("submit", "provider.failed", effect="accepted")
    policy = Policy(rules=(Rule(name="r", kind="provider.failed", do="resubmit", limit=1),))
    then = after(submitting(), said, policy)
    assert then.work == Queued("backoff", NOW)
    assert (then.job.billed, then.record.result) == ("unknown", "failed")
    assert after(submitting(retries=1), said, policy).job.state == "failed"


def test_a_lost_answer_is_looked_up_at_once_where_that_is_possible() -> None:
    then = after(submitting(), lost(), ABLE)
    assert then.types == ["doubted"]
    assert (then.job.state, then.work) == ("submitting", Submitting(INTENT, NOW))
    assert next_effect(then.job) == Lookup(INTENT, NOW)
    assert then.job.billed is None


def test_a_rule_may_have_a_refusal_looked_up_too() -> None:
    rule = Rule(name="r", phase="submit", http="409", do="reconcile")
    policy = Policy(rules=(rule,), abilities=Abilities(lookup=True))
    assert after(submitting(), refusal(409), policy).work == Submitting(INTENT, NOW)


def test_after_the_provider_forgets_a_lookup_is_no_use() -> None:
    late = INTENT.sent_at + 86_400.0
    assert after(submitting(), lost(), ABLE, now=late).job.state == "in_doubt"


def test_a_found_task_is_adopted() -> None:
    then = after(submitting(LOOKING), Accepted("remote-7", TARGET), ABLE)
    assert (then.job.state, then.job.remote_id) == ("generating", "remote-7")


LOOKUP_FAULTS = [
    Fault("submit", "transport.connect"),
    Fault("poll", "transport.connect", effect="accepted"),
    Fault("poll", "http", http=404),
    Fault("submit", "http", http=401),
    Fault("submit", "http", http=429),
    Fault("submit", "http", http=400),
    Fault("poll", "provider.failed", effect="accepted"),
    lost(),
]


@pytest.mark.parametrize("fault", LOOKUP_FAULTS)
def test_a_lookup_that_failed_proves_nothing_whatever_failed(fault: Fault) -> None:
    then = after(submitting(LOOKING), fault, ABLE, jitter=1.0)
    assert then.types[0] == "doubted"
    assert then.work == Submitting(INTENT, NOW + 12.0)
    assert then.gate.causes == ()


def test_lookups_that_fail_come_later_and_later() -> None:
    job, waits, now = submitting(LOOKING), [], NOW
    for _ in range(4):
        then = after(job, LOOKUP_FAULTS[0], ABLE, now=now, jitter=1.0)
        waits.append(then.work.reconcile_at - now)
        job, now = then.job, then.work.reconcile_at
    assert waits == [12.0, 12.0, 14.0, 18.0]


def test_absence_counts_only_when_it_was_asked_after_the_grace() -> None:
    early = after(submitting(LOOKING), Absent(), ABLE, now=PROVEN_AT + 5.0)
    assert early.types == ["doubted"]
    assert early.work == Submitting(INTENT, PROVEN_AT + 5.0)
    late = after(early.job, Absent(), ABLE, now=PROVEN_AT + 6.0, jitter=1.0)
    assert late.types == ["submit_failed"]
    assert (late.job.state, late.job.retries, late.work.resend) == ("queued", 1, None)
    assert late.record.result == "absent"


def test_an_early_absence_is_asked_again_when_it_can_count() -> None:
    then = after(submitting(LOOKING), Absent(), ABLE)
    assert then.work == Submitting(INTENT, PROVEN_AT)


def test_a_proven_absence_without_retries_left_fails_unbilled_and_says_why() -> None:
    looking = submitting(Submitting(INTENT, PROVEN_AT), retries=5)
    then = after(looking, Absent(), ABLE, now=PROVEN_AT + 1.0)
    assert (then.job.state, then.job.billed) == ("failed", "no")
    assert then.job.error is not None
    assert then.job.error.rule == "absent"


# ---- sent once more ----


def test_on_unknown_resubmit_sends_the_same_key_and_attempt_once() -> None:
    then = after(submitting(), lost(), RESUBMIT)
    assert then.types == ["doubted"]
    assert then.work == Queued("backoff", NOW, INTENT)
    assert (then.job.retries, then.job.billed) == (0, "unknown")
    again = after(submitting(Submitting(RESENT)), lost(), RESUBMIT)
    assert again.job.state == "in_doubt"


@pytest.mark.parametrize(
    ("fault", "state"),
    [(refusal(429), "queued"), (refusal(503), "queued"), (unreached(), "queued")],
)
def test_a_resent_request_that_is_refused_keeps_the_key_of_its_doubt(
    fault: Fault, state: str
) -> None:
    then = after(submitting(Submitting(RESENT), billed="unknown"), fault)
    assert then.job.state == state
    assert then.work.resend == RESENT


def test_a_resent_request_that_is_refused_for_good_may_still_have_cost() -> None:
    then = after(submitting(Submitting(RESENT), billed="unknown"), refusal(400))
    assert (then.job.state, then.job.billed) == ("failed", "unknown")


def test_a_resent_request_with_a_verdict_is_settled_and_the_next_one_has_a_new_key() -> None:
    said = Fault("submit", "provider.failed", effect="accepted")
    policy = Policy(rules=(Rule(name="r", kind="provider.failed", do="resubmit", limit=1),))
    then = after(submitting(Submitting(RESENT), billed="unknown"), said, policy)
    assert then.work == Queued("backoff", NOW)


def test_a_resent_request_that_a_rule_holds_keeps_the_key_of_its_doubt() -> None:
    policy = Policy(rules=(Rule(name="r", phase="submit", do="hold"),))
    then = after(submitting(Submitting(RESENT)), refusal(400), policy)
    assert then.work.resend == RESENT


# ---- the rest ----


def test_a_request_that_never_left_goes_back_to_the_queue_for_a_key_of_its_own() -> None:
    then = after(submitting(), Unsent())
    assert (then.types, then.job.state) == (["interrupted"], "queued")
    assert then.work == Queued("interrupted")
    assert (then.record.result, then.job.retries, then.job.errors_total) == ("interrupted", 0, 0)


def test_a_submit_that_is_cut_by_a_stop_leaves_the_intent_as_it_is() -> None:
    then = after(submitting(), Interrupted())
    assert then.events == ()
    assert next_effect(submitting()) == Submit(INTENT)


@pytest.mark.parametrize("outcome", [Pending(), Saved(())])
def test_an_answer_that_no_submit_can_have_is_our_own_mistake(outcome: Outcome) -> None:
    with pytest.raises(IllegalOutcomeError, match="in submitting"):
        after(submitting(), outcome)


def test_the_provider_named_wait_is_kept_and_stretched_by_little() -> None:
    fault = msgspec.structs.replace(refusal(503), retry_after_s=40.0)
    assert after(submitting(), fault).work.retry_at == NOW + 40.0
    assert after(submitting(), fault, jitter=0.5).work.retry_at == NOW + 42.0


def test_a_message_from_outside_is_cut_to_what_a_job_may_keep() -> None:
    then = after(submitting(), Fault("submit", "http", http=400, message="x" * 5_000))
    assert then.job.error is not None
    assert len(then.job.error.message) == 2_000


def test_no_submit_is_retried_when_the_section_says_none() -> None:
    policy = Policy(limits=Limits(submit_retries=0))
    assert after(submitting(retries_max=0), refusal(503), policy).job.state == "failed"


def test_a_doubt_of_another_kind_of_provider_is_not_looked_up_for_days() -> None:
    able = Policy(abilities=Abilities(lookup=True))
    looking = submitting(Submitting(INTENT, reconcile_at=NOW))
    foreign = Fault("submit", FOREIGN, effect="unknown")
    assert after(looking, foreign, able).job.state == "in_doubt"
    assert after(looking, lost(), able).job.state == "submitting"
