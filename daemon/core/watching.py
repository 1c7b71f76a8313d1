"""Jobs that no longer go forward by themselves but whose paid work may: cancelling, and the watch.

Nothing paid for is dropped (architecture.md 2): a held, failed or cancelled job with a task and no
verdict is asked about slowly, until verdict, result or the provider's retention.
"""

import msgspec

from daemon.core import stages
from daemon.core.changes import change, ended, failure, record, to_failed
from daemon.core.events import Event
from daemon.core.faults import Rule
from daemon.core.job import (
    Billed,
    Cancelling,
    Downloading,
    Finished,
    Held,
    InDoubt,
    Intent,
    Job,
    Remote,
)
from daemon.core.judge import Moment
from daemon.core.outcomes import Absent, Accepted, Fault, Outcome, Ready, Saved
from daemon.core.policy import Policy, absence_counts_at, backoff_s

CANCEL_TRIES = 3
"""Times that the provider's cancel is called before its answer is given up."""

DOUBT = Rule(
    name="guard",
    do="reconcile",
    why="cancelled while the answer was out: it may have been accepted",
)
VERDICT = Rule(name="watch", do="fail", why="the provider says that the task failed")
Events = tuple[Event, ...]


def decide_cancelling(
    job: Job, work: Cancelling, outcome: Outcome, policy: Policy, at: Moment
) -> Events:
    """What follows for a job that an operator cancelled: its end, told truthfully."""
    match outcome:
        case Accepted() | Ready() if work.intent is not None:
            return (_late_answer(job, work.intent, outcome, at.now),)
        case Absent() if work.intent is not None:
            proven_at = absence_counts_at(work.intent, policy)
            if at.now >= proven_at:
                return (to_cancelled(job, at.now, "no"),)
            waiting = msgspec.structs.replace(work, reconcile_at=proven_at)
            return (change(job, "doubted", at.now, "cancelling", waiting),)
        case Fault(effect="none") if work.intent is not None:
            return (to_cancelled(job, at.now, "no"),)
        case Fault() if work.intent is not None:
            return (cancel_doubted(job, work.intent, policy, at, fault=outcome),)
        case Fault() if work.remote is not None:
            return (_stop_failed(job, work, work.remote, policy, at),)
        case Ready(results=results) if work.remote is not None:
            kept = msgspec.structs.replace(work.remote, results=results, next_poll_at=at.now)
            return (to_cancelled(job, at.now, "yes", remote=kept),)
        case _ if work.remote is not None:
            billed: Billed = getattr(outcome, "billed", "unknown")
            watched = None if billed == "no" else _watch(work.remote, policy, at.now)
            return (to_cancelled(job, at.now, billed, remote=watched),)
        case _:
            return ()


def _watch(remote: Remote, policy: Policy, now: float) -> Remote:
    """A known result is fetched at once; a task without one is looked at again later."""
    wait = 0.0 if remote.results else policy.limits.watch_interval_s
    return msgspec.structs.replace(remote, next_poll_at=now + wait)


def _late_answer(job: Job, intent: Intent, answer: Accepted | Ready, now: float) -> Event:
    """The answer to a submit that was out when the job was cancelled: now it can be stopped."""
    target = answer.target if isinstance(answer, Accepted) else intent.target
    results = answer.results if isinstance(answer, Ready) else ()
    remote = Remote(intent.key, target, answer.remote_id or "", now, now, 0, results)
    return change(
        job,
        "submitted" if isinstance(answer, Accepted) else "ready",
        now,
        "cancelling",
        Cancelling(remote=remote, next_try_at=now),
        remote_id=answer.remote_id,
        attempt_record=record(job, remote_id=answer.remote_id, accepted_at=now),
    )


def cancel_doubted(
    job: Job, intent: Intent, policy: Policy, at: Moment, *, fault: Fault | None = None
) -> Event:
    """Cancelled, and the submit's answer is lost: look it up, else a person must decide."""
    fields = {} if fault is None else {"error": failure(fault, DOUBT)}
    within = at.now < intent.sent_at + policy.abilities.retention_s
    if policy.abilities.lookup and within:
        looked_up = isinstance(job.work, Cancelling) and job.work.reconcile_at is not None
        wait = policy.limits.poll_interval_s if looked_up else 0.0
        again = Cancelling(intent=intent, reconcile_at=at.now + wait)
        return change(job, "doubted", at.now, "cancelling", again, **fields)
    line = stages.end(job.stages, at.now, "cancelled")
    doubt = InDoubt(intent)
    return change(
        job, "doubted", at.now, "in_doubt", doubt, stages=line, billed="unknown", **fields
    )


def _stop_failed(job: Job, work: Cancelling, remote: Remote, policy: Policy, at: Moment) -> Event:
    if work.tries + 1 >= CANCEL_TRIES:
        return to_cancelled(job, at.now, "unknown", remote=_watch(remote, policy, at.now))
    wait = backoff_s(work.tries + 1, policy.limits, jitter=at.jitter)
    again = msgspec.structs.replace(work, tries=work.tries + 1, next_try_at=at.now + wait)
    return change(job, "poll_failed", at.now, "cancelling", again)


def to_cancelled(
    job: Job, now: float, billed: Billed, *, remote: Remote | None = None, by: str | None = None
) -> Event:
    """Cancelled, with what is known about the money; `remote` is still watched or collected."""
    fields = {} if by is None else {"by": by}
    return change(
        job,
        "cancelled",
        now,
        "cancelled",
        Finished(remote),
        stages=stages.end(job.stages, now, "cancelled"),
        finished_at=now,
        billed=billed,
        **fields,
        **ended(job, now, "cancelled"),
    )


def decide_watched(job: Job, outcome: Outcome, policy: Policy, at: Moment) -> Events:
    """What follows from a slow look at paid work that nobody waits for any more."""
    work = job.work
    if not isinstance(work, Held | Finished) or work.remote is None:
        return ()
    remote = work.remote
    match outcome:
        case Ready(results=results):
            late = msgspec.structs.replace(remote, results=results, next_poll_at=at.now)
            return (_late_result(job, late, at.now),)
        case Saved(outputs=outputs):
            kept = (*job.outputs, *outputs)
            event = change(
                job,
                "rescued",
                at.now,
                "cancelled",
                Finished(),
                outputs=kept,
                billed="kept",
                detail="a result that came after cancelling was filed",
            )
            return (event,)
        case Fault(kind="provider.failed") if job.state == "held":
            error = {"error": failure(outcome, VERDICT)}
            return (to_failed(job, at.now, error, billed="unknown"),)
        case Fault(kind="provider.failed") | Absent():
            return (_unwatched(job, "the provider says that nothing came of it", at.now),)
        case Fault(phase="download") if isinstance(work, Finished):
            return (_collect_again(job, work, remote, policy, at.now),)
        case _ if at.now >= remote.accepted_at + policy.abilities.retention_s:
            return (_unwatched(job, "the provider keeps results no longer than this", at.now),)
        case _:
            return ()


def _late_result(job: Job, remote: Remote, now: float) -> Event:
    """Held and failed jobs go on to succeed; a cancelled one stays so, and keeps the output."""
    if job.state == "cancelled":
        return change(job, "polled", now, "cancelled", Finished(remote))
    return change(
        job,
        "rescued",
        now,
        "downloading",
        Downloading(remote, now),
        errors_consecutive=0,
        finished_at=None,
        stages=stages.begin(job.stages, now, "download", job.attempt),
    )


def _unwatched(job: Job, why: str, now: float) -> Event:
    work = Held() if job.state == "held" else Finished()
    reason = {"reason": job.reason} if job.state == "held" else {}
    return change(job, "polled", now, job.state, work, detail=f"no longer watched: {why}", **reason)


def _collect_again(job: Job, work: Finished, remote: Remote, policy: Policy, now: float) -> Event:
    later = now + policy.limits.watch_interval_s
    if now >= remote.accepted_at + policy.abilities.retention_s:
        return _unwatched(job, "its result could not be fetched in time", now)
    again = Finished(msgspec.structs.replace(remote, next_poll_at=later), work.tries + 1)
    return change(job, "download_failed", now, "cancelled", again)
