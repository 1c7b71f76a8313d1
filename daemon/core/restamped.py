"""The machine's clock was set: what was noted in its old time is moved along.

A wait stays as long as it was. Above all, a lookup that finds nothing proves nothing earlier than
it would have (policy.absence_counts_at): a clock that leaps ahead must not pay twice. Times that
people, calendars and providers named stay what they are: schedules, pauses until a time, links.
"""

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from daemon.core.changes import change
from daemon.core.events import Event
from daemon.core.gate import Gate
from daemon.core.job import (
    Cancelling,
    Downloading,
    Generating,
    Job,
    Submitting,
)

STAMPS = frozenset(
    {
        "sent_at",
        "accepted_at",
        "next_poll_at",
        "fetch_at",
        "retry_at",
        "reconcile_at",
        "next_try_at",
    }
)
"""The fields of working memory that count from, or to, a moment of this machine's own."""
DETAIL = "the machine's clock was set"

AnyStruct = TypeVar("AnyStruct", bound=Struct)


def moved(job: Job, by_s: float) -> Job:
    """`job` with the stamps of its working memory `by_s` seconds later; its public half is kept.

    >>> from daemon.core.job import Queued
    >>> job = Job(id=1, provider="m", created_at=0.0, updated_at=0.0, work=Queued("backoff", 9.0))
    >>> moved(job, 3600.0).work.retry_at
    3609.0
    """
    if not isinstance(job.work, Struct):
        return job
    work = _shifted(job.work, by_s)
    return job if work is job.work else msgspec.structs.replace(job, work=work)


def move_noted(job: Job, by_s: float, now: float) -> Event | None:
    """The event that moves a job which is being worked on; None for one that only waits.

    >>> from daemon.core.job import Remote
    >>> work = Generating(Remote("k", "http://a", "r-1", 0.0, 5.0))
    >>> job = Job(id=1, provider="m", created_at=0.0, updated_at=0.0, deadline_at=9.0, work=work)
    >>> move_noted(job, -3.0, 4.0).deadline_at
    6.0
    """
    work = moved(job, by_s).work
    if not isinstance(work, Submitting | Generating | Downloading | Cancelling):
        return None
    fields: dict[str, Any] = {"detail": DETAIL}
    if job.deadline_at is not None:
        fields["deadline_at"] = job.deadline_at + by_s
    return change(job, "recovered", now, job.state, work, **fields)


def moved_gate(gate: Gate, by_s: float) -> Gate:
    """`gate` after the clock was set back: what the provider's word closed opens no later for it.

    One that went ahead needs nothing: a pause that ends early costs one probe.

    >>> from daemon.core.gate import Closure
    >>> moved_gate(Gate((Closure("quota", 300.0, "429"),)), -100.0).causes[0].until_at
    200.0
    """
    if by_s >= 0.0:
        return gate
    causes = tuple(
        msgspec.structs.replace(one, until_at=one.until_at + by_s)
        if one.until_at is not None and one.source == "provider"
        else one
        for one in gate.causes
    )
    spaced = gate.polls_spaced_until
    return msgspec.structs.replace(
        gate, causes=causes, polls_spaced_until=None if spaced is None else spaced + by_s
    )


def _shifted(value: AnyStruct, by_s: float) -> AnyStruct:
    changes: dict[str, Any] = {}
    for field in value.__struct_fields__:
        part = getattr(value, field)
        if field in STAMPS and part is not None:
            changes[field] = part + by_s
        elif isinstance(part, Struct):
            changes[field] = _shifted(part, by_s)
    return msgspec.structs.replace(value, **changes) if changes else value
