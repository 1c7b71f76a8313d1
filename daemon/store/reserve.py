"""A file of no use but its size: deleted when the disk is full, so that what runs can be noted."""

import contextlib
import os
import shutil
from pathlib import Path

BALLAST_FILE = "ballast"
BALLAST_BYTES = 16 * 1024 * 1024
DISK_SHARE = 16
"""A small disk keeps one part in so many as its reserve."""
START_BYTES = 1024 * 1024
"""A start writes less than this before the journal can say that its disk is full."""


class Reserve:
    """The reserve in `folder`, of `size_bytes`: else of BALLAST_BYTES, or less on a small disk.

    Blocks; one thread at a time.
    """

    def __init__(self, folder: Path, size_bytes: int | None = None) -> None:
        self._path = folder / BALLAST_FILE
        self._bytes = size_bytes

    def fill(self) -> bool:
        """Whether the reserve is there; made anew if the disk has room for it twice over."""
        if self._path.exists():
            return True
        temp = self._path.with_name(BALLAST_FILE + ".part")
        try:
            disk = shutil.disk_usage(self._path.parent)
            size = self._bytes or min(BALLAST_BYTES, disk.total // DISK_SHARE)
            if disk.free < 2 * size:
                return False
            _allocate(temp, size)
            temp.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                temp.unlink()
            return False
        return True

    def spend(self) -> bool:
        """Delete the reserve; whether there was one."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
            return True
        return False

    def lend(self) -> None:
        """Delete the reserve if there is no room to start: a full disk must not keep one out."""
        with contextlib.suppress(OSError):
            if shutil.disk_usage(self._path.parent).free < START_BYTES:
                self.spend()


def _allocate(path: Path, size_bytes: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(handle, 0, size_bytes)
    finally:
        os.close(handle)
