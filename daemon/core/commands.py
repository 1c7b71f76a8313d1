"""What operators ask of one job, and what follows: events, or a refusal that says what to do."""

from typing import Any, Literal, assert_never

import msgspec
from msgspec import UNSET, Struct

from daemon.core import stages
from daemon.core.cancelling import to_cancelled
from daemon.core.changes import change, ended, heavier, reopened, to_doubt, to_held, to_queue
from daemon.core.events import Event, EventType
from daemon.core.job import (
    Cancelling,
    Downloading,
    Finished,
    Generating,
    Held,
    InDoubt,
    Intent,
    Job,
    Preparing,
    Queued,
    Remote,
    Submitting,
    label,
)
from daemon.core.judge import Moment
from daemon.core.limits import check_remote_id
from daemon.core.outcomes import Accepted
from daemon.core.policy import Policy
from daemon.core.resolving import attached, paid_again, written_off
from daemon.core.times import At

Events = tuple[Event, ...]


class RefusedError(Exception):
    """The command can't be done in the job's state; the message says why and what can be."""


class Cancel(Struct, frozen=True, tag="cancel"):
    """Stop the job; tell the provider where it can be told."""

    reason: str = ""


class Requeue(Struct, frozen=True, tag="requeue"):
    """Go on with paid work if there may be some, else a new attempt; `fresh`: always a new one."""

    fresh: bool = False
    reason: str = ""


class Hold(Struct, frozen=True, tag="hold"):
    """Keep a job that has not been submitted from starting."""

    reason: str = ""


class Release(Struct, frozen=True, tag="release"):
    """Let a held job go on. `approval`: only one that was held for approval."""

    approval: bool = False
    reason: str = ""


class Resolve(Struct, frozen=True, tag="resolve"):
    """End a doubt: attach the remote id that was found, pay again, or write it off."""

    how: Literal["attach", "pay-again", "write-off"]
    remote_id: str = ""
    reason: str = ""


class Edit(Struct, frozen=True, tag="edit", omit_defaults=True):
    """Change a job that waits; None leaves a field as it is."""

    priority: int | None = None
    prompt: str | None = None
    name: str | None = None
    labels: tuple[str, ...] | None = None
    params: dict[str, object] | None = None
    not_before_at: At | None = None


Command = Cancel | Requeue | Hold | Release | Resolve | Edit


def command(job: Job, asked: Command, policy: Policy, at: Moment, *, by: str | None) -> Events:
    """The events that do what `by` asked. Raises RefusedError with the way out.

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, work=Queued())
    >>> event = command(job, Cancel(), Policy(), Moment(5.0), by="ana")[0]
    >>> event.state, event.billed, event.by
    ('cancelled', 'no', 'ana')
    """
    match asked:
        case Cancel():
            return (_cancel(job, asked, at.now, by),)
        case Requeue():
            return (_requeue(job, asked, policy, at.now, by),)
        case Hold():
            return (_hold(job, asked, at.now, by),)
        case Release():
            return (_release(job, asked, policy, at.now, by),)
        case Resolve():
            return (_resolve(job, asked, policy, at.now, by),)
        case Edit():
            return (_edit(job, asked, policy, at.now, by),)
        case never:
            assert_never(never)


def _said(by: str | None, reason: str) -> dict[str, Any]:
    return {"by": by, "detail": reason} if reason else {"by": by}


def _cancel(job: Job, asked: Cancel, now: float, by: str | None) -> Event:
    fields = _said(by, asked.reason)
    match job.work:
        case Queued(resend=Intent() as doubted) | Preparing(resend=Intent() as doubted):
            return to_doubt(job, doubted, now, **fields)
        case Held(resend=Intent() as doubted):
            return to_doubt(job, doubted, now, **fields)
        case Queued() | Preparing() | Held(remote=None):
            return to_cancelled(job, now, "no", **fields)
        case Submitting(intent=intent, reconcile_at=at):
            work = Cancelling(intent=intent, reconcile_at=at)
        case (
            Generating(remote=remote) | Downloading(remote=remote) | Held(remote=Remote() as remote)
        ):
            work = Cancelling(remote=remote, next_try_at=now)
        case InDoubt():
            raise _in_doubt(job)
        case Cancelling():
            raise RefusedError(f"{label(job)} is being cancelled already")
        case _:
            raise RefusedError(f"{label(job)} is {job.state} already: there is nothing to cancel")
    return change(job, "cancelling", now, "cancelling", work, **fields)


def _in_doubt(job: Job) -> RefusedError:
    return RefusedError(
        f"{label(job)} is in doubt: it may be paid for; `genq resolve {job.id} attach REMOTE_ID | "
        "pay-again | write-off` decides it"
    )


def _requeue(job: Job, asked: Requeue, policy: Policy, now: float, by: str | None) -> Event:
    resend: Intent | None = None
    match job.work:
        case Held(remote=remote, resend=resend):
            pass
        case Finished(remote=remote):
            pass
        case InDoubt():
            raise _in_doubt(job)
        case _:
            raise RefusedError(
                f"{label(job)} is {job.state}: only a finished or held job is requeued"
            )
    fields = {**_said(by, asked.reason), "retries": 0, "errors_consecutive": 0}
    if remote is not None and not asked.fresh:
        return _resume(job, "requeued", remote, policy, now, **fields)
    fields |= {one: None for one in ("finished_at", "started_at") if getattr(job, one) is not None}
    if remote is not None:
        fields["billed"] = heavier(job.billed, "yes" if remote.results else "unknown")
    queued = Queued("requeued", None, None if asked.fresh else resend)
    return _anew(job, "requeued", queued, now, **fields)


def _anew(job: Job, kind: EventType, work: Queued, now: float, **fields: Any) -> Event:
    """To the queue for a new attempt; the last one is closed, unless it is to be sent once more."""
    if job.billed == "no":
        fields["billed"] = None  # until the new attempt costs something
    closed = {} if work.resend is not None else ended(job, now, "abandoned", job.error)
    return to_queue(job, kind, now, work, "interrupted", **fields, **closed)


def _resume(
    job: Job, kind: EventType, remote: Remote, policy: Policy, now: float, **fields: Any
) -> Event:
    """Go on where the paid work is: fetch known results, else ask for them within an interval."""
    limits = policy.limits
    if job.finished_at is not None:
        fields["finished_at"] = None
    fields |= reopened(job)
    if remote.results:
        line = stages.begin(job.stages, now, "download", job.attempt)
        if job.state == "cancelled":
            # It was to be fetched at next_poll_at. The next look, if the link fails, isn't now.
            remote = msgspec.structs.replace(remote, next_poll_at=now + limits.poll_interval_s)
        fetched = Downloading(remote, now)
        return change(job, kind, now, "downloading", fetched, stages=line, **fields)
    line = stages.begin(job.stages, now, "generate", job.attempt)
    # The last look may have been a moment ago, and one that is due may be out right now.
    next_at = now + limits.poll_interval_s
    if remote.next_poll_at > now:
        next_at = min(next_at, remote.next_poll_at)
    work = Generating(msgspec.structs.replace(remote, next_poll_at=next_at))
    if job.deadline_at is None or job.deadline_at <= now:
        fields["deadline_at"] = now + limits.generate_timeout_s
    return change(job, kind, now, "generating", work, stages=line, **fields)


def _hold(job: Job, asked: Hold, now: float, by: str | None) -> Event:
    match job.work:
        case Queued(resend=resend) | Preparing(resend=resend):
            return to_held(job, now, "operator", resend=resend, **_said(by, asked.reason))
        case Held():
            raise RefusedError(f"{label(job)} is held already")
        case _:
            raise RefusedError(
                f"{label(job)} is {job.state}: only queued and preparing jobs can be held; cancel "
                "it, or let it finish"
            )


def _release(job: Job, asked: Release, policy: Policy, now: float, by: str | None) -> Event:
    if not isinstance(job.work, Held):
        raise RefusedError(f"{label(job)} is {job.state}, not held")
    if asked.approval and job.reason != "approval":
        raise RefusedError(
            f"{label(job)} isn't held for approval ({job.reason}): `genq release {job.id}`"
        )
    fields = {**_said(by, asked.reason), "errors_consecutive": 0}
    if job.work.remote is not None:
        return _resume(job, "released", job.work.remote, policy, now, **fields)
    queued = Queued("requeued" if job.attempt else "new", None, job.work.resend)
    return _anew(job, "released", queued, now, **fields)


def _resolve(job: Job, asked: Resolve, policy: Policy, now: float, by: str | None) -> Event:
    event = _resolved(job, asked, policy, now, by)
    if not asked.reason:
        return event
    return msgspec.structs.replace(event, detail=f"{event.detail}: {asked.reason}")


def _resolved(job: Job, asked: Resolve, policy: Policy, now: float, by: str | None) -> Event:
    if not isinstance(job.work, InDoubt):
        raise RefusedError(f"{label(job)} is {job.state}, not in doubt: nothing is to be resolved")
    intent = job.work.intent
    match asked.how:
        case "attach" if not asked.remote_id:
            raise RefusedError(f"{label(job)}: attach needs the remote id that was found")
        case "attach" if said := check_remote_id(asked.remote_id):
            raise RefusedError(f"{label(job)}: the remote id {said}")
        case "attach" if owner := _attempt_of(job, asked.remote_id):
            raise RefusedError(
                f"{label(job)}: {asked.remote_id} is the task of attempt {owner}; attach the one "
                f"of attempt {job.attempt}"
            )
        case "attach":
            found = Accepted(asked.remote_id, intent.target)
            return attached(job, intent, found, policy, now, by=by)
        case "pay-again":
            return paid_again(job, intent, now, by=by)
        case "write-off":
            return written_off(job, now, by=by)
        case never:
            assert_never(never)


def _attempt_of(job: Job, remote_id: str) -> int | None:
    """The earlier attempt of `job` that `remote_id` belongs to, or None."""
    for one in () if job.attempts is UNSET else job.attempts:
        if one.remote_id == remote_id and one.attempt != job.attempt:
            return one.attempt
    return None


def _edit(job: Job, asked: Edit, policy: Policy, now: float, by: str | None) -> Event:
    work = job.work
    if not isinstance(work, Queued | Held):
        raise RefusedError(f"{label(job)} is {job.state}: only queued and held jobs can be edited")
    given = {field: getattr(asked, field) for field in Edit.__struct_fields__}
    given = {field: value for field, value in given.items() if value is not None}
    if given.get("name") == "":
        given["name"] = None  # a name is taken away
    changed = {field: value for field, value in given.items() if value != getattr(job, field)}
    submitted = work.resend is not None or (isinstance(work, Held) and work.remote is not None)
    if submitted and ("prompt" in changed or "params" in changed):
        raise RefusedError(
            f"{label(job)} was submitted already: what was asked for can't change any more"
        )
    if job.reason is not None:
        changed["reason"] = job.reason
    if isinstance(work, Held) and work.remote is not None and work.remote.next_poll_at <= now:
        # A look is due, and may be out right now: this drops it, and the next keeps its distance.
        later = now + policy.limits.poll_interval_s
        remote = msgspec.structs.replace(work.remote, next_poll_at=later)
        work = msgspec.structs.replace(work, remote=remote)
    return change(job, "edited", now, job.state, work, by=by, **changed)
