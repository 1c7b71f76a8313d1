"""At the provider and back: nothing paid for is dropped, and every end says why."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from daemon.core.decisions import waited
from daemon.core.effects import Fetch, Poll
from daemon.core.faults import Rule
from daemon.core.job import Downloading, Failure, Finished, Generating, Held, Queued
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
from daemon.core.policy import IllegalOutcomeError, Policy
from tests.core.jobs import (
    NOW,
    OUTPUT,
    POLL_ERROR,
    READY_REMOTE,
    REMOTE,
    RESULTS,
    after,
    download_fault,
    downloading,
    generating,
    limited,
    poll_fault,
    queued,
    succeeded,
    verdict,
)

FAILING = limited(on_limit="fail")


def ruled(**fields: Any) -> Policy:
    return Policy(rules=(Rule(name="mine", **fields),))


# ---- looking at the task ----


def test_a_look_that_changes_nothing_is_no_fact_and_the_next_is_an_interval_on() -> None:
    job = generating(progress=0.5)
    assert after(job, Pending(0.5)).events == ()
    assert after(job, Pending()).events == ()
    later = waited(job, NOW, Policy())
    assert next_effect(later) == Poll(
        msgspec.structs.replace(REMOTE, next_poll_at=NOW + 10.0, polls=1), NOW + 10.0
    )


def test_progress_is_told_when_it_changed() -> None:
    then = after(generating(progress=0.5), Pending(0.6))
    assert then.types == ["polled"]
    assert then.job.progress == 0.6
    assert (then.work.remote.next_poll_at, then.work.remote.polls) == (NOW + 10.0, 1)


def test_any_good_answer_clears_the_errors_in_a_row() -> None:
    job = generating(errors_consecutive=4, errors_total=9, error=POLL_ERROR)
    then = after(job, Pending())
    assert (then.job.errors_consecutive, then.job.errors_total) == (0, 9)
    assert then.job.error == POLL_ERROR


def test_the_fifth_error_in_a_row_holds_the_job_with_its_task() -> None:
    job = generating()
    for errors in range(1, 5):
        then = after(job, poll_fault(504), jitter=0.5)
        assert then.types == ["poll_failed"]
        assert then.job.errors_consecutive == errors
        assert then.work.remote.next_poll_at - NOW > 10.0
        job = then.job
    then = after(job, poll_fault(504))
    assert (then.job.state, then.job.reason) == ("held", "poll_limit")
    assert then.work.remote.remote_id == "remote-1"
    assert next_effect(then.job) == Poll(then.work.remote, NOW + 300.0, slow=True)
    assert then.job.billed is None


def test_a_good_answer_between_lets_the_count_begin_anew() -> None:
    job = generating(errors_consecutive=4, errors_total=4, error=POLL_ERROR)
    job = after(job, Pending()).job
    assert after(job, poll_fault(504)).job.errors_consecutive == 1


def test_errors_never_make_the_polls_come_faster() -> None:
    waits = []
    job = generating(errors_consecutive_max=9)
    for _ in range(5):
        then = after(job, poll_fault(None), jitter=1.0)
        waits.append(then.work.remote.next_poll_at - NOW)
        job = then.job
    assert waits == [12.0, 14.0, 18.0, 26.0, 42.0]


def test_a_limit_may_fail_the_job_which_is_watched_all_the_same() -> None:
    job = generating(errors_consecutive=4, errors_total=4, error=POLL_ERROR)
    then = after(job, poll_fault(504), FAILING)
    assert (then.job.state, then.job.billed) == ("failed", "unknown")
    assert then.work.remote.remote_id == "remote-1"
    assert isinstance(next_effect(then.job), Poll)


@pytest.mark.parametrize(("limit", "errors", "state"), [(2, 0, "generating"), (2, 1, "held")])
def test_a_rule_may_set_its_own_limit_in_a_row(limit: int, errors: int, state: str) -> None:
    policy = ruled(phase="poll", http="5xx", do="tolerate", limit=limit)
    job = generating(errors_consecutive=errors, errors_total=errors, error=POLL_ERROR)
    assert after(job, poll_fault(504), policy).job.state == state


def test_errors_of_an_earlier_phase_do_not_count_against_the_polls() -> None:
    earlier = Failure(phase="download", kind="http", http=403)
    job = generating(errors_consecutive=4, errors_total=4, error=earlier)
    then = after(job, poll_fault(504))
    assert (then.job.state, then.job.errors_consecutive) == ("generating", 1)


def test_quota_answers_while_polling_burn_nothing_and_space_the_polls_out() -> None:
    job = generating(errors_consecutive=4, errors_total=7, error=POLL_ERROR)
    for _ in range(20):
        then = after(job, poll_fault(429, retry_after_s=45.0))
        assert then.job.state == "generating"
        assert (then.job.errors_consecutive, then.job.errors_total) == (4, 7)
        assert then.work.remote.next_poll_at == NOW + 45.0
        assert then.gate.polls_spaced_until == NOW + 45.0
        assert then.gate.causes == ()
        job = then.job


def test_a_refused_key_while_polling_shuts_the_gate_and_the_task_goes_on() -> None:
    then = after(generating(), poll_fault(401))
    assert (then.job.state, then.job.errors_total) == ("generating", 0)
    assert then.gate.causes[0].cause == "auth"
    assert then.work.remote.next_poll_at == NOW + 60.0


@pytest.mark.parametrize("http", [404, 410, 403, 400])
def test_a_task_that_the_provider_does_not_tell_about_is_held_as_lost(http: int) -> None:
    then = after(generating(), poll_fault(http))
    assert (then.job.state, then.job.reason) == ("held", "lost")
    assert then.work.remote.remote_id == "remote-1"


def test_a_slow_answer_while_polling_is_tolerated() -> None:
    assert after(generating(), poll_fault(408)).job.state == "generating"


def test_the_verdict_of_the_provider_ends_the_job_and_its_task() -> None:
    then = after(generating(), verdict())
    assert (then.job.state, then.job.billed, then.job.finished_at) == ("failed", "unknown", NOW)
    assert then.work == Finished()
    assert next_effect(then.job) is None
    assert then.record.result == "failed"
    assert then.job.error is not None
    assert then.job.error.message == "filtered"


def test_a_rule_that_fails_without_a_verdict_keeps_the_id_and_the_watch() -> None:
    then = after(generating(), poll_fault(None), ruled(phase="poll", kind="transport.*", do="fail"))
    assert (then.job.state, then.job.billed) == ("failed", "unknown")
    assert then.work.remote.remote_id == "remote-1"


def test_a_rule_may_hold_a_job_whose_task_failed_and_there_is_nothing_to_watch() -> None:
    then = after(generating(), verdict(), ruled(kind="provider.failed", do="hold"))
    assert (then.job.state, then.job.billed) == ("held", "unknown")
    assert then.work == Held()


def test_a_rule_may_pay_again_after_a_verdict_within_its_limit() -> None:
    policy = ruled(kind="provider.failed", do="resubmit", limit=2)
    then = after(generating(retries=1), verdict(), policy)
    assert then.types == ["requeued"]
    assert then.work == Queued("backoff", NOW + 10.0)
    assert (then.job.retries, then.job.remote_id, then.job.billed) == (2, None, "unknown")
    assert then.record.result == "failed"
    over = after(generating(retries=2), verdict(), policy)
    assert (over.job.state, over.work.remote) == ("failed", None)


def test_a_rule_that_pays_again_without_a_limit_never_does() -> None:
    then = after(generating(), verdict(), ruled(kind="provider.failed", do="resubmit"))
    assert then.job.state == "failed"


@pytest.mark.parametrize("do", ["pause", "reconcile", "retry"])
def test_a_rule_that_fits_no_poll_still_lets_the_task_go_on(do: Any) -> None:
    then = after(generating(), poll_fault(504), ruled(phase="poll", do=do, cause="operator"))
    assert (then.job.state, then.work.remote.remote_id) == ("generating", "remote-1")


def test_a_rule_that_reconciles_polls_has_their_limit() -> None:
    job = generating(errors_consecutive=4, errors_total=4, error=POLL_ERROR)
    assert after(job, poll_fault(504), ruled(phase="poll", do="reconcile")).job.state == "held"


# ---- the deadline ----


def test_a_look_after_the_deadline_is_the_last_and_holds_the_job_with_hints() -> None:
    job = generating(deadline_at=NOW - 1.0)
    then = after(job, Pending(0.9))
    assert (then.job.state, then.job.reason) == ("held", "deadline")
    assert then.job.error is not None
    assert then.job.error.advice is not None
    assert then.job.error.advice.count("·") == 4
    assert then.work.remote.next_poll_at == NOW + 300.0


def test_a_result_that_the_last_look_finds_is_taken() -> None:
    then = after(generating(deadline_at=NOW - 9_999.0), Ready(RESULTS))
    assert then.job.state == "downloading"


def test_a_failed_look_is_not_the_last_one() -> None:
    assert after(generating(deadline_at=NOW - 1.0), poll_fault(504)).job.state == "generating"


def test_a_deadline_may_fail_the_job_which_is_watched_all_the_same() -> None:
    then = after(generating(deadline_at=NOW), Pending(), FAILING)
    assert (then.job.state, then.job.billed) == ("failed", "unknown")
    assert then.work.remote.remote_id == "remote-1"
    assert then.job.error is not None


# ---- a task that vanished ----


def test_a_vanished_task_is_submitted_again_as_a_new_attempt() -> None:
    then = after(generating(), Absent(), jitter=1.0)
    assert then.types == ["requeued"]
    assert then.work == Queued("backoff", NOW + 2.0)
    assert (then.job.retries, then.job.remote_id, then.job.deadline_at) == (1, None, None)
    assert then.record.result == "lost"
    assert then.job.error is not None
    assert then.job.error.rule == "vanished"


def test_tasks_that_vanish_again_and_again_fail_the_job_in_the_end() -> None:
    then = after(generating(retries=5), Absent())
    assert (then.job.state, then.job.billed) == ("failed", "unknown")
    assert then.job.error is not None


def test_a_result_that_vanished_before_it_was_fetched_is_not_paid_for_again() -> None:
    then = after(generating(Generating(REMOTE, refreshing=True)), Absent())
    assert (then.job.state, then.job.reason) == ("held", "link_expired")


# ---- the download ----


def test_a_ready_result_is_fetched_at_once() -> None:
    job = generating(errors_consecutive=2, errors_total=2, error=POLL_ERROR)
    then = after(job, Ready(RESULTS))
    assert then.types == ["ready"]
    assert next_effect(then.job) == Fetch(then.work.remote, NOW)
    assert then.job.errors_consecutive == 0


def test_a_filed_result_ends_the_job_and_its_troubles() -> None:
    then = after(downloading(error=POLL_ERROR, errors_total=3), Saved((OUTPUT,)))
    assert then.types == ["saved", "succeeded"]
    assert (then.job.state, then.job.outputs) == ("succeeded", (OUTPUT,))
    assert (then.job.error, then.job.billed, then.job.errors_total) == (None, "yes", 3)
    assert (then.job.finished_at, then.record.result) == (NOW, "succeeded")
    assert next_effect(then.job) is None


def test_a_second_success_keeps_the_outputs_of_the_first() -> None:
    second = msgspec.structs.replace(OUTPUT, path="/out/1-2.mp4")
    then = after(downloading(outputs=(OUTPUT,)), Saved((second,)))
    assert then.job.outputs == (OUTPUT, second)


def test_a_download_is_retried_and_then_held_with_everything_that_is_known() -> None:
    job = downloading()
    for tries in (1, 2, 3):
        then = after(job, download_fault(None), jitter=1.0)
        assert then.types == ["download_failed"]
        assert then.work.tries == tries
        assert then.work.fetch_at == NOW + 2.0**tries
        job = then.job
    then = after(job, download_fault(None))
    assert (then.job.state, then.job.reason, then.job.billed) == ("held", "download", "yes")
    assert then.work.remote.results == RESULTS
    assert next_effect(then.job) is None


def test_a_download_limit_may_fail_the_job_which_keeps_its_result() -> None:
    job = downloading(Downloading(READY_REMOTE, NOW, tries=3))
    then = after(job, download_fault(500), FAILING)
    assert (then.job.state, then.job.billed) == ("failed", "yes")
    assert then.work.remote.results == RESULTS


@pytest.mark.parametrize("http", [403, 404, 410])
def test_a_dead_link_is_asked_for_anew_once_and_then_held(http: int) -> None:
    then = after(downloading(), download_fault(http))
    assert then.types == ["download_failed"]
    assert then.work == Generating(REMOTE, refreshing=True)
    again = after(then.job, Ready(RESULTS))
    assert again.work.refreshed
    last = after(again.job, download_fault(http))
    assert (last.job.state, last.job.reason) == ("held", "link_expired")


def test_a_task_that_was_only_watched_gets_a_deadline_when_a_fresh_link_is_asked_for() -> None:
    job = msgspec.structs.replace(downloading(), deadline_at=None)
    assert after(job, download_fault(404)).job.deadline_at == NOW + 1200.0


def test_a_fresh_link_is_asked_for_no_sooner_than_an_interval_after_the_last_look() -> None:
    found = after(generating(), Ready(RESULTS))
    then = after(found.job, download_fault(404), now=NOW + 3.0)
    assert then.work.remote.next_poll_at == NOW + 10.0


def test_a_result_without_a_task_to_ask_is_held_when_its_link_is_dead() -> None:
    spooled = msgspec.structs.replace(READY_REMOTE, remote_id="")
    then = after(downloading(Downloading(spooled, NOW)), download_fault(404))
    assert (then.job.state, then.job.reason) == ("held", "link_expired")
    assert then.work.remote == spooled


def test_polls_that_fail_while_a_link_is_asked_for_hold_it_as_expired() -> None:
    job = generating(
        Generating(REMOTE, refreshing=True), errors_consecutive=4, errors_total=4, error=POLL_ERROR
    )
    assert after(job, poll_fault(504)).job.reason == "link_expired"


def test_quota_answers_while_downloading_burn_no_try() -> None:
    then = after(downloading(), download_fault(429))
    assert (then.work.tries, then.job.errors_total) == (0, 0)
    assert then.gate.polls_spaced_until == NOW + 20.0


def test_a_full_disk_waits_and_burns_no_try() -> None:
    full = Fault("download", "local.nospace", effect="accepted")
    then = after(downloading(Downloading(READY_REMOTE, NOW, tries=3)), full)
    assert (then.job.state, then.work.tries) == ("downloading", 3)
    assert then.work.fetch_at == NOW + 60.0
    assert [one.cause for one in then.gate.causes] == ["space"]


def test_a_result_that_is_too_large_is_held_at_once() -> None:
    then = after(downloading(), Fault("download", "local.toolarge", effect="accepted"))
    assert (then.job.state, then.job.reason) == ("held", "download")


def test_a_rule_may_pay_again_for_a_result_that_can_not_be_fetched() -> None:
    policy = ruled(phase="download", http="404", do="resubmit", limit=1)
    then = after(downloading(), download_fault(404), policy)
    assert then.types == ["requeued"]
    assert (then.job.state, then.job.billed) == ("queued", "unknown")


# ---- the rest ----


@pytest.mark.parametrize("job", [generating(), downloading()])
def test_a_stop_leaves_paid_work_as_it_is(job: Any) -> None:
    assert after(job, Interrupted()).events == ()


@pytest.mark.parametrize("job", [generating(), downloading()])
@pytest.mark.parametrize("outcome", [Accepted("r", "t"), Prepared("k", "t", "d")])
def test_an_answer_that_no_look_can_have_is_our_own_mistake(job: Any, outcome: Outcome) -> None:
    with pytest.raises(IllegalOutcomeError):
        after(job, outcome)


def test_waiting_moves_only_what_is_looked_at() -> None:
    for job in (queued(), succeeded(), downloading()):
        assert waited(job, NOW, Policy()) is job
