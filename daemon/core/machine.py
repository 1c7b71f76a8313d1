"""The machine: every state, every edge, and what each state calls for.

The table below is the whole of it. An event that isn't in the row of a job's state, or that leads
to a state that the row doesn't name, is a programmer's error and raises; there is no other check
of transitions anywhere. ARCHITECTURE.md's diagram is made from this table (diagram.py; `python -m
daemon.diagram --update ARCHITECTURE.md`).
"""

from collections.abc import Iterable, Mapping

from msgspec import UNSET

from daemon.core import effects
from daemon.core.events import Event, EventType, apply
from daemon.core.job import (
    STATES,
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
    State,
    Submitting,
)

Row = Mapping[EventType, frozenset[State]]


def _row(**edges: str) -> Row:
    """A row as keywords: event = "the states it may lead to"."""
    return {
        kind: frozenset(state for state in STATES if state in names.split())  # type: ignore[misc]
        for kind, names in edges.items()
    }


TABLE: Mapping[State, Row] = {
    "queued": _row(
        started="preparing",
        doubted="in_doubt",
        held="held",
        cancelled="cancelled",
        edited="queued",
    ),
    "preparing": _row(
        prepared="preparing",
        submitting="submitting",
        submit_failed="queued",
        interrupted="queued",
        doubted="in_doubt",
        failed="failed",
        held="held",
        cancelled="cancelled",
    ),
    "submitting": _row(
        submitted="generating",
        ready="downloading",
        submit_failed="queued",
        interrupted="queued",
        doubted="submitting in_doubt queued",
        failed="failed",
        held="held",
        cancelling="cancelling",
        recovered="submitting",
    ),
    "generating": _row(
        polled="generating",
        poll_failed="generating",
        ready="downloading",
        failed="failed",
        held="held",
        requeued="queued",
        cancelling="cancelling",
        recovered="generating",
    ),
    "downloading": _row(
        download_failed="downloading generating",
        saved="downloading",
        requeued="queued",
        succeeded="succeeded",
        failed="failed",
        held="held",
        cancelling="cancelling",
        recovered="downloading",
    ),
    "cancelling": _row(
        submitted="cancelling",
        ready="cancelling",
        doubted="cancelling in_doubt",
        poll_failed="cancelling",
        cancelled="cancelled",
        recovered="cancelling",
    ),
    "in_doubt": _row(
        resolved="generating downloading queued failed",
    ),
    "held": _row(
        released="queued generating downloading",
        requeued="queued generating downloading",
        cancelling="cancelling",
        cancelled="cancelled",
        doubted="in_doubt",
        edited="held",
        polled="held",
        rescued="downloading",
        failed="failed",
    ),
    "succeeded": _row(requeued="queued"),
    "failed": _row(
        requeued="queued generating downloading",
        polled="failed",
        rescued="downloading",
    ),
    "cancelled": _row(
        requeued="queued generating downloading",
        polled="cancelled",
        rescued="cancelled",
        download_failed="cancelled",
    ),
}

WORKS: Mapping[State, type] = {
    "queued": Queued,
    "preparing": Preparing,
    "submitting": Submitting,
    "generating": Generating,
    "downloading": Downloading,
    "cancelling": Cancelling,
    "in_doubt": InDoubt,
    "held": Held,
    "succeeded": Finished,
    "failed": Finished,
    "cancelled": Finished,
}
"""The working memory that goes with each state."""


class IllegalTransitionError(Exception):
    """An event that can't happen in the job's state: our own mistake, never the provider's."""

    def __init__(self, event: Event, job: Job, why: str) -> None:
        super().__init__(f"{event.type} for job {job.id} in {job.state}: {why}")
        self.event = event
        self.state = job.state


def evolve(job: Job, event: Event) -> Job:
    """`job` after `event`. Raises IllegalTransitionError if the table has no such edge.

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, work=Queued())
    >>> evolve(job, Event(at=1.0, type="succeeded", job=1, state="succeeded", rev=2))
    Traceback (most recent call last):
    daemon.core.machine.IllegalTransitionError: succeeded for job 1 in queued: not in the table
    """
    targets = TABLE[job.state].get(event.type)
    if targets is None:
        raise IllegalTransitionError(event, job, "not in the table")
    state = job.state if event.state is UNSET else event.state
    if state not in targets:
        raise IllegalTransitionError(event, job, f"can't lead to {state}")
    if event.job != job.id:
        raise IllegalTransitionError(event, job, f"it is about job {event.job}")
    if event.rev != job.rev + 1:
        raise IllegalTransitionError(event, job, f"revision {event.rev} after {job.rev}")
    after = apply(job, event)
    if job.work is not UNSET and type(after.work) is not WORKS[state]:
        raise IllegalTransitionError(event, job, f"{type(after.work).__name__} in {state}")
    return after


def fold(job: Job, events: Iterable[Event]) -> Job:
    """`job` after all of `events`, in order. Raises IllegalTransitionError.

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0)
    >>> fold(job, [Event(at=1.0, type="held", job=1, state="held", rev=2)]).state
    'held'
    """
    for event in events:
        job = evolve(job, event)
    return job


def next_effect(job: Job) -> effects.Effect | None:
    """What I/O the job's state calls for, and when; None if it waits for somebody else.

    Queued jobs wait for the schedule. Held, failed and cancelled ones with a task that may yet
    give a paid result call for a slow watch (architecture.md 2).

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, work=Queued())
    >>> next_effect(job)
    """
    match job.work:
        case Preparing():
            return effects.Prepare()
        case Submitting(intent=intent, reconcile_at=None):
            return effects.Submit(intent)
        case Submitting(intent=intent, reconcile_at=float(at)):
            return effects.Lookup(intent, at)
        case Generating(remote=remote):
            return effects.Poll(remote, remote.next_poll_at)
        case Downloading(remote=remote, fetch_at=at):
            return effects.Fetch(remote, at)
        case Cancelling() as work:
            return _cancelling_effect(work)
        case Held(remote=Remote() as remote) if _watched(job, remote):
            return effects.Poll(remote, remote.next_poll_at, slow=True)
        case Finished(remote=Remote() as remote) if job.state == "cancelled" and remote.results:
            return effects.Fetch(remote, remote.next_poll_at)
        case Finished(remote=Remote() as remote) if _watched(job, remote):
            return effects.Poll(remote, remote.next_poll_at, slow=True)
        case _:
            return None


def _cancelling_effect(work: Cancelling) -> effects.Effect | None:
    if work.remote is not None:
        return effects.Stop(work.remote, work.next_try_at)
    if work.intent is not None and work.reconcile_at is not None:
        return effects.Lookup(work.intent, work.reconcile_at)
    return None


def _watched(job: Job, remote: Remote) -> bool:
    """A task without a verdict. Where results are known, fetching them is an operator's call."""
    return bool(remote.remote_id) and not remote.results and job.state != "succeeded"
