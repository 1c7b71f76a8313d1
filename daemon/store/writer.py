"""The one thread that changes the journal: takes what waits, stores it together, tells the loop.

It sleeps without a time limit while there is nothing to do.
"""

import sqlite3
import threading
from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol

from daemon import failpoints
from daemon.core.kinds import DISK_FULL
from daemon.store.connections import fold, primary
from daemon.store.groups import Group
from daemon.store.handover import Handover
from daemon.store.paid import PaidFile
from daemon.store.port import Batch
from daemon.store.reserve import Reserve

RETRY_S = 5.0
"""How long a group waits before it is tried again, while the disk is full."""
IDLE_S = 30.0
"""So long after the last commit the -wal file is folded into the journal."""

_FULL = "the disk is full"
_LOCKED = "another program has locked the journal"


class Entry:
    """A batch on its way to the disk; `done` gets `seq`."""

    __slots__ = ("batch", "done", "seq")

    def __init__(self, batch: Batch, seq: int, done: Future[int]) -> None:
        self.batch = batch
        self.seq = seq
        self.done = done


class Chore:
    """Work of its own for the writer's connection, between groups; `done` gets what it returns."""

    __slots__ = ("done", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], int], done: Future[int]) -> None:
        self.work = work
        self.done = done


class Listener(Protocol):
    """Who hears from the writer; always called on the loop."""

    def stored(self, entries: list[Entry], group: Group) -> None:
        """These are durable."""

    def worked(self, chore: Chore, result: int | Exception) -> None:
        """The chore was done, or couldn't be."""

    def troubled(self, why: str | None) -> None:
        """Nothing can be stored, and why; None when it can again."""

    def died(self, error: Exception, entries: list[Entry]) -> None:
        """The writer has ended. Whether `entries` are stored is not known."""


class Writer:
    """The thread. `put` and `stop` are called on the loop."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        paid: PaidFile,
        reserve: Reserve,
        listener: Listener,
        loop: AbstractEventLoop,
        *,
        retry_s: float = RETRY_S,
        idle_s: float = IDLE_S,
    ) -> None:
        self._connect = connect
        self._paid = paid
        self._reserve = reserve
        self._listener = listener
        self._loop = loop
        self._retry_s = retry_s
        self._idle_s = idle_s
        self._handover = Handover(loop.call_later)
        self._inbox: SimpleQueue[Entry | Chore | None] = SimpleQueue()
        self._ahead: deque[Entry | Chore | None] = deque()
        self._stopping = threading.Event()
        self._link: sqlite3.Connection | None = None
        self._trouble: str | None = None
        self._unfolded = False
        self._taken: list[Entry] = []
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def start(self) -> None:
        """Begin. The connection is opened when there is something to write."""
        self._thread.start()

    def put(self, item: Entry | Chore) -> None:
        """Hand over `item`; never waits."""
        self._inbox.put(item)
        self._handover.owe()

    def stop(self) -> None:
        """End when all that was put is stored; what can't be stored now is given up."""
        self._stopping.set()
        self._inbox.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; whether it came. Blocks."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def left(self) -> list[Entry | Chore]:
        """What a writer that died had not looked at."""
        items = [one for one in self._ahead if one is not None]
        while not self._inbox.empty():
            if (item := self._inbox.get()) is not None:
                items.append(item)
        return items

    def _stored(self, entries: list[Entry], group: Group) -> None:
        self._handover.settle(len(entries))
        self._listener.stored(entries, group)

    def _worked(self, chore: Chore, result: int | Exception) -> None:
        self._handover.settle()
        self._listener.worked(chore, result)

    def _troubled(self, why: str | None) -> None:
        self._handover.paused = why is not None
        self._listener.troubled(why)

    def _died(self, error: Exception, entries: list[Entry]) -> None:
        self._handover.paused = True
        self._listener.died(error, entries)

    # ---- on the thread ----

    def _run(self) -> None:
        try:
            while (item := self._next()) is not None:
                if isinstance(item, Chore):
                    self._work(item)
                else:
                    self._store(item)
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            self._tell(self._died, error, self._taken)
        finally:
            if self._link is not None:
                self._link.close()

    def _next(self) -> Entry | Chore | None:
        while not self._ahead:
            try:
                self._ahead.append(self._inbox.get(timeout=self._patience_s()))
            except Empty:
                self._rest()
        return self._ahead.popleft()

    def _patience_s(self) -> float | None:
        if self._trouble is not None:
            return self._retry_s
        return self._idle_s if self._unfolded else None

    def _rest(self) -> None:
        """Nothing came for a while: what is put off until then."""
        if self._trouble is not None:
            self._ease()
            return
        self._reserve.fill()
        self._unfolded = not fold(self._open())

    def _store(self, first: Entry) -> None:
        group = self._gather(first)
        if group.paid:
            failpoints.at("before_paid_line")
            self._insist(lambda: self._paid.append(group.paid))
            failpoints.at("after_paid_line")
        failpoints.commit("before", group.lines)
        self._insist(lambda: group.write(self._open()))
        failpoints.commit("after", group.lines)
        entries, self._taken = self._taken, []
        self._unfolded = True
        self._tell(self._stored, entries, group)
        if self._trouble is not None:
            self._ease()

    def _gather(self, first: Entry) -> Group:
        """A group of `first` and what waits behind it, up to the next chore."""
        group = Group()
        self._taken = [first]
        group.add(first.batch)
        while not group.full:
            try:
                item = self._inbox.get_nowait()
            except Empty:
                break
            if not isinstance(item, Entry):
                self._ahead.append(item)
                break
            self._taken.append(item)
            group.add(item.batch)
        return group

    def _insist(self, step: Callable[[], object]) -> None:
        """Do `step`, however long the disk is full. Raises what time won't mend."""
        while (why := self._attempt(step)) is not None:
            if why == _FULL and self._reserve.spend():
                self._say(why)
                continue
            self._say(why)
            if self._stopping.wait(self._retry_s):
                step()
                return

    def _attempt(self, step: Callable[[], object]) -> str | None:
        """Do `step`; why not, if it may work later. Raises everything else."""
        try:
            step()
        except (sqlite3.Error, OSError) as error:
            if (why := stalled(error)) is None:
                raise
            return why
        return None

    def _work(self, chore: Chore) -> None:
        try:
            result: int | Exception = chore.work(self._open())
        except sqlite3.Error as error:
            if stalled(error) is None:
                self._tell(self._worked, chore, error)
                raise
            result = error
        self._unfolded = True
        self._tell(self._worked, chore, result)

    def _ease(self) -> None:
        """The trouble is over once the reserve is there again."""
        if self._reserve.fill():
            self._say(None)

    def _say(self, why: str | None) -> None:
        if why != self._trouble:
            self._trouble = why
            self._tell(self._troubled, why)

    def _open(self) -> sqlite3.Connection:
        if self._link is None:
            self._link = self._connect()
        return self._link

    def _tell(self, callback: Callable[..., None], *values: object) -> None:
        self._loop.call_soon_threadsafe(callback, *values)
        self._handover.ring()


def stalled(error: sqlite3.Error | OSError) -> str | None:
    """Why storing may work later: no room, or a lock. None if the error is there to stay."""
    if isinstance(error, OSError):
        return _FULL if error.errno in DISK_FULL else None
    # The file that the -wal's readers share is grown first; without room that is an I/O error.
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_SHMSIZE:
        return _FULL
    match primary(error):
        case sqlite3.SQLITE_FULL:
            return _FULL
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return _LOCKED
        case _:
            return None
