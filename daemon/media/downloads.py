"""Result files: streamed into a part, checked, named, and synced before anybody hears of them."""

import asyncio
import errno
import hashlib
import os
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Self

from daemon import failpoints
from daemon.core.job import Output
from daemon.core.limits import check_batch
from daemon.media.names import output_name
from daemon.media.sniff import HEAD_BYTES_MAX, Sniffed, sniff

PARTS = ".parts"
"""The folder of unfinished downloads, inside the output folder: a rename must not copy."""
BUFFER_BYTES_MAX = 1024 * 1024
"""Bytes held in memory by a `Sink` before they go to the disk."""
NAMES_MAX = 1_000
"""Numbers tried for a file whose name is taken."""
EXCERPT_CHARS_MAX = 120
EXCERPT_BYTES_MAX = 64 * EXCERPT_CHARS_MAX
"""Of what isn't a result, looked at for an excerpt; rather more, so that no secret is cut in two
before it is hidden."""


class FilingError(Exception):
    """The result can't be put where it belongs; the message names the path and the way out."""


class WrongContentError(Exception):
    """What was downloaded is no result: HTML, text, nothing, or of an unknown type."""


class TooLargeError(Exception):
    """The download is larger than its limit."""


class Sink:
    """Where a download goes: the file `part`, with at most `bytes_max` bytes.

    `async with` opens it: anew, or with `resume` after the `bytes` that are there. When the block
    is left, also by an error, the file holds the beginning of what was written, without a hole.
    """

    def __init__(self, part: Path, bytes_max: int, *, resume: bool = False) -> None:
        self.bytes = 0
        self._part = part
        self._bytes_max = bytes_max
        self._resume = resume
        self._handle = -1
        self._buffer = bytearray()
        self._failure: OSError | None = None
        self._writing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Open the file. Raises OSError."""
        await asyncio.to_thread(self._open)
        return self

    async def write(self, chunk: bytes) -> None:
        """Take `chunk`; returns when there is room for more.

        Raises TooLargeError when it would be over the limit, OSError from the disk.
        """
        if self.bytes + len(chunk) > self._bytes_max:
            raise TooLargeError(f"the result has more than {self._bytes_max:,} bytes, the limit")
        self.bytes += len(chunk)
        self._buffer += chunk
        failpoints.at("mid_download")
        if len(self._buffer) >= BUFFER_BYTES_MAX:
            full, self._buffer = self._buffer, bytearray()
            self._writing = asyncio.create_task(asyncio.to_thread(self._append, full))
            await asyncio.shield(self._writing)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write the rest and close. Raises OSError."""
        if self._writing is not None:  # a cancelled `write` left it at work
            await asyncio.wait({self._writing})
        await asyncio.to_thread(self._close)

    def _open(self) -> None:
        # Nobody else may read it yet, and what somebody linked there isn't followed.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (0 if self._resume else os.O_TRUNC)
        self._handle = os.open(self._part, flags, 0o600)
        self.bytes = os.lseek(self._handle, 0, os.SEEK_END)

    def _append(self, content: bytearray) -> None:
        if self._failure is not None:  # what comes after the lost bytes must not take their place
            raise self._failure
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[os.write(self._handle, rest) :]
        except OSError as error:
            self._failure = error
            raise

    def _close(self) -> None:
        try:
            if self._failure is None:
                self._append(self._buffer)
        finally:
            os.close(self._handle)


class Filing:
    """Puts results at `<output_dir>/<folder>/<id>-<name>.<ext>`, readable as `mode` says.

    A file that is there is never replaced by other content: a result whose name is taken gets the
    next free number. The same content again, as after a crash, takes its old place. `hide` takes
    secrets out of what is quoted of a download: providers echo keys there too.
    """

    def __init__(
        self, output_dir: Path, *, mode: int = 0o640, hide: Callable[[str], str] = str
    ) -> None:
        self._output_dir = output_dir.absolute()
        self._mode = mode
        self._hide = hide
        self._folder_mode = mode | (mode & 0o444) >> 2 | 0o700  # who may read may enter
        self._naming = threading.Lock()

    async def part(self, job_id: int, attempt: int, n: int) -> Path:
        """Where result `n` is to be downloaded to; the folder is there. Raises OSError."""
        return await asyncio.to_thread(self._parts) / f"{job_id}-{attempt}-{n}.part"

    async def file(
        self, part: Path, *, job_id: int, name: str | None, folder: str, index: int
    ) -> Output:
        """Make the download in `part` output `index` (from 0) of its job, in `folder` (the batch,
        or the date). When this returns, the file is synced under its final name.

        Raises WrongContentError (the part is removed), FilingError and OSError (the part stays).
        """
        return await asyncio.to_thread(self._file, part, job_id, name, folder, index)

    async def sweep(self, keep: Collection[int]) -> int:
        """Remove the parts of jobs whose id isn't in `keep`; return how many."""
        return await asyncio.to_thread(self._sweep, keep)

    def _parts(self) -> Path:
        if not self._output_dir.is_dir():
            self._output_dir.mkdir(parents=True, exist_ok=True)
            self._output_dir.chmod(self._folder_mode)  # whatever the umask
        parts = self._output_dir / PARTS
        parts.mkdir(mode=0o700, exist_ok=True)
        return parts

    def _file(self, part: Path, job_id: int, name: str | None, folder: str, index: int) -> Output:
        with _open(part) as file:
            found = _recognise(file, part, self._hide)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = os.fstat(file.fileno()).st_size
            os.fchmod(file.fileno(), self._mode)
            failpoints.at("file_written")
            os.fsync(file.fileno())
            failpoints.at("file_synced")
        with self._opened(folder) as handle, self._naming:
            names = (
                output_name(job_id, name, number, found.extension)
                for number in range(index, index + NAMES_MAX)
            )
            final = next((each for each in names if _is_free(each, handle, size, sha256)), None)
            if final is None:
                raise FilingError(f"{NAMES_MAX:,} results of job {job_id} are in {folder} already")
            failpoints.at("before_rename")
            os.rename(part, final, dst_dir_fd=handle)
            failpoints.at("after_rename")
            os.fsync(handle)
            failpoints.at("folder_synced")
        path = self._output_dir / folder / final
        return Output(path=str(path), bytes=size, sha256=sha256, mime=found.mime)

    @contextmanager
    def _opened(self, folder: str) -> Iterator[int]:
        """A handle on a folder of results, which is there afterwards; never through a link."""
        if problem := check_batch(folder):  # it was checked on adding; a path is worth two looks
            raise FilingError(f"the batch {folder[:40]!r} can't name a folder: it {problem}")
        self._parts()
        flags = os.O_RDONLY | os.O_DIRECTORY
        with _closing(os.open(self._output_dir, flags)) as root:
            made = _make_folder(folder, root)
            try:
                handle = os.open(folder, flags | os.O_NOFOLLOW, dir_fd=root)
            except OSError as error:
                if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
                    raise
                path = self._output_dir / folder
                raise FilingError(f"{path} is a link or a file: move it out of the way") from error
            with _closing(handle):
                if made:
                    os.fchmod(handle, self._folder_mode)
                    os.fsync(root)
                yield handle

    def _sweep(self, keep: Collection[int]) -> int:
        removed = 0
        for path in list(self._parts().glob("*-*-*.part")):
            job_id = path.name.partition("-")[0]
            if not (job_id.isdecimal() and int(job_id) in keep):
                path.unlink(missing_ok=True)
                removed += 1
        return removed


def _open(path: Path | str, folder: int | None = None) -> BufferedReader:
    """Open a file to read; neither a link nor a pipe of that name leads astray."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    return os.fdopen(os.open(path, flags, dir_fd=folder), "rb")


@contextmanager
def _closing(handle: int) -> Iterator[int]:
    try:
        yield handle
    finally:
        os.close(handle)


def _make_folder(name: str, root: int) -> bool:
    """Whether the folder wasn't there before."""
    try:
        os.mkdir(name, 0o700, dir_fd=root)
    except FileExistsError:
        return False
    return True


def _is_free(name: str, folder: int, size: int, sha256: str) -> bool:
    """Whether a result may take this name: nothing has it, or the same result from before."""
    try:
        with _open(name, folder) as file:
            if os.fstat(file.fileno()).st_size != size:
                return False
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return True
    except OSError:  # a link, a folder, another user's file: not ours
        return False


def _recognise(file: BufferedReader, part: Path, hide: Callable[[str], str]) -> Sniffed:
    """The type of a download. Raises WrongContentError, and removes it, when it is no result."""
    head = file.read(HEAD_BYTES_MAX)
    found = sniff(head)
    if found is None:
        part.unlink()
        if not head:
            raise WrongContentError("the download is empty: 0 bytes")
        words = _excerpt(head, hide)
        raise WrongContentError(f"the download is no result, it begins with: {words}")
    return found


def _excerpt(head: bytes, hide: Callable[[str], str]) -> str:
    """The beginning of `head` in one safe line: as text, or as numbers where it isn't text."""
    start = head[:EXCERPT_BYTES_MAX]
    if b"\0" in start:
        return start[:16].hex(" ")
    text = hide(start.decode(errors="replace"))
    printable = (char if char.isprintable() else " " for char in text)
    return " ".join("".join(printable).split())[:EXCERPT_CHARS_MAX]
