"""Results that arrive inside an answer: on disk, synced, before anybody hears of them.

A result that only memory holds would be lost with the daemon, and paid for.
"""

import asyncio
import binascii
import contextlib
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO

from daemon import failpoints
from daemon.core.job import Phase, Result
from daemon.core.kinds import local_kind
from daemon.core.outcomes import Effect, Fault
from daemon.engines.engine import Sink

SCHEME = "spool:"
CHUNK_BYTES_MAX = 1024 * 1024
BASE64_CHARS = 4 * 1024 * 1024
"""Decoded at once, a multiple of 4; between two pieces other threads get their turn."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,120}")


class Spool:
    """A folder of results that were answers. A name is taken anew by what comes later."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def keep(self, name: str, content: bytes) -> Result:
        """The result that `content` is, once it is on disk, synced. Raises OSError."""
        return await self._keep(name, lambda file: _write(file, content))

    async def keep_base64(self, name: str, content: str) -> Result:
        """The result that `content` holds as base64, once it is on disk, synced.

        Raises OSError, and ValueError for what isn't base64, or empty.
        """
        return await self._keep(name, lambda file: _decode(file, content))

    async def fetch(self, result: Result, sink: Sink) -> Fault | None:
        """Stream a result that was kept into `sink`; None when it is complete. Errors of the sink
        pass through.
        """
        name = result.url.removeprefix(SCHEME)
        if not _NAME.fullmatch(name):
            return _unread("local.missing", "this is no spooled answer")
        try:
            file = await asyncio.to_thread((self._folder / name).open, "rb")
        except FileNotFoundError:
            return _unread("local.missing", f"the spooled answer {name} is gone")
        except OSError as error:
            return _unread("local.io", f"the spooled answer {name}: {error.strerror}")
        with contextlib.closing(file):
            while True:
                try:
                    chunk = await asyncio.to_thread(file.read, CHUNK_BYTES_MAX)
                except OSError as error:
                    return _unread("local.io", f"the spooled answer {name}: {error.strerror}")
                if not chunk:
                    return None
                await sink.write(chunk)

    async def sweep(self, keep: Collection[str], *, before: float) -> int:
        """Remove what was last written before `before` (wall time) and isn't the URL of a result
        in `keep`; return how many. Raises OSError.

        What is younger may belong to an answer that isn't in the journal yet.
        """
        return await asyncio.to_thread(self._sweep, keep, before)

    def _sweep(self, keep: Collection[str], before: float) -> int:
        removed = 0
        for path in list(self._folder.glob("*")):
            if SCHEME + path.name not in keep and path.stat().st_mtime < before:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    async def _keep(self, name: str, write: Callable[[IO[bytes]], None]) -> Result:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} can't name a spooled answer")
        await asyncio.to_thread(self._put, name, write)
        return Result(SCHEME + name)

    def _put(self, name: str, write: Callable[[IO[bytes]], None]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self._folder / f"{name}.part"
        try:
            with unfinished.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            failpoints.at("spool_synced")
            unfinished.rename(self._folder / name)
            failpoints.at("spool_renamed")
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        handle = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def is_spooled(result: Result) -> bool:
    """Whether `result` is a file of the spool."""
    return result.url.startswith(SCHEME)


def not_kept(error: OSError, phase: Phase, effect: Effect) -> Fault:
    """The fault of an answer that arrived and couldn't be written."""
    message = f"the answer can't be kept: {error.strerror or error}"
    return Fault(phase, local_kind(error), message=message, effect=effect)


def _write(file: IO[bytes], content: bytes) -> None:
    file.write(content)


def _decode(file: IO[bytes], content: str) -> None:
    if not content:
        raise ValueError("there is no content")
    for start in range(0, len(content), BASE64_CHARS):
        file.write(binascii.a2b_base64(content[start : start + BASE64_CHARS], strict_mode=True))


def _unread(kind: str, message: str) -> Fault:
    return Fault("download", kind, message=message, effect="accepted")
