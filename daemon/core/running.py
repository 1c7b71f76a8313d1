"""At the provider and back: what follows while a job generates and downloads.

From here on the work is paid for: no error drops it. A limit that is reached holds the job with
its remote id, or fails it and keeps watching.
"""

from typing import Any, assert_never

import msgspec

from daemon.core import stages
from daemon.core.changes import change, counted, ended, heavier, to_failed, to_held, to_queue
from daemon.core.events import Event
from daemon.core.job import Downloading, Failure, Finished, Generating, Job, Queued, Remote
from daemon.core.judge import Moment
from daemon.core.outcomes import Absent, Fault, Interrupted, Outcome, Pending, Ready, Saved
from daemon.core.policy import (
    Fail,
    Hold,
    IllegalOutcomeError,
    Limits,
    Pause,
    Policy,
    Reconcile,
    Resubmit,
    Retry,
    Ruling,
    Tolerate,
    backoff_s,
)

Events = tuple[Event, ...]
VANISHED = Failure(
    phase="poll",
    kind="provider.error",
    message="the provider doesn't know the task any more, and has no result of it",
    rule="vanished",
    advice="its server was probably restarted; requeue submits it anew",
)
OVERDUE_ADVICE = (
    "its task is kept and looked at slowly; be patient: generating is heavy work"
    " · check the network to the provider"
    " · ask for less: a shorter clip, a smaller picture"
    " · try when the provider is less busy"
    " · ask the provider's support, with the remote id"
)


def overdue(limits: Limits) -> Failure:
    """What a job keeps when its time to generate is over: the limit, and what can be done.

    >>> overdue(Limits()).message
    'no result within 1200 s of being accepted'
    """
    return Failure(
        phase="poll",
        kind="deadline",
        message=f"no result within {limits.generate_timeout_s:g} s of being accepted",
        rule="deadline",
        advice=OVERDUE_ADVICE,
    )


def decide_generating(
    job: Job,
    work: Generating,
    outcome: Outcome,
    ruling: Ruling | None,
    policy: Policy,
    at: Moment,
) -> Events:
    """What follows from a look at the task; nothing where nothing changed that anybody may see.

    >>> work = Generating(Remote("k", "http://a", "r-1", 0.0, 5.0))
    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, attempt=1, work=work)
    >>> decide_generating(job, work, Pending(0.5), None, Policy(), Moment(6.0))[0].progress
    0.5
    """
    if isinstance(outcome, Interrupted):
        return ()
    work = msgspec.structs.replace(work, remote=_looked_at(work.remote))
    job = msgspec.structs.replace(job, work=work)
    match outcome:
        case Pending():
            return _pending(job, work, outcome, policy.limits, at.now)
        case Ready():
            return (_ready(job, work, outcome, policy.limits, at.now),)
        case Absent() if work.refreshing:
            watched = _later(work.remote, at.now + policy.limits.watch_interval_s)
            return (to_held(job, at.now, "link_expired", remote=watched, error=VANISHED),)
        case Absent():
            return (_vanished(job, policy.limits, at),)
        case Fault() if ruling is not None:
            return (_poll_failed(job, work, ruling, policy, at),)
        case _:
            raise IllegalOutcomeError(job, outcome)


def _looked_at(remote: Remote) -> Remote:
    return msgspec.structs.replace(remote, polls=remote.polls + 1)


def _later(remote: Remote, at: float) -> Remote:
    return msgspec.structs.replace(remote, next_poll_at=at)


def _pending(job: Job, work: Generating, outcome: Pending, limits: Limits, now: float) -> Events:
    """The task goes on. A look after the deadline was the last one that a slot is spent on."""
    if job.deadline_at is not None and now >= job.deadline_at:
        watched = _later(work.remote, now + limits.watch_interval_s)
        error = overdue(limits)
        if limits.on_limit == "fail":
            return (to_failed(job, now, {"error": error}, remote=watched, billed="unknown"),)
        return (to_held(job, now, "deadline", remote=watched, error=error),)
    changed: dict[str, Any] = {}
    if outcome.progress not in (None, job.progress):
        changed["progress"] = outcome.progress
    if job.errors_consecutive:
        changed["errors_consecutive"] = 0
    if not changed:
        return ()
    later = _later(work.remote, now + limits.poll_interval_s)
    again = msgspec.structs.replace(work, remote=later)
    return (change(job, "polled", now, "generating", again, **changed),)


def _ready(job: Job, work: Generating, outcome: Ready, limits: Limits, now: float) -> Event:
    """To be fetched now. If the link fails, the next look still keeps its distance from this."""
    later = _later(work.remote, now + limits.poll_interval_s)
    remote = msgspec.structs.replace(later, results=outcome.results)
    return change(
        job,
        "ready",
        now,
        "downloading",
        Downloading(remote, now, refreshed=work.refreshing),
        errors_consecutive=0,
        stages=stages.turn(job.stages, now, "ok", "download", job.attempt),
    )


def _vanished(job: Job, limits: Limits, at: Moment) -> Event:
    """The server lost the task, and with it nothing was made: a new attempt, within limits."""
    if job.retries >= job.retries_max:
        return to_failed(job, at.now, {"error": VANISHED}, billed="unknown")
    wait = backoff_s(1, limits, jitter=at.jitter)
    return _requeued(job, at.now + wait, at.now, "lost", error=VANISHED)


def _requeued(job: Job, retry_at: float, now: float, result: str, **fields: Any) -> Event:
    """A new attempt, by a rule: the next intent has a key of its own."""
    return to_queue(
        job,
        "requeued",
        now,
        Queued("backoff", retry_at),
        "retry",
        retries=job.retries + 1,
        billed=heavier(job.billed, "unknown"),
        **fields,
        **ended(job, now, result, fields["error"]),
    )


def _poll_failed(job: Job, work: Generating, ruling: Ruling, policy: Policy, at: Moment) -> Event:
    fault, now, limits = ruling.fault, at.now, policy.limits
    fields = counted(job, fault, ruling.rule)
    watched = _later(work.remote, now + limits.watch_interval_s)
    match ruling.verdict:
        case Fail() if fault.kind == "provider.failed":
            return to_failed(job, now, fields, billed="unknown")
        case Fail():
            return to_failed(job, now, fields, remote=watched, billed="unknown")
        case Hold(reason) if fault.kind == "provider.failed":
            money = heavier(job.billed, "unknown")
            return to_held(job, now, reason, billed=money, **fields)
        case Hold(reason):
            reason = "link_expired" if work.refreshing else reason
            return to_held(job, now, reason, remote=watched, **fields)
        case Resubmit(after):
            return _requeued(job, now + after, now, "failed", **fields)
        case Tolerate(after, counted=False):
            fields = counted(job, fault, ruling.rule, errors=0)
        case Tolerate(after) | Retry(after):
            pass
        case Pause() | Reconcile():
            after = max(limits.poll_interval_s, limits.backoff_max_s)
            fields = counted(job, fault, ruling.rule, errors=0)
        case never:
            assert_never(never)
    again = msgspec.structs.replace(work, remote=_later(work.remote, now + after))
    return change(job, "poll_failed", now, "generating", again, **fields)


def decide_downloading(
    job: Job,
    work: Downloading,
    outcome: Outcome,
    ruling: Ruling | None,
    policy: Policy,
    at: Moment,
) -> Events:
    """What follows from fetching the results: they are filed, or kept where they are.

    >>> work = Downloading(Remote("k", "http://a", "r-1", 0.0, 5.0), 5.0)
    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, attempt=1, work=work)
    >>> events = decide_downloading(job, work, Saved(()), None, Policy(), Moment(6.0))
    >>> [event.type for event in events]
    ['saved', 'succeeded']
    """
    match outcome:
        case Saved():
            return _saved(job, work, outcome, at.now)
        case Interrupted():
            return ()
        case Fault() if ruling is not None:
            return (_download_failed(job, work, ruling, policy, at),)
        case _:
            raise IllegalOutcomeError(job, outcome)


def _saved(job: Job, work: Downloading, outcome: Saved, now: float) -> Events:
    outputs = (*job.outputs, *outcome.outputs)
    filed = change(job, "saved", now, "downloading", work, outputs=outputs)
    job = msgspec.structs.replace(job, rev=job.rev + 1)
    done = change(
        job,
        "succeeded",
        now,
        "succeeded",
        Finished(),
        stages=stages.end(job.stages, now, "ok"),
        errors_consecutive=0,
        error=None,
        finished_at=now,
        billed="yes",
        **ended(job, now, "succeeded"),
    )
    return (filed, done)


def _download_failed(
    job: Job, work: Downloading, ruling: Ruling, policy: Policy, at: Moment
) -> Event:
    now, limits = at.now, policy.limits
    fields = counted(job, ruling.fault, ruling.rule)
    tries = work.tries + 1
    match ruling.verdict:
        case Hold("link_expired") if not work.refreshed and work.remote.remote_id:
            return _refresh(job, work, fields, limits, now)
        case Hold(reason):
            money = heavier(job.billed, "yes")
            return to_held(job, now, reason, remote=work.remote, billed=money, **fields)
        case Fail():
            return to_failed(job, now, fields, remote=work.remote, billed="yes")
        case Resubmit(after):
            return _requeued(job, now + after, now, "failed", **fields)
        case Tolerate(after, counted=False):
            fields, tries = counted(job, ruling.fault, ruling.rule, errors=0), work.tries
        case Tolerate(after) | Retry(after):
            pass
        case Pause() | Reconcile():
            fields, tries = counted(job, ruling.fault, ruling.rule, errors=0), work.tries
            after = limits.backoff_max_s
        case never:
            assert_never(never)
    again = msgspec.structs.replace(work, fetch_at=now + after, tries=tries)
    return change(job, "download_failed", now, "downloading", again, **fields)


def _refresh(
    job: Job, work: Downloading, fields: dict[str, Any], limits: Limits, now: float
) -> Event:
    """One poll more, for a link that works. A task that was only watched has no deadline yet."""
    if job.deadline_at is None:
        fields = {**fields, "deadline_at": now + limits.generate_timeout_s}
    soonest = max(now, work.remote.next_poll_at)
    remote = msgspec.structs.replace(work.remote, results=(), next_poll_at=soonest)
    return change(
        job,
        "download_failed",
        now,
        "generating",
        Generating(remote, refreshing=True),
        stages=stages.turn(job.stages, now, "retry", "generate", job.attempt),
        **fields,
    )
