"""The journal in SQLite: the JobStore that the daemon uses.

One thread writes (writer.py); reads are short and go through a second connection, in threads of
the loop's pool. What is on disk when `append`'s future is done survives a power cut.
"""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from daemon.clock import Clock
from daemon.core.job import Job
from daemon.store import opening, schema
from daemon.store.backup import backup_journal
from daemon.store.connections import (
    DAMAGED,
    beside,
    connect_reader,
    connect_writer,
    damaged,
    primary,
    told,
    translate,
)
from daemon.store.groups import Group
from daemon.store.installing import JOURNAL_FILE
from daemon.store.paid import PAID_FILE, PaidFile
from daemon.store.port import Batch, Line, Loaded, StoreDamagedError, StoreError
from daemon.store.queries import (
    PRUNE_EVENTS_MAX,
    events_after,
    jobs_after,
    prune_events,
    read_numbers,
)
from daemon.store.reserve import Reserve
from daemon.store.writer import IDLE_S, RETRY_S, Chore, Entry, Writer, stalled

CLOSE_WAIT_S = 20.0
"""How long `close` waits for the disk."""

_T = TypeVar("_T")


class SqliteStore:
    """The journal of `state_dir`: journal.sqlite3 (with -wal, -shm), paid.jsonl, ballast.

    `connect` makes the writer's connection; `retry_s` is how long a full disk is left alone, and
    `idle_s` after how long a rest the -wal file is folded into the journal.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        clock: Clock,
        connect: Callable[[Path], sqlite3.Connection] = connect_writer,
        retry_s: float = RETRY_S,
        idle_s: float = IDLE_S,
        ballast_bytes: int | None = None,
    ) -> None:
        self._folder = state_dir
        self._journal = state_dir / JOURNAL_FILE
        self._clock = clock
        self._connect = connect
        self._waits = {"retry_s": retry_s, "idle_s": idle_s}
        self._reserve = Reserve(state_dir, ballast_bytes)
        self._lock = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._writer: Writer | None = None
        self._paid: PaidFile | None = None
        self._queued = 0
        self._broken: str | None = None
        self._damaged = False
        self._closing = False
        self._commit_listeners: list[Callable[[Sequence[Line]], None]] = []
        self._trouble_listeners: list[Callable[[str | None], None]] = []
        self._fatal_listeners: list[Callable[[StoreError], None]] = []

    async def open(self) -> Loaded:
        """Open or create, migrate, check after an unclean stop. Raises StoreError."""
        loaded = await asyncio.to_thread(self._open)
        assert self._paid is not None  # noqa: S101 - _open made it
        self._queued = loaded.seq
        self._writer = Writer(
            lambda: self._connect(self._journal),
            self._paid,
            self._reserve,
            self,
            asyncio.get_running_loop(),
            **self._waits,
        )
        self._writer.start()
        return loaded

    async def jobs(self, page: int = 1_000) -> AsyncIterator[Sequence[Job]]:
        """Every stored job, in order of id, a page at a time. Raises StoreError."""
        last = 0
        while jobs := await self._read(partial(jobs_after, last=last, limit=page)):
            yield jobs
            last = jobs[-1].id

    def append(self, batch: Batch) -> asyncio.Future[int]:
        """Queue `batch`; the future gives its last seq once it is durable.

        Raises StoreError once the journal can't be used, ValueError if the events don't go on
        where the last batch ended.
        """
        writer = self._usable()
        events = batch.events
        if events:
            first, last = events[0].seq, events[-1].seq
            if first != self._queued + 1 or last != self._queued + len(events):
                raise ValueError(f"events {first} to {last} can't follow {self._queued}")
            self._queued = last
        entry = Entry(batch, self._queued, asyncio.get_running_loop().create_future())
        writer.put(entry)
        return entry.done

    def on_commit(self, callback: Callable[[Sequence[Line]], None]) -> None:
        """Call `callback` on the loop after each commit, with its events in seq order."""
        self._commit_listeners.append(callback)

    def on_trouble(self, callback: Callable[[str | None], None]) -> None:
        """Call `callback` with why nothing can be stored (the disk is full), None when it can."""
        self._trouble_listeners.append(callback)

    def on_fatal(self, callback: Callable[[StoreError], None]) -> None:
        """Call `callback` once if the journal can't be used any more: the daemon has to end."""
        self._fatal_listeners.append(callback)

    async def events_after(
        self, seq: int, *, limit: int, job: int | None = None
    ) -> Sequence[tuple[int, bytes]]:
        """Up to `limit` stored events after `seq` as (seq, encoding)."""
        return await self._read(partial(events_after, seq=seq, limit=limit, job=job))

    async def first_seq(self) -> int:
        """The oldest event that is kept; one past the newest if there is none."""
        return (await self._read(read_numbers)).first_seq

    async def prune(self, before: float) -> int:
        """Delete events older than `before`, from the front only. Returns how many."""
        pruned = 0
        while True:
            done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._usable().put(Chore(partial(prune_events, before=before), done))
            count = await done
            pruned += count
            if count < PRUNE_EVENTS_MAX:
                return pruned

    async def size_bytes(self) -> int:
        """What the journal takes on disk."""
        return await asyncio.to_thread(self._size_bytes)

    async def backup(self, to: str) -> None:
        """A consistent, checked copy at `to`, made beside it and renamed. Raises StoreError."""
        await asyncio.to_thread(backup_journal, self._folder, Path(to))

    async def close(self) -> None:
        """Store what is queued, mark an orderly stop, close. Safe to call twice."""
        if self._closing:
            return
        self._closing = True
        # The connection that is closed last folds the -wal file into the journal. That is the
        # writer's business, unless something is wrong: then all is left as it is.
        if not self._damaged and self._broken is None:
            await asyncio.to_thread(self._close_reader)
        ended = True
        if self._writer is not None:
            self._writer.stop()
            ended = await asyncio.to_thread(self._writer.join, CLOSE_WAIT_S)
        await asyncio.to_thread(self._finish, ended=ended)

    # ---- what the writer says, on the loop ----

    def stored(self, entries: list[Entry], group: Group) -> None:
        """Resolve the futures, then tell the listeners."""
        for entry in entries:
            if not entry.done.done():
                entry.done.set_result(entry.seq)
        if group.lines:
            for callback in self._commit_listeners:
                callback(group.lines)

    def worked(self, chore: Chore, result: int | Exception) -> None:
        """Resolve the chore's future."""
        if chore.done.done():
            return
        if isinstance(result, sqlite3.Error):
            why = stalled(result)
            plain = None if why is None else StoreError(f"{self._journal}: {why}")
            chore.done.set_exception(plain or translate(result, self._journal))
        elif isinstance(result, int):
            chore.done.set_result(result)

    def troubled(self, why: str | None) -> None:
        """Tell the listeners."""
        text = None if why is None else f"{self._folder}: {why}"
        for callback in self._trouble_listeners:
            callback(text)

    def died(self, error: Exception, entries: list[Entry]) -> None:
        """Let everybody who waits know that nothing is stored any more."""
        why = self._epitaph(error)
        left = self._writer.left() if self._writer is not None else []
        for item in (*entries, *left):
            if not item.done.done():
                item.done.set_exception(StoreError(str(why)))
        self._end(why)

    def _epitaph(self, error: Exception) -> StoreError:
        if isinstance(error, sqlite3.Error) and primary(error) in DAMAGED:
            return translate(error, self._journal)
        detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return StoreError(f"{self._journal}: {detail}; nothing more can be stored")

    def _end(self, why: StoreError) -> None:
        """Nothing is stored from now on; say so, once."""
        if self._broken is not None:
            return
        self._broken = str(why)
        if not self._closing:
            for callback in self._fatal_listeners:
                callback(why)

    # ---- in threads ----

    def _open(self) -> Loaded:
        self._reserve.lend()
        loaded = opening.open_folder(self._folder, schema.steps(), now=self._clock.now())
        with told(self._journal):
            self._paid = PaidFile(self._folder / PAID_FILE)
            self._reserve.fill()
            self._reader = connect_reader(self._journal)
            schema.version(self._reader)  # only what has read counts as a connection (`close`)
        return loaded

    async def _read(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            return await asyncio.to_thread(self._query, query)
        except StoreDamagedError as error:
            self._end(error)  # what is paid must not rest on it any longer
            raise

    def _query(self, query: Callable[[sqlite3.Connection], _T]) -> _T:
        with self._lock:
            if self._reader is None:
                raise StoreError(f"{self._journal}: closed")
            try:
                return query(self._reader)
            except msgspec.MsgspecError as error:
                self._damaged = True
                raise damaged(self._journal, f"a row can't be read: {error}") from error
            except sqlite3.Error as error:
                translated = translate(error, self._journal)
                self._damaged |= isinstance(translated, StoreDamagedError)
                raise translated from error

    def _usable(self) -> Writer:
        if self._broken is not None:
            raise StoreError(self._broken)
        if self._writer is None or self._closing:
            raise StoreError(f"{self._journal}: closed")
        return self._writer

    def _size_bytes(self) -> int:
        size = 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                size += beside(self._journal, suffix).stat().st_size
        return size

    def _close_reader(self) -> None:
        with self._lock:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def _finish(self, *, ended: bool) -> None:
        self._close_reader()
        if self._paid is not None and ended:
            self._paid.close()
        sound = not self._damaged and self._broken is None
        if sound and ended and self._writer is not None:
            with contextlib.suppress(OSError):  # a full disk: the next start looks more closely
                opening.mark_stop(self._folder)
