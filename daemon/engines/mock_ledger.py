"""The mock provider's own memory: what it accepted, in a file that outlives the daemon.

It knows nothing of keys being the same: what is accepted twice stands in it twice, and that is
what tests of the paid path count.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from daemon.engines.mock_settings import Kind

LEDGER_NAME = "mock-ledger.jsonl"
"""In the state folder."""
LINE_BYTES_MAX = 64 * 1024
"""Of a line that is read: one with a prompt of 2,000 characters, escaped, is shorter."""


class Entry(Struct, frozen=True, kw_only=True, tag="accepted"):
    """A line of the ledger: a paid request that was accepted, with what is needed to draw it."""

    at: float
    key: str
    remote_id: str
    job: int
    prompt: str
    kind: Kind
    width: int
    height: int
    duration_s: float
    pictures: int = 0
    picture_bytes: int = 0


class Cancelled(Struct, frozen=True, kw_only=True, tag="cancelled"):
    """A line of the ledger: a task that was stopped."""

    at: float
    remote_id: str


class _Index(Struct):
    """Where things stand in the ledger. It grows with it: some 300 bytes for each task."""

    places: dict[str, int] = {}
    firsts: dict[str, str] = {}
    cancelled: set[str] = set()
    serial: int = 0

    def note(self, line: Entry | Cancelled, place: int) -> None:
        if isinstance(line, Cancelled):
            self.cancelled.add(line.remote_id)
        else:
            self.places[line.remote_id] = place
            self.firsts.setdefault(line.key, line.remote_id)


class _Waiting(Struct, eq=False):
    line: Entry | Cancelled
    encoded: bytes
    written: asyncio.Future[None]


_encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes], Entry | Cancelled] = msgspec.json.Decoder(Entry | Cancelled).decode


class MockLedger:
    """The ledger in the file `path`, opened when it is first needed; one for all mock engines.

    Every method raises OSError when the file can't be read or written. What was waiting for one
    write is on disk together, or not at all. `sync` forces a file or folder to the disk.
    """

    def __init__(self, path: Path, *, sync: Callable[[int], None] = os.fsync) -> None:
        self._path = path
        self._sync = sync
        self._index: _Index | None = None
        self._opening = asyncio.Lock()
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read what is there. What needs it does so by itself, but the first caller then waits."""
        await self._ready()

    async def take_serial(self) -> int:
        """A number for the next task: never given twice while the ledger stands."""
        index = self._index or await self._ready()
        index.serial += 1
        return index.serial

    async def append(self, line: Entry | Cancelled) -> None:
        """Return when `line` is on disk, synced. Appends at the same time share one sync."""
        if self._index is None:
            await self._ready()
        written = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(line, _encode(line) + b"\n", written))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        await written

    async def entry(self, remote_id: str) -> Entry | None:
        """The line of a task, or None if the ledger has none."""
        index = self._index or await self._ready()
        place = index.places.get(remote_id)
        if place is None:
            return None
        entry = await asyncio.to_thread(_read_entry, self._path, place)
        # The file may have been put away under a running daemon.
        return entry if entry is not None and entry.remote_id == remote_id else None

    async def is_cancelled(self, remote_id: str) -> bool:
        """Whether the task was stopped."""
        index = self._index or await self._ready()
        return remote_id in index.cancelled

    async def find(self, key: str) -> str | None:
        """The first task that was accepted with `key`, or None."""
        index = self._index or await self._ready()
        return index.firsts.get(key)

    async def _ready(self) -> _Index:
        async with self._opening:
            if self._index is None:
                self._index = await asyncio.to_thread(_read_index, self._path)
            return self._index

    async def _write(self) -> None:
        """Write what waits, group by group, until nothing does."""
        try:
            while self._waiting:
                group, self._waiting = self._waiting, []
                await self._write_group(group)
        finally:
            self._writer = None

    async def _write_group(self, group: list[_Waiting]) -> None:
        lines = b"".join([waiting.encoded for waiting in group])
        try:
            place = await asyncio.to_thread(_append, self._path, lines, self._sync)
        except OSError as error:
            for waiting in group:
                if not waiting.written.done():
                    waiting.written.set_exception(error)
            return
        index = self._index or await self._ready()
        for waiting in group:
            index.note(waiting.line, place)
            place += len(waiting.encoded)
            if not waiting.written.done():  # else the caller has gone; the line stands
                waiting.written.set_result(None)


def _read_index(path: Path) -> _Index:
    """The index of the file. A last line that was cut short was never answered: it is dropped."""
    index = _Index()
    place = 0
    try:
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    os.truncate(path, place)
                    break
                known = _read_line(line)
                if known is not None:
                    index.note(known, place)
                    index.serial += 1
                place += len(line)
    except FileNotFoundError:
        pass
    return index


def _read_line(line: bytes) -> Entry | Cancelled | None:
    """What a line says; None if it isn't one of ours, which is left alone."""
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _read_entry(path: Path, place: int) -> Entry | None:
    try:
        with path.open("rb") as file:
            file.seek(place)
            line = _read_line(file.readline(LINE_BYTES_MAX))
    except FileNotFoundError:
        return None
    return line if isinstance(line, Entry) else None


def _append(path: Path, lines: bytes, sync: Callable[[int], None]) -> int:
    """Add `lines`, synced, and return their place. On an error the file is as it was before."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        place = os.fstat(file).st_size
        try:
            written = 0
            while written < len(lines):
                written += os.write(file, lines[written:])
            sync(file)
            if place == 0:
                _sync_folder(path.parent, sync)
        except OSError:
            os.ftruncate(file, place)
            raise
        return place
    finally:
        os.close(file)


def _sync_folder(folder: Path, sync: Callable[[int], None]) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(handle)
    finally:
        os.close(handle)
