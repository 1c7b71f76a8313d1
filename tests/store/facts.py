"""Jobs and facts as the daemon makes them, for the tests of the store."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from daemon.core.events import Event
from daemon.core.job import Attempt, Generating, Intent, Job, Queued, Remote, Submitting, public
from daemon.store.port import Batch, Line, Loaded, Paid, StoreError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence
    from pathlib import Path

    from daemon.store.port import JobStore


def new_job(number: int, provider: str = "mock", prompt: str = "a fox") -> Job:
    return Job(
        id=number,
        provider=provider,
        prompt=prompt,
        created_at=1.0,
        updated_at=1.0,
        attempts=(),
        work=Queued(),
    )


def sent_job(number: int, *, attempt: int = 1, key: str = "key-1", provider: str = "mock") -> Job:
    """A job whose paid request is out."""
    intent = Intent(attempt, key, "http://mock", "digest", sent_at=2.0)
    return Job(
        id=number,
        provider=provider,
        state="submitting",
        attempt=attempt,
        created_at=1.0,
        updated_at=2.0,
        rev=4,
        attempts=(Attempt(attempt, key, submitted_at=2.0),),
        work=Submitting(intent),
    )


def running_job(number: int, remote_id: str = "task-1", *, provider: str = "mock") -> Job:
    """A job that was accepted."""
    return Job(
        id=number,
        provider=provider,
        state="generating",
        attempt=1,
        remote_id=remote_id,
        created_at=1.0,
        updated_at=3.0,
        rev=5,
        attempts=(Attempt(1, "key-1", remote_id, submitted_at=2.0, accepted_at=3.0),),
        work=Generating(Remote("key-1", "http://mock", remote_id, 3.0, next_poll_at=13.0)),
    )


def paid(job: int, remote_id: str = "task-1", *, attempt: int = 1, at: float = 3.0) -> Paid:
    return Paid(at, job, attempt, f"key-{attempt}", "http://mock", remote_id, "mock")


class Pen:
    """Numbers facts as the book does, and appends them."""

    def __init__(self, store: JobStore, loaded: Loaded) -> None:
        self._store = store
        self._seqs = count(loaded.seq + 1)

    def add(self, job: Job, *, paid: Sequence[Paid] = (), at: float = 1.0) -> asyncio.Future[int]:
        """The job as it is, told as `added`."""
        event = Event(
            seq=next(self._seqs),
            at=at,
            type="added",
            job=job.id,
            provider=job.provider,
            value=public(job),
            work=job.work,
        )
        return self._store.append(Batch((event,), (job,), paid=tuple(paid)))

    def note(self, *kinds: str, at: float = 1.0) -> asyncio.Future[int]:
        """Facts of no job, in one batch."""
        events = tuple(
            Event(seq=next(self._seqs), at=at, type=kind)  # type: ignore[arg-type]
            for kind in kinds
        )
        return self._store.append(Batch(events))


def names(folder: Path, pattern: str = "*") -> list[str]:
    return sorted(path.name for path in folder.glob(pattern))


async def all_jobs(store: JobStore, page: int = 1_000) -> list[Job]:
    return [job async for jobs in store.jobs(page) for job in jobs]


class Heard:
    """What a store told its listeners."""

    def __init__(self, store: JobStore) -> None:
        self.lines: list[Line] = []
        self.commits = 0
        self.troubles: list[str | None] = []
        self.fatal: list[StoreError] = []
        store.on_commit(self._committed)
        store.on_trouble(self.troubles.append)
        store.on_fatal(self.fatal.append)

    def _committed(self, lines: Sequence[Line]) -> None:
        self.commits += 1
        self.lines += lines
