"""A doubt is over: a person, or paid.jsonl, knows what became of the paid request."""

from typing import Any

from daemon.core import stages
from daemon.core.changes import change, ended, record, to_queue
from daemon.core.events import Event
from daemon.core.job import Downloading, Finished, Generating, InDoubt, Intent, Job, Queued
from daemon.core.outcomes import Accepted, Outcome, Ready
from daemon.core.policy import IllegalOutcomeError, Policy
from daemon.core.submitting import accepted

Events = tuple[Event, ...]


def decide_in_doubt(
    job: Job, work: InDoubt, outcome: Outcome, policy: Policy, now: float
) -> Events:
    """What follows from an answer that was found in paid.jsonl; nothing if it names no task.

    >>> doubt = InDoubt(Intent(1, "k", "http://a", "", 5.0))
    >>> job = Job(id=1, provider="m", created_at=0.0, updated_at=0.0, state="in_doubt", work=doubt)
    >>> decide_in_doubt(job, doubt, Accepted("r-1", "http://a"), Policy(), 6.0)[0].state
    'generating'
    """
    match outcome:
        case Accepted(remote_id=""):
            return ()
        case Accepted():
            return (attached(job, work.intent, outcome, policy, now),)
        case Ready():
            return (_found(job, work.intent, outcome, now),)
        case _:
            raise IllegalOutcomeError(job, outcome)


def attached(
    job: Job, intent: Intent, answer: Accepted, policy: Policy, now: float, **fields: Any
) -> Event:
    """The task of `intent` is known, and is asked for now.

    >>> doubt = InDoubt(Intent(1, "k", "http://a", "", 5.0))
    >>> job = Job(id=1, provider="m", created_at=0.0, updated_at=0.0, state="in_doubt", work=doubt)
    >>> attached(job, doubt.intent, Accepted("r-1", "http://a"), Policy(), 6.0).state
    'generating'
    """
    return change(
        job,
        "resolved",
        now,
        "generating",
        Generating(accepted(intent, answer, now)),
        remote_id=answer.remote_id,
        errors_consecutive=0,
        deadline_at=now + policy.limits.generate_timeout_s,
        stages=stages.begin(job.stages, now, "generate", job.attempt),
        attempt_record=record(job, remote_id=answer.remote_id, accepted_at=now),
        detail=f"attached to {answer.remote_id}",
        **fields,
    )


def paid_again(job: Job, intent: Intent, now: float, **fields: Any) -> Event:
    """The request of `intent` is sent once more, with the key that it had.

    >>> doubt = InDoubt(Intent(1, "k", "http://a", "", 5.0))
    >>> job = Job(id=1, provider="m", created_at=0.0, updated_at=0.0, state="in_doubt", work=doubt)
    >>> paid_again(job, doubt.intent, 6.0).state
    'queued'
    """
    queued = Queued("requeued", None, intent)
    detail = "sent once more with the same key"
    return to_queue(job, "resolved", now, queued, "interrupted", detail=detail, **fields)


def written_off(job: Job, now: float, **fields: Any) -> Event:
    """Nobody looks for the task any more; whether it was billed stays unknown.

    >>> doubt = InDoubt(Intent(1, "k", "http://a", "", 5.0))
    >>> job = Job(id=1, provider="m", created_at=0.0, updated_at=0.0, state="in_doubt", work=doubt)
    >>> written_off(job, 6.0).state
    'failed'
    """
    detail = "written off: whether it was billed stays unknown"
    return change(
        job,
        "resolved",
        now,
        "failed",
        Finished(),
        finished_at=now,
        detail=detail,
        **ended(job, now, "written-off", job.error),
        **fields,
    )


def _found(job: Job, intent: Intent, answer: Ready, now: float) -> Event:
    """The result came with the answer, and is fetched now."""
    return change(
        job,
        "resolved",
        now,
        "downloading",
        Downloading(accepted(intent, answer, now), now),
        remote_id=answer.remote_id,
        errors_consecutive=0,
        stages=stages.begin(job.stages, now, "download", job.attempt),
        attempt_record=record(job, remote_id=answer.remote_id, accepted_at=now),
        detail="the answer was found",
    )
