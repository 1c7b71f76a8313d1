"""Lists of jobs and of events, for clients: selected, sorted, encoded."""

from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec

from daemon.book import Book
from daemon.clock import Clock
from daemon.core import explain
from daemon.core.job import FINISHED, UNFINISHED, Job
from daemon.core.query import Query, QueryError, matches, parse_query, sort_key
from daemon.desk.report import Reporter
from daemon.store.port import JobStore, Line
from daemon.wire import messages
from daemon.wire.messages import refusal

EVENTS_PAGE = 1_000
ENCODES_PER_TURN = 2_000
"""Jobs encoded before others get a turn on the loop."""


class Listing:
    """Reads the book and the journal. What it gives is durable, unless the disk is full."""

    def __init__(self, book: Book, store: JobStore, reporter: Reporter, clock: Clock) -> None:
        self.durable_seq = book.seq
        self._book = book
        self._store = store
        self._reporter = reporter
        self._clock = clock
        store.on_commit(self._committed)

    def _committed(self, lines: Sequence[Line]) -> None:
        if lines:
            self.durable_seq = lines[-1].seq

    async def ls(self, request: messages.Ls) -> Sequence[bytes]:
        """The jobs asked for, encoded, in order."""
        found = self._selected(request)
        await self._book.seen()
        return await self._encoded(found)

    def _selected(self, request: messages.Ls) -> list[Job]:
        query = _query(request.filter)
        now = self._clock.now()
        chosen: Iterable[Job] = self._book.jobs.values()
        if request.ids is not None:
            known = (self._book.jobs.get(number) for number in request.ids)
            chosen = [job for job in known if job is not None]
        found = []
        for job in chosen:
            if request.provider is not None and job.provider != request.provider:
                continue
            if request.batch is not None and job.batch != request.batch:
                continue
            if request.states and job.state not in request.states:
                continue
            if query is not None:
                seen = explain.shown(job, self._reporter.scene(job))
                if not matches(query, seen, now):
                    continue
            found.append(job)
        return _arranged(found, request)

    async def _encoded(self, jobs: Sequence[Job]) -> list[bytes]:
        """Each job as `ls` shows it. Takes a turn of the loop now and then."""
        encode = msgspec.json.Encoder().encode
        lines: list[bytes] = []
        for start in range(0, len(jobs), ENCODES_PER_TURN):
            turn = jobs[start : start + ENCODES_PER_TURN]
            lines += [encode(explain.shown(job, self._reporter.scene(job))) for job in turn]
            await self._clock.sleep(0)
        return lines

    async def snapshot(self) -> tuple[int, Sequence[bytes], Sequence[bytes]]:
        """The state after exactly the events up to seq, once they are durable."""
        seq = self._book.seq
        jobs = list(self._book.jobs.values())
        providers = [msgspec.json.encode(row) for row in self._reporter.provider_rows()]
        await self._book.seen()
        return seq, await self._encoded(jobs), providers

    async def events(
        self, after: int | None, tail: int | None, job: int | None
    ) -> AsyncIterator[bytes]:
        """Stored events after `after`, up to the newest durable one at the call."""
        await self._book.seen()
        newest = self.durable_seq
        if tail is not None:
            return self._tail(tail, job, newest)
        return self._events_from(after or 0, job, newest)

    async def _events_from(self, after: int, job: int | None, newest: int) -> AsyncIterator[bytes]:
        while after < newest:
            page = await self._store.events_after(after, limit=EVENTS_PAGE, job=job)
            for seq, line in page:
                if seq > newest:
                    return
                yield line
            if len(page) < EVENTS_PAGE:
                return
            after = page[-1][0]

    async def _tail(self, tail: int, job: int | None, newest: int) -> AsyncIterator[bytes]:
        """The last `tail` events; those of one job are looked for from the beginning."""
        if tail <= 0:
            return
        if job is None:
            async for line in self._events_from(max(0, newest - tail), None, newest):
                yield line
            return
        last: deque[bytes] = deque(maxlen=tail)
        async for line in self._events_from(0, job, newest):
            last.append(line)
        for line in last:
            yield line


def _query(text: str | None) -> Query | None:
    if text is None:
        return None
    try:
        return parse_query(text)
    except QueryError as error:
        raise refusal("bad_query", str(error), at=error.at) from None


def _arranged(found: list[Job], request: messages.Ls) -> list[Job]:
    """Sorted, and cut, as asked."""
    if request.recent is not None:
        finished = [job for job in found if job.state in FINISHED]
        finished.sort(key=lambda job: job.finished_at or 0.0)
        kept = {job.id for job in finished[len(finished) - request.recent :]}
        found = [job for job in found if job.state in UNFINISHED or job.id in kept]
    if request.sort is not None:
        name = request.sort.removeprefix("-")
        try:
            key = sort_key(name)
        except QueryError as error:
            raise refusal("bad_query", str(error)) from None
        found.sort(key=key, reverse=request.sort.startswith("-"))
    return found if request.limit is None else found[: request.limit]
