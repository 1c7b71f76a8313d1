"""A file of no use but its size: deleted when the disk is full, so that what runs can be noted."""

import contextlib
import os
import shutil
from pathlib import Path

BALLAST_FILE = "ballast"
BALLAST_BYTES = 16 * 1024 * 1024


class Reserve:
    """The reserve in `folder`. Blocks; one thread at a time."""

    def __init__(self, folder: Path, size_bytes: int = BALLAST_BYTES) -> None:
        self._path = folder / BALLAST_FILE
        self._bytes = size_bytes

    def fill(self) -> bool:
        """Whether the reserve is there; made anew if the disk has room for it twice over."""
        if self._path.exists():
            return True
        temp = self._path.with_name(BALLAST_FILE + ".part")
        try:
            if shutil.disk_usage(self._path.parent).free < 2 * self._bytes:
                return False
            _allocate(temp, self._bytes)
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


def _allocate(path: Path, size_bytes: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(handle, 0, size_bytes)
    finally:
        os.close(handle)
