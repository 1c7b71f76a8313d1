"""One job: the five lines of the idea (architecture.md 1), and nothing else.

A runner lives as long as its job's state calls for I/O. Operators' commands don't go through it:
they fold into the book at once, on this same loop, and the runner is poked, so that it drops what
it was waiting for and looks again. A paid submit is never dropped: its answer is settled on
whatever the job has become meanwhile.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog

from daemon.book import Book
from daemon.core.cancelling import WITHDRAWN, withdrawn
from daemon.core.decisions import settle, waited
from daemon.core.effects import Effect, Prepare, Submit
from daemon.core.job import Job, live_remote
from daemon.core.judge import Moment
from daemon.core.machine import next_effect
from daemon.core.outcomes import Effect as PaidEffect
from daemon.core.outcomes import Fault, Interrupted, Outcome, Unsent
from daemon.core.policy import Policy
from daemon.store.port import StoreError

log = structlog.get_logger()
BUGS_MAX = 3
"""Unexpected exceptions in a row after which a job is left alone until somebody looks."""


class Performer(Protocol):
    """What turns an effect into an outcome: engines, pictures, files."""

    async def perform(self, job: Job, effect: Effect) -> Outcome:
        """Wait until the effect is due, do it once, translate what came of it."""


class Runner:
    """Carries one job forward until its state calls for no more I/O."""

    def __init__(
        self,
        job: int,
        *,
        book: Book,
        performer: Performer,
        policy: Callable[[str], Policy],
        moment: Callable[[str], Moment],
    ) -> None:
        self.job = job
        self._book = book
        self._performer = performer
        self._policy = policy
        self._moment = moment
        self._task: asyncio.Task[None] | None = None
        self._interruptible = False
        self._poked = False
        self._bugs = 0
        self.stopping = False
        self.submitting = False

    def start(self, done: Callable[[int], None]) -> None:
        """Run in a task of its own; `done` is called with the job's id when it is over."""
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(lambda _: done(self.job))

    @property
    def task(self) -> asyncio.Task[None]:
        """The task, once started."""
        if self._task is None:
            raise RuntimeError("the runner was not started")
        return self._task

    @property
    def gave_up(self) -> bool:
        """Whether it ended because it can't go on, not because the job calls for nothing."""
        return self._bugs >= BUGS_MAX

    def poke(self) -> None:
        """The job changed, or the daemon stops: drop what can be dropped and look again."""
        if self._interruptible and not self._poked and self._task is not None:
            self._poked = True
            self._task.cancel()

    def abandon(self) -> None:
        """End now, whatever is out: a submit that is cut is a doubt at the next start."""
        self.stopping = True
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        self._book.left_alone.discard(self.job)
        while self._bugs < BUGS_MAX:
            job = self._book.jobs.get(self.job)
            effect = None if job is None else next_effect(job)
            if job is None or effect is None:
                if job is not None and withdrawn(job):
                    self._settle(WITHDRAWN)
                return
            if not isinstance(effect, Prepare):
                try:
                    await self._book.durable()
                except StoreError:
                    self._bugs = BUGS_MAX  # no effect may follow from what was never kept
                    return
                if self._book.jobs.get(self.job) is not job:
                    continue  # a command came meanwhile
            if self.stopping:
                self._leave(effect)
                return
            outcome = await self._perform(job, effect)
            if outcome is not None:
                self._settle(outcome)
        self._book.leave_alone(self.job)
        log.error("job_left_alone", job=self.job, why="unexpected errors in a row; see above")

    def _leave(self, effect: Effect) -> None:
        """The daemon stops: what has not left the machine goes back to the queue."""
        if isinstance(effect, Prepare):
            self._settle(Interrupted())
        elif isinstance(effect, Submit):
            self._settle(Unsent())

    async def _perform(self, job: Job, effect: Effect) -> Outcome | None:
        """The outcome, or None if something else came first."""
        self.submitting = isinstance(effect, Submit)
        self._interruptible = not self.submitting
        try:
            outcome = await self._performer.perform(job, effect)
        except asyncio.CancelledError:
            if not self._poked:
                raise
            self._unpoke()
            return None
        except Exception as error:
            self._bugs += 1
            log.exception("unexpected_error", job=self.job, effect=type(effect).__name__)
            return _internal(job, effect, error)
        finally:
            self._interruptible = False
            self.submitting = False
        self._bugs = 0
        if self._poked:
            self._unpoke()
            return None
        return outcome

    def _unpoke(self) -> None:
        """Take back the cancellation that carried the poke."""
        self._poked = False
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()

    def _settle(self, outcome: Outcome) -> None:
        """Decide on what the job is now, which may be more than it was, and record it."""
        provider = self._book.jobs[self.job].provider
        policy, moment = self._policy(provider), self._moment(provider)
        job = self._book.jobs[self.job]  # as it is now: the moment may tell that the clock was set
        try:
            events = settle(job, self._book.gate(job.provider), outcome, policy, moment)
            if events:
                self._book.record(events)
            if not any(event.job == self.job for event in events):
                # The provider's counters may have changed, and the job not: its next look is later.
                self._book.rest(waited(self._book.jobs[self.job], moment.now, policy))
        except Exception:
            self._bugs = BUGS_MAX
            log.exception(
                "impossible_transition",
                job=self.job,
                outcome=type(outcome).__name__,
                remote_id=getattr(outcome, "remote_id", None),  # it may be paid for
            )


def _internal(job: Job, effect: Effect, error: Exception) -> Fault:
    """Our own bug, as a fault: what a submit did is unknown, what is paid for is kept."""
    known: PaidEffect = "none" if live_remote(job) is None else "accepted"
    phases = {"Prepare": "prepare", "Submit": "submit", "Lookup": "submit", "Fetch": "download"}
    return Fault(
        phase=phases.get(type(effect).__name__, "poll"),  # type: ignore[arg-type]
        kind="internal",
        message=f"{type(error).__name__}: see the log",
        effect="unknown" if type(effect).__name__ in ("Submit", "Lookup") else known,
    )
