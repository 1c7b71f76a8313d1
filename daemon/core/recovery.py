"""What a restart finds, and what follows: every job goes on where it was."""

from daemon.core.changes import change, to_queue
from daemon.core.events import Event
from daemon.core.job import (
    Cancelling,
    Downloading,
    Failure,
    Generating,
    Intent,
    Job,
    Preparing,
    Queued,
    Submitting,
)
from daemon.core.judge import Moment
from daemon.core.policy import Policy
from daemon.core.submitting import doubted
from daemon.core.watching import cancel_doubted

STOPPED = Failure(
    phase="submit",
    kind="internal",
    message="the daemon stopped before the answer came",
    rule="guard",
    advice="it may have been accepted, so it is not sent again",
)


def recover(job: Job, policy: Policy, at: Moment) -> tuple[Event, ...]:
    """The events for a job found at start, in the order of their states; most need none.

    A submit whose answer was cut is a doubt: looked up where the engine can, else a person's.
    Polls and downloads go on; a job that only prepared goes back to the queue.
    """
    match job.work:
        case Preparing(resend=resend):
            queued = Queued("interrupted", None, resend)
            return (to_queue(job, "interrupted", at.now, queued, "interrupted"),)
        case Submitting(intent=intent, reconcile_at=None):
            return (doubted(job, intent, policy, at, error=STOPPED),)
        case Cancelling(intent=Intent() as intent, reconcile_at=None):
            return (cancel_doubted(job, intent, policy, at),)
        case Submitting() | Generating() | Downloading() | Cancelling() as work:
            return (change(job, "recovered", at.now, job.state, work),)
        case _:
            return ()
