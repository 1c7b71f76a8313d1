"""What jobs become when an old copy of the journal is put back: pure functions.

The copy doesn't know what happened after it. So nothing goes on by itself, what paid.jsonl knows
is put in, and a request whose answer is not known stays a doubt.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from daemon.core import stages
from daemon.core.changes import change, heavier, to_held
from daemon.core.events import Event, apply
from daemon.core.gate import Gate
from daemon.core.job import (
    FINISHED,
    Attempt,
    Cancelling,
    Held,
    InDoubt,
    Intent,
    Job,
    Preparing,
    Queued,
    Remote,
    Submitting,
    live_remote,
    public,
)
from daemon.core.judge import close, gate_events
from daemon.store.port import Paid

REASON = "restored"
DETAIL = "restored from a backup"
WATCH_S = 300.0
"""Seconds until a paid task of a restored job is looked at, unless an operator releases it."""


class Revived(Struct, frozen=True):
    """A job after the restore, the event that says so, and how many accepted ids were put in."""

    job: Job
    event: Event
    replayed: int


def revive(job: Job, lines: Sequence[Paid], now: float) -> Revived | None:
    """`job` of the copy, with those of `lines` that it doesn't know; None if it stays as it is.

    Unfinished jobs are held, with their paid task where there is one; a finished one too, if it
    was accepted again after the copy was made. A doubt stays one, for a person to resolve.

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, work=Queued(), attempts=())
    >>> line = Paid(5.0, 1, 1, "key", "http://mock", "task-1", "mock")
    >>> found = revive(job, [line], now=9.0)
    >>> found.job.state, found.job.reason, found.job.attempt, found.job.work.remote.remote_id
    ('held', 'restored', 1, 'task-1')
    """
    news = sorted((line for line in lines if not knows(job, line)), key=_order)
    doubt = _doubt(job)
    if not news and (job.state in FINISHED or job.state == "in_doubt"):
        return None
    if not news and doubt is not None:
        event = _doubted(job, doubt, now)
        return Revived(apply(job, event), event, 0)
    remote = _remote(job, news, now)
    resend = None if remote is not None else _resend(job)
    fields: dict[str, Any] = {"detail": DETAIL, "finished_at": None}
    if news:
        fields["attempt"] = max(job.attempt, news[-1].attempt)
        fields["billed"] = None if job.billed == "no" else job.billed
    if remote is not None:
        fields["remote_id"] = remote.remote_id or None
    event = to_held(job, now, REASON, remote=remote, resend=resend, **fields)
    after = msgspec.structs.replace(apply(job, event), attempts=recorded(job.attempts, news))
    return Revived(after, event, len(news))


def placeholder(lines: Sequence[Paid], now: float) -> Revived:
    """A held job for ids that were accepted for a job that the copy doesn't have at all.

    >>> placeholder([Paid(5.0, 7, 1, "key", "http://mock", "task-1", "mock")], now=9.0).job.id
    7
    """
    news = sorted(lines, key=_order)
    last = news[-1]
    job = Job(
        id=last.job,
        provider=last.provider,
        state="held",
        reason=REASON,
        attempt=last.attempt,
        remote_id=last.remote_id or None,
        created_at=news[0].at,
        updated_at=now,
        attempts=recorded((), news),
        work=Held(_task(last, now)),
    )
    event = Event(
        at=now,
        type="added",
        job=job.id,
        provider=job.provider,
        value=public(job),
        detail="restored from paid.jsonl: the backup doesn't have this job",
    )
    return Revived(job, event, len(news))


def shut(provider: str, gate: Gate, now: float) -> tuple[Gate, tuple[Event, ...]]:
    """The gate of `provider` closed until an operator resumes it, and the event.

    >>> shut("mock", Gate(), now=9.0)[0].causes[0].reason
    'restored from a backup'
    """
    after = close(gate, "operator", None, DETAIL, source="operator")
    return after, gate_events(provider, gate, after, "provider_paused", now)


def knows(job: Job, line: Paid) -> bool:
    """Whether `job` has heard of the acceptance `line`, or of a later one of the same key.

    >>> line = Paid(5.0, 1, 1, "key", "http://mock", "task-1", "mock")
    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, work=Queued(), attempts=())
    >>> told = Attempt(1, "key", remote_id="task-1", accepted_at=5.0)
    >>> knows(job, line), knows(msgspec.structs.replace(job, attempts=(told,)), line)
    (False, True)
    """
    remote = live_remote(job)
    if remote is not None and (remote.key, remote.remote_id) == (line.key, line.remote_id):
        return True
    if (job.attempt, job.remote_id) == (line.attempt, line.remote_id):
        return True
    attempts = () if job.attempts is UNSET else job.attempts
    return any(
        one.key == line.key
        and one.accepted_at is not None
        and ((one.remote_id or "") == line.remote_id or line.at <= one.accepted_at)
        for one in attempts
    )


def recorded(attempts: Any, news: Sequence[Paid]) -> tuple[Attempt, ...]:
    """The records of a job's attempts with those of `news` accepted.

    >>> recorded((), [Paid(5.0, 1, 2, "key", "http://mock", "task-1", "mock")])[0].remote_id
    'task-1'
    """
    records = {} if attempts is UNSET else {one.key: one for one in attempts}
    for line in news:
        record = records.get(line.key, Attempt(line.attempt, line.key))
        records[line.key] = msgspec.structs.replace(
            record, remote_id=line.remote_id or None, accepted_at=line.at
        )
    return tuple(records.values())


def _order(line: Paid) -> tuple[int, float]:
    return line.attempt, line.at


def _doubt(job: Job) -> Intent | None:
    """The intent of `job` that was sent, or was about to be, and not answered."""
    match job.work:
        case Submitting(intent=intent) | InDoubt(intent=intent):
            return intent
        case Cancelling(intent=Intent() as intent, remote=None):
            return intent
        case _:
            return None


def _doubted(job: Job, intent: Intent, now: float) -> Event:
    return change(
        job,
        "doubted",
        now,
        "in_doubt",
        InDoubt(intent),
        billed=heavier(job.billed, "unknown"),
        stages=stages.end(job.stages, now, "interrupted"),
        detail=DETAIL,
    )


def _resend(job: Job) -> Intent | None:
    match job.work:
        case Queued(resend=resend) | Preparing(resend=resend) | Held(resend=resend):
            return resend
        case _:
            return None


def _remote(job: Job, news: Sequence[Paid], now: float) -> Remote | None:
    """The paid task to go on with: the last that was accepted."""
    known = live_remote(job)
    if news and (known is None or news[-1].attempt >= job.attempt):
        return _task(news[-1], now)
    if known is None:
        return None
    return msgspec.structs.replace(known, next_poll_at=now + WATCH_S)


def _task(line: Paid, now: float) -> Remote:
    return Remote(
        line.key,
        line.target,
        line.remote_id,
        accepted_at=line.at,
        next_poll_at=now + WATCH_S,
        results=line.results,
    )
