"""What operators ask of one job, and what follows: events, or a refusal that says what to do."""

from typing import Literal

import msgspec
from msgspec import Struct

from daemon.core import stages
from daemon.core.changes import change, ended, to_queue
from daemon.core.events import Event
from daemon.core.job import (
    Cancelling,
    Downloading,
    Finished,
    Generating,
    Held,
    InDoubt,
    Job,
    Preparing,
    Queued,
    Remote,
    Submitting,
    label,
)
from daemon.core.judge import Moment
from daemon.core.policy import Policy
from daemon.core.watching import to_cancelled

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


class Edit(Struct, frozen=True, tag="edit", omit_defaults=True):
    """Change a job that waits; None leaves a field as it is."""

    priority: int | None = None
    prompt: str | None = None
    name: str | None = None
    labels: tuple[str, ...] | None = None
    params: dict[str, object] | None = None
    not_before_at: float | None = None


Command = Cancel | Requeue | Hold | Release | Resolve | Edit


def command(job: Job, asked: Command, policy: Policy, at: Moment, *, by: str | None) -> Events:
    """The events that do what `by` asked. Raises RefusedError with the way out."""
    match asked:
        case Cancel():
            return (_cancel(job, asked, at.now, by),)
        case Requeue():
            return (_requeue(job, asked, at, by),)
        case Hold():
            return (_hold(job, asked, at.now, by),)
        case Release():
            return (_release(job, asked, at, by),)
        case Resolve():
            return (_resolve(job, asked, policy, at, by),)
        case Edit():
            return (_edit(job, asked, at.now, by),)


def _detail(reason: str) -> dict[str, str]:
    return {"detail": reason} if reason else {}


def _cancel(job: Job, asked: Cancel, now: float, by: str | None) -> Event:
    fields = {"by": by, **_detail(asked.reason)}
    match job.work:
        case Queued(resend=resend) | Preparing(resend=resend) | Held(remote=None, resend=resend):
            event = to_cancelled(job, now, "no" if resend is None else "unknown", by=by)
            return msgspec.structs.replace(event, **_detail(asked.reason))
        case Submitting(intent=intent, reconcile_at=at):
            work = Cancelling(intent=intent, reconcile_at=at)
        case (
            Generating(remote=remote) | Downloading(remote=remote) | Held(remote=Remote() as remote)
        ):
            work = Cancelling(remote=remote, next_try_at=now)
        case InDoubt():
            raise RefusedError(
                f"{label(job)} is in doubt: `genq resolve {job.id} attach REMOTE_ID | pay-again "
                "| write-off` decides it"
            )
        case Cancelling():
            raise RefusedError(f"{label(job)} is being cancelled already")
        case _:
            raise RefusedError(f"{label(job)} is {job.state} already: there is nothing to cancel")
    return change(job, "cancelling", now, "cancelling", work, **fields)


def _requeue(job: Job, asked: Requeue, at: Moment, by: str | None) -> Event:
    match job.work:
        case Held(remote=remote, resend=resend):
            pass
        case Finished(remote=remote):
            resend = None
        case InDoubt():
            raise RefusedError(
                f"{label(job)} is in doubt: it may be paid for; `genq resolve {job.id} attach "
                "REMOTE_ID | pay-again | write-off` decides it"
            )
        case _:
            raise RefusedError(
                f"{label(job)} is {job.state}: only a finished or held job is requeued"
            )
    fields = {"by": by, "retries": 0, "errors_consecutive": 0, **_detail(asked.reason)}
    if remote is not None and not asked.fresh:
        return _resume(job, "requeued", remote, at.now, **fields)
    return _anew(job, at.now, Queued("requeued", None, resend), **fields)


def _anew(job: Job, now: float, work: Queued, **fields: object) -> Event:
    """Back to the queue for a new attempt; what the last one left is closed."""
    for name in ("finished_at", "started_at", "billed"):
        if getattr(job, name) is not None:
            fields[name] = None
    return to_queue(job, "requeued", now, work, "interrupted", **fields)


def _resume(job: Job, kind: str, remote: Remote, now: float, **fields: object) -> Event:
    """Go on where the paid work is: fetch known results, else poll for them, now."""
    polled = msgspec.structs.replace(remote, next_poll_at=now)
    if job.finished_at is not None:
        fields["finished_at"] = None
    if job.billed is not None:
        fields["billed"] = None
    if remote.results:
        line = stages.begin(job.stages, now, "download", job.attempt)
        work: Downloading | Generating = Downloading(polled, now)
        return change(job, kind, now, "downloading", work, stages=line, **fields)  # type: ignore[arg-type]
    line = stages.begin(job.stages, now, "generate", job.attempt)
    span = (job.deadline_at or now) - remote.accepted_at
    if job.deadline_at is None or job.deadline_at <= now:
        fields["deadline_at"] = now + max(span, 0.0)
    return change(job, kind, now, "generating", Generating(polled), stages=line, **fields)  # type: ignore[arg-type]


def _hold(job: Job, asked: Hold, now: float, by: str | None) -> Event:
    match job.work:
        case Queued(resend=resend) | Preparing(resend=resend):
            line = stages.end(job.stages, now, "interrupted")
            work = Held(None, resend)
            fields = {"by": by, "reason": "operator", **_detail(asked.reason)}
            return change(job, "held", now, "held", work, stages=line, **fields)
        case Held():
            raise RefusedError(f"{label(job)} is held already")
        case _:
            raise RefusedError(
                f"{label(job)} is {job.state}: only queued and preparing jobs can be held; cancel "
                "it, or let it finish"
            )


def _release(job: Job, asked: Release, at: Moment, by: str | None) -> Event:
    if not isinstance(job.work, Held):
        raise RefusedError(f"{label(job)} is {job.state}, not held")
    if asked.approval and job.reason != "approval":
        raise RefusedError(
            f"{label(job)} isn't held for approval ({job.reason}): `genq release {job.id}`"
        )
    fields = {"by": by, "retries": 0, "errors_consecutive": 0, **_detail(asked.reason)}
    if job.work.remote is not None:
        return _resume(job, "released", job.work.remote, at.now, **fields)
    queued = Queued("requeued" if job.attempt else "new", None, job.work.resend)
    return to_queue(job, "released", at.now, queued, "interrupted", **fields)


def _resolve(job: Job, asked: Resolve, policy: Policy, at: Moment, by: str | None) -> Event:
    if not isinstance(job.work, InDoubt):
        raise RefusedError(
            f"{label(job)} is {job.state}, not in doubt: there is nothing to resolve"
        )
    intent, now = job.work.intent, at.now
    match asked.how:
        case "attach":
            remote = Remote(intent.key, intent.target, asked.remote_id, now, now)
            return change(
                job,
                "resolved",
                now,
                "generating",
                Generating(remote),
                by=by,
                remote_id=asked.remote_id,
                billed=None,
                errors_consecutive=0,
                deadline_at=now + policy.limits.generate_timeout_s,
                stages=stages.begin(job.stages, now, "generate", job.attempt),
                detail=f"attached to {asked.remote_id}",
            )
        case "pay-again":
            queued = Queued("requeued", None, intent)
            line = {"by": by, "billed": None, "detail": "sent once more with the same key"}
            return to_queue(job, "resolved", now, queued, "interrupted", **line)
        case "write-off":
            return change(
                job,
                "resolved",
                now,
                "failed",
                Finished(),
                by=by,
                finished_at=now,
                detail="written off: whether it was billed stays unknown",
                **ended(job, now, "written-off"),
            )


def _edit(job: Job, asked: Edit, now: float, by: str | None) -> Event:
    if not isinstance(job.work, Queued | Held):
        raise RefusedError(f"{label(job)} is {job.state}: only queued and held jobs can be edited")
    if isinstance(job.work, Held) and job.work.remote is not None and asked.prompt is not None:
        raise RefusedError(f"{label(job)} was submitted already: its request can't change any more")
    changed = {
        field: value
        for field in Edit.__struct_fields__
        if (value := getattr(asked, field)) is not None and value != getattr(job, field)
    }
    if job.state == "held":
        changed["reason"] = job.reason
    return change(job, "edited", now, job.state, job.work, by=by, **changed)
