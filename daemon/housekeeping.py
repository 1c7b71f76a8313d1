"""What is old goes: finished jobs, their events and pictures. Never anything that holds money."""

from collections.abc import Mapping

import structlog

from daemon import failpoints
from daemon.book import Book
from daemon.clock import Clock
from daemon.core.job import FINISHED, Job, live_remote
from daemon.engines.spool import Spool
from daemon.media.downloads import Filing
from daemon.media.inputs import InputStore
from daemon.media.pictures import PicturePool
from daemon.store.port import JobStore

log = structlog.get_logger()
EVERY_S = 3_600.0
DAY_S = 86_400.0
JOBS_PER_TURN = 500


def droppable(job: Job, before: float) -> bool:
    """Whether `job` ended before `before`, and holds no paid task."""
    return (
        job.state in FINISHED
        and job.finished_at is not None
        and job.finished_at < before
        and live_remote(job) is None
    )


def over(jobs: Mapping[int, Job], before: float) -> list[int]:
    """The jobs that may be dropped now: not one that a job which stays comes after.

    A failed child may be requeued, and would wait for ever for a parent that is gone.
    """
    old = {job.id for job in jobs.values() if droppable(job, before)}
    if not old:
        return []
    staying = [job for job in jobs.values() if job.after and job.id not in old]
    while staying:
        for parent in staying.pop().after:
            if parent in old:
                old.remove(parent)
                staying.append(jobs[parent])
    return [number for number in jobs if number in old]


class Housekeeper:
    """Prunes once an hour, in small steps."""

    def __init__(
        self,
        *,
        book: Book,
        store: JobStore,
        clock: Clock,
        inputs: InputStore,
        pictures: PicturePool,
        filing: Filing,
        spool: Spool,
        keep_days: float,
    ) -> None:
        self._book = book
        self._store = store
        self._clock = clock
        self._inputs = inputs
        self._pictures = pictures
        self._filing = filing
        self._spool = spool
        self.keep_days = keep_days

    async def run(self) -> None:
        """Prune now and then, until cancelled. A failure is logged and tried again."""
        while True:
            await self._clock.sleep(EVERY_S)
            try:
                await self.prune()
            except Exception:
                log.exception("housekeeping_failed")

    async def prune(self) -> int:
        """Drop what is older than keep_days. Returns how many jobs went."""
        before = self._clock.now() - self.keep_days * DAY_S
        gone = 0
        old = over(self._book.jobs, before)
        while old:
            now_gone, old = old[:JOBS_PER_TURN], old[JOBS_PER_TURN:]
            seq = self._book.seq
            await self._book.forget(now_gone)
            gone += len(now_gone)
            failpoints.at("jobs_forgotten")
            if old and self._book.seq != seq:  # something happened: some may live again by now
                old = over(self._book.jobs, before)
        events = await self._store.prune(before)
        failpoints.at("events_pruned")
        kept = {
            image.sha256
            for job in self._book.jobs.values()
            for image in job.images
            if image.sha256 is not None
        }
        inputs = await self._inputs.prune(kept)
        await self._pictures.prune(kept)
        failpoints.at("inputs_pruned")
        alive = {
            job.id
            for job in self._book.jobs.values()
            if job.state not in FINISHED or live_remote(job) is not None
        }
        await self._filing.sweep(alive)
        await self._sweep_spool()
        if gone or events or inputs:
            log.info("pruned", jobs=gone, events=events, pictures=inputs)
        return gone

    async def _sweep_spool(self) -> None:
        """Remove answers that were fetched, or that no job refers to any more.

        While there is a doubt, one that nobody refers to may be the answer that it lacks.
        """
        if self._book.counts["in_doubt"]:
            return
        remotes = [live_remote(job) for job in self._book.jobs.values()]
        kept = {result.url for one in remotes if one is not None for result in one.results}
        await self._spool.sweep(kept, before=self._clock.now() - DAY_S)
