"""Jobs in every state, and what an outcome makes of them: the words of the core's tests."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from daemon.core.commands import Command, command
from daemon.core.decisions import settle
from daemon.core.events import Event
from daemon.core.gate import Gate
from daemon.core.job import (
    Attempt,
    Cancelling,
    Downloading,
    Failure,
    Finished,
    Generating,
    Held,
    InDoubt,
    Intent,
    Job,
    Output,
    Preparing,
    Queued,
    Remote,
    Result,
    Stage,
    StageName,
    State,
    Submitting,
    Work,
)
from daemon.core.judge import Moment
from daemon.core.machine import fold
from daemon.core.outcomes import Fault, Outcome
from daemon.core.policy import Limits, Policy

NOW = 10_000.0
TARGET = "http://vendor"
INTENT = Intent(attempt=1, key="key-1", target=TARGET, digest="d", sent_at=NOW - 20.0)
RESENT = msgspec.structs.replace(INTENT, resent=True)
REMOTE = Remote("key-1", TARGET, "remote-1", accepted_at=NOW - 10.0, next_poll_at=NOW)
RESULTS = (Result("http://vendor/a.mp4"),)
READY_REMOTE = msgspec.structs.replace(REMOTE, results=RESULTS)
OUTPUT = Output("/out/1.mp4", 81_234, "sha", "video/mp4")
OPEN_RECORD = Attempt(1, "key-1", submitted_at=NOW - 20.0)
POLL_ERROR = Failure(phase="poll", kind="http", http=504, rule="shared.poll")
RUNNING: dict[State, StageName] = {
    "queued": "queue",
    "preparing": "prepare",
    "submitting": "submit",
    "generating": "generate",
    "downloading": "download",
    "cancelling": "generate",
}


def a_job(state: State, work: Work, **changes: Any) -> Job:
    """A job that reached `state` in the usual way, but for `changes`."""
    stage = RUNNING.get(state)
    submitted = state not in ("queued", "preparing")
    usual = {
        "attempt": 1 if submitted else 0,
        "attempts": (OPEN_RECORD,) if submitted else (),
        "stages": () if stage is None else (Stage(stage, 1, NOW - 10.0),),
        "retries_max": 5,
        "errors_consecutive_max": 5,
        "finished_at": NOW - 5.0 if state in ("succeeded", "failed", "cancelled") else None,
        "remote_id": "remote-1" if getattr(work, "remote", None) else None,
        "deadline_at": NOW + 1_000.0 if state == "generating" else None,
    }
    fields = {**usual, **changes}
    return Job(
        id=1, provider="mock", state=state, created_at=1.0, updated_at=1.0, work=work, **fields
    )


def queued(work: Queued | None = None, **changes: Any) -> Job:
    return a_job("queued", work or Queued(), **changes)


def preparing(work: Preparing | None = None, **changes: Any) -> Job:
    return a_job("preparing", work or Preparing(), **changes)


def submitting(work: Submitting | None = None, **changes: Any) -> Job:
    return a_job("submitting", work or Submitting(INTENT), **changes)


def generating(work: Generating | None = None, **changes: Any) -> Job:
    return a_job("generating", work or Generating(REMOTE), **changes)


def downloading(work: Downloading | None = None, **changes: Any) -> Job:
    return a_job("downloading", work or Downloading(READY_REMOTE, NOW), **changes)


def cancelling(work: Cancelling | None = None, **changes: Any) -> Job:
    return a_job("cancelling", work or Cancelling(remote=REMOTE, next_try_at=NOW), **changes)


def in_doubt(work: InDoubt | None = None, **changes: Any) -> Job:
    return a_job("in_doubt", work or InDoubt(INTENT), **{"billed": "unknown", **changes})


def held(work: Held | None = None, **changes: Any) -> Job:
    return a_job("held", work or Held(REMOTE), **{"reason": "poll_limit", **changes})


def failed(work: Finished | None = None, **changes: Any) -> Job:
    return a_job("failed", work or Finished(REMOTE), **{"billed": "unknown", **changes})


def cancelled(work: Finished | None = None, **changes: Any) -> Job:
    return a_job("cancelled", work or Finished(REMOTE), **{"billed": "unknown", **changes})


def succeeded(**changes: Any) -> Job:
    usual = {"billed": "yes", "outputs": (OUTPUT,), "remote_id": "remote-1"}
    return a_job("succeeded", Finished(), **{**usual, **changes})


def one_of_each() -> list[Job]:
    """A job in each of the eleven states."""
    makers = (queued, preparing, submitting, generating, downloading, cancelling, in_doubt)
    return [maker() for maker in makers] + [held(), succeeded(), failed(), cancelled()]


class After(Struct, frozen=True):
    """What an outcome or a command came to: the events, and job and gate after them."""

    job: Job
    gate: Gate
    events: tuple[Event, ...]

    @property
    def types(self) -> list[str]:
        """Of the job's events."""
        return [event.type for event in self.events if isinstance(event.job, int)]

    @property
    def gate_types(self) -> list[str]:
        """Of the provider's events."""
        return [event.type for event in self.events if isinstance(event.gate, Gate)]

    @property
    def record(self) -> Attempt:
        """The record of the last attempt."""
        records = self.job.attempts
        assert isinstance(records, tuple)
        return records[-1]

    @property
    def work(self) -> Any:
        return self.job.work


def limited(**limits: Any) -> Policy:
    """The default policy but for some of its numbers."""
    return Policy(limits=Limits(**limits))


def after(
    job: Job,
    outcome: Outcome,
    policy: Policy | None = None,
    *,
    gate: Gate | None = None,
    now: float = NOW,
    jitter: float = 0.0,
    daily_at: float = float("inf"),
) -> After:
    """What follows from `outcome`, folded: an illegal step raises."""
    gate = gate or Gate()
    events = settle(job, gate, outcome, policy or Policy(), Moment(now, jitter, daily_at))
    return _folded(job, gate, events)


def told(
    job: Job,
    asked: Command,
    policy: Policy | None = None,
    *,
    now: float = NOW,
    by: str | None = "ana",
) -> After:
    """What follows from an operator's command, folded."""
    return _folded(job, Gate(), command(job, asked, policy or Policy(), Moment(now), by=by))


def _folded(job: Job, gate: Gate, events: tuple[Event, ...]) -> After:
    for event in events:
        if isinstance(event.gate, Gate):
            gate = event.gate
    return After(fold(job, (e for e in events if isinstance(e.job, int))), gate, events)


def refusal(http: int = 503, **fields: Any) -> Fault:
    """A submit that was surely refused."""
    return Fault("submit", "http", http=http, message="no", **fields)


def unreached() -> Fault:
    """A submit that surely reached nobody."""
    return Fault("submit", "transport.connect")


def lost() -> Fault:
    """A submit whose answer never came."""
    return Fault("submit", "transport.timeout.read", effect="unknown")


def poll_fault(http: int | None = 504, **fields: Any) -> Fault:
    kind = "http" if http is not None else "transport.reset"
    return Fault("poll", fields.pop("kind", kind), http=http, effect="accepted", **fields)


def download_fault(http: int | None = 500, **fields: Any) -> Fault:
    kind = "http" if http is not None else "transport.timeout.read"
    return Fault("download", fields.pop("kind", kind), http=http, effect="accepted", **fields)


def verdict() -> Fault:
    """The provider says that the task failed."""
    return Fault("poll", "provider.failed", message="filtered", effect="accepted")
