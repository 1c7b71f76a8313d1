"""Pictures that clients sent, kept by what is in them: `<folder>/<first two digits>/<SHA-256>`.

A client can't name a file of this machine: it names a hash, and sends the bytes that have it.
"""

import asyncio
import hashlib
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from daemon.core.limits import IMAGE_BYTES_MAX
from daemon.media.sniff import PICTURES, read_head, sniff

_INCOMING = "incoming"
_HASH = re.compile(r"[0-9a-f]{64}")
_SHARD = re.compile(r"[0-9a-f]{2}")


class InputError(Exception):
    """A picture that can't be taken; the message tells a person why."""


class Upload:
    """One picture on its way in: `write` its chunks in order, then `commit`, or `abort`.

    Until `commit` has returned, the store doesn't have it. A call that raises has also aborted.
    """

    def __init__(self, temp: Path, bytes_max: int, keep: Callable[[Path, str], None]) -> None:
        self._temp = temp
        self._file = temp.open("wb")
        self._bytes_max = bytes_max
        self._keep = keep
        self._digest = hashlib.sha256()
        self._bytes = 0
        # A cancelled call leaves its thread at work; the next call must not meet it half-way.
        self._lock = threading.Lock()

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes. Raises InputError when they get too many, OSError from the disk."""
        await asyncio.to_thread(self._attempt, lambda: self._write(chunk))

    async def commit(self) -> None:
        """Keep the picture: when this returns, it is on disk under its hash, synced.

        Raises InputError when the bytes aren't a picture or haven't the hash, OSError from the
        disk.
        """
        await asyncio.to_thread(self._attempt, self._commit)

    async def abort(self) -> None:
        """Forget what was written. Does nothing after `commit`, or a second time."""
        await asyncio.to_thread(self._attempt, self._discard)

    def _attempt(self, step: Callable[[], None]) -> None:
        with self._lock:
            try:
                step()
            except BaseException:
                self._discard()
                raise

    def _write(self, chunk: bytes) -> None:
        if self._file.closed:
            raise InputError("the upload has ended: begin a new one")
        self._bytes += len(chunk)
        if self._bytes > self._bytes_max:
            raise InputError(f"the picture has more than {self._bytes_max:,} bytes, the limit")
        self._file.write(chunk)
        self._digest.update(chunk)

    def _commit(self) -> None:
        self._write(b"")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        check_picture(self._temp)
        self._keep(self._temp, self._digest.hexdigest())

    def _discard(self) -> None:
        self._file.close()
        self._temp.unlink(missing_ok=True)


class InputStore:
    """The pictures in `folder`. Call `open` first."""

    def __init__(self, folder: Path, *, picture_bytes_max: int = IMAGE_BYTES_MAX) -> None:
        self._folder = folder
        self._bytes_max = picture_bytes_max
        self._fresh: set[str] = set()
        self._lock = threading.Lock()

    async def open(self) -> None:
        """Make the folder, and remove what uploads left that a crash cut short."""
        await asyncio.to_thread(self._open)

    async def missing(self, hashes: Iterable[str]) -> list[str]:
        """Those of `hashes` that have to be sent, each once, in order. The others stay over the
        next `prune`, so that the job which is about to name them finds them.

        Raises InputError for what isn't a SHA-256.
        """
        paths = {sha256: self.path(sha256) for sha256 in hashes}
        return await asyncio.to_thread(self._missing, paths)

    async def begin(self, sha256: str) -> Upload:
        """Start to receive the picture with this hash. Raises InputError for no SHA-256."""
        target = self.path(sha256)

        def keep(temp: Path, found: str) -> None:
            if found != sha256:
                raise InputError(f"the picture sent as {sha256} has the SHA-256 {found}")
            self._keep(temp, target)

        return await asyncio.to_thread(lambda: Upload(self._temp(), self._bytes_max, keep))

    def path(self, sha256: str) -> Path:
        """Where the picture with this hash is, or would be. Raises InputError for no SHA-256."""
        if not _HASH.fullmatch(sha256):
            raise InputError(f"{sha256[:80]!r} isn't a SHA-256: 64 digits, 0-9 and a-f")
        return self._folder / sha256[:2] / sha256

    async def prune(self, keep: Collection[str]) -> int:
        """Remove the pictures not in `keep`; return how many.

        What was sent or asked for since the last `prune` stays: its job may be on the way.
        """
        return await asyncio.to_thread(self._prune, keep)

    def _open(self) -> None:
        incoming = self._folder / _INCOMING
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir(parents=True, exist_ok=True)

    def _temp(self) -> Path:
        handle, name = tempfile.mkstemp(dir=self._folder / _INCOMING)
        os.close(handle)
        return Path(name)

    def _missing(self, paths: dict[str, Path]) -> list[str]:
        with self._lock:
            self._fresh.update(paths)
        return [sha256 for sha256, path in paths.items() if not path.is_file()]

    def _keep(self, temp: Path, target: Path) -> None:
        with self._lock:
            self._fresh.add(target.name)
        if not target.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            _sync(self._folder)
        temp.replace(target)
        _sync(target.parent)

    def _prune(self, keep: Collection[str]) -> int:
        with self._lock:
            spared, self._fresh = self._fresh, set()
        removed = 0
        for path in list(self._kept()):
            if path.name in keep or path.name in spared:
                continue
            with self._lock:  # so that nobody is told in between that it is here
                if path.name not in self._fresh:
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def _kept(self) -> Iterator[Path]:
        for shard in self._folder.iterdir():
            if _SHARD.fullmatch(shard.name):
                yield from (path for path in shard.iterdir() if _HASH.fullmatch(path.name))


def check_picture(path: Path) -> None:
    """Return if the file at `path` is a picture whose header gives its size. Blocks.

    Raises InputError with the reason, OSError when it can't be read.
    """
    head = read_head(path)
    found = sniff(head)
    if not head:
        raise InputError("the picture is empty: 0 bytes")
    if found is None or found.mime not in PICTURES:
        what = found.mime if found else "no picture"
        raise InputError(f"the file is {what}: send a PNG, JPEG, WebP, GIF or BMP")
    if found.width is None:
        raise InputError(f"the {found.mime} is damaged: its header gives no size")


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
