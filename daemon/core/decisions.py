"""What follows from an outcome: the two middle lines of the idea (architecture.md 1), as one call.

`settle` rules on a fault, judges the provider and decides about the job; the shell stores what it
returns in one transaction.
"""

import msgspec

from daemon.core.cancelling import decide_cancelling
from daemon.core.events import Event
from daemon.core.gate import Gate
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
    Submitting,
    live_remote,
    streak,
)
from daemon.core.judge import Moment, judge
from daemon.core.outcomes import Accepted, Fault, Outcome, Picked, Ready
from daemon.core.policy import IllegalOutcomeError, Policy, Ruling, rule_on
from daemon.core.preparing import decide_preparing, started
from daemon.core.resolving import decide_in_doubt
from daemon.core.running import decide_downloading, decide_generating
from daemon.core.submitting import decide_submitting
from daemon.core.watching import decide_watched

Events = tuple[Event, ...]


def settle(job: Job, gate: Gate, outcome: Outcome, policy: Policy, at: Moment) -> Events:
    """The job's events and then the gate's that follow from `outcome`: one transaction.

    The gate is judged first, so that a refusal that shuts it already counts as deferred. Raises
    IllegalOutcomeError for what can't occur in the job's state.

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, work=Queued())
    >>> [event.type for event in settle(job, Gate(), Picked(), Policy(), Moment(5.0))]
    ['started']
    """
    ruling = None
    if isinstance(outcome, Fault):
        outcome = _as_asked(job, outcome)
        ruling = rule_on(job, outcome, policy, jitter=at.jitter, tries=_tries(job))
    verdict = None if ruling is None else ruling.verdict
    judged = judge(gate, job, outcome, verdict, policy.limits, at)
    for event in judged:
        gate = event.gate if isinstance(event.gate, Gate) else gate
    return (*decide(job, outcome, ruling, policy, gate, at), *judged)


def _as_asked(job: Job, fault: Fault) -> Fault:
    """A look for a lost answer that failed leaves the doubt as it was, whatever failed about it."""
    match job.work:
        case Submitting(reconcile_at=float()) | Cancelling(intent=Intent(), reconcile_at=float()):
            return msgspec.structs.replace(fault, phase="submit", effect="unknown")
        case _:
            return fault


def _tries(job: Job) -> int:
    """Failures in a row of the phase that counts its own: downloads, preparations."""
    match job.work:
        case Downloading(tries=tries):
            return tries
        case Preparing():
            return streak(job, "prepare")
        case _:
            return 0


def decide(
    job: Job, outcome: Outcome, ruling: Ruling | None, policy: Policy, gate: Gate, at: Moment
) -> Events:
    """The job's events that follow from `outcome`; `gate` is the one after it was judged.

    `ruling` is there exactly when the outcome is a Fault. Empty when nothing changed that anybody
    may see: the caller then moves the next look on (`waited`).

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, work=Queued())
    >>> decide(job, Picked(), None, Policy(), Gate(), Moment(5.0))[0].state
    'preparing'
    """
    if _known_already(job, outcome):
        return ()
    match job.work:
        case Queued() as queued if isinstance(outcome, Picked):
            return (started(job, queued, at.now),)
        case Preparing() as preparing:
            return decide_preparing(job, preparing, outcome, ruling, gate, at)
        case Submitting() as submitting:
            return decide_submitting(job, submitting, outcome, ruling, policy, gate, at)
        case Generating() as generating:
            return decide_generating(job, generating, outcome, ruling, policy, at)
        case Downloading() as downloading:
            return decide_downloading(job, downloading, outcome, ruling, policy, at)
        case Cancelling() as cancelling:
            return decide_cancelling(job, cancelling, outcome, policy, at)
        case InDoubt() as doubt:
            return decide_in_doubt(job, doubt, outcome, policy, at.now)
        case Held() | Finished():
            return decide_watched(job, outcome, ruling, policy, at)
        case _:
            raise IllegalOutcomeError(job, outcome)


def _known_already(job: Job, outcome: Outcome) -> bool:
    """Whether this is the acceptance, or the answer, that `job` has: paid.jsonl may name it twice.

    It does after a kill while a start was adopting what an earlier kill had left there.
    """
    remote = live_remote(job)
    match outcome:
        case Accepted(remote_id=named) if remote is not None:
            return bool(named) and named == remote.remote_id
        case Ready(results=results) if isinstance(job.work, Downloading):
            return results == job.work.remote.results
        case _:
            return False


def waited(job: Job, now: float, policy: Policy) -> Job:
    """`job` after a look that changed nothing: one poll more, the next look one interval on.

    Not a fact: nobody sees it, and a restart may forget it (resilience.md 2.2, step 5).

    >>> job = Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, work=Queued())
    >>> waited(job, 5.0, Policy()) is job
    True
    """
    work = job.work
    match work:
        case Generating():
            interval = policy.limits.poll_interval_s
        case Held() | Finished():
            interval = policy.limits.watch_interval_s
        case _:
            return job
    if work.remote is None:
        return job
    remote = msgspec.structs.replace(
        work.remote, next_poll_at=now + interval, polls=work.remote.polls + 1
    )
    return msgspec.structs.replace(job, work=msgspec.structs.replace(work, remote=remote))
