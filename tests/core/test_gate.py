"""The provider's gate: what shuts it, who goes first, and how it opens again."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from daemon.core.faults import Rule
from daemon.core.gate import (
    Closure,
    Gate,
    admits,
    blocking,
    lapsed,
    on_the_way,
    passes,
    reopens_at,
    state,
)
from daemon.core.job import Cancelling, Generating, Intent, Job, Submitting
from daemon.core.judge import close, gate_events, reopen, without
from daemon.core.outcomes import (
    Absent,
    Accepted,
    Fault,
    Interrupted,
    Outcome,
    Pending,
    Picked,
    Prepared,
    Ready,
    Saved,
)
from daemon.core.policy import Abilities, Policy
from tests.core.jobs import (
    INTENT,
    NOW,
    REMOTE,
    RESULTS,
    TARGET,
    after,
    cancelling,
    downloading,
    generating,
    limited,
    lost,
    poll_fault,
    preparing,
    queued,
    refusal,
    submitting,
    unreached,
)

READY = Prepared("key-1", TARGET, "d")
PAUSED = Gate((Closure("quota", NOW + 300.0, "429"),), epoch=1)
ASKING = Gate((Closure("quota", NOW - 1.0, "429"),), epoch=1)
"""The pause is over; nobody went first yet."""
PROBING = msgspec.structs.replace(ASKING, probe=1)


def sent(epoch: int = 0, number: int = 1, **changes: Any) -> Job:
    """A job whose intent was written when the gate's epoch was `epoch`."""
    work = Submitting(msgspec.structs.replace(INTENT, epoch=epoch))
    return msgspec.structs.replace(submitting(work, **changes), id=number)


# ---- what a gate says ----


@pytest.mark.parametrize(
    ("gate", "word"),
    [
        (Gate(), "open"),
        (PAUSED, "paused"),
        (Gate((Closure("operator", None, "lunch"),)), "paused"),
        (Gate((Closure("auth", None, "401"),)), "closed"),
        (Gate((Closure("quota", NOW + 1, "429"), Closure("auth", None, "401"))), "closed"),
        (ASKING, "probing"),
        (Gate((Closure("health", NOW, "down"),)), "probing"),
        (Gate((Closure("operator", NOW - 1.0, "lunch"),)), "open"),
        (Gate(ramp=2), "ramping"),
    ],
)
def test_a_gate_has_one_word_for_what_it_does(gate: Gate, word: str) -> None:
    assert state(gate, NOW) == word


@pytest.mark.parametrize(
    ("gate", "on_their_way", "more"),
    [
        (Gate(), 7, None),
        (PAUSED, 0, 0),
        (ASKING, 0, 1),
        (ASKING, 1, 0),
        (PROBING, 0, 0),
        (Gate(ramp=4), 1, 3),
        (Gate(ramp=2), 5, 0),
    ],
)
def test_a_gate_admits_so_many_more(gate: Gate, on_their_way: int, more: int | None) -> None:
    assert admits(gate, NOW, on_the_way=on_their_way) == more


def test_only_the_probe_passes_while_it_is_out() -> None:
    assert [passes(PROBING, NOW, job) for job in (1, 2)] == [True, False]
    assert passes(ASKING, NOW, 2)
    assert not passes(PAUSED, NOW, 1)
    assert passes(Gate(ramp=1), NOW, 2)


def test_a_gate_reopens_when_the_last_of_its_times_is_over() -> None:
    gate = Gate((Closure("quota", NOW + 5.0, ""), Closure("space", NOW + 9.0, "")))
    assert reopens_at(gate, NOW) == NOW + 9.0
    assert reopens_at(Gate(), NOW) is None
    assert reopens_at(close(gate, "auth", None, "401"), NOW) is None
    assert [one.cause for one in blocking(gate, NOW)] == ["space", "quota"]


def test_causes_that_ran_out_are_dropped_unless_they_ask_for_a_probe() -> None:
    old = NOW - 1.0
    gate = Gate((Closure("quota", old, ""), Closure("space", old, ""), Closure("auth", None, "")))
    assert [one.cause for one in lapsed(gate, NOW).causes] == ["quota", "auth"]
    assert lapsed(PAUSED, NOW) is PAUSED


@pytest.mark.parametrize(
    ("job", "counts"),
    [
        (queued(), False),
        (preparing(), True),
        (submitting(), True),
        (submitting(Submitting(INTENT, reconcile_at=NOW)), False),
        (cancelling(Cancelling(intent=INTENT)), True),
        (cancelling(Cancelling(intent=INTENT, reconcile_at=NOW)), False),
        (cancelling(), False),
        (generating(), False),
    ],
)
def test_a_lookup_that_may_take_all_day_does_not_count_as_on_the_way(
    job: Job, counts: bool
) -> None:
    assert on_the_way(job) is counts


# ---- quota ----


def refused(gate: Gate, now: float, said_s: float | None = None) -> Gate:
    """The gate after a probe, sent and refused at `now`."""
    job = sent(gate.epoch)
    return after(job, refusal(429, retry_after_s=said_s), gate=gate, now=now).gate


def test_the_pauses_of_veo_are_300_and_300_and_3600_seconds() -> None:
    gate, now, waits = Gate(), NOW, []
    for _ in range(4):
        gate = refused(gate, now)
        until = reopens_at(gate, now)
        assert until is not None
        waits.append(until - now)
        now = until
    assert waits == [300.0, 300.0, 3600.0, 3600.0]
    assert gate.quota_consecutive == 4


@pytest.mark.parametrize(("said_s", "waits_s"), [(40.0, 40.0), (5_000.0, 5_000.0), (0.0, 0.0)])
def test_a_pause_lasts_as_long_as_the_provider_says(said_s: float, waits_s: float) -> None:
    gate = refused(Gate(), NOW, said_s)
    assert gate.causes[0].until_at == NOW + waits_s


def test_the_third_pause_in_a_row_is_the_longer_of_the_word_and_the_reset() -> None:
    twice = msgspec.structs.replace(Gate(), quota_consecutive=2)
    assert refused(twice, NOW, 40.0).causes[0].until_at == NOW + 3600.0
    assert refused(twice, NOW, 9_000.0).causes[0].until_at == NOW + 9_000.0


def test_a_daily_quota_pauses_until_the_provider_counts_anew() -> None:
    policy = Policy(rules=(Rule(name="r", phase="submit", http="429", do="pause", until="daily"),))
    then = after(sent(), refusal(429), policy, daily_at=NOW + 50_000.0)
    assert then.gate.causes[0].until_at == NOW + 50_000.0
    unknown = after(sent(), refusal(429), policy)
    assert unknown.gate.causes[0].until_at == NOW + 3600.0


def test_refusals_of_requests_older_than_the_pause_count_once() -> None:
    gate = refused(Gate(), NOW)
    assert (gate.quota_consecutive, gate.epoch, gate.paused_at) == (1, 1, NOW)
    then = after(sent(epoch=0, number=2), refusal(429), gate=gate, now=NOW + 1.0)
    assert then.gate.quota_consecutive == 1
    assert then.gate.causes[0].until_at == NOW + 301.0
    assert then.job.state == "queued"


def test_an_old_refusal_that_asks_for_less_changes_nothing() -> None:
    gate = refused(Gate(), NOW)
    assert after(sent(number=2), refusal(429, retry_after_s=5.0), gate=gate).gate == gate


def test_an_old_refusal_does_not_shut_a_gate_that_opened_since() -> None:
    gate = after(sent(epoch=1), Accepted("r", TARGET), gate=PROBING).gate
    assert state(gate, NOW) == "ramping"
    then = after(sent(epoch=0, number=2), refusal(429), gate=gate)
    assert then.gate == gate
    assert then.job.state == "queued"


def test_a_good_poll_proves_nothing_about_quota() -> None:
    gate = msgspec.structs.replace(PAUSED, quota_consecutive=2, errors_consecutive=3, unreached=2)
    then = after(generating(), Pending(0.5), gate=gate)
    assert (then.gate.quota_consecutive, then.gate.causes) == (2, PAUSED.causes)
    assert (then.gate.errors_consecutive, then.gate.unreached) == (0, 0)


def test_an_accepted_request_older_than_the_pause_proves_nothing_about_quota() -> None:
    gate = msgspec.structs.replace(PAUSED, quota_consecutive=2)
    then = after(sent(epoch=0), Accepted("r", TARGET), gate=gate)
    assert then.gate == gate


# ---- the probe ----


def test_the_first_to_write_its_intent_after_a_pause_is_the_probe() -> None:
    first = after(preparing(), READY, gate=ASKING)
    assert (first.gate.probe, first.job.state) == (1, "submitting")
    second = msgspec.structs.replace(preparing(), id=2)
    then = after(second, READY, gate=first.gate)
    assert (then.job.state, then.gate.probe) == ("queued", 1)


@pytest.mark.parametrize("answer", [Accepted("r", TARGET), Ready(RESULTS)])
def test_an_accepted_probe_opens_the_gate_and_the_ramp_begins(answer: Outcome) -> None:
    gate = msgspec.structs.replace(PROBING, quota_consecutive=2)
    then = after(sent(epoch=1), answer, gate=gate)
    assert then.gate_types == ["provider_resumed"]
    assert (then.gate.causes, then.gate.probe, then.gate.quota_consecutive) == ((), None, 0)
    assert then.gate.ramp == 1


@pytest.mark.parametrize(
    ("concurrency", "ramps"), [(1, [None]), (2, [1, None]), (3, [1, 2, None]), (8, [1, 2, 4, None])]
)
def test_the_ramp_doubles_to_the_limit(concurrency: int, ramps: list[int | None]) -> None:
    policy, gate, seen = limited(concurrency=concurrency), PROBING, []
    for _ in ramps:
        gate = after(sent(gate.epoch), Accepted("r", TARGET), policy, gate=gate).gate
        seen.append(gate.ramp)
    assert seen == ramps
    assert state(gate, NOW) == "open"


@pytest.mark.parametrize(
    ("outcome", "causes", "until"),
    [
        (refusal(429), ["quota"], NOW + 300.0),
        (lost(), ["health"], NOW + 300.0),
        (unreached(), ["health"], NOW + 60.0),
        (refusal(401), ["auth"], None),
    ],
)
def test_a_probe_that_fails_shuts_the_gate_again(
    outcome: Fault, causes: list[str], until: float | None
) -> None:
    then = after(sent(epoch=1), outcome, gate=PROBING)
    shut = blocking(then.gate, NOW)
    assert [one.cause for one in shut] == causes
    assert shut[0].until_at == until
    assert (then.gate.probe, then.gate.epoch) == (None, 2)
    assert then.gate_types == ["provider_paused"]


ENDINGS: list[Outcome] = [
    Accepted("r", TARGET),
    Ready(RESULTS),
    Absent(),
    Interrupted(),
    refusal(400),
    refusal(503),
    refusal(429),
    unreached(),
    lost(),
    Fault("submit", "local.nospace"),
    Fault("submit", "provider.failed", effect="accepted"),
]


@pytest.mark.parametrize("outcome", ENDINGS)
@pytest.mark.parametrize("cancelled", [False, True])
@pytest.mark.parametrize("other", [None, "operator", "auth", "space"])
def test_whatever_ends_a_probe_ends_its_probing(
    outcome: Outcome, cancelled: bool, other: Any
) -> None:
    """Whatever else shut the gate meanwhile: a probe that nobody ends would hold it for ever."""
    gate = PROBING if other is None else close(PROBING, other, None, "meanwhile")
    job = sent(epoch=1)
    if cancelled:
        job = cancelling(Cancelling(intent=msgspec.structs.replace(INTENT, epoch=1)))
    assert after(job, outcome, gate=gate).gate.probe is None


def test_an_accepted_probe_opens_its_causes_though_another_shut_the_gate_meanwhile() -> None:
    gate = close(PROBING, "operator", None, "lunch", source="operator")
    then = after(sent(epoch=1), Accepted("r", TARGET), gate=gate)
    assert [one.cause for one in then.gate.causes] == ["operator"]
    assert then.gate_types == ["provider_changed"]
    assert state(reopen(then.gate, NOW), NOW) == "ramping"


def test_a_probe_that_was_refused_as_a_request_leaves_the_next_job_to_probe() -> None:
    then = after(sent(epoch=1), refusal(400), gate=PROBING)
    assert then.gate == ASKING
    assert admits(then.gate, NOW, on_the_way=0) == 1


# ---- health ----


def test_submits_in_a_row_that_reach_nobody_shut_the_gate() -> None:
    gate = Gate()
    for number in range(1, 5):
        gate = after(sent(number=number), unreached(), gate=gate).gate
        assert (gate.unreached, gate.causes) == (number, ())
    then = after(sent(number=5), unreached(), gate=gate)
    assert blocking(then.gate, NOW)[0].cause == "health"
    assert reopens_at(then.gate, NOW) == NOW + 60.0


@pytest.mark.parametrize("outcome", [refusal(400), refusal(503), Accepted("r", TARGET)])
def test_a_submit_that_reached_somebody_ends_the_row(outcome: Outcome) -> None:
    assert after(sent(), outcome, gate=Gate(unreached=4)).gate.unreached == 0


def test_a_lost_answer_neither_lengthens_nor_ends_the_row() -> None:
    assert after(sent(), lost(), gate=Gate(unreached=4)).gate.unreached == 4


def test_old_requests_that_reach_nobody_do_not_shut_the_gate_again() -> None:
    shut = Gate((Closure("health", NOW + 60.0, "down"),), epoch=1, unreached=5)
    then = after(sent(epoch=0), unreached(), gate=shut)
    assert (then.gate.epoch, then.gate.causes) == (1, shut.causes)


@pytest.mark.parametrize(
    ("job", "fault", "counts"),
    [
        (generating(), poll_fault(504), True),
        (generating(), poll_fault(None), True),
        (generating(), Fault("poll", "protocol", effect="accepted"), True),
        (generating(), poll_fault(404), False),
        (generating(), poll_fault(429), False),
        (generating(), Fault("poll", "provider.failed", effect="accepted"), False),
        (downloading(), Fault("download", "local.io", effect="accepted"), False),
        (submitting(), lost(), True),
        (submitting(), refusal(400), False),
        (preparing(), Fault("prepare", "transport.reset"), False),
    ],
)
def test_only_the_transport_and_server_errors_count_against_a_provider(
    job: Job, fault: Fault, counts: bool
) -> None:
    then = after(job, fault, gate=Gate(errors_consecutive=2))
    assert then.gate.errors_consecutive == (3 if counts else 2)


@pytest.mark.parametrize(
    ("job", "outcome"),
    [
        (submitting(), Accepted("r", TARGET)),
        (generating(), Ready(RESULTS)),
        (generating(), Absent()),
        (downloading(), Saved(())),
    ],
)
def test_any_good_answer_of_any_job_clears_the_errors_of_the_provider(
    job: Job, outcome: Outcome
) -> None:
    assert after(job, outcome, gate=Gate(errors_consecutive=9)).gate.errors_consecutive == 0


# ---- keys, space, operators ----


def test_a_refused_key_shuts_the_gate_until_somebody_acts_and_is_told_once() -> None:
    gate = after(sent(), refusal(401), gate=Gate()).gate
    assert (state(gate, NOW), gate.epoch) == ("closed", 1)
    assert after(sent(number=2), refusal(401), gate=gate).gate_types == []
    assert after(generating(), poll_fault(401), gate=gate).gate_types == []
    assert state(reopen(gate, NOW), NOW) == "open"


def test_a_key_refused_to_an_old_request_does_not_shut_a_gate_that_was_resumed() -> None:
    gate = reopen(after(sent(), refusal(401)).gate, NOW)
    assert after(sent(number=2), refusal(401), gate=gate).gate == gate


def test_a_full_disk_shuts_the_gate_for_a_moment_and_it_opens_by_itself() -> None:
    gate = after(preparing(), Fault("prepare", "local.nospace")).gate
    assert (state(gate, NOW), reopens_at(gate, NOW)) == ("paused", NOW + 60.0)
    assert state(gate, NOW + 61.0) == "open"
    then = after(generating(), Pending(0.1), gate=gate, now=NOW + 61.0)
    assert (then.gate.causes, then.gate_types) == ((), ["provider_resumed"])


def test_what_is_known_about_the_disk_is_not_cut_short_by_a_job_that_met_it() -> None:
    gate = close(Gate(), "space", None, "the journal can't be written")
    assert after(preparing(), Fault("prepare", "local.nospace"), gate=gate).gate == gate


def test_an_operators_resume_asks_for_a_probe_where_quota_or_health_shut_the_gate() -> None:
    gate = reopen(msgspec.structs.replace(PAUSED, probe=9), NOW)
    assert (state(gate, NOW), gate.probe) == ("probing", None)


def test_an_operators_resume_leaves_what_the_configuration_closed() -> None:
    gate = close(Gate(), "auth", None, "no key", source="config")
    assert reopen(gate, NOW) == gate
    assert without(gate, "auth") == Gate()


def test_a_cause_replaces_itself_and_stands_beside_others() -> None:
    gate = close(close(PAUSED, "operator", None, "lunch"), "quota", NOW + 900.0, "again")
    assert [(one.cause, one.until_at) for one in gate.causes] == [
        ("operator", None),
        ("quota", NOW + 900.0),
    ]


def test_an_event_of_the_gate_says_who_did_it() -> None:
    (event,) = gate_events("veo", Gate(), PAUSED, "provider_paused", NOW, by="ana")
    assert (event.type, event.provider, event.by, event.gate) == (
        "provider_paused",
        "veo",
        "ana",
        PAUSED,
    )


# ---- spacing ----


def test_the_polls_of_a_provider_are_spaced_by_two_intervals_or_its_own_word() -> None:
    assert after(generating(), poll_fault(429)).gate.polls_spaced_until == NOW + 20.0
    said = after(generating(), poll_fault(429, retry_after_s=70.0))
    assert said.gate.polls_spaced_until == NOW + 70.0
    absurd = after(generating(), poll_fault(429, retry_after_s=1e6))
    assert absurd.gate.polls_spaced_until == NOW + 3600.0
    shorter = after(generating(), poll_fault(429), gate=said.gate)
    assert shorter.gate.polls_spaced_until == NOW + 70.0


def test_a_quota_code_without_the_status_spaces_the_polls_too() -> None:
    rule = Rule(name="coze.quota", code="4101", do="pause")
    fault = Fault("poll", "provider.error", code="4101", effect="accepted")
    then = after(generating(), fault, Policy(rules=(rule,)))
    assert then.gate.polls_spaced_until == NOW + 20.0
    assert then.gate.causes == ()


# ---- what has no bearing ----


@pytest.mark.parametrize("outcome", [Interrupted(), Pending()])
def test_what_says_nothing_of_the_provider_leaves_its_gate(outcome: Outcome) -> None:
    job = generating(Generating(REMOTE))
    assert after(job, outcome, gate=PAUSED).gate == PAUSED
    assert after(queued(), Picked(), gate=Gate(probe=9)).gate.probe == 9


def test_a_lookup_that_fails_says_nothing_of_quota_or_key() -> None:
    policy = Policy(abilities=Abilities(lookup=True))
    looking = submitting(Submitting(Intent(1, "k", TARGET, "d", NOW - 5.0), NOW))
    for fault in (refusal(429), refusal(401), unreached(), poll_fault(429)):
        assert after(looking, fault, policy).gate.causes == ()
