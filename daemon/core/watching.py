"""Jobs that no longer go forward by themselves but whose paid work may: the slow watch.

Nothing paid for is dropped (architecture.md 2): a held, failed or cancelled job with a task and no
verdict is asked about slowly, until verdict, result or the provider's retention.
"""

import msgspec

from daemon.core import stages
from daemon.core.changes import change, ended, failure, heavier, reopened, to_failed
from daemon.core.events import Event
from daemon.core.faults import Rule
from daemon.core.job import Downloading, Finished, Held, Job, Remote
from daemon.core.judge import Moment
from daemon.core.outcomes import Absent, Fault, Interrupted, Outcome, Pending, Ready, Saved
from daemon.core.policy import Hold, IllegalOutcomeError, Policy, Ruling

Events = tuple[Event, ...]
VERDICT = Rule(name="watch", do="fail", why="the provider says that the task failed")
DOUBLINGS_MAX = 16


def decide_watched(
    job: Job, outcome: Outcome, ruling: Ruling | None, policy: Policy, at: Moment
) -> Events:
    """What follows from a slow look at paid work that nobody waits for any more.

    >>> work = Held(Remote("k", "http://a", "r-1", 0.0, 5.0))
    >>> job = Job(id=1, provider="m", created_at=0.0, updated_at=0.0, state="held", work=work)
    >>> decide_watched(job, Ready(()), None, Policy(), Moment(6.0))[0].type
    'rescued'
    """
    work = job.work
    if not isinstance(work, Held | Finished) or work.remote is None:
        raise IllegalOutcomeError(job, outcome)
    remote = work.remote
    over = at.now >= remote.accepted_at + policy.abilities.retention_s and not _ours(outcome)
    match outcome:
        case Interrupted():
            return ()
        case Ready():
            return (_late_result(job, remote, outcome, policy, at.now),)
        case Saved() if job.state == "cancelled":
            return (_kept(job, outcome, at.now),)
        case Fault(kind="provider.failed") if job.state == "held":
            error = {"error": failure(outcome, VERDICT)}
            return (to_failed(job, at.now, error, billed="unknown"),)
        case Fault(kind="provider.failed") | Absent():
            return (_unwatched(job, "the provider says that nothing came of it", at.now),)
        case Fault() | Pending() if over:
            return (_unwatched(job, "the provider keeps results no longer than this", at.now),)
        case Fault(phase="download") if isinstance(work, Finished) and ruling is not None:
            return (_collect_again(job, work, remote, ruling, policy, at.now),)
        case Fault() | Pending():
            return ()
        case _:
            raise IllegalOutcomeError(job, outcome)


def _ours(outcome: Outcome) -> bool:
    """Whether it is this machine that can't keep a result: that says nothing of the provider."""
    return isinstance(outcome, Fault) and outcome.kind in ("local.nospace", "local.io")


def _late_result(job: Job, remote: Remote, outcome: Ready, policy: Policy, now: float) -> Event:
    """Held and failed jobs go on to succeed; a cancelled one stays so, and keeps the output."""
    if job.state == "cancelled":
        if not outcome.results:
            return _unwatched(job, "the provider says that nothing came of it", now)
        found = msgspec.structs.replace(
            remote, results=outcome.results, next_poll_at=now, polls=remote.polls + 1
        )
        return change(job, "polled", now, "cancelled", Finished(found))
    soonest = now + policy.limits.poll_interval_s
    found = msgspec.structs.replace(
        remote, results=outcome.results, next_poll_at=soonest, polls=remote.polls + 1
    )
    return change(
        job,
        "rescued",
        now,
        "downloading",
        Downloading(found, now),
        errors_consecutive=0,
        finished_at=None,
        stages=stages.begin(job.stages, now, "download", job.attempt),
        **reopened(job),
    )


def _kept(job: Job, outcome: Saved, now: float) -> Event:
    return change(
        job,
        "rescued",
        now,
        "cancelled",
        Finished(),
        outputs=(*job.outputs, *outcome.outputs),
        billed="kept",
        detail="a result that came after cancelling was filed",
    )


def _unwatched(job: Job, why: str, now: float) -> Event:
    """The watch ends: a held job is lost, and the next attempt, if anybody wants one, pays anew."""
    detail = f"no longer watched: {why}"
    if job.state == "held":
        money = heavier(job.billed, "unknown")
        closed = ended(job, now, "lost", job.error)
        return change(
            job, "polled", now, "held", Held(), reason="lost", detail=detail, billed=money, **closed
        )
    return change(job, "polled", now, job.state, Finished(), detail=detail)


def _collect_again(
    job: Job, work: Finished, remote: Remote, ruling: Ruling, policy: Policy, now: float
) -> Event:
    """Fetched again later and later; an expired link is asked for anew at the slow interval."""
    doublings = 2.0 ** min(work.tries, DOUBLINGS_MAX)
    wait = policy.limits.watch_interval_s * doublings
    results = remote.results
    if ruling.verdict == Hold("link_expired") and remote.remote_id:
        results = ()
    again = msgspec.structs.replace(remote, results=results, next_poll_at=now + wait)
    return change(job, "download_failed", now, "cancelled", Finished(again, work.tries + 1))
