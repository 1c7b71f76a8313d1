"""The disk that everything durable waits for: how long it takes to keep a small write."""

import os
import time
from pathlib import Path

from bench.lines import quantile

BLOCK = b"x" * 4096
MEMORY_SYSTEMS = ("tmpfs", "ramfs", "overlay")
"""File systems that keep nothing, or may not."""


class Probe:
    """Appends to a file of `folder` and waits until it is kept, as a journal does."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder / "probe", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.took_ms: list[float] = []

    def sync(self) -> None:
        """Write 4 KiB, wait for the disk, note how long it took."""
        began = time.perf_counter()
        os.write(self._file, BLOCK)
        os.fdatasync(self._file)
        self.took_ms.append(1e3 * (time.perf_counter() - began))

    def quantile_ms(self, share: float) -> float:
        """So long, or less, for `share` of the syncs."""
        return quantile(self.took_ms, share)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def system_of(folder: Path) -> str:
    """The kind of file system that `folder` is on, as the kernel calls it."""
    found, longest = "unknown", -1
    for row in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, rest = row.partition(" - ")
        point = mount.split()[4]
        if folder.is_relative_to(point) and len(point) > longest:
            found, longest = rest.split()[0], len(point)
    return found
