"""From the queue to the provider: what follows while a job prepares and submits.

The paid path. An intent is written before the request leaves; an answer that was lost is looked
up or becomes a doubt; nothing here ever sends a second request on its own for the same doubt,
but for `on_unknown = "resubmit"`, which an operator chose, once, with the same key.
"""

from typing import assert_never

import msgspec

from daemon.core import stages
from daemon.core.changes import change, counted, ended, record, to_failed, to_held, to_queue
from daemon.core.events import Event
from daemon.core.gate import Gate, blocking, passes
from daemon.core.job import (
    Attempt,
    Downloading,
    Generating,
    InDoubt,
    Intent,
    Job,
    Preparing,
    Queued,
    Remote,
    Submitting,
)
from daemon.core.judge import Moment
from daemon.core.outcomes import Absent, Accepted, Fault, Interrupted, Outcome, Prepared, Ready
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
)

Events = tuple[Event, ...]


def started(job: Job, work: Queued, now: float) -> Event:
    attempt = work.resend.attempt if work.resend else job.attempt + 1
    return change(
        job,
        "started",
        now,
        "preparing",
        Preparing(work.resend),
        stages=stages.turn(job.stages, now, "ok", "prepare", attempt),
        started_at=now if job.started_at is None else job.started_at,
    )


def decide_preparing(
    job: Job,
    work: Preparing,
    outcome: Outcome,
    ruling: Ruling | None,
    gate: Gate,
    at: Moment,
) -> Events:
    match outcome:
        case Prepared() if passes(gate, at.now, job.id):
            return (_intended(job, work, outcome, gate, at.now),)
        case Prepared():
            queued = Queued("provider", None, work.resend)
            return (to_queue(job, "interrupted", at.now, queued, "interrupted"),)
        case Interrupted():
            queued = Queued("interrupted", None, work.resend)
            return (to_queue(job, "interrupted", at.now, queued, "interrupted"),)
        case Fault() if ruling is not None:
            return (_prepare_failed(job, work, ruling, at),)
        case _:
            raise IllegalOutcomeError(job, outcome)


def _intended(job: Job, work: Preparing, ready: Prepared, gate: Gate, now: float) -> Event:
    """The intent: what must be on disk before the first byte leaves."""
    old = work.resend
    intent = Intent(
        attempt=old.attempt if old else job.attempt + 1,
        key=old.key if old else ready.key,
        target=old.target if old else ready.target,
        digest=ready.digest,
        sent_at=now,
        epoch=gate.epoch,
        resent=old is not None,
    )
    return change(
        job,
        "submitting",
        now,
        "submitting",
        Submitting(intent),
        attempt=intent.attempt,
        stages=stages.turn(job.stages, now, "ok", "submit", intent.attempt),
        attempt_record=Attempt(intent.attempt, intent.key, submitted_at=now),
        billed=None,
    )


def _prepare_failed(job: Job, work: Preparing, ruling: Ruling, at: Moment) -> Event:
    fields = counted(job, ruling.fault, ruling.rule)
    match ruling.verdict:
        case Fail():
            return to_failed(job, at.now, fields, billed="no")
        case Hold(reason):
            return to_held(job, at.now, reason, remote=None, watch_s=0.0, **fields)
        case Retry(after) | Tolerate(after) | Resubmit(after):
            queued = Queued("backoff", at.now + after, work.resend)
        case Pause() | Reconcile():
            queued = Queued("provider", None, work.resend)
            fields = counted(job, ruling.fault, ruling.rule, errors=0)
        case never:
            assert_never(never)
    return to_queue(job, "submit_failed", at.now, queued, "retry", **fields)


def accepted(job: Job, intent: Intent, answer: Accepted | Ready, at: Moment) -> Remote:
    """The remote task that `answer` to `intent` named; its first poll is one interval off."""
    target = answer.target if isinstance(answer, Accepted) else intent.target
    results = answer.results if isinstance(answer, Ready) else ()
    return Remote(
        key=intent.key,
        target=target,
        remote_id=answer.remote_id or "",
        accepted_at=at.now,
        next_poll_at=at.now,
        results=results,
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
    match outcome:
        case Accepted():
            return (_submitted(job, work.intent, outcome, policy, at),)
        case Ready():
            return (_answered(job, work.intent, outcome, at),)
        case Absent():
            return (_absent(job, work, policy, at),)
        case Interrupted():
            return ()
        case Fault() if ruling is not None:
            return (_submit_failed(job, work, ruling, policy, gate, at),)
        case _:
            raise IllegalOutcomeError(job, outcome)


def _submitted(job: Job, intent: Intent, answer: Accepted, policy: Policy, at: Moment) -> Event:
    remote = accepted(job, intent, answer, at)
    first = at.now + policy.limits.poll_interval_s
    return change(
        job,
        "submitted",
        at.now,
        "generating",
        Generating(msgspec.structs.replace(remote, next_poll_at=first)),
        remote_id=answer.remote_id,
        errors_consecutive=0,
        progress=None,
        deadline_at=at.now + policy.limits.generate_timeout_s,
        stages=stages.turn(job.stages, at.now, "ok", "generate", job.attempt),
        attempt_record=record(job, remote_id=answer.remote_id, accepted_at=at.now),
    )


def _answered(job: Job, intent: Intent, answer: Ready, at: Moment) -> Event:
    """A synchronous answer: the result is there, spooled, with no task to poll."""
    return change(
        job,
        "ready",
        at.now,
        "downloading",
        Downloading(accepted(job, intent, answer, at), at.now),
        remote_id=answer.remote_id,
        errors_consecutive=0,
        stages=stages.turn(job.stages, at.now, "ok", "download", job.attempt),
        attempt_record=record(job, remote_id=answer.remote_id, accepted_at=at.now),
    )


def _absent(job: Job, work: Submitting, policy: Policy, at: Moment) -> Event:
    proven_at = absence_counts_at(work.intent, policy)
    if at.now < proven_at:
        waiting = Submitting(work.intent, proven_at)
        return change(job, "doubted", at.now, "submitting", waiting)
    if job.retries >= policy.limits.submit_retries:
        return to_failed(job, at.now, {}, billed="no")
    wait = backoff_s(job.errors_consecutive, policy.limits, jitter=at.jitter)
    queued = Queued("backoff", at.now + wait)
    closed = ended(job, at.now, "absent")
    return to_queue(
        job, "submit_failed", at.now, queued, "retry", retries=job.retries + 1, **closed
    )


def _submit_failed(
    job: Job, work: Submitting, ruling: Ruling, policy: Policy, gate: Gate, at: Moment
) -> Event:
    fault, now = ruling.fault, at.now
    fields = counted(job, fault, ruling.rule)
    closed = ended(job, now, "refused", fields["error"])
    match ruling.verdict:
        case Reconcile():
            return doubted(job, work.intent, policy, at, looked_up=work.reconcile_at, **fields)
        case Fail():
            return to_failed(job, now, fields, billed="no" if fault.effect == "none" else "unknown")
        case Hold(reason):
            return to_held(job, now, reason, remote=None, watch_s=0.0, **fields, **closed)
        case Pause(cause):
            queued = Queued("quota" if cause == "quota" else "provider")
            fields = counted(job, fault, ruling.rule, errors=0)
        case Retry(after) | Tolerate(after) | Resubmit(after):
            if any(one.cause == "health" for one in blocking(gate, now)):
                queued = Queued("provider")
            else:
                queued = Queued("backoff", now + after)
                fields["retries"] = job.retries + 1
        case never:
            assert_never(never)
    return to_queue(job, "submit_failed", now, queued, "retry", **fields, **closed)


def doubted(
    job: Job,
    intent: Intent,
    policy: Policy,
    at: Moment,
    *,
    looked_up: float | None = None,
    **fields: object,
) -> Event:
    """Nobody knows whether `intent` arrived: look it up where that is possible, else ask.

    `looked_up` is when a lookup was due that failed too; the next one backs off.
    """
    now, limits = at.now, policy.limits
    if policy.abilities.lookup and now < intent.sent_at + policy.abilities.retention_s:
        wait = 0.0
        if looked_up is not None:
            wait = limits.poll_interval_s + backoff_s(
                job.errors_consecutive, limits, jitter=at.jitter
            )
        again = Submitting(intent, now + wait)
        return change(job, "doubted", now, "submitting", again, **fields)
    if limits.on_unknown == "resubmit" and not intent.resent:
        wait = backoff_s(job.errors_consecutive, limits, jitter=at.jitter)
        queued = Queued("backoff", now + wait, intent)
        return to_queue(job, "doubted", now, queued, "retry", **fields)
    line = stages.end(job.stages, now, "interrupted")
    return change(
        job, "doubted", now, "in_doubt", InDoubt(intent), stages=line, billed="unknown", **fields
    )
