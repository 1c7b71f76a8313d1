"""What an outcome means for the provider: counters, pauses, the probe, the ramp.

`judge` reads an outcome of one job and answers with the provider's events; `machine.decide` does
the same for the job. Both lists are stored in one transaction.
"""

import msgspec
from msgspec import Struct

from daemon.core.events import Event, EventType
from daemon.core.gate import PROBED, Closure, Gate, GateCause, GateSource, lapsed, state
from daemon.core.job import Cancelling, Intent, Job, Submitting
from daemon.core.outcomes import (
    Absent,
    Accepted,
    Fault,
    Outcome,
    Pending,
    Prepared,
    Ready,
    Saved,
)
from daemon.core.policy import (
    Limits,
    Pause,
    Reconcile,
    Tolerate,
    Verdict,
    hint_s,
    reached_nobody,
)

FOREVER = float("inf")


class Moment(Struct, frozen=True):
    """What the shell knows and the core may not ask: the time, a random draw, the next reset.

    `jitter` is uniform in [0, 1); `daily_at` is when the provider's daily quota starts anew.
    """

    now: float
    jitter: float = 0.0
    daily_at: float = FOREVER


def judge(
    gate: Gate, job: Job, outcome: Outcome, verdict: Verdict | None, limits: Limits, at: Moment
) -> tuple[Event, ...]:
    """The provider's events that follow from `outcome`; `verdict` is the one on a fault.

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0)
    >>> judge(Gate(unreached=3), job, Pending(), None, Limits(), Moment(5.0))[0].gate.unreached
    0
    """
    kind: EventType | None = None
    match outcome:
        case Prepared():
            after = _chosen(gate, job, at)
        case Accepted() | Ready() if (intent := _intent(job)) is not None:
            after, kind = _accepted(gate, intent, limits)
        case Accepted() | Pending() | Ready() | Saved() | Absent():
            after = _answered(gate)
        case Fault():
            after, kind = _failed(gate, job, outcome, verdict, limits, at)
        case _:
            after = gate
    if after.probe == job.id and not isinstance(outcome, Prepared):
        after = msgspec.structs.replace(after, probe=None)  # the next job is the probe
    open_now = lapsed(after, at.now)
    if open_now is not after and not open_now.causes:
        kind = kind or "provider_resumed"
    return gate_events(job.provider, gate, open_now, kind, at.now)


def gate_events(
    provider: str,
    before: Gate,
    after: Gate,
    kind: EventType | None,
    now: float,
    *,
    by: str | None = None,
) -> tuple[Event, ...]:
    """One event if anything changed, of `kind` or else `provider_changed`.

    >>> gate_events("mock", Gate(), Gate(), None, 5.0)
    ()
    """
    if before == after:
        return ()
    event = Event(at=now, type=kind or "provider_changed", provider=provider, gate=after)
    return (event if by is None else msgspec.structs.replace(event, by=by),)


def close(
    gate: Gate,
    cause: GateCause,
    until_at: float | None,
    reason: str,
    *,
    source: GateSource = "provider",
) -> Gate:
    """`gate` shut for `cause`: one that is there already from the same source is replaced.

    Not one from another: who resumes what an operator paused opens nothing that the configuration
    has shut, and who enables a provider again opens nothing that an operator paused.

    >>> close(Gate(), "operator", None, "lunch").causes[0].cause
    'operator'
    """
    others = tuple(one for one in gate.causes if (one.cause, one.source) != (cause, source))
    closure = Closure(cause, until_at, reason, source)
    return msgspec.structs.replace(gate, causes=(*others, closure))


def reopen(gate: Gate, now: float) -> Gate:
    """`gate` after an operator's resume: quota and health still ask for one probe first.

    What the configuration closed (a missing key) stays: only the configuration opens it.

    >>> reopen(close(Gate(), "operator", None, "lunch"), 5.0).causes
    ()
    """
    kept = []
    for one in gate.causes:
        if one.source == "config":
            kept.append(one)
        elif one.cause in PROBED:
            kept.append(msgspec.structs.replace(one, until_at=now))
    return msgspec.structs.replace(gate, causes=tuple(kept), probe=None)


def without(gate: Gate, cause: GateCause) -> Gate:
    """`gate` with `cause` gone.

    >>> without(close(Gate(), "space", None, "disk full"), "space").causes
    ()
    """
    kept = tuple(one for one in gate.causes if one.cause != cause)
    return msgspec.structs.replace(gate, causes=kept)


def _intent(job: Job) -> Intent | None:
    """The intent whose answer this is, if the job was at its paid request."""
    match job.work:
        case Submitting(intent=intent) | Cancelling(intent=Intent() as intent):
            return intent
        case _:
            return None


def _chosen(gate: Gate, job: Job, at: Moment) -> Gate:
    """The first job to write its intent after a pause is the probe."""
    if state(gate, at.now) == "probing" and gate.probe is None:
        return msgspec.structs.replace(gate, probe=job.id)
    return gate


def _answered(gate: Gate) -> Gate:
    if gate.errors_consecutive == 0 and gate.unreached == 0:
        return gate
    return msgspec.structs.replace(gate, errors_consecutive=0, unreached=0)


def _accepted(gate: Gate, intent: Intent, limits: Limits) -> tuple[Gate, EventType | None]:
    """Health is good; quota too, if the intent is younger than the pause: the gate opens."""
    gate = _answered(gate)
    if intent.epoch < gate.epoch:
        return gate, None
    if any(one.cause in PROBED for one in gate.causes):
        kept = tuple(one for one in gate.causes if one.cause not in PROBED)
        ramp = 1 if limits.concurrency > 1 else None
        opened = msgspec.structs.replace(gate, causes=kept, ramp=ramp, quota_consecutive=0)
        return opened, None if kept else "provider_resumed"
    ramp = gate.ramp
    if ramp is not None:
        ramp = None if ramp * 2 >= limits.concurrency else ramp * 2
    return msgspec.structs.replace(gate, ramp=ramp, quota_consecutive=0), None


def _failed(
    gate: Gate, job: Job, fault: Fault, verdict: Verdict | None, limits: Limits, at: Moment
) -> tuple[Gate, EventType | None]:
    if fault.phase != "prepare" and _unhealthy(fault):
        gate = msgspec.structs.replace(gate, errors_consecutive=gate.errors_consecutive + 1)
    if fault.phase in ("poll", "download") and _asks_for_fewer(fault, verdict):
        gate = _spaced(gate, fault, limits, at.now)
    intent = _intent(job)
    match verdict:
        case Pause():
            return _paused(gate, intent, fault, verdict, limits, at), "provider_paused"
        case Reconcile() if gate.probe == job.id:
            until = at.now + limits.quota_pause_s
            return _shut(gate, "health", until, "the probe's answer was lost"), "provider_paused"
        case Reconcile():
            return gate, None
        case _ if intent is not None and reached_nobody(fault):
            return _unreached(gate, job, intent, fault, limits, at.now)
        case _ if intent is not None:
            return msgspec.structs.replace(gate, unreached=0), None
        case _:
            return gate, None


def _asks_for_fewer(fault: Fault, verdict: Verdict | None) -> bool:
    return fault.http == 429 or (isinstance(verdict, Tolerate) and not verdict.counted)


def _spaced(gate: Gate, fault: Fault, limits: Limits, now: float) -> Gate:
    """Polls of this provider wait: as long as it says, within reason, or two intervals."""
    wait = max(min(hint_s(fault) or 0.0, limits.quota_reset_s), 2.0 * limits.poll_interval_s)
    until = max(gate.polls_spaced_until or 0.0, now + wait)
    return msgspec.structs.replace(gate, polls_spaced_until=until)


def _unreached(
    gate: Gate, job: Job, intent: Intent, fault: Fault, limits: Limits, now: float
) -> tuple[Gate, EventType | None]:
    """One more submit that surely reached nobody; so many in a row, or the probe, shut the gate."""
    count = gate.unreached + 1
    gate = msgspec.structs.replace(gate, unreached=count)
    stale = intent.epoch < gate.epoch
    if stale or (count < limits.health_streak_max and gate.probe != job.id):
        return gate, None
    reason = f"{count} submits in a row reached nobody ({fault.kind})"
    return _shut(gate, "health", now + limits.backoff_max_s, reason), "provider_paused"


def _paused(
    gate: Gate, intent: Intent | None, fault: Fault, verdict: Pause, limits: Limits, at: Moment
) -> Gate:
    """The gate shut as the verdict says; refusals older than the last closing count once."""
    reason = _reason(fault)
    stale = intent is not None and intent.epoch < gate.epoch
    known = any(one.cause == verdict.cause and one.until_at is None for one in gate.causes)
    if verdict.cause == "space":
        until = at.now + limits.backoff_max_s
        return gate if known else close(gate, "space", until, reason, source="config")
    if verdict.until == "operator" or verdict.cause in ("auth", "operator"):
        return gate if stale or known else _shut(gate, verdict.cause, None, reason)
    wait = limits.quota_pause_s if verdict.after_s is None else verdict.after_s
    until = at.daily_at if verdict.until == "daily" else at.now + wait
    if until == FOREVER:
        until = at.now + max(wait, limits.quota_reset_s)
    if stale:
        return _prolonged(gate, until, reason)
    streak = gate.quota_consecutive + 1
    if streak >= limits.quota_streak_max:
        until = max(until, at.now + limits.quota_reset_s)
    gate = msgspec.structs.replace(gate, quota_consecutive=streak, paused_at=at.now)
    return _shut(gate, "quota", until, reason)


def _prolonged(gate: Gate, until: float, reason: str) -> Gate:
    """A pause that goes on may last longer than the first refusal said; one that is over stays so.

    What an old refusal says of a gate that opened since, the next submit finds out by itself.
    """
    for one in gate.causes:
        if one.cause == "quota" and one.until_at is not None and one.until_at < until:
            return close(gate, "quota", until, reason)
    return gate


def _shut(gate: Gate, cause: GateCause, until_at: float | None, reason: str) -> Gate:
    """Closed, with a new epoch: intents written before it say nothing about what comes after."""
    gate = close(gate, cause, until_at, reason)
    return msgspec.structs.replace(gate, epoch=gate.epoch + 1, probe=None, ramp=None)


def _reason(fault: Fault) -> str:
    status = f"HTTP {fault.http}" if fault.http else fault.kind
    code = f" {fault.code}" if fault.code else ""
    words = f": {fault.message}" if fault.message else ""
    return f"{status}{code}{words}"[:300]


def _unhealthy(fault: Fault) -> bool:
    """Transport, 5xx and unreadable answers; not the request's own errors, not a verdict."""
    return fault.kind.startswith(("transport.", "protocol")) or (fault.http or 0) >= 500
