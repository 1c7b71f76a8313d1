"""The one type of fact: stored, streamed and folded, by the daemon and by the monitor.

An event carries what it changed, with the values after it, under the job's own key names; what it
didn't change is unset and not encoded. So folding is copying, and a program in any language can do
it (docs/protocol.md).
"""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from daemon.core.gate import Gate
from daemon.core.job import (
    Attempt,
    Billed,
    Failure,
    Job,
    Output,
    Stage,
    State,
    Work,
)

EventType = Literal[
    "added",
    "edited",
    "started",
    "prepared",
    "submitting",
    "submitted",
    "submit_failed",
    "doubted",
    "resolved",
    "polled",
    "poll_failed",
    "ready",
    "saved",
    "download_failed",
    "succeeded",
    "failed",
    "held",
    "released",
    "cancelling",
    "cancelled",
    "requeued",
    "interrupted",
    "recovered",
    "rescued",
    "provider_paused",
    "provider_resumed",
    "provider_changed",
    "config_reloaded",
    "config_refused",
    "daemon_started",
    "daemon_stopping",
    "snapshot",
]


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened. `seq` is 0 until the book numbers it.

    `attempt_record` is the attempt that changed (merged by its number); `detail` is a short text
    for people; `work` never leaves the daemon (`streamed`).
    """

    seq: int = 0
    at: float
    type: EventType
    job: int | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    state: State | UnsetType = UNSET
    attempt: int | UnsetType = UNSET
    rev: int | UnsetType = UNSET
    updated_at: float | UnsetType = UNSET
    by: str | UnsetType | None = UNSET
    reason: str | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET
    labels: tuple[str, ...] | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    prompt: str | UnsetType = UNSET
    params: Mapping[str, Any] | UnsetType = UNSET
    retries: int | UnsetType = UNSET
    errors_consecutive: int | UnsetType = UNSET
    errors_total: int | UnsetType = UNSET
    remote_id: str | UnsetType | None = UNSET
    progress: float | UnsetType | None = UNSET
    started_at: float | UnsetType | None = UNSET
    finished_at: float | UnsetType | None = UNSET
    deadline_at: float | UnsetType | None = UNSET
    not_before_at: float | UnsetType | None = UNSET
    stages: tuple[Stage, ...] | UnsetType = UNSET
    outputs: tuple[Output, ...] | UnsetType = UNSET
    error: Failure | UnsetType | None = UNSET
    billed: Billed | UnsetType | None = UNSET
    attempt_record: Attempt | UnsetType = UNSET
    value: Job | UnsetType = UNSET
    gate: Gate | UnsetType = UNSET
    detail: str | UnsetType = UNSET
    work: Work | UnsetType = UNSET


CHANGES: tuple[str, ...] = tuple(
    field for field in Event.__struct_fields__ if field in Job.__struct_fields__
)
"""The fields of an event that are fields of a job: what folding copies."""
_carried = attrgetter(*CHANGES)
ATTEMPTS_MAX = 200
"""Records of older attempts are dropped: a job that was refused all week still fits a frame."""


def streamed(event: Event) -> Event:
    """`event` as the world sees it: without the daemon's working memory.

    >>> streamed(Event(at=1.0, type="started", job=1)).work
    UNSET
    """
    if event.work is UNSET:
        return event
    return msgspec.structs.replace(event, work=UNSET)


def apply(job: Job, event: Event) -> Job:
    """`job` after `event`: every changed field copied, the attempt's record merged.

    Copies, and checks nothing: the daemon goes through `machine.evolve`, which does.

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0)
    >>> apply(job, Event(at=2.0, type="edited", job=1, priority=5, rev=2)).priority
    5
    """
    carried = zip(CHANGES, _carried(event), strict=True)
    changes = {field: value for field, value in carried if value is not UNSET}
    if event.attempt_record is not UNSET and job.attempts is not UNSET:
        record = event.attempt_record
        kept = tuple(one for one in job.attempts if one.attempt != record.attempt)
        changes["attempts"] = _bounded((*kept, record))
    return msgspec.structs.replace(job, **changes)


def _bounded(records: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Without the oldest record if there are too many; one that has a remote id goes last."""
    if len(records) <= ATTEMPTS_MAX:
        return records
    oldest = next((one for one in records if one.remote_id is None), records[0])
    return tuple(one for one in records if one is not oldest)
