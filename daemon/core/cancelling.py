"""A job that an operator cancelled: stopped where it can be, and its end told truthfully."""

import msgspec

from daemon.core import stages
from daemon.core.changes import change, ended, failure, heavier, record
from daemon.core.events import Event
from daemon.core.faults import Rule
from daemon.core.job import (
    Billed,
    Cancelling,
    Failure,
    Finished,
    InDoubt,
    Intent,
    Job,
    Remote,
)
from daemon.core.judge import Moment
from daemon.core.kinds import FOREIGN
from daemon.core.outcomes import (
    Absent,
    Accepted,
    Fault,
    Interrupted,
    Outcome,
    Ready,
    Stopped,
)
from daemon.core.policy import IllegalOutcomeError, Policy, absence_counts_at, backoff_s
from daemon.core.submitting import NAMELESS, accepted, may_be_accepted

Events = tuple[Event, ...]
CANCEL_TRIES = 3
"""Times that the provider's cancel is called before its answer is given up."""
DOUBT = Rule(
    name="guard",
    do="reconcile",
    why="cancelled while the answer was out: it may have been accepted",
)


WITHDRAWN = Fault("submit", "cancelled", message="cancelled before the request left", effect="none")


def withdrawn(job: Job) -> bool:
    """Whether `job` was cancelled with its intent on disk and its request not sent.

    For who would send it, and knows that it isn't out: a start finds the same, and a doubt.

    >>> work = Cancelling(intent=Intent(1, "k", "http://a", "", 5.0))
    >>> withdrawn(Job(id=1, provider="m", created_at=0.0, updated_at=0.0, work=work))
    True
    """
    match job.work:
        case Cancelling(intent=Intent(), remote=None, reconcile_at=None):
            return True
        case _:
            return False


def decide_cancelling(
    job: Job, work: Cancelling, outcome: Outcome, policy: Policy, at: Moment
) -> Events:
    """What follows for a job that is being cancelled: from its paid request, or from the stop.

    >>> work = Cancelling(remote=Remote("k", "http://a", "r-1", 0.0, 5.0))
    >>> job = Job(id=1, provider="m", created_at=0.0, updated_at=0.0, state="cancelling", work=work)
    >>> event = decide_cancelling(job, work, Stopped("no"), Policy(), Moment(6.0))[0]
    >>> event.state, event.billed, event.work.remote
    ('cancelled', 'no', None)
    """
    if isinstance(outcome, Interrupted):
        return ()
    if work.intent is not None:
        return (_answered(job, work, work.intent, outcome, policy, at),)
    if work.remote is not None:
        return (_stopped(job, work, work.remote, outcome, policy, at),)
    raise IllegalOutcomeError(job, outcome)


def _answered(
    job: Job, work: Cancelling, intent: Intent, outcome: Outcome, policy: Policy, at: Moment
) -> Event:
    """The answer to a submit that was out when the job was cancelled, or to a look for it."""
    match outcome:
        case Accepted(remote_id=""):
            return cancel_doubted(job, intent, policy, at, error=NAMELESS)
        case Accepted() | Ready():
            return _late_answer(job, intent, outcome, at.now)
        case Absent():
            proven_at = absence_counts_at(intent, policy)
            if (work.reconcile_at or 0.0) >= proven_at:
                return to_cancelled(job, at.now, "no")
            waiting = msgspec.structs.replace(work, reconcile_at=max(proven_at, at.now))
            return change(job, "doubted", at.now, "cancelling", waiting)
        case Fault() if may_be_accepted(outcome):
            error = failure(outcome, DOUBT)
            return cancel_doubted(job, intent, policy, at, error=error)
        case Fault(effect=effect):
            return to_cancelled(job, at.now, "no" if effect == "none" else "unknown")
        case _:
            raise IllegalOutcomeError(job, outcome)


def _late_answer(job: Job, intent: Intent, answer: Accepted | Ready, now: float) -> Event:
    """It was accepted: now it can be stopped."""
    return change(
        job,
        "submitted" if isinstance(answer, Accepted) else "ready",
        now,
        "cancelling",
        Cancelling(remote=accepted(intent, answer, now), next_try_at=now),
        remote_id=answer.remote_id,
        attempt_record=record(job, remote_id=answer.remote_id, accepted_at=now),
    )


def _stopped(
    job: Job, work: Cancelling, remote: Remote, outcome: Outcome, policy: Policy, at: Moment
) -> Event:
    """What the provider's cancel came to. A result that is known is fetched, whatever it said."""
    watch_at = at.now + policy.limits.watch_interval_s
    match outcome:
        case Fault() if work.tries + 1 < CANCEL_TRIES:
            wait = backoff_s(work.tries + 1, policy.limits, jitter=at.jitter)
            again = msgspec.structs.replace(work, tries=work.tries + 1, next_try_at=at.now + wait)
            return change(job, "poll_failed", at.now, "cancelling", again)
        case Ready(results=results) if results:
            known = msgspec.structs.replace(remote, results=results)
            return _result_known(job, known, at.now)
        case Stopped() | Absent() | Fault() | Ready() if remote.results:
            return _result_known(job, remote, at.now)
        case Stopped(billed="no"):
            return to_cancelled(job, at.now, "no")
        case Stopped(billed=billed, ended=True):
            return to_cancelled(job, at.now, billed)
        case Absent() | Ready():
            return to_cancelled(job, at.now, "unknown")
        case Stopped():
            watched = msgspec.structs.replace(remote, next_poll_at=watch_at)
            return to_cancelled(job, at.now, "unknown", remote=watched)
        case Fault():
            watched = msgspec.structs.replace(remote, next_poll_at=watch_at)
            told = f"the provider could not be told: {outcome.kind} {outcome.message}"[:300].strip()
            return to_cancelled(job, at.now, "unknown", remote=watched, detail=told)
        case _:
            raise IllegalOutcomeError(job, outcome)


def _result_known(job: Job, remote: Remote, now: float) -> Event:
    """It came too late to be stopped: it is paid for, and will be fetched."""
    collected = msgspec.structs.replace(remote, next_poll_at=now)
    return to_cancelled(job, now, "yes", remote=collected)


def cancel_doubted(
    job: Job, intent: Intent, policy: Policy, at: Moment, *, error: Failure | None = None
) -> Event:
    """Cancelled, and the submit's answer is lost: look it up, else a person must decide.

    >>> work = Cancelling(intent=Intent(1, "k", "http://a", "", 5.0))
    >>> job = Job(id=1, provider="m", created_at=0.0, updated_at=0.0, state="cancelling", work=work)
    >>> cancel_doubted(job, work.intent, Policy(), Moment(6.0)).state
    'in_doubt'
    """
    fields = {} if error is None else {"error": error}
    able = policy.abilities.lookup and (error is None or error.kind != FOREIGN)
    if able and at.now < intent.sent_at + policy.abilities.retention_s:
        looked_up = isinstance(job.work, Cancelling) and job.work.reconcile_at is not None
        wait = policy.limits.poll_interval_s if looked_up else 0.0
        again = Cancelling(intent=intent, reconcile_at=at.now + wait)
        return change(job, "doubted", at.now, "cancelling", again, **fields)
    return change(
        job,
        "doubted",
        at.now,
        "in_doubt",
        InDoubt(intent),
        stages=stages.end(job.stages, at.now, "cancelled"),
        billed=heavier(job.billed, "unknown"),
        **fields,
    )


def to_cancelled(
    job: Job, now: float, billed: Billed | None, *, remote: Remote | None = None, **fields: object
) -> Event:
    """Cancelled, with what is known about the money; `remote` is still watched or collected.

    >>> job = Job(id=1, provider="m", created_at=0.0, updated_at=0.0, billed="unknown")
    >>> to_cancelled(job, 5.0, "no").billed
    'unknown'
    """
    return change(
        job,
        "cancelled",
        now,
        "cancelled",
        Finished(remote),
        stages=stages.end(job.stages, now, "cancelled"),
        finished_at=now,
        billed=heavier(job.billed, billed),
        **fields,
        **ended(job, now, "cancelled"),
    )
