"""What a restart finds, and what follows: every job goes on where it was."""

import msgspec

from daemon.core.cancelling import cancel_doubted
from daemon.core.changes import change, to_queue
from daemon.core.events import Event
from daemon.core.gate import Gate, lapsed
from daemon.core.job import (
    FINISHED,
    Cancelling,
    Downloading,
    Failure,
    Finished,
    Generating,
    Held,
    Intent,
    Job,
    Preparing,
    Queued,
    Submitting,
    live_remote,
)
from daemon.core.judge import Moment, gate_events, without
from daemon.core.policy import Policy
from daemon.core.submitting import doubted

STOPPED = Failure(
    phase="submit",
    kind="internal",
    message="the daemon stopped before the answer came",
    rule="guard",
    advice="it may have been accepted, so it is not sent again",
)


def concerns(job: Job) -> bool:
    """Whether a start has to look at `job`: not where it only waits its turn, or all is over.

    >>> concerns(Job(id=1, provider="mock", created_at=0.0, updated_at=0.0, work=Queued()))
    False
    """
    if job.state in FINISHED:
        return live_remote(job) is not None
    return job.state != "queued"


def recover(job: Job, policy: Policy, at: Moment) -> tuple[Event, ...]:
    """The events for a job found at start, in the order of their states; most need none.

    A submit whose answer was cut is a doubt: looked up where the engine can, else a person's.
    Polls and downloads go on; a job that only prepared goes back to the queue. What was sent
    counts as sent now: how long the daemon was away, only a clock can tell that may have been set.

    >>> work = Submitting(Intent(1, "k", "http://a", "", 5.0))
    >>> job = Job(id=1, provider="m", created_at=0.0, updated_at=0.0, state="submitting", work=work)
    >>> recover(job, Policy(), Moment(9.0))[0].state
    'in_doubt'
    """
    able = policy.abilities.lookup
    match job.work:
        case Preparing(resend=resend):
            queued = Queued("interrupted", None, resend)
            return (to_queue(job, "interrupted", at.now, queued, "interrupted"),)
        case Submitting(intent=intent, reconcile_at=due) if due is None or not able:
            error = STOPPED if due is None else job.error
            return (doubted(job, _sent_now(intent, at), policy, at, error=error),)
        case Cancelling(intent=Intent() as intent, reconcile_at=due) if due is None or not able:
            error = STOPPED if due is None else job.error
            return (cancel_doubted(job, _sent_now(intent, at), policy, at, error=error),)
        case Generating(remote=remote) as generating:
            # Looks that changed nothing were not stored: the last may have been a moment ago.
            if remote.next_poll_at <= at.now:
                soonest = at.now + policy.limits.poll_interval_s
                remote = msgspec.structs.replace(remote, next_poll_at=soonest)
            generating = msgspec.structs.replace(generating, remote=remote)
            return (change(job, "recovered", at.now, "generating", generating),)
        case Submitting(intent=Intent() as intent) | Cancelling(intent=Intent() as intent) as work:
            work = msgspec.structs.replace(work, intent=_sent_now(intent, at))
            return (change(job, "recovered", at.now, job.state, work),)
        case Downloading() | Cancelling() as work:
            return (change(job, "recovered", at.now, job.state, work),)
        case _:
            return ()


def _sent_now(intent: Intent, at: Moment) -> Intent:
    return msgspec.structs.replace(intent, sent_at=max(intent.sent_at, at.now))


def rested(job: Job, policy: Policy, at: Moment) -> Job:
    """`job` with a slow look that is due put off, at most by the slow interval. Not a fact.

    Looks that changed nothing were not stored: the last may have been a moment ago, and a start
    finds all of them due at once.

    >>> job = Job(id=1, provider="m", created_at=0.0, updated_at=0.0, state="held", work=Held())
    >>> rested(job, Policy(), Moment(100.0)) is job
    True
    """
    work = job.work
    if not isinstance(work, Held | Finished) or work.remote is None:
        return job
    if work.remote.next_poll_at > at.now:
        return job
    limits = policy.limits
    spread = max(0.0, limits.watch_interval_s - limits.poll_interval_s) * at.jitter
    later = at.now + limits.poll_interval_s + spread
    remote = msgspec.structs.replace(work.remote, next_poll_at=later)
    return msgspec.structs.replace(job, work=msgspec.structs.replace(work, remote=remote))


def recover_gate(provider: str, gate: Gate, now: float) -> tuple[Event, ...]:
    """The event for a gate found at start, if it needs one. Pauses go on; a probe doesn't.

    The probe's answer was cut: its job is a doubt, and nobody would ever end its probing. The next
    job is the probe. Whether this machine's disk is full is found out anew.

    >>> recover_gate("mock", Gate(probe=7), 9.0)[0].gate.probe
    >>> recover_gate("mock", Gate(), 9.0)
    ()
    """
    after = without(msgspec.structs.replace(gate, probe=None), "space")
    return gate_events(provider, gate, lapsed(after, now), None, now)
