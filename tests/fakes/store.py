"""A journal in memory: commits in the order of the calls, when told to or at once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from daemon.core.events import streamed
from daemon.core.job import Job
from daemon.store.port import Batch, Line, Loaded, Paid, StoreError


class MemoryStore:
    """Implements JobStore. With `held`, nothing is durable before `commit` is called."""

    def __init__(self, *, held: bool = False) -> None:
        self.held = held
        self.rows: dict[int, Job] = {}
        self.lines: list[Line] = []
        self.paid: list[Paid] = []
        self.closed = False
        self._waiting: list[tuple[Batch, asyncio.Future[int]]] = []
        self._callbacks: list[Callable[[Sequence[Line]], None]] = []

    async def open(self) -> Loaded:
        return Loaded(0, 1, {}, unclean=False, first_seq=1)

    async def jobs(self, page: int = 1_000) -> AsyncIterator[Sequence[Job]]:
        yield list(self.rows.values())

    def append(self, batch: Batch) -> asyncio.Future[int]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, future))
        if not self.held:
            asyncio.get_running_loop().call_soon(self.commit)
        return future

    def commit(self) -> None:
        """Make everything that waits durable."""
        waiting, self._waiting = self._waiting, []
        for batch, future in waiting:
            self.paid += batch.paid
            for job in batch.jobs:
                self.rows[job.id] = job
            for number in batch.dropped:
                del self.rows[number]
            lines = [
                Line(
                    event.seq,
                    event.job if isinstance(event.job, int) else None,
                    msgspec.json.encode(streamed(event)),
                    event,
                )
                for event in batch.events
            ]
            self.lines += lines
            if not future.done():
                future.set_result(lines[-1].seq if lines else 0)
            for callback in self._callbacks:
                callback(lines)

    def on_commit(self, callback: Callable[[Sequence[Line]], None]) -> None:
        self._callbacks.append(callback)

    def on_trouble(self, callback: Callable[[str | None], None]) -> None:
        del callback

    def on_fatal(self, callback: Callable[[StoreError], None]) -> None:
        del callback

    async def events_after(
        self, seq: int, *, limit: int, job: int | None = None
    ) -> Sequence[tuple[int, bytes]]:
        found = [
            (line.seq, line.text)
            for line in self.lines
            if line.seq > seq and (job is None or line.job == job)
        ]
        return found[:limit]

    async def first_seq(self) -> int:
        return self.lines[0].seq if self.lines else 1

    async def prune(self, before: float) -> int:
        kept = [line for line in self.lines if line.event.at >= before]
        gone = len(self.lines) - len(kept)
        self.lines = kept
        return gone

    async def size_bytes(self) -> int:
        return sum(len(line.text) for line in self.lines)

    async def backup(self, to: str) -> None:
        raise NotADirectoryError(to)

    async def close(self) -> None:
        self.commit()
        self.closed = True
