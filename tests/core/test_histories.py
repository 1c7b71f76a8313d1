"""Random lives of a few jobs, in random weather, under random policies."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.core.faults import Rule
from daemon.core.policy import Abilities, Limits, Policy
from tests.core.simulation import HOUR, Plan, simulate

RULES = (
    Rule(name="fail-fast", phase="poll", kind="transport.*", do="fail"),
    Rule(name="pay-again", kind="provider.failed", do="resubmit", limit=1),
    Rule(name="hold", phase="submit", http="400", do="hold"),
    Rule(name="daily", phase="submit", http="429", do="pause", until="daily"),
    Rule(name="check", phase="submit", http="503", do="reconcile"),
    Rule(name="patient", phase="any", http="5xx", do="tolerate", wait_s=20.0, limit=3),
)
LIMITS = st.builds(
    Limits,
    concurrency=st.integers(1, 4),
    submit_timeout_s=st.sampled_from([20.0, 600.0]),
    poll_interval_s=st.sampled_from([5.0, 30.0]),
    generate_timeout_s=st.sampled_from([60.0, 1200.0]),
    download_retries=st.integers(0, 3),
    submit_retries=st.integers(0, 5),
    errors_consecutive_max=st.integers(1, 5),
    on_limit=st.sampled_from(["hold", "fail"]),
    on_unknown=st.sampled_from(["ask", "resubmit"]),
    watch_interval_s=st.sampled_from([60.0, 300.0]),
    cancel_grace_s=st.sampled_from([0.0, 300.0]),
    quota_reset_s=st.just(1_800.0),
    health_streak_max=st.integers(1, 5),
)
ABILITIES = st.builds(
    Abilities,
    lookup=st.booleans(),
    cancel=st.booleans(),
    progress=st.booleans(),
    synchronous=st.booleans(),
    retention_s=st.sampled_from([0.5 * HOUR, 24 * HOUR]),
)
POLICIES = st.builds(
    Policy,
    rules=st.lists(st.sampled_from(RULES), max_size=2).map(tuple),
    limits=LIMITS,
    abilities=ABILITIES,
)
PLANS = st.builds(
    Plan,
    policies=st.fixed_dictionaries({"vendor": POLICIES}),
    jobs=st.integers(1, 5),
    hours=st.just(1.5),
    commands=st.integers(0, 20),
    crashes=st.integers(0, 6),
    storms=st.integers(0, 8),
    pauses=st.integers(0, 2),
)


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32), plan=PLANS)
def test_no_history_pays_twice_loses_paid_work_or_gets_stuck(seed: int, plan: Plan) -> None:
    """The auditor holds every fact against what must be true of it (auditor.py)."""
    simulate(seed, plan)
