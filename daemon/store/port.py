"""What the daemon needs of a store. One implementation: sqlite.py. No SQL outside this package."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from daemon.core.events import Event
from daemon.core.gate import Gate
from daemon.core.job import Job, Result


class Paid(Struct, frozen=True):
    """One accepted id: a line of paid.jsonl, on disk before the fact is in the journal.

    `results` are those of a synchronous answer, which has no id to ask for.
    """

    at: float
    job: int
    attempt: int
    key: str
    target: str
    remote_id: str
    provider: str
    results: tuple[Result, ...] = ()


class Batch(Struct, frozen=True):
    """What is stored in one transaction: numbered events, the jobs and gates after them.

    `dropped` are jobs to delete (pruned); `paid` go to paid.jsonl first.
    """

    events: tuple[Event, ...]
    jobs: tuple[Job, ...] = ()
    gates: Mapping[str, Gate] = {}
    paid: tuple[Paid, ...] = ()
    dropped: tuple[int, ...] = ()


class Line(Struct, frozen=True):
    """A committed event and its encoding without a newline, made once for every subscriber."""

    seq: int
    job: int | None
    text: bytes
    event: Event


class Loaded(Struct, frozen=True):
    """What a start finds, besides the jobs. `unclean`: the last stop was not an orderly one.

    `unrecorded` are ids that were accepted just before a kill: they are in paid.jsonl, but the
    journal has their jobs still waiting for the answer.
    """

    seq: int
    next_job_id: int
    gates: Mapping[str, Gate]
    unclean: bool
    first_seq: int
    unrecorded: tuple[Paid, ...] = ()


class StoreError(Exception):
    """The journal can't be used; the message names the file and the way out."""


class StoreDamagedError(StoreError):
    """The journal is damaged: it is left as it is (exit 65)."""


class StoreUnwritableError(StoreError):
    """The state folder can't be written (exit 73)."""


class JobStore(Protocol):
    """The journal. All methods are called on the event loop; nothing in them blocks it."""

    async def open(self) -> Loaded:
        """Open or create, migrate, check after an unclean stop. Raises StoreError."""

    def jobs(self, page: int = 1_000) -> AsyncIterator[Sequence[Job]]:
        """Every stored job, in order of id, a page at a time."""

    def append(self, batch: Batch) -> asyncio.Future[int]:
        """Queue `batch`; the future gives its last seq once it is durable.

        Batches become durable in the order of the calls, several in one commit. While the disk is
        full they wait (`on_trouble` tells); a failed fsync ends the store, and every future raises.
        """

    def on_commit(self, callback: Callable[[Sequence[Line]], None]) -> None:
        """Call `callback` on the loop after each commit, with its events in seq order."""

    def on_trouble(self, callback: Callable[[str | None], None]) -> None:
        """Call `callback` with why nothing can be stored (the disk is full), None when it can."""

    def on_fatal(self, callback: Callable[[StoreError], None]) -> None:
        """Call `callback` once if the journal can't be used any more: the daemon has to end."""

    async def events_after(
        self, seq: int, *, limit: int, job: int | None = None
    ) -> Sequence[tuple[int, bytes]]:
        """Up to `limit` stored events after `seq` as (seq, encoding)."""

    async def first_seq(self) -> int:
        """The oldest event that is kept; one past the newest if there is none."""

    async def prune(self, before: float) -> int:
        """Delete events older than `before`, from the front only. Returns how many."""

    async def size_bytes(self) -> int:
        """What the journal takes on disk."""

    async def backup(self, to: str) -> None:
        """A consistent, checked copy at `to`, made beside it and renamed. Raises StoreError."""

    async def close(self) -> None:
        """Store what is queued, mark an orderly stop, close. Safe to call twice."""
