"""From the queue to the intent: nothing has left the machine, and nothing costs yet.

The intent is what must be on disk before the first byte of a paid request leaves.
"""

from typing import assert_never

import msgspec

from daemon.core import stages
from daemon.core.changes import change, counted, ended, to_doubt, to_failed, to_held, to_queue
from daemon.core.events import Event
from daemon.core.gate import Gate, passes
from daemon.core.job import (
    Attempt,
    Intent,
    Job,
    Preparing,
    Queued,
    Submitting,
    streak,
)
from daemon.core.judge import Moment
from daemon.core.outcomes import Fault, Interrupted, Outcome, Prepared
from daemon.core.policy import (
    Fail,
    Hold,
    IllegalOutcomeError,
    Pause,
    Reconcile,
    Resubmit,
    Retry,
    Ruling,
    Tolerate,
)

Events = tuple[Event, ...]


def started(job: Job, work: Queued, now: float) -> Event:
    """A slot was given: the job prepares.

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, work=Queued())
    >>> started(job, Queued(), 5.0).state
    'preparing'
    """
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
    """What follows while pictures are made ready: the intent, or back to the queue.

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, work=Preparing())
    >>> events = decide_preparing(job, Preparing(), Interrupted(), None, Gate(), Moment(5.0))
    >>> events[0].state
    'queued'
    """
    match outcome:
        case Prepared() if passes(gate, at.now, job.id):
            ready = change(job, "prepared", at.now, "preparing", work)
            after = msgspec.structs.replace(job, rev=job.rev + 1)
            return (ready, _intended(after, work, outcome, gate, at.now))
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
    cleared = {"errors_consecutive": 0} if streak(job, "prepare") else {}
    return change(
        job,
        "submitting",
        now,
        "submitting",
        Submitting(intent),
        attempt=intent.attempt,
        stages=stages.turn(job.stages, now, "ok", "submit", intent.attempt),
        attempt_record=Attempt(intent.attempt, intent.key, submitted_at=now),
        **cleared,
    )


def unsent(job: Job, intent: Intent, now: float) -> Event:
    """The daemon stops with the intent on disk and the request not sent: no doubt, but a wait.

    >>> work = Submitting(Intent(1, "k", "http://a", "", 5.0))
    >>> job = Job(id=1, provider="m", created_at=0.0, updated_at=0.0, state="submitting", work=work)
    >>> unsent(job, work.intent, 6.0).state
    'queued'
    """
    resend = intent if intent.resent else None
    closed = {} if intent.resent else ended(job, now, "interrupted")
    queued = Queued("interrupted", None, resend)
    return to_queue(job, "interrupted", now, queued, "interrupted", **closed)


def _prepare_failed(job: Job, work: Preparing, ruling: Ruling, at: Moment) -> Event:
    fields = counted(job, ruling.fault, ruling.rule)
    match ruling.verdict:
        case Fail() if work.resend is not None:  # it can't be sent again; the doubt is what it was
            return to_doubt(job, work.resend, at.now, **fields)
        case Fail():
            return to_failed(job, at.now, fields, billed="no")
        case Hold(reason):
            return to_held(job, at.now, reason, resend=work.resend, **fields)
        case Pause() | Reconcile():
            queued = Queued("provider", None, work.resend)
            fields = counted(job, ruling.fault, ruling.rule, errors=0)
        case Tolerate(after, counted=False):
            queued = Queued("backoff", at.now + after, work.resend)
            fields = counted(job, ruling.fault, ruling.rule, errors=0)
        case Retry(after) | Tolerate(after) | Resubmit(after):
            queued = Queued("backoff", at.now + after, work.resend)
        case never:
            assert_never(never)
    return to_queue(job, "submit_failed", at.now, queued, "retry", **fields)
