"""What a job is: its public record and, beside it, the working memory of its state.

`Job` has two halves. The public half is the JSON of interfaces.md 2, key for key. The other half
(`work`, `attempts`) is what the daemon needs to go on after a restart; it is stored with the job,
shown by `genq show` where people need it, and never part of the event stream. Clients leave it
unset, so that the daemon and the monitor fold events into one and the same type.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import msgspec
from msgspec import UNSET, Struct, UnsetType

State = Literal[
    "queued",
    "preparing",
    "submitting",
    "generating",
    "downloading",
    "cancelling",
    "in_doubt",
    "held",
    "succeeded",
    "failed",
    "cancelled",
]
STATES: tuple[State, ...] = get_args(State)
FINISHED: frozenset[State] = frozenset({"succeeded", "failed", "cancelled"})
"""States from which only an operator, or a late result, leads on."""
UNFINISHED: frozenset[State] = frozenset(STATES) - FINISHED
ACTIVE: frozenset[State] = frozenset(
    {"preparing", "submitting", "generating", "downloading", "cancelling"}
)
"""States in which the daemon itself is at work on the job."""

Phase = Literal["prepare", "submit", "poll", "download"]
StageName = Literal["queue", "prepare", "submit", "generate", "download"]
StageResult = Literal["running", "ok", "retry", "failed", "interrupted", "cancelled"]
Billed = Literal["no", "unknown", "yes", "kept"]
Cause = Literal["new", "backoff", "quota", "provider", "requeued", "interrupted"]
"""Why a job stands in the queue; what people see is derived from it (explain.py)."""


class Image(Struct, frozen=True):
    """A reference picture: a file (its content hash), a URL, or `job:ID` (that job's output)."""

    source: str
    sha256: str | None = None


class Stage(Struct, frozen=True):
    """One stretch of a job's life, for the timeline. `duration_s` is None while it runs."""

    stage: StageName
    attempt: int
    started_at: float
    duration_s: float | None = None
    result: StageResult = "running"


class Output(Struct, frozen=True):
    """A result file. `path` is absolute; type and extension were found from the content."""

    path: str
    bytes: int
    sha256: str
    mime: str


class Failure(Struct, frozen=True):
    """The last error of a job: the fault, and the rule that decided what followed."""

    phase: Phase
    kind: str
    http: int | None = None
    code: str | None = None
    message: str = ""
    rule: str | None = None
    advice: str | None = None


class Attempt(Struct, frozen=True):
    """One intent to submit, and what came of it. Each has a key of its own."""

    attempt: int
    key: str
    remote_id: str | None = None
    submitted_at: float | None = None
    accepted_at: float | None = None
    finished_at: float | None = None
    polls: int = 0
    result: str | None = None
    error: Failure | None = None


class Intent(Struct, frozen=True):
    """What is on disk before the first byte of a paid request leaves the machine.

    `target` is the base URL chosen, `digest` the SHA-256 of the request's content, `epoch` the
    gate's when the intent was written, `resent` whether this key was sent once before.
    """

    attempt: int
    key: str
    target: str
    digest: str
    sent_at: float
    epoch: int = 0
    resent: bool = False


class Result(Struct, frozen=True):
    """Where one output can be fetched. A synchronous answer is a spooled file: `spool:NAME`."""

    url: str
    expires_at: float | None = None


class Remote(Struct, frozen=True):
    """A task that lives at the provider, or may: paid for until it says otherwise.

    `results` is empty until the provider said that it is ready.
    """

    key: str
    target: str
    remote_id: str
    accepted_at: float
    next_poll_at: float
    polls: int = 0
    results: tuple[Result, ...] = ()


# ---- the working memory, one type a state: a state carries the data legal in it ----


class Queued(Struct, frozen=True, tag="queued"):
    """`retry_at`: not before, after an error. `resend`: the doubted intent to send once more."""

    cause: Cause = "new"
    retry_at: float | None = None
    resend: Intent | None = None


class Preparing(Struct, frozen=True, tag="preparing"):
    """A slot is taken; pictures are made ready. Nothing has left the machine."""

    resend: Intent | None = None


class Submitting(Struct, frozen=True, tag="submitting"):
    """The intent is on disk. `reconcile_at` is set once the answer was lost: look it up then."""

    intent: Intent
    reconcile_at: float | None = None


class Generating(Struct, frozen=True, tag="generating"):
    """The provider works on it. `refreshing`: polled once more, for a fresh link only."""

    remote: Remote
    refreshing: bool = False


class Downloading(Struct, frozen=True, tag="downloading"):
    """The result is ready at the provider. `refreshed`: a fresh link was asked for already."""

    remote: Remote
    fetch_at: float
    tries: int = 0
    refreshed: bool = False


class Cancelling(Struct, frozen=True, tag="cancelling"):
    """An operator cancelled: `intent` while the answer is out, else the `remote` to stop."""

    intent: Intent | None = None
    remote: Remote | None = None
    reconcile_at: float | None = None
    tries: int = 0
    next_try_at: float = 0.0


class InDoubt(Struct, frozen=True, tag="in_doubt"):
    """Whether `intent` was accepted, and paid, is unknown: a person decides."""

    intent: Intent


class Held(Struct, frozen=True, tag="held"):
    """Waits for an operator. With a `remote` that has no verdict it is watched slowly."""

    remote: Remote | None = None
    resend: Intent | None = None


class Finished(Struct, frozen=True, tag="finished"):
    """Succeeded, failed or cancelled. A `remote` is one that may still give a paid result."""

    remote: Remote | None = None
    tries: int = 0


Work = (
    Queued
    | Preparing
    | Submitting
    | Generating
    | Downloading
    | Cancelling
    | InDoubt
    | Held
    | Finished
)


class Job(Struct, frozen=True, kw_only=True):
    """A job: interfaces.md 2, then the daemon's own half.

    `reason` and `next_at` of what waits are derived when read (explain.py); stored is only the
    reason of a held job.
    """

    id: int
    name: str | None = None
    provider: str
    state: State = "queued"
    reason: str | None = None
    batch: str | None = None
    labels: tuple[str, ...] = ()
    priority: int = 0
    prompt: str = ""
    params: Mapping[str, Any] = {}
    images: tuple[Image, ...] = ()
    after: tuple[int, ...] = ()
    attempt: int = 0
    retries: int = 0
    retries_max: int = 0
    errors_consecutive: int = 0
    errors_consecutive_max: int = 0
    errors_total: int = 0
    remote_id: str | None = None
    progress: float | None = None
    created_at: float
    updated_at: float
    started_at: float | None = None
    finished_at: float | None = None
    next_at: float | None = None
    deadline_at: float | None = None
    not_before_at: float | None = None
    stages: tuple[Stage, ...] = ()
    outputs: tuple[Output, ...] = ()
    error: Failure | None = None
    billed: Billed | None = None
    by: str | None = None
    rev: int = 1
    attempts: tuple[Attempt, ...] | UnsetType = UNSET
    work: Work | UnsetType = UNSET


def public(job: Job) -> Job:
    """The half of `job` that anybody may see, ready to encode: the keys of interfaces.md 2.

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, work=Queued())
    >>> "work" in msgspec.to_builtins(public(job))
    False
    """
    return msgspec.structs.replace(job, work=UNSET, attempts=UNSET)


def live_remote(job: Job) -> Remote | None:
    """The remote task of `job` that may still live or hold a paid result, in whatever state.

    >>> live_remote(Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, work=Queued()))
    """
    match job.work:
        case Generating() | Downloading() | Cancelling() | Held() | Finished() as work:
            return work.remote
        case _:
            return None


def streak(job: Job, phase: Phase) -> int:
    """How many times in a row `phase` failed last: a new phase starts to count anew.

    >>> streak(Job(id=1, provider="m", created_at=0.0, updated_at=0.0), "poll")
    0
    """
    return job.errors_consecutive if job.error is not None and job.error.phase == phase else 0


def label(job: Job) -> str:
    """`job 12 (shot-03)`: how messages call a job. Names were checked when it was added.

    >>> label(Job(id=12, name="shot-03", provider="mock", created_at=0.0, updated_at=0.0))
    'job 12 (shot-03)'
    """
    return f"job {job.id} ({job.name})" if job.name else f"job {job.id}"
