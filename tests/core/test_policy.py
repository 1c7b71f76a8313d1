"""From a rule to a verdict: delays, limits, and what a limit that is reached means."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.core.faults import Rule
from daemon.core.job import Job
from daemon.core.outcomes import Fault
from daemon.core.policy import (
    Fail,
    Hold,
    Limits,
    Pause,
    Policy,
    Reconcile,
    Resubmit,
    Retry,
    Tolerate,
    Verdict,
    backoff_s,
    delay_s,
    hint_s,
    reached_nobody,
    renewed,
    rule_on,
)
from tests.core.jobs import (
    POLL_ERROR,
    download_fault,
    generating,
    lost,
    poll_fault,
    preparing,
    refusal,
    submitting,
    unreached,
)


def verdict(job: Job, fault: Fault, rule: Rule | None = None, **limits: Any) -> Verdict:
    policy = Policy(rules=() if rule is None else (rule,), limits=Limits(**limits))
    return rule_on(job, fault, policy, jitter=0.0).verdict


@pytest.mark.parametrize(
    ("do", "fault", "expected"),
    [
        ("tolerate", poll_fault(504), Tolerate(10.0)),
        ("retry", poll_fault(504), Tolerate(10.0)),
        ("reconcile", poll_fault(504), Tolerate(10.0)),
        ("tolerate", refusal(503), Retry(0.0)),
        ("retry", download_fault(500), Retry(0.0)),
        ("resubmit", poll_fault(504), Resubmit(10.0)),
        ("fail", poll_fault(504), Fail()),
        ("hold", poll_fault(504), Hold("operator")),
        ("hold", download_fault(500), Hold("download")),
        ("hold", refusal(503), Hold("operator")),
        ("reconcile", refusal(503), Reconcile()),
        ("pause", refusal(503), Pause("quota", "", None)),
        ("pause", poll_fault(504), Tolerate(10.0, counted=False)),
        ("pause", download_fault(500), Tolerate(0.0, counted=False)),
    ],
)
def test_what_a_rule_asks_for_is_what_follows(do: Any, fault: Fault, expected: Verdict) -> None:
    rule = Rule(name="r", do=do, limit=3 if do == "resubmit" else None)
    assert verdict(generating(), fault, rule) == expected


def test_a_pause_while_polling_that_is_not_for_quota_shuts_the_gate() -> None:
    rule = Rule(name="r", phase="poll", do="pause", cause="auth", until="operator")
    assert verdict(generating(), poll_fault(401), rule) == Pause("auth", "operator", None)


@pytest.mark.parametrize(
    ("rule_s", "said_s", "after_s"),
    [(None, None, None), (None, 40.0, 40.0), (90.0, 40.0, 90.0), (90.0, None, 90.0)],
)
def test_a_pause_lasts_as_long_as_the_provider_says_and_at_least_what_the_rule_says(
    rule_s: float | None, said_s: float | None, after_s: float | None
) -> None:
    rule = Rule(name="r", do="pause", wait_s=rule_s)
    pause = verdict(submitting(), refusal(429, retry_after_s=said_s), rule)
    assert pause == Pause("quota", "", after_s)


@pytest.mark.parametrize(
    ("fault", "on_limit", "expected"),
    [
        (poll_fault(504), "hold", Hold("poll_limit")),
        (poll_fault(504), "fail", Fail()),
        (download_fault(500), "hold", Hold("download")),
        (download_fault(500), "fail", Fail()),
        (refusal(503), "hold", Fail()),
        (refusal(503), "fail", Fail()),
        (Fault("prepare", "local.io"), "hold", Fail()),
        (Fault("poll", "provider.failed", effect="accepted"), "hold", Fail()),
    ],
)
def test_a_limit_with_a_live_task_holds_and_with_none_fails(
    fault: Fault, on_limit: Any, expected: Verdict
) -> None:
    rule = Rule(name="r", do="retry", limit=0)
    assert verdict(generating(), fault, rule, on_limit=on_limit) == expected


@pytest.mark.parametrize("on_limit", ["hold", "fail"])
def test_a_rule_with_a_reason_holds_for_it_at_its_limit(on_limit: Any) -> None:
    rule = Rule(name="r", do="tolerate", limit=0, reason="lost")
    assert verdict(generating(), poll_fault(404), rule, on_limit=on_limit) == Hold("lost")
    assert verdict(generating(), refusal(503), rule, on_limit=on_limit) == Fail()


def test_a_resubmit_before_the_first_submit_is_a_retry_that_ends() -> None:
    rule, fault = Rule(name="r", do="resubmit", limit=1), Fault("prepare", "local.io")
    policy = Policy(rules=(rule,))
    assert rule_on(preparing(), fault, policy, jitter=0.0).verdict == Retry(0.0)
    assert rule_on(preparing(), fault, policy, jitter=0.0, tries=1).verdict == Fail()


def test_a_limit_of_one_in_a_row_stops_at_the_first_error() -> None:
    assert verdict(generating(errors_consecutive_max=1), poll_fault()) == Hold("poll_limit")


def test_a_job_without_a_maximum_of_its_own_takes_the_one_of_its_provider() -> None:
    job = generating(errors_consecutive_max=0, errors_consecutive=2, error=POLL_ERROR)
    assert verdict(job, poll_fault(), errors_consecutive_max=3) == Hold("poll_limit")
    assert verdict(job, poll_fault(), errors_consecutive_max=4) == Tolerate(10.0)


def test_the_answer_to_a_paid_request_is_never_simply_retried() -> None:
    for do in ("retry", "tolerate", "pause"):
        assert verdict(submitting(), lost(), Rule(name="r", do=do)) == Reconcile()


def test_the_cap_of_the_backoff_holds_for_any_streak() -> None:
    assert backoff_s(10_000, Limits(), jitter=1.0) == 60.0
    assert backoff_s(0, Limits(), jitter=1.0) == 2.0


@pytest.mark.parametrize(
    ("said_s", "waits_s"),
    [(None, 12.0), (5.0, 12.0), (100.0, 110.0), (100_000.0, 3_960.0), (float("nan"), 12.0)],
)
def test_a_hint_is_obeyed_up_to_the_reset_and_never_below_the_floor(
    said_s: float | None, waits_s: float
) -> None:
    fault = poll_fault(503, retry_after_s=said_s)
    rule = Rule(name="r", do="tolerate")
    waited = delay_s(rule, fault, 1, Limits(), floor_s=10.0, jitter=1.0)
    assert waited == pytest.approx(waits_s)


def test_a_rule_may_ask_for_a_longer_wait_than_the_interval() -> None:
    rule = Rule(name="r", do="tolerate", wait_s=30.0)
    assert delay_s(rule, poll_fault(), 1, Limits(), floor_s=10.0, jitter=0.0) == 30.0


@pytest.mark.parametrize("said_s", [float("inf"), float("nan"), -1.0, 1e12, None])
def test_a_hint_that_makes_no_sense_is_passed_over(said_s: float | None) -> None:
    assert hint_s(refusal(429, retry_after_s=said_s)) is None


def test_a_quota_of_the_month_may_be_a_long_month_away() -> None:
    assert hint_s(refusal(429, retry_after_s=31 * 86_400.0)) == 31 * 86_400.0


def test_only_a_transport_that_surely_failed_reached_nobody() -> None:
    assert reached_nobody(unreached())
    assert not reached_nobody(lost())
    assert not reached_nobody(refusal(503))


def test_numbers_can_be_overridden_at_run_time() -> None:
    assert renewed(Limits(), concurrency=9, poll_interval_s=1.0).concurrency == 9
