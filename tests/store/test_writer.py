"""The writer's thread, with a loop that makes its calls when it is told to."""

from __future__ import annotations

import sqlite3
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from daemon.store.paid import PaidFile
from daemon.store.port import Batch
from daemon.store.reserve import Reserve
from daemon.store.writer import Entry, Writer, stalled

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    def __init__(self) -> None:
        self.timers: list[Timer] = []
        self._calls: SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = SimpleQueue()

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(callback))
        return self.timers[-1]

    def call_soon_threadsafe(self, callback: Callable[..., None], *values: Any) -> None:
        self._calls.put((callback, values))

    def make_next_call(self) -> None:
        """Wait for the thread to ask for a call, and make it."""
        callback, values = self._calls.get(timeout=30.0)
        callback(*values)


class Listener:
    """Keeps what it heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def stored(self, entries: list[Entry], group: object) -> None:
        self.heard.append(("stored", [entry.seq for entry in entries]))

    def worked(self, chore: object, result: int | Exception) -> None:
        self.heard.append(("worked", result))

    def troubled(self, why: str | None) -> None:
        self.heard.append(("troubled", why))

    def died(self, error: Exception, entries: list[Entry]) -> None:
        self.heard.append(("died", str(error)))


def full() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


class Bench:
    """A writer whose connection can't be had as long as there are reasons why."""

    def __init__(self, folder: Path) -> None:
        self.reasons: list[Exception] = []
        self.loop = Loop()
        self.listener = Listener()
        self.paid = PaidFile(folder / "paid.jsonl")
        self.writer = Writer(
            self._connect,
            self.paid,
            Reserve(folder, 4096),
            self.listener,
            self.loop,  # type: ignore[arg-type]
            retry_s=0.01,
        )

    def _connect(self) -> sqlite3.Connection:
        if self.reasons:
            raise self.reasons.pop()
        return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)

    def put(self, seq: int) -> None:
        # Nobody waits for this entry: the listener above only looks at its number.
        unused: asyncio.Future[int] = None  # type: ignore[assignment]
        self.writer.put(Entry(Batch(()), seq, unused))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    made.writer.start()
    yield made
    made.writer.stop()
    assert made.writer.join(30.0)
    made.paid.close()


def test_the_loop_is_not_held_up_while_the_disk_is_full(bench: Bench) -> None:
    bench.reasons += [full()] * 3
    bench.put(7)
    bench.loop.make_next_call()
    assert bench.listener.heard == [("troubled", "the disk is full")]
    bench.loop.timers[-1].callback()
    assert len(bench.loop.timers) == 1
    bench.loop.make_next_call()
    assert bench.listener.heard[1:] == [("stored", [7])]
    bench.loop.make_next_call()
    assert bench.listener.heard[2:] == [("troubled", None)]


def test_the_loop_is_not_held_up_by_a_writer_that_died(bench: Bench) -> None:
    bench.reasons.append(RuntimeError("a mistake of our own"))
    bench.put(7)
    bench.loop.make_next_call()
    assert bench.listener.heard == [("died", "a mistake of our own")]
    bench.loop.timers[-1].callback()
    assert len(bench.loop.timers) == 1


def test_no_timer_is_left_when_all_is_stored(bench: Bench) -> None:
    bench.put(7)
    bench.loop.make_next_call()
    assert bench.listener.heard == [("stored", [7])]
    assert [timer.cancelled for timer in bench.loop.timers] == [True]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (sqlite3.SQLITE_FULL, "the disk is full"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, "the disk is full"),
        (sqlite3.SQLITE_BUSY, "another program has locked the journal"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "another program has locked the journal"),
        (sqlite3.SQLITE_IOERR_WRITE, None),
        (sqlite3.SQLITE_IOERR_FSYNC, None),
        (sqlite3.SQLITE_CORRUPT, None),
        (sqlite3.SQLITE_READONLY, None),
    ],
)
def test_only_a_lack_of_room_and_a_lock_are_waited_out(code: int, why: str | None) -> None:
    error = sqlite3.OperationalError("as SQLite says")
    error.sqlite_errorcode = code
    assert stalled(error) == why
