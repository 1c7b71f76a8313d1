"""How events about a job are put together: the fields every one carries, and the common shapes."""

from typing import Any

import msgspec
from msgspec import UNSET

from daemon.core import stages
from daemon.core.events import Event, EventType
from daemon.core.faults import Rule
from daemon.core.job import (
    Attempt,
    Billed,
    Failure,
    Finished,
    Held,
    InDoubt,
    Intent,
    Job,
    Queued,
    Remote,
    StageResult,
    State,
    Work,
    live_remote,
    public,
    streak,
)
from daemon.core.outcomes import Fault

MESSAGE_CHARS_MAX = 2_000
MONEY: tuple[Billed | None, ...] = (None, "no", "unknown", "yes", "kept")
"""What is known about the money, in the order in which one word outweighs another."""


def change(job: Job, kind: EventType, now: float, state: State, work: Work, **fields: Any) -> Event:
    """The event of `kind` that takes `job` to `state` with `work`; `fields` are what it changes.

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, work=Queued())
    >>> event = change(job, "held", 2.0, "held", Held(), reason="operator")
    >>> event.state, event.rev, event.updated_at
    ('held', 2, 2.0)
    """
    fields.setdefault("attempt", job.attempt)
    if job.reason is not None and "reason" not in fields:
        fields["reason"] = None
    return Event(
        at=now,
        type=kind,
        job=job.id,
        provider=job.provider,
        state=state,
        rev=job.rev + 1,
        updated_at=now,
        work=work,
        **fields,
    )


def failure(fault: Fault, rule: Rule) -> Failure:
    """What the job keeps of `fault`, and the rule that decided.

    >>> failure(Fault("poll", "http", http=504), Rule(name="x.1", do="tolerate", why="slow")).rule
    'x.1'
    """
    return Failure(
        phase=fault.phase,
        kind=fault.kind,
        http=fault.http,
        code=fault.code,
        message=fault.message[:MESSAGE_CHARS_MAX],
        rule=rule.name,
        advice=rule.why or None,
    )


def counted(job: Job, fault: Fault, rule: Rule, *, errors: int = 1) -> dict[str, Any]:
    """The counters and the error after `fault`; `errors` is 0 for one that burns nothing.

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, errors_consecutive=2)
    >>> counted(job, Fault("poll", "http"), Rule(name="r", do="tolerate"))["errors_consecutive"]
    1
    """
    return {
        "errors_consecutive": streak(job, fault.phase) + errors,
        "errors_total": job.errors_total + errors,
        "error": failure(fault, rule),
    }


def heavier(known: Billed | None, said: Billed | None) -> Billed | None:
    """What is known about a job's money: what its attempts cost doesn't lapse with a new one.

    >>> heavier("unknown", "no"), heavier(None, "no"), heavier("no", "yes")
    ('unknown', 'no', 'yes')
    """
    return max(known, said, key=MONEY.index)


def record(job: Job, **fields: Any) -> Attempt:
    """The record of the job's current attempt, with `fields` replaced.

    >>> job = Job(id=1, provider="mock", attempt=2, created_at=0.0, updated_at=0.0, attempts=())
    >>> record(job, result="refused").attempt
    2
    """
    known = () if job.attempts is UNSET else job.attempts
    for attempt in known:
        if attempt.attempt == job.attempt:
            return msgspec.structs.replace(attempt, **fields)
    return Attempt(attempt=job.attempt, key=intent_key(job), **fields)


def added(job: Job) -> Event:
    """A new job, whole: the first that anybody hears of it.

    >>> added(Job(id=1, provider="mock", created_at=5.0, updated_at=5.0)).value.id
    1
    """
    return Event(
        at=job.created_at,
        type="added",
        job=job.id,
        provider=job.provider,
        state=job.state,
        attempt=job.attempt,
        rev=job.rev,
        value=public(job),
        work=job.work,
    )


def intent_key(job: Job) -> str:
    """The key of the intent or remote task that `job` works on, or an empty text.

    >>> intent_key(Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, work=Queued()))
    ''
    """
    intent = getattr(job.work, "intent", None)
    if isinstance(intent, Intent):
        return intent.key
    remote = live_remote(job)
    return "" if remote is None else remote.key


def ended(job: Job, now: float, result: str, error: Failure | None = None) -> dict[str, Any]:
    """The field that closes the record of the current attempt, unless it is closed already.

    >>> ended(Job(id=1, provider="mock", created_at=0.0, updated_at=0.0), 5.0, "refused")
    {}
    """
    if job.attempt == 0 or record(job).finished_at is not None:
        return {}
    remote = live_remote(job)
    polls = record(job).polls if remote is None else remote.polls
    return {"attempt_record": record(job, finished_at=now, result=result, error=error, polls=polls)}


def reopened(job: Job) -> dict[str, Any]:
    """The field that opens the record of the current attempt again: its paid work goes on.

    >>> reopened(Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, attempts=()))
    {}
    """
    if job.attempt == 0 or record(job).finished_at is None:
        return {}
    return {"attempt_record": record(job, finished_at=None, result=None, error=None)}


def to_queue(
    job: Job, kind: EventType, now: float, work: Queued, result: StageResult, **fields: Any
) -> Event:
    """Back to the queue: what runs ends with `result`, waiting begins.

    >>> job = Job(id=1, provider="mock", remote_id="r", created_at=0.0, updated_at=0.0)
    >>> event = to_queue(job, "requeued", 5.0, Queued("requeued"), "retry")
    >>> event.state, event.remote_id, event.stages[-1].stage
    ('queued', None, 'queue')
    """
    line = stages.turn(job.stages, now, result, "queue", job.attempt)
    cleared: dict[str, Any] = {"stages": line}
    for name in ("remote_id", "progress", "deadline_at"):
        if getattr(job, name) is not None:
            cleared[name] = None
    return change(job, kind, now, "queued", work, **{**cleared, **fields})


def to_failed(
    job: Job,
    now: float,
    error: dict[str, Any],
    *,
    remote: Remote | None = None,
    billed: Billed | None,
) -> Event:
    """Ended without a result; `remote` is watched if a result may still come.

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0)
    >>> event = to_failed(job, 5.0, {}, billed="no")
    >>> event.state, event.finished_at, event.billed
    ('failed', 5.0, 'no')
    """
    return change(
        job,
        "failed",
        now,
        "failed",
        Finished(remote),
        stages=stages.end(job.stages, now, "failed"),
        finished_at=now,
        billed=heavier(job.billed, billed),
        **error,
        **ended(job, now, "failed", error.get("error")),
    )


def to_held(
    job: Job,
    now: float,
    reason: str,
    *,
    remote: Remote | None = None,
    resend: Intent | None = None,
    **fields: Any,
) -> Event:
    """Held for `reason`; a `remote` without results is looked at when it says so.

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0)
    >>> to_held(job, 5.0, "lost").reason
    'lost'
    """
    line = stages.end(job.stages, now, "interrupted")
    work = Held(remote, resend)
    return change(job, "held", now, "held", work, reason=reason, stages=line, **fields)


def to_doubt(job: Job, intent: Intent, now: float, **fields: Any) -> Event:
    """A person has to say whether `intent` was accepted: nobody here can find out.

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0)
    >>> event = to_doubt(job, Intent(1, "k", "http://a", "", 5.0), 6.0)
    >>> event.state, event.billed
    ('in_doubt', 'unknown')
    """
    line = stages.end(job.stages, now, "interrupted")
    money = heavier(job.billed, "unknown")
    work = InDoubt(intent)
    return change(job, "doubted", now, "in_doubt", work, stages=line, billed=money, **fields)
