"""At the provider and back: what follows while a job generates and downloads.

From here on the work is paid for: no error drops it. A limit that is reached holds the job with
its remote id, or fails it and keeps watching.
"""

from typing import assert_never

import msgspec

from daemon.core import stages
from daemon.core.changes import change, counted, ended, to_failed, to_held, to_queue
from daemon.core.events import Event
from daemon.core.job import Downloading, Finished, Generating, Job, Queued, Remote
from daemon.core.judge import Moment
from daemon.core.outcomes import Absent, Fault, Interrupted, Outcome, Pending, Ready, Saved
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
    backoff_s,
)

Events = tuple[Event, ...]


def decide_generating(
    job: Job,
    work: Generating,
    outcome: Outcome,
    ruling: Ruling | None,
    policy: Policy,
    at: Moment,
) -> Events:
    match outcome:
        case Pending():
            return _pending(job, work, outcome, policy, at.now)
        case Ready():
            return (_ready(job, work, outcome, at.now),)
        case Absent():
            return (_vanished(job, work, policy, at),)
        case Interrupted():
            return ()
        case Fault() if ruling is not None:
            return (_poll_failed(job, work, ruling, policy, at),)
        case _:
            raise IllegalOutcomeError(job, outcome)


def _later(remote: Remote, at: float) -> Remote:
    return msgspec.structs.replace(remote, next_poll_at=at, polls=remote.polls + 1)


def _pending(job: Job, work: Generating, outcome: Pending, policy: Policy, now: float) -> Events:
    limits = policy.limits
    if job.deadline_at is not None and now >= job.deadline_at:
        if limits.on_limit == "fail":
            watched = _later(work.remote, now + limits.watch_interval_s)
            return (to_failed(job, now, {}, remote=watched, billed="unknown"),)
        held = to_held(job, now, "deadline", remote=work.remote, watch_s=limits.watch_interval_s)
        return (held,)
    progress = job.progress if outcome.progress is None else outcome.progress
    if progress == job.progress and job.errors_consecutive == 0:
        return ()
    later = _later(work.remote, now + limits.poll_interval_s)
    again = msgspec.structs.replace(work, remote=later)
    changed: dict[str, object] = {}
    if progress != job.progress:
        changed["progress"] = progress
    if job.errors_consecutive:
        changed["errors_consecutive"] = 0
    return (change(job, "polled", now, "generating", again, **changed),)


def _ready(job: Job, work: Generating, outcome: Ready, now: float) -> Event:
    remote = msgspec.structs.replace(
        work.remote, results=outcome.results, polls=work.remote.polls + 1
    )
    return change(
        job,
        "ready",
        now,
        "downloading",
        Downloading(remote, now, refreshed=work.refreshing),
        errors_consecutive=0,
        stages=stages.turn(job.stages, now, "ok", "download", job.attempt),
    )


def _vanished(job: Job, work: Generating, policy: Policy, at: Moment) -> Event:
    """The server lost the task, and with it nothing was made: a new attempt, within limits."""
    if job.retries >= policy.limits.submit_retries:
        return to_failed(job, at.now, {}, billed="no")
    wait = backoff_s(1, policy.limits, jitter=at.jitter)
    return _requeued(job, at.now + wait, at.now, "lost")


def _requeued(job: Job, retry_at: float, now: float, result: str, **fields: object) -> Event:
    """A new attempt, by a rule: the next intent has a key of its own."""
    return to_queue(
        job,
        "requeued",
        now,
        Queued("backoff", retry_at),
        "retry",
        retries=job.retries + 1,
        **fields,
        **ended(job, now, result),
    )


def _poll_failed(job: Job, work: Generating, ruling: Ruling, policy: Policy, at: Moment) -> Event:
    fault, now, limits = ruling.fault, at.now, policy.limits
    fields = counted(job, fault, ruling.rule)
    match ruling.verdict:
        case Fail() if fault.kind == "provider.failed":
            return to_failed(job, now, fields, billed="unknown")
        case Fail():
            watched = _later(work.remote, now + limits.watch_interval_s)
            return to_failed(job, now, fields, remote=watched, billed="unknown")
        case Hold(reason):
            reason = "link_expired" if work.refreshing else reason
            watch_s = limits.watch_interval_s
            return to_held(job, now, reason, remote=work.remote, watch_s=watch_s, **fields)
        case Resubmit(after):
            return _requeued(job, now + after, now, "failed", **fields)
        case Tolerate(after, counted=False):
            fields = counted(job, fault, ruling.rule, errors=0)
        case Tolerate(after) | Retry(after):
            pass
        case Pause() | Reconcile():
            after = limits.poll_interval_s
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
    match outcome:
        case Saved():
            return (_succeeded(job, outcome, at.now),)
        case Interrupted():
            return ()
        case Fault() if ruling is not None:
            return (_download_failed(job, work, ruling, policy, at),)
        case _:
            raise IllegalOutcomeError(job, outcome)


def _succeeded(job: Job, outcome: Saved, now: float) -> Event:
    return change(
        job,
        "succeeded",
        now,
        "succeeded",
        Finished(),
        outputs=(*job.outputs, *outcome.outputs),
        stages=stages.end(job.stages, now, "ok"),
        errors_consecutive=0,
        error=None,
        finished_at=now,
        billed="yes",
        **ended(job, now, "succeeded"),
    )


def _download_failed(
    job: Job, work: Downloading, ruling: Ruling, policy: Policy, at: Moment
) -> Event:
    now, limits = at.now, policy.limits
    fields = counted(job, ruling.fault, ruling.rule)
    tries = work.tries + 1
    match ruling.verdict:
        case Hold("link_expired") if not work.refreshed and not policy.abilities.synchronous:
            return _refresh(job, work, fields, now)
        case Hold(reason):
            watch_s = limits.watch_interval_s
            return to_held(job, now, reason, remote=work.remote, watch_s=watch_s, **fields)
        case Fail() | Resubmit():
            return to_failed(job, now, fields, remote=work.remote, billed="yes")
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


def _refresh(job: Job, work: Downloading, fields: dict[str, object], now: float) -> Event:
    """One poll more, for a link that works."""
    remote = msgspec.structs.replace(work.remote, results=(), next_poll_at=now)
    return change(
        job,
        "download_failed",
        now,
        "generating",
        Generating(remote, refreshing=True),
        stages=stages.turn(job.stages, now, "retry", "generate", job.attempt),
        **fields,
    )
