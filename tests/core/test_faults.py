"""Rules: ordered, total, and never a way to pay twice by mistake."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.faults import DOS, GUARD, LAST_RESORT, SHARED, Rule, classify, matches
from daemon.core.kinds import KINDS
from daemon.core.outcomes import Fault
from tests.core.jobs import download_fault, lost, poll_fault, refusal

PHASES = ("prepare", "submit", "poll", "download")
STATUSES = (None, 400, 401, 402, 403, 404, 408, 409, 410, 422, 429, 434, 500, 502, 503, 504)
FAULTS = [
    Fault(phase, kind, http=http if kind == "http" else None, effect=effect)  # type: ignore[arg-type]
    for phase, kind, http, effect in itertools.product(
        PHASES, KINDS, STATUSES, ("none", "unknown", "accepted")
    )
    if kind == "http" or http is None
]


def test_every_fault_has_a_rule_without_the_last_resort() -> None:
    assert LAST_RESORT not in {classify(fault, ()) for fault in FAULTS}


def test_every_shared_rule_is_the_answer_to_some_fault() -> None:
    used = {classify(fault, ()) for fault in FAULTS}
    assert [rule.name for rule in (GUARD, *SHARED) if rule not in used] == []


@pytest.mark.parametrize(
    "fault", [f for f in FAULTS if f.phase == "submit" and f.effect == "unknown"]
)
def test_the_guard_stands_before_every_rule(fault: Fault) -> None:
    assert classify(fault, tuple(Rule(name=do, do=do) for do in DOS)) == GUARD


@given(
    fault=st.sampled_from([f for f in FAULTS if f.phase == "submit" and f.effect != "none"]),
    rules=st.lists(st.builds(Rule, name=st.just("r"), do=st.sampled_from(DOS)), max_size=4),
)
def test_only_resubmit_repeats_what_may_have_been_paid_for(fault: Fault, rules: list[Rule]) -> None:
    assert classify(fault, tuple(rules)).do not in ("retry", "tolerate", "pause")


@pytest.mark.parametrize(
    ("fields", "hit", "missed"),
    [
        ({"phase": "poll"}, poll_fault(504), download_fault(504)),
        ({"phase": "any"}, poll_fault(504), None),
        ({"http": "504"}, poll_fault(504), poll_fault(502)),
        ({"http": "5xx"}, poll_fault(502), poll_fault(404)),
        ({"http": "5xx"}, poll_fault(502), poll_fault(None)),
        ({"kind": "transport.*"}, poll_fault(None), poll_fault(504)),
        ({"kind": "http"}, poll_fault(504), poll_fault(None)),
        ({"code": "1302"}, refusal(429, code="1302"), refusal(429, code="1303")),
        ({"code": "1302"}, refusal(429, code="1302"), refusal(429)),
        ({"effect": "none"}, refusal(503), lost()),
    ],
)
def test_a_rule_matches_when_every_field_that_it_gives_does(
    fields: dict[str, Any], hit: Fault, missed: Fault | None
) -> None:
    rule = Rule(name="r", do="hold", **fields)
    assert matches(rule, hit)
    assert missed is None or not matches(rule, missed)


@pytest.mark.parametrize(
    ("said", "fails"),
    [
        ("Access plugin server url timed out", True),
        ("Server timeout", True),
        ("Request timed out", True),
        ("Internal server error", True),
        ("Normal error that should retry", False),
    ],
)
def test_the_keywords_of_the_coze_post_mortem_fail_at_once(said: str, fails: bool) -> None:
    words = Rule(
        name="coze.words",
        phase="poll",
        kind="provider.*",
        message="timeout|timed out|access plugin|server error",
        do="fail",
    )
    fault = Fault("poll", "provider.error", message=said, effect="accepted")
    assert (classify(fault, (words,)) == words) is fails


def test_the_keywords_of_a_provider_say_nothing_of_our_own_transport() -> None:
    words = Rule(name="w", phase="poll", kind="provider.*", message="timeout", do="fail")
    ours = Fault("poll", "transport.timeout.read", message="timeout", effect="accepted")
    assert classify(ours, (words,)).do == "tolerate"


@pytest.mark.parametrize("do", ["retry", "tolerate", "pause"])
def test_a_task_that_has_failed_is_not_waited_for_unless_a_rule_names_the_kind(do: Any) -> None:
    said = Fault("poll", "provider.failed", code="1305", message="busy", effect="accepted")
    by_code = Rule(name="busy", code="1305", do=do)
    by_kind = Rule(name="patient", kind="provider.failed", do=do)
    assert classify(said, (by_code,)).name == "shared.verdict"
    assert classify(said, (by_code, by_kind)).name == "patient"
    assert classify(refusal(429, code="1305"), (by_code,)).name == "busy"


def test_the_first_rule_that_matches_wins() -> None:
    rules = (
        Rule(name="a", phase="download", do="fail"),
        Rule(name="b", phase="poll", http="5xx", do="hold"),
        Rule(name="c", phase="poll", do="fail"),
    )
    assert classify(poll_fault(504), rules).name == "b"
