"""The paid request: what follows from its answer, or from the lack of one.

The intent is on disk before the request leaves (preparing.py). An answer that was lost is looked
up, or becomes a doubt; nothing here ever sends a second request on its own for the same doubt,
but for `on_unknown = "resubmit"`, which an operator chose, once, with the same key.
"""

from typing import assert_never

import msgspec

from daemon.core import stages
from daemon.core.changes import (
    change,
    counted,
    ended,
    heavier,
    record,
    to_doubt,
    to_failed,
    to_held,
    to_queue,
)
from daemon.core.events import Event
from daemon.core.gate import Gate
from daemon.core.job import (
    Downloading,
    Failure,
    Generating,
    Intent,
    Job,
    Queued,
    Remote,
    Submitting,
    streak,
)
from daemon.core.judge import Moment
from daemon.core.kinds import FOREIGN
from daemon.core.outcomes import Absent, Accepted, Fault, Interrupted, Outcome, Ready, Unsent
from daemon.core.policy import (
    Fail,
    Hold,
    IllegalOutcomeError,
    Pause,
    Policy,
    Reconcile,
    Resubmit,
    Retry,
    Ruling,
    Tolerate,
    absence_counts_at,
    backoff_s,
    reached_nobody,
)
from daemon.core.preparing import unsent

Events = tuple[Event, ...]
NEVER_ARRIVED = Failure(
    phase="submit",
    kind="provider.error",
    message="the provider was asked and knows nothing of the request",
    rule="absent",
    advice="nothing was paid; requeue submits it again",
)
NAMELESS = Failure(
    phase="submit",
    kind="protocol",
    message="the request was accepted, and the answer names no task",
    rule="shared.accepted",
    advice="find its id at the provider and attach it; it is not sent again",
)


def accepted(intent: Intent, answer: Accepted | Ready, now: float) -> Remote:
    """The remote task that `answer` to `intent` named; when to ask for it is the caller's.

    >>> accepted(Intent(1, "k", "http://a", "", 5.0), Accepted("r-1", "http://b"), 6.0).target
    'http://b'
    """
    return Remote(
        key=intent.key,
        target=answer.target if isinstance(answer, Accepted) else intent.target,
        remote_id=answer.remote_id or "",
        accepted_at=now,
        next_poll_at=now,
        results=answer.results if isinstance(answer, Ready) else (),
    )


def decide_submitting(
    job: Job,
    work: Submitting,
    outcome: Outcome,
    ruling: Ruling | None,
    policy: Policy,
    gate: Gate,
    at: Moment,
) -> Events:
    """What follows from the answer to the paid request, or from a look for it.

    >>> work = Submitting(Intent(1, "k", "http://a", "", 5.0))
    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, attempt=1, work=work)
    >>> answer = Accepted("r-1", "http://a")
    >>> decide_submitting(job, work, answer, None, Policy(), Gate(), Moment(6.0))[0].remote_id
    'r-1'
    """
    match outcome:
        case Accepted(remote_id=""):
            return (_nameless(job, work.intent, policy, at),)
        case Accepted():
            return (_submitted(job, work.intent, outcome, policy, at.now),)
        case Ready():
            return (_answered(job, work.intent, outcome, at.now),)
        case Absent():
            return (_absent(job, work, policy, at),)
        case Unsent():
            return (unsent(job, work.intent, at.now),)
        case Interrupted():
            return ()
        case Fault() if ruling is not None:
            return (_submit_failed(job, work, ruling, policy, gate, at),)
        case _:
            raise IllegalOutcomeError(job, outcome)


def _submitted(job: Job, intent: Intent, answer: Accepted, policy: Policy, now: float) -> Event:
    first = now + policy.limits.poll_interval_s
    remote = msgspec.structs.replace(accepted(intent, answer, now), next_poll_at=first)
    return change(
        job,
        "submitted",
        now,
        "generating",
        Generating(remote),
        remote_id=answer.remote_id,
        errors_consecutive=0,
        progress=None,
        deadline_at=now + policy.limits.generate_timeout_s,
        stages=stages.turn(job.stages, now, "ok", "generate", job.attempt),
        attempt_record=record(job, remote_id=answer.remote_id, accepted_at=now),
    )


def _nameless(job: Job, intent: Intent, policy: Policy, at: Moment) -> Event:
    """Accepted without an id: there is nothing to ask for, and it is surely not sent again."""
    said = Fault("submit", "protocol", effect="accepted")
    return doubted(job, intent, policy, at, fault=said, error=NAMELESS)


def _answered(job: Job, intent: Intent, answer: Ready, now: float) -> Event:
    """A synchronous answer: the result is there, spooled, with no task to poll."""
    return change(
        job,
        "ready",
        now,
        "downloading",
        Downloading(accepted(intent, answer, now), now),
        remote_id=answer.remote_id,
        errors_consecutive=0,
        stages=stages.turn(job.stages, now, "ok", "download", job.attempt),
        attempt_record=record(job, remote_id=answer.remote_id, accepted_at=now),
    )


def _absent(job: Job, work: Submitting, policy: Policy, at: Moment) -> Event:
    """It counts only if it was asked late enough: a request may be registered late."""
    proven_at = absence_counts_at(work.intent, policy)
    if (work.reconcile_at or 0.0) < proven_at:
        waiting = Submitting(work.intent, max(proven_at, at.now))
        return change(job, "doubted", at.now, "submitting", waiting)
    closed = ended(job, at.now, "absent", NEVER_ARRIVED)
    if job.retries >= job.retries_max:
        return to_failed(job, at.now, {"error": NEVER_ARRIVED}, billed="no")
    wait = backoff_s(streak(job, "submit"), policy.limits, jitter=at.jitter)
    queued = Queued("backoff", at.now + wait)
    return to_queue(
        job, "submit_failed", at.now, queued, "retry", retries=job.retries + 1, **closed
    )


def _submit_failed(
    job: Job, work: Submitting, ruling: Ruling, policy: Policy, gate: Gate, at: Moment
) -> Event:
    fault, now = ruling.fault, at.now
    fields = counted(job, fault, ruling.rule)
    if may_be_accepted(fault):
        return doubted(job, work.intent, policy, at, fault=fault, **fields)
    refused = fault.effect == "none"  # else it was accepted, and the answer says that it failed
    closed = ended(job, now, "refused" if refused else "failed", fields["error"])
    if not refused:
        closed["billed"] = heavier(job.billed, "unknown")
    resend = work.intent if work.intent.resent and refused else None
    if _waits_for_health(ruling, gate):
        queued = Queued("provider", None, resend)
        return to_queue(job, "submit_failed", now, queued, "retry", **fields, **closed)
    match ruling.verdict:
        case Reconcile():
            return doubted(job, work.intent, policy, at, fault=fault, **fields)
        case Hold(reason):
            return to_held(job, now, reason, resend=resend, **fields, **closed)
        case Resubmit(after):
            queued = Queued("backoff", now + after, resend)
            fields["retries"] = job.retries + 1
        case Fail():
            return to_failed(job, now, fields, billed="no" if refused else "unknown")
        case Pause(cause):
            queued = Queued("quota" if cause == "quota" else "provider", None, resend)
            fields = counted(job, fault, ruling.rule, errors=0)
        case Retry(after) | Tolerate(after):
            queued = Queued("backoff", now + after, resend)
            fields["retries"] = job.retries + 1
        case never:
            assert_never(never)
    return to_queue(job, "submit_failed", now, queued, "retry", **fields, **closed)


def may_be_accepted(fault: Fault) -> bool:
    """Whether a task may live behind a failed submit. A verdict that it failed says that none does.

    >>> may_be_accepted(Fault("submit", "http", http=504, effect="unknown"))
    True
    >>> may_be_accepted(Fault("submit", "provider.failed", effect="accepted"))
    False
    """
    if fault.effect == "accepted":
        return fault.kind != "provider.failed"
    return fault.effect == "unknown"


def _waits_for_health(ruling: Ruling, gate: Gate) -> bool:
    """Nobody could be reached, and the gate was shut for that: the provider's fault, not the job's.

    So its retries stay untouched, and the last of them isn't spent on a provider that is down. The
    pause may be over when a late answer comes; the cause stands until somebody was reached.
    """
    if not reached_nobody(ruling.fault) or ruling.rule.do not in ("retry", "tolerate"):
        return False
    return any(one.cause == "health" for one in gate.causes)


def doubted(
    job: Job,
    intent: Intent,
    policy: Policy,
    at: Moment,
    *,
    fault: Fault | None = None,
    **fields: object,
) -> Event:
    """Nobody knows whether `intent` arrived: look it up where that is possible, else ask.

    The first look is at once; later ones back off. `fault` is the answer that left the doubt;
    where it said that the task was accepted, only its id being lost, nothing is sent again.

    >>> work = Submitting(Intent(1, "k", "http://a", "", 5.0))
    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, attempt=1, work=work)
    >>> event = doubted(job, work.intent, Policy(), Moment(6.0))
    >>> event.state, event.billed
    ('in_doubt', 'unknown')
    """
    now, limits = at.now, policy.limits
    foreign = fault is not None and fault.kind == FOREIGN  # nobody here can look it up
    able = policy.abilities.lookup and not foreign
    if able and now < intent.sent_at + policy.abilities.retention_s:
        again = isinstance(job.work, Submitting) and job.work.reconcile_at is not None
        backoff = backoff_s(streak(job, "submit"), limits, jitter=at.jitter)
        wait = limits.poll_interval_s + backoff if again else 0.0
        return change(job, "doubted", now, "submitting", Submitting(intent, now + wait), **fields)
    known = fault is not None and fault.effect == "accepted"
    if limits.on_unknown == "resubmit" and not intent.resent and not known:
        wait = backoff_s(streak(job, "submit"), limits, jitter=at.jitter)
        queued = Queued("backoff", now + wait, intent)
        fields["billed"] = heavier(job.billed, "unknown")
        return to_queue(job, "doubted", now, queued, "retry", **fields)
    return to_doubt(job, intent, now, **fields)
