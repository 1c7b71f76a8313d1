"""What an outcome means for the provider: counters, pauses, the probe, the ramp.

`judge` reads an outcome of one job and answers with the provider's events; `machine.decide` does
the same for the job. Both lists are stored in one transaction.
"""

import msgspec
from msgspec import Struct

from daemon.core.events import Event, EventType
from daemon.core.gate import PROBED, Closure, Gate, GateCause, GateSource, state
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
from daemon.core.policy import Limits, Pause, Reconcile, Verdict

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
    """The provider's events that follow from `outcome`; `verdict` is the one on a fault."""
    match outcome:
        case Prepared():
            after, kind = _chosen(gate, job, at), None
        case Accepted() | Ready() if _intent(job) is not None:
            after, kind = _accepted(gate, job, limits, at)
        case Accepted() | Pending() | Ready() | Saved() | Absent():
            after, kind = _answered(gate), None
        case Fault():
            after, kind = _failed(gate, job, outcome, verdict, limits, at)
        case _:
            after, kind = _passed_on(gate, job), None
    return gate_events(job.provider, gate, after, kind, at.now)


def gate_events(
    provider: str,
    before: Gate,
    after: Gate,
    kind: EventType | None,
    now: float,
    *,
    by: str | None = None,
) -> tuple[Event, ...]:
    """One event if anything changed, of `kind` or else `provider_changed`."""
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
    """`gate` shut for `cause`: a cause that is there already is replaced.

    >>> close(Gate(), "operator", None, "lunch").causes[0].cause
    'operator'
    """
    others = tuple(one for one in gate.causes if one.cause != cause)
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


def _passed_on(gate: Gate, job: Job) -> Gate:
    """A probe that ended without saying anything about the provider: the next job is it."""
    return gate if gate.probe != job.id else msgspec.structs.replace(gate, probe=None)


def _accepted(gate: Gate, job: Job, limits: Limits, at: Moment) -> tuple[Gate, EventType | None]:
    """An accepted submit: health is good; quota too, if its intent is younger than the pause."""
    gate = _answered(gate)
    intent = _intent(job)
    if intent is None or intent.epoch < gate.epoch:
        return _passed_on(gate, job), None
    if gate.probe == job.id and state(gate, at.now) == "probing":
        kept = tuple(one for one in gate.causes if one.cause not in PROBED)
        ramp = 1 if limits.concurrency > 1 else None
        gate = msgspec.structs.replace(
            gate, causes=kept, probe=None, ramp=ramp, quota_consecutive=0
        )
        return gate, "provider_resumed"
    ramp = gate.ramp
    if ramp is not None:
        ramp = None if ramp * 2 >= limits.concurrency else ramp * 2
    quota = 0 if not any(one.cause in PROBED for one in gate.causes) else gate.quota_consecutive
    return msgspec.structs.replace(gate, ramp=ramp, quota_consecutive=quota), None


def _failed(
    gate: Gate, job: Job, fault: Fault, verdict: Verdict | None, limits: Limits, at: Moment
) -> tuple[Gate, EventType | None]:
    before = gate
    if fault.phase != "prepare" and _unhealthy(fault):
        gate = msgspec.structs.replace(gate, errors_consecutive=gate.errors_consecutive + 1)
    spaced = fault.http == 429 and fault.phase in ("poll", "download")
    if spaced:
        wait = max(fault.retry_after_s or 0.0, 2.0 * limits.poll_interval_s)
        gate = msgspec.structs.replace(gate, polls_spaced_until=at.now + wait)
    intent = _intent(job)
    match verdict:
        case Pause():
            return _paused(gate, job, fault, verdict, limits, at), "provider_paused"
        case Reconcile() if before.probe == job.id:
            until = at.now + limits.quota_pause_s
            reason = "the probe's answer was lost"
            return _shut(gate, "health", until, reason), "provider_paused"
        case _ if intent is not None and _reached_nobody(fault):
            unreached = gate.unreached + 1
            gate = msgspec.structs.replace(gate, unreached=unreached)
            if unreached >= limits.health_streak_max or before.probe == job.id:
                until = at.now + limits.backoff_max_s
                reason = f"{unreached} submits in a row reached nobody ({fault.kind})"
                return _shut(gate, "health", until, reason), "provider_paused"
            return gate, None
        case _ if intent is not None:
            return _passed_on(msgspec.structs.replace(gate, unreached=0), job), None
        case _:
            return gate, None


def _paused(gate: Gate, job: Job, fault: Fault, verdict: Pause, limits: Limits, at: Moment) -> Gate:
    """The gate shut as the verdict says; refusals older than the pause count once."""
    reason = _reason(fault)
    if verdict.cause == "space":
        return close(gate, "space", at.now + limits.backoff_max_s, reason, source="config")
    if verdict.until == "operator" or verdict.cause in ("auth", "operator"):
        return _shut(gate, verdict.cause, None, reason)
    wait = limits.quota_pause_s if verdict.after_s is None else verdict.after_s
    until = at.daily_at if verdict.until == "daily" else at.now + wait
    if until == FOREVER:
        until = at.now + max(wait, limits.quota_reset_s)
    intent = _intent(job)
    if intent is not None and intent.epoch < gate.epoch and _pause_of(gate) is not None:
        longest = max(until, _pause_of(gate) or 0.0)
        return close(gate, "quota", longest, reason)
    streak = gate.quota_consecutive + 1
    if streak >= limits.quota_streak_max:
        until = max(until, at.now + limits.quota_reset_s)
    gate = msgspec.structs.replace(gate, quota_consecutive=streak, paused_at=at.now)
    return _shut(gate, "quota", until, reason)


def _shut(gate: Gate, cause: GateCause, until_at: float | None, reason: str) -> Gate:
    """Closed, with a new epoch: intents written before it say nothing about what comes after."""
    gate = close(gate, cause, until_at, reason)
    return msgspec.structs.replace(gate, epoch=gate.epoch + 1, probe=None, ramp=None)


def _pause_of(gate: Gate) -> float | None:
    return next((one.until_at for one in gate.causes if one.cause == "quota"), None)


def _reason(fault: Fault) -> str:
    status = f"HTTP {fault.http}" if fault.http else fault.kind
    code = f" {fault.code}" if fault.code else ""
    words = f": {fault.message}" if fault.message else ""
    return f"{status}{code}{words}"[:300]


def _unhealthy(fault: Fault) -> bool:
    """Transport, 5xx and unreadable answers; not the request's own errors, not a verdict."""
    return fault.kind.startswith(("transport.", "protocol")) or (fault.http or 0) >= 500


def _reached_nobody(fault: Fault) -> bool:
    return fault.effect == "none" and fault.kind.startswith("transport.")
