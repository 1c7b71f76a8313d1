"""`genq wait`: until none of the jobs asked about can go on by itself."""

import asyncio
from collections.abc import Callable, Container, Sequence
from typing import Any

from daemon.book import Book
from daemon.clock import Clock
from daemon.core.events import Event
from daemon.core.job import FINISHED, Job
from daemon.core.suggest import did_you_mean
from daemon.wire import messages
from daemon.wire.messages import refusal

PROGRESS_EVERY_S = 0.2
STUCK = frozenset({"held", "in_doubt"})
OUTCOMES = ("succeeded", "failed", "cancelled")


class Waiting:
    """Everybody who waits for jobs. Woken by facts; looks only when something changed.

    `providers` are those there are: nobody works on a job of another.
    """

    def __init__(self, *, book: Book, clock: Clock, providers: Container[str]) -> None:
        self._providers = providers
        self._book = book
        self._clock = clock
        self._bells: set[asyncio.Event] = set()
        book.watch(self._recorded)

    def _recorded(self, _events: Sequence[Event]) -> None:
        for bell in self._bells:
            bell.set()

    async def wait(
        self, request: messages.Wait, progress: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Interfaces.md 2, `wait`, with `timed_out`. Returns when it is over or its time is.

        Raises RequestError for a batch without jobs: `wait --batch TYPO && ship` must not ship.
        """
        jobs = self._chosen(request)
        bell = asyncio.Event()
        self._bells.add(bell)
        started_at = self._clock.monotonic()
        try:
            while True:
                bell.clear()
                value = self._sorted(jobs)
                progress({name: len(ids) for name, ids in value.items()} | {"total": len(jobs)})
                over = not value["unfinished"]
                waited = self._clock.monotonic() - started_at
                timed_out = request.timeout_s is not None and waited >= request.timeout_s
                if over or timed_out:
                    await self._book.seen()
                    return {**value, "timed_out": timed_out and not over}
                left = None if request.timeout_s is None else request.timeout_s - waited
                await self._next(bell, left)
        finally:
            self._bells.discard(bell)

    async def _next(self, bell: asyncio.Event, left_s: float | None) -> None:
        """Return when something was recorded, but not at once again; or when the time is up."""
        ring = asyncio.ensure_future(bell.wait())
        pause = min(PROGRESS_EVERY_S, left_s) if left_s is not None else PROGRESS_EVERY_S
        calm = asyncio.ensure_future(self._clock.sleep(pause))
        end = None if left_s is None else asyncio.ensure_future(self._clock.sleep(left_s))
        try:
            until = {ring} if end is None else {ring, end}
            await asyncio.wait(until, return_when=asyncio.FIRST_COMPLETED)
            if end is None or not end.done():
                await calm
        finally:
            for one in (ring, calm, end):
                if one is not None:
                    one.cancel()

    def _chosen(self, request: messages.Wait) -> list[int]:
        if request.jobs is not None:
            return list(dict.fromkeys(request.jobs))
        jobs = self._book.jobs.values()
        if request.batch is not None:
            chosen = [job.id for job in jobs if job.batch == request.batch]
            if not chosen:
                batches = {job.batch for job in jobs if job.batch is not None}
                near = did_you_mean(request.batch, sorted(batches))
                raise refusal("unknown_id", f"there is no job in batch {request.batch!r}{near}")
            return chosen
        return [job.id for job in jobs if job.state not in FINISHED]

    def _sorted(self, jobs: Sequence[int]) -> dict[str, list[int]]:
        """Each job in the list of its end, `stuck`, or `unfinished`."""
        value: dict[str, list[int]] = {name: [] for name in (*OUTCOMES, "stuck", "unfinished")}
        known: dict[int, bool] = {}
        for number in jobs:
            job = self._book.jobs.get(number)
            if job is None:
                continue
            if job.state in FINISHED:
                value[job.state].append(number)
            else:
                value["stuck" if self._stuck(job, known) else "unfinished"].append(number)
        return value

    def _stuck(self, job: Job, known: dict[int, bool]) -> bool:
        """Whether `job` waits for a person, or for a job that will not succeed by itself, or nobody
        works on it.

        Dependencies have no cycles, and `known` keeps each job's answer, so this ends. It walks
        with a list of its own: a chain may be longer than Python's stack.
        """
        path = [job]
        while path:
            current = path[-1]
            if current.id in known:
                path.pop()
                continue
            if current.provider not in self._providers or current.id in self._book.left_alone:
                known[current.id] = True
                continue
            if current.state != "queued":
                known[current.id] = current.state in STUCK
                continue
            parents = [self._book.jobs.get(parent) for parent, _ in self._book.blocked_by(current)]
            living = [one for one in parents if one is not None and one.state not in FINISHED]
            unseen = [one for one in living if one.id not in known]
            if unseen:
                path.extend(unseen)
                continue
            dead = len(living) < len(parents)
            known[current.id] = dead or any(known[one.id] for one in living)
        return known[job.id]
