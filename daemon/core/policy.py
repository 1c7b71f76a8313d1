"""From a rule to a verdict: delays, limits and what a limit that is reached means."""

from collections.abc import Mapping
from typing import Literal, assert_never

import msgspec
from msgspec import Struct

from daemon.core.faults import PauseCause, Rule, Until, classify
from daemon.core.job import Intent, Job, streak
from daemon.core.outcomes import Fault

HINT_SLACK = 0.1
"""A time that the provider named is stretched by up to this share, so that jobs spread out."""
PREPARE_TRIES = 2
HINT_S_MAX = 32 * 86_400.0
"""A longer time to wait is no word of a provider, but a mistake; it is passed over. A quota of the
month may be a whole one away."""


class Limits(Struct, frozen=True, kw_only=True):
    """The numbers of a provider's section: interfaces.md 3. Durations in seconds."""

    concurrency: int = 3
    submits_per_minute: int = 0
    polls_per_minute: int = 0
    connect_timeout_s: float = 10.0
    submit_timeout_s: float = 600.0
    poll_timeout_s: float = 30.0
    poll_interval_s: float = 10.0
    generate_timeout_s: float = 1200.0
    download_timeout_s: float = 60.0
    download_retries: int = 3
    submit_retries: int = 5
    errors_consecutive_max: int = 5
    on_limit: Literal["hold", "fail"] = "hold"
    on_unknown: Literal["ask", "resubmit"] = "ask"
    reconcile_grace_s: float = 30.0
    watch_interval_s: float = 300.0
    cancel_grace_s: float = 300.0
    download_max_mb: int = 2048
    backoff_base_s: float = 2.0
    backoff_max_s: float = 60.0
    quota_pause_s: float = 300.0
    quota_streak_max: int = 3
    quota_reset_s: float = 3600.0
    health_streak_max: int = 5


class Abilities(Struct, frozen=True, kw_only=True):
    """What an engine declares: can it look up by key, cancel, tell progress; is it synchronous?

    `retention_s` is how long the provider keeps a task and its result.
    """

    lookup: bool = False
    cancel: bool = False
    progress: bool = False
    synchronous: bool = False
    retention_s: float = 86_400.0


class Policy(Struct, frozen=True, kw_only=True):
    """Everything that decisions about one provider's jobs depend on, besides the job."""

    rules: tuple[Rule, ...] = ()
    limits: Limits = Limits()
    abilities: Abilities = Abilities()


class Tolerate(Struct, frozen=True):
    """Count it (or not) and ask again after `after_s`; the task goes on."""

    after_s: float
    counted: bool = True


class Retry(Struct, frozen=True):
    """Repeat this phase's call after `after_s`; it can't have been paid for."""

    after_s: float


class Resubmit(Struct, frozen=True):
    """Submit anew, and pay again, after `after_s`. Only an operator's rule says so."""

    after_s: float


class Pause(Struct, frozen=True):
    """Close the provider's gate. `after_s` is the provider's word, None where it gave none."""

    cause: PauseCause
    until: Until
    after_s: float | None


class Hold(Struct, frozen=True):
    """Stop and keep everything; an operator decides."""

    reason: str


class Fail(Struct, frozen=True):
    """Final, until an operator requeues."""


class Reconcile(Struct, frozen=True):
    """The effect is unknown: look it up, else it is in doubt."""


Verdict = Tolerate | Retry | Resubmit | Pause | Hold | Fail | Reconcile


class Ruling(Struct, frozen=True):
    """A fault with the rule that matched it and what that rule comes to."""

    fault: Fault
    rule: Rule
    verdict: Verdict


class IllegalOutcomeError(Exception):
    """An outcome that can't occur in the job's state: our own mistake, so the job fails loudly."""

    def __init__(self, job: Job, outcome: object) -> None:
        super().__init__(f"{type(outcome).__name__} for job {job.id} in {job.state}")


def absence_counts_at(intent: Intent, policy: Policy) -> float:
    """From when on a lookup that finds nothing proves that the request never arrived.

    >>> absence_counts_at(Intent(1, "k", "http://a", "", sent_at=100.0), Policy())
    730.0
    """
    limits = policy.limits
    return intent.sent_at + limits.submit_timeout_s + limits.reconcile_grace_s


def reached_nobody(fault: Fault) -> bool:
    """Whether the request surely never reached the provider.

    >>> reached_nobody(Fault("submit", "transport.connect"))
    True
    >>> reached_nobody(Fault("submit", "transport.timeout.read", effect="unknown"))
    False
    """
    return fault.effect == "none" and fault.kind.startswith("transport.")


def backoff_s(streak: int, limits: Limits, *, jitter: float) -> float:
    """Full jitter below an exponential cap, in seconds; `streak` counts from 1.

    >>> [backoff_s(n, Limits(), jitter=1.0) for n in (1, 2, 3, 10)]
    [2.0, 4.0, 8.0, 60.0]
    """
    doublings = min(max(streak - 1, 0), 32)
    return jitter * min(limits.backoff_max_s, limits.backoff_base_s * 2.0**doublings)


def hint_s(fault: Fault) -> float | None:
    """How long the provider asks us to wait, in seconds; None if it says nothing that makes sense.

    >>> hint_s(Fault("submit", "http", retry_after_s=34.0))
    34.0
    >>> hint_s(Fault("submit", "http", retry_after_s=float("inf")))
    """
    asked = fault.retry_after_s
    return asked if asked is not None and 0.0 <= asked <= HINT_S_MAX else None


def delay_s(
    rule: Rule, fault: Fault, streak: int, limits: Limits, *, floor_s: float, jitter: float
) -> float:
    """How long to wait: the floor and the jittered backoff, or the provider's hint if longer.

    A hint counts up to quota_reset_s: what is paid for isn't left alone longer than that.

    >>> rule = Rule(name="r", do="tolerate")
    >>> delay_s(rule, Fault("poll", "http"), 1, Limits(), floor_s=10.0, jitter=0.5)
    11.0
    """
    wait = max(floor_s, rule.wait_s or 0.0) + backoff_s(streak, limits, jitter=jitter)
    hint = min(hint_s(fault) or 0.0, limits.quota_reset_s)
    return max(wait, hint * (1.0 + HINT_SLACK * jitter))


def rule_on(job: Job, fault: Fault, policy: Policy, *, jitter: float, tries: int = 0) -> Ruling:
    """The rule that matches and what follows, limits applied. Total.

    `tries` counts the downloads or preparations of this job that failed in a row before this one.

    >>> job = Job(id=1, provider="m", created_at=0.0, updated_at=0.0)
    >>> rule_on(job, Fault("poll", "http", http=504), Policy(), jitter=0.5).verdict
    Tolerate(after_s=11.0, counted=True)
    """
    rule = classify(fault, policy.rules)
    verdict = _verdict(job, fault, rule, policy.limits, jitter=jitter, tries=tries)
    return Ruling(fault, rule, verdict)


def _verdict(
    job: Job, fault: Fault, rule: Rule, limits: Limits, *, jitter: float, tries: int
) -> Verdict:
    errors = max(streak(job, fault.phase), tries) + 1
    floor_s = limits.poll_interval_s if fault.phase == "poll" else 0.0
    wait = delay_s(rule, fault, errors, limits, floor_s=floor_s, jitter=jitter)
    match rule.do:
        case "tolerate" if not rule.counted:
            return Tolerate(wait, counted=False)
        case "pause" if fault.phase in ("poll", "download") and rule.cause == "quota":
            return Tolerate(wait, counted=False)
        case "reconcile" if fault.phase == "submit":
            return Reconcile()
        case "resubmit" if fault.phase != "prepare":
            used_up = job.retries >= (rule.limit or 0)
            return _at_limit(fault, rule, limits) if used_up else Resubmit(wait)
        case "tolerate" | "retry" | "reconcile" | "resubmit":
            if _exhausted(job, fault, rule, limits, tries=tries):
                return _at_limit(fault, rule, limits)
            return Tolerate(wait) if fault.phase == "poll" else Retry(wait)
        case "pause":
            named, floor = hint_s(fault), rule.wait_s
            after = named if floor is None else max(floor, named or 0.0)
            return Pause(rule.cause, rule.until, after)
        case "hold":
            return Hold(rule.reason or ("download" if fault.phase == "download" else "operator"))
        case "fail":
            return Fail()
        case never:
            assert_never(never)


_HELD_FOR: Mapping[str, str] = {
    "prepare": "operator",
    "submit": "operator",
    "poll": "poll_limit",
    "download": "download",
}


def _exhausted(job: Job, fault: Fault, rule: Rule, limits: Limits, *, tries: int) -> bool:
    """Whether this failure is one too many of its phase. The job's own maxima are what is shown."""
    match fault.phase:
        case "submit":
            return job.retries >= (job.retries_max if rule.limit is None else rule.limit)
        case "poll":
            shown = job.errors_consecutive_max or limits.errors_consecutive_max
            return streak(job, "poll") + 1 >= (shown if rule.limit is None else rule.limit)
        case "prepare":
            return tries >= (PREPARE_TRIES if rule.limit is None else rule.limit)
        case "download":
            return tries >= (limits.download_retries if rule.limit is None else rule.limit)
        case never:
            assert_never(never)


def _at_limit(fault: Fault, rule: Rule, limits: Limits) -> Verdict:
    """A limit with a live task keeps it (or fails and watches, if so set); with none, fails.

    A rule with a `reason` says what it comes to then: it holds, however limits are set.
    """
    nothing_lives = fault.phase in ("prepare", "submit") or fault.kind == "provider.failed"
    if nothing_lives or (limits.on_limit == "fail" and not rule.reason):
        return Fail()
    return Hold(rule.reason or _HELD_FOR[fault.phase])


def renewed(limits: Limits, **changes: object) -> Limits:
    """`limits` with some of its numbers replaced, for overrides at run time.

    >>> renewed(Limits(), concurrency=1).concurrency
    1
    """
    return msgspec.structs.replace(limits, **changes)
