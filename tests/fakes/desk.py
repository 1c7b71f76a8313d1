"""A desk in memory: jobs and events as a test puts them there, answers as it wishes them."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec

from daemon.core.events import Event, apply
from daemon.core.job import Job
from daemon.serving.hub import Hub
from daemon.store.port import Line
from daemon.wire import messages
from daemon.wire.messages import refusal

NOW = 1_000_000.0


class FakeDesk:
    """Implements Desk. `commit` makes events durable, and tells `hub` if there is one."""

    def __init__(self) -> None:
        self.boot = "b1"
        self.hub: Hub | None = None
        self.jobs: dict[int, Job] = {}
        self.lines: list[Line] = []
        self.durable_seq = 0
        self.asked: list[tuple[messages.AnyRequest, str | None]] = []
        self.added: list[tuple[list[messages.Row], str | None, bool]] = []
        self.answers: dict[type[messages.Request], Any] = {}
        self.failures: dict[str, Exception] = {}
        self.pictures: dict[str, bytes] = {}
        self.progress: list[dict[str, Any]] = []
        self.waited: dict[str, Any] = {"succeeded": [1], "timed_out": False}
        self.gate: asyncio.Event | None = None

    # ---- what a test does to it ----

    def commit(self, *events: Event) -> list[Line]:
        """Number, fold, keep and publish."""
        lines = []
        for event in events:
            self.durable_seq += 1
            numbered = msgspec.structs.replace(event, seq=self.durable_seq)
            job = None
            if isinstance(numbered.job, int):
                job = numbered.job
                value = numbered.value
                self.jobs[job] = (
                    value if isinstance(value, Job) else apply(self.jobs[job], numbered)
                )
            lines.append(Line(numbered.seq, job, msgspec.json.encode(numbered), numbered))
        self.lines += lines
        if self.hub is not None:
            self.hub.publish(lines)
        return lines

    def add_jobs(self, count: int = 1, **fields: Any) -> list[Line]:
        """Commit so many `added` events at once."""
        first = max(self.jobs, default=0) + 1
        return self.commit(*(added(number, **fields) for number in range(first, first + count)))

    def turn(self, job: int, state: Any, kind: Any = "edited", **fields: Any) -> list[Line]:
        """Commit one event that changes `job`."""
        rev = self.jobs[job].rev + 1
        event = Event(at=NOW, type=kind, job=job, state=state, rev=rev, updated_at=NOW, **fields)
        return self.commit(event)

    def prune(self, first: int) -> None:
        """Forget the events before `first`."""
        self.lines = [line for line in self.lines if line.seq >= first]

    def restore(self, jobs: dict[int, Job], seq: int) -> None:
        """Be a journal that was restored from a backup, in a new run."""
        self.jobs = dict(jobs)
        self.lines = [line for line in self.lines if line.seq <= seq]
        self.durable_seq = seq
        self.boot = "b2"

    # ---- what the server calls ----

    async def answer(self, request: messages.AnyRequest, by: str | None) -> Any:
        self.asked.append((request, by))
        await self._pass()
        self._fail("answer")
        match request:
            case messages.Ping():
                return {"at": NOW}
            case messages.Show(job=number) if number in self.jobs:
                return self.jobs[number]
            case messages.Show(job=number):
                raise refusal("unknown_id", f"there is no job {number}")
            case _:
                value = self.answers[type(request)]
                return value(request) if callable(value) else value

    async def ls(self, request: messages.Ls) -> Sequence[bytes]:
        self._fail("ls")
        chosen = self.jobs.values() if request.ids is None else map(self.jobs.get, request.ids)
        return [msgspec.json.encode(job) for job in chosen if job is not None]

    async def snapshot(self) -> tuple[int, Sequence[bytes], Sequence[bytes]]:
        seq = self.durable_seq
        jobs = [msgspec.json.encode(job) for job in self.jobs.values()]
        await self._pass()
        return seq, jobs, [b'{"name":"mock"}']

    async def events(
        self, after: int | None, tail: int | None, job: int | None
    ) -> AsyncIterator[bytes]:
        self._fail("events")
        newest = self.durable_seq
        return self._stored(after or 0, tail, job, newest)

    async def _stored(
        self, after: int, tail: int | None, job: int | None, newest: int
    ) -> AsyncIterator[bytes]:
        found = [line for line in self.lines if after < line.seq <= newest]
        if job is not None:
            found = [line for line in found if line.job == job]
        for line in found if tail is None else found[len(found) - tail :]:
            yield line.text

    async def add(
        self, rows: Sequence[messages.Row], by: str | None, *, dry_run: bool
    ) -> dict[str, Any]:
        self._fail("add")
        self.added.append((list(rows), by, dry_run))
        first = max(self.jobs, default=0) + 1
        if not dry_run:
            numbered = enumerate(rows, first)
            self.commit(*(added(n, name=row.name, prompt=row.prompt) for n, row in numbered))
        return {"first": None if dry_run else first, "count": len(rows), "warnings": []}

    async def need(self, hashes: Sequence[str]) -> list[str]:
        return [sha256 for sha256 in hashes if sha256 not in self.pictures]

    async def receive(self, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        self._fail("receive")
        content = b"".join([chunk async for chunk in chunks])
        if hashlib.sha256(content).hexdigest() != sha256:
            raise refusal("bad_request", "the picture has another hash")
        self.pictures[sha256] = content

    async def wait(
        self, request: messages.Wait, progress: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        for value in self.progress:
            progress(value)
        await self._pass()
        return self.waited

    async def _pass(self) -> None:
        """Wait at the gate, where a test has put one."""
        if self.gate is not None:
            await self.gate.wait()

    def _fail(self, name: str) -> None:
        if error := self.failures.get(name):
            raise error


def added(number: int, **fields: Any) -> Event:
    """The `added` event of a fresh job."""
    given = {"provider": "mock", "created_at": NOW, "updated_at": NOW, **fields}
    job = Job(id=number, **given)
    return Event(
        at=NOW,
        type="added",
        job=number,
        provider="mock",
        state="queued",
        attempt=0,
        rev=1,
        value=job,
    )
