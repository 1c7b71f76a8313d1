"""Notices when the machine's clock is set, and moves what was noted in its old time along."""

from collections.abc import Callable, Sequence

import structlog

from daemon.book import Book
from daemon.clock import Clock
from daemon.core.events import Event
from daemon.core.job import Job
from daemon.core.judge import gate_events
from daemon.core.restamped import move_noted, moved, moved_gate

log = structlog.get_logger()
JUMP_S_MIN = 5.0
"""Less is the clock being kept right, as it always is."""


class Jumps:
    """Compares wall time with the time that passed. `told` hears by how much the clock was set."""

    def __init__(self, book: Book, clock: Clock, told: Callable[[float], None]) -> None:
        self._book = book
        self._clock = clock
        self._told = told
        self._offset = clock.now() - clock.monotonic()

    def start(self) -> None:
        """What is noted as later than now was noted before the clock was set back.

        Each job by itself: one that an earlier start has moved is in this time already.
        """
        now = self._clock.now()
        back = [
            (job, now - job.updated_at)
            for job in self._book.jobs.values()
            if job.updated_at >= now + JUMP_S_MIN
        ]
        if back:
            self._move(back, min(by_s for _, by_s in back))

    def notice(self) -> None:
        """Look now. Before every decision, so that none is made in two times at once."""
        offset = self._clock.now() - self._clock.monotonic()
        by_s, self._offset = offset - self._offset, offset
        if abs(by_s) >= JUMP_S_MIN:
            self._move([(job, by_s) for job in self._book.jobs.values()], by_s)

    def _move(self, jobs: Sequence[tuple[Job, float]], by_s: float) -> None:
        """Move what is noted of `jobs`, each by its seconds, and of all providers by `by_s`."""
        log.warning("clock_was_set", by_s=round(by_s, 3))
        now, book = self._clock.now(), self._book
        events: list[Event] = []
        for job, jobs_s in jobs:
            if (event := move_noted(job, jobs_s, now)) is not None:
                events.append(event)
            elif (after := moved(job, jobs_s)) is not job:
                book.rest(after)
        for name, gate in book.gates.items():
            events += gate_events(name, gate, moved_gate(gate, by_s), None, now)
        book.requeue(now)
        if events:
            book.record(events)
        self._told(by_s)
