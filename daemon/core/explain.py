"""Why a job is where it is, what happens next, and when. Derived on reading; never stored.

The same data that the schedule uses: job, gate, unfinished dependencies, free slots, now.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from daemon.core.gate import Gate, blocking, reopens_at, state
from daemon.core.job import (
    ACTIVE,
    Cancelling,
    Downloading,
    Failure,
    Finished,
    Generating,
    Held,
    InDoubt,
    Job,
    Queued,
    Remote,
    Submitting,
    public,
)
from daemon.core.schedule import ready_at
from daemon.core.times import describe_duration

Reason = Literal["backoff", "provider", "schedule", "dependency", "reconciling"]


class Scene(Struct, frozen=True):
    """What a job's explanation needs besides the job. `blocked_by`: id and state of each.

    `idle`: why nobody works on the job at all, whatever its state calls for; or an empty text.
    """

    gate: Gate
    now: float
    blocked_by: tuple[tuple[int, str], ...] = ()
    free_slots: int = 1
    idle: str = ""


class Why(Struct, frozen=True):
    """The answer of `genq why`."""

    id: int
    state: str
    sentence: str
    next_at: float | None


def reason(job: Job, scene: Scene) -> str | None:
    """The word of interfaces.md 2 for why a job waits: derived, or what a held job stored."""
    match job.work:
        case Queued(retry_at=retry_at):
            if scene.blocked_by:
                return "dependency"
            if (job.not_before_at or 0.0) > scene.now:
                return "schedule"
            if blocking(scene.gate, scene.now):
                return "provider"
            return "backoff" if (retry_at or 0.0) > scene.now else None
        case Submitting(reconcile_at=float()):
            return "reconciling"
        case _:
            return job.reason


def next_at(job: Job, scene: Scene) -> float | None:
    """When something happens next by itself; None: nothing will, or at once."""
    if scene.idle:
        return None
    match job.work:
        case Queued():
            if scene.blocked_by:
                return None
            shut = blocking(scene.gate, scene.now)
            if shut and shut[0].until_at is None:
                return None
            at = max(ready_at(job), reopens_at(scene.gate, scene.now) or 0.0)
            return at if at > scene.now else None
        case Submitting(reconcile_at=at):
            return at
        case Generating(remote=remote):
            return remote.next_poll_at
        case Downloading(fetch_at=at):
            return at
        case Cancelling(remote=Remote(), next_try_at=at):
            return at
        case Held(remote=Remote() as remote) | Finished(remote=Remote() as remote):
            looked_at = not remote.results or job.state == "cancelled"
            return remote.next_poll_at if looked_at else None
        case _:
            return None


def shown(job: Job, scene: Scene) -> Job:
    """`job` as `ls` shows it: its public half with what is derived."""
    return msgspec.structs.replace(
        public(job), reason=reason(job, scene), next_at=next_at(job, scene)
    )


def stuck(job: Job, blocked_by: tuple[tuple[int, str], ...] = ()) -> bool:
    """Whether `job` can't go on by itself: finished, held, in doubt, or behind one that is.

    >>> stuck(Job(id=1, provider="m", created_at=0.0, updated_at=0.0, state="held"))
    True
    """
    if job.state in ("succeeded", "failed", "cancelled", "held", "in_doubt"):
        return True
    return job.state == "queued" and any(
        state in ("failed", "cancelled") for _, state in blocked_by
    )


def why(job: Job, scene: Scene) -> Why:
    """One sentence: what the job waits for or why it ended, what happens next, and when."""
    if scene.idle and (job.state == "queued" or job.state in ACTIVE):
        sentence = f"Nobody works on it: {scene.idle}.{_last(job.error)}"
    else:
        sentence = _sentence(job, scene)
    return Why(job.id, job.state, sentence, next_at(job, scene))


def _sentence(job: Job, scene: Scene) -> str:
    match job.work:
        case Queued():
            return _queued(job, scene)
        case Submitting(reconcile_at=None):
            return "The request is on its way; its answer decides."
        case Submitting():
            return (
                "The answer to the paid request was lost; the provider is asked whether it "
                f"arrived{_when(job, scene)}. It is not sent again before that is known."
            )
        case Generating():
            return _generating(job, scene)
        case Downloading(tries=tries):
            again = f", try {tries + 1}{_when(job, scene)}" if tries else ""
            return f"The result is ready and is being fetched{again}.{_last(job.error)}"
        case Cancelling():
            return f"Cancelled by {job.by or 'an operator'}; the provider is being told."
        case InDoubt():
            return (
                "Whether the request was accepted, and paid, is unknown; it is never sent again by "
                f"itself. `genq resolve {job.id} attach REMOTE_ID | pay-again | write-off`."
                f"{_last(job.error)}"
            )
        case Held():
            return _held(job)
        case Finished():
            return _finished(job, scene)
        case _:
            return "Its pictures are being made ready; then the request goes out."


def _queued(job: Job, scene: Scene) -> str:
    match reason(job, scene):
        case "dependency":
            waits = ", ".join(f"job {parent} ({state})" for parent, state in scene.blocked_by)
            more = (
                " It goes on if they are requeued and succeed."
                if stuck(job, scene.blocked_by)
                else ""
            )
            return f"Waits for {waits} to succeed.{more}"
        case "schedule":
            return f"Scheduled: it starts{_when(job, scene)}."
        case "provider":
            shut = blocking(scene.gate, scene.now)[0]
            until = (
                f", it goes on{_when(job, scene)}"
                if shut.until_at
                else " until an operator resumes it"
            )
            if shut.source == "config":
                until = ""
            return f"{job.provider} is paused ({shut.cause}){until}: {shut.reason.rstrip('.')}."
        case "backoff":
            tries = f"{job.retries} of {job.retries_max}"
            return f"Tried again{_when(job, scene)} (retry {tries}).{_last(job.error)}"
        case _:
            probe = scene.gate.probe
            if probe is not None and state(scene.gate, scene.now) == "probing":
                return f"Waits for job {probe}, which goes first after a pause of {job.provider}."
            if scene.free_slots > 0:
                return "Starts as soon as the schedule reaches it."
            return f"Waits for a free slot of {job.provider}."


def _generating(job: Job, scene: Scene) -> str:
    left = ""
    if job.deadline_at is not None:
        left = f" {describe_duration(max(0.0, job.deadline_at - scene.now))} are left."
    errors = ""
    if job.errors_consecutive:
        several = "s" if job.errors_consecutive > 1 else ""
        row = f"{job.errors_consecutive} error{several} in a row"
        errors = f" {row} (at {job.errors_consecutive_max} it stops)."
    share = f" at {job.progress:.0%}" if job.progress is not None else ""
    return f"{job.provider} works on it{share}; the next look is{_when(job, scene)}.{left}{errors}"


_HELD: dict[str, str] = {
    "poll_limit": "too many errors in a row while asking for it",
    "deadline": "it took longer than generate_timeout_s",
    "download": "its result could not be fetched",
    "link_expired": "the link of its result has expired",
    "lost": "the provider doesn't tell about its task any more",
    "space": "the disk is full",
    "restored": "the journal was restored from a backup",
    "operator": "an operator, or a rule, held it",
    "approval": "it waits for approval",
}


def _held(job: Job) -> str:
    cause = _HELD.get(job.reason or "", "an operator held it")
    way = f"`genq approve {job.id}`" if job.reason == "approval" else f"`genq release {job.id}`"
    watched = ""
    if isinstance(job.work, Held) and job.work.remote is not None:
        watched = " Its paid task is kept; releasing it asks for the result and pays nothing."
    return f"Held: {cause}. {way} lets it go on.{watched}{_last(job.error)}"


def _finished(job: Job, scene: Scene) -> str:
    watch, way = "", "tries anew"
    match job.work:
        case Finished(remote=Remote(results=(_, *_))) if job.state == "failed":
            watch, way = " Its result is paid for and kept.", "fetches it and pays nothing"
        case Finished(remote=Remote()) if not scene.idle:
            watch = f" Its task may still give a result: looked at{_when(job, scene)}."
    match job.state:
        case "succeeded":
            return f"Done: {len(job.outputs)} file{'s' if len(job.outputs) != 1 else ''} on disk."
        case "cancelled":
            money = {
                "no": "it was not billed",
                "kept": "its result came too late and was kept",
                "yes": "its result was paid for",
            }.get(job.billed or "", "whether it was billed is unknown")
            return f"Cancelled by {job.by or 'an operator'}: {money}.{watch}"
        case _:
            return f"Failed.{_last(job.error)}{watch} `genq requeue {job.id}` {way}."


def _last(error: Failure | None) -> str:
    if error is None:
        return ""
    what = f"HTTP {error.http}" if error.http else error.kind
    code = f" {error.code}" if error.code else ""
    said = f": {error.message}" if error.message else ""
    advice = f" ({error.advice})" if error.advice else ""
    return f" Last error, rule {error.rule}: {error.phase} {what}{code}{said}{advice}."


def _when(job: Job, scene: Scene) -> str:
    at = next_at(job, scene)
    if at is None or at <= scene.now:
        return " now"
    return f" in {describe_duration(at - scene.now)}"
