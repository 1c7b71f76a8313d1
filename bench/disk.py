"""The disk that everything durable waits for: how long it takes to keep a small write."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from bench.lines import Line, line, quantile
from bench.rig import folder

BLOCK = b"x" * 4096
MEMORY_SYSTEMS = ("tmpfs", "ramfs")
"""File systems that keep nothing: no figure that waits for a disk means anything there."""


def disk(quick: bool) -> Iterator[Line]:
    """What everything durable is held against."""
    with folder() as place:
        system = system_of(place)
        probe = Probe(place)
        for _ in range(200 if quick else 1_000):
            probe.sync()
        probe.close()
    yield line(
        "disk",
        probe.quantile_ms(0.5),
        "ms, fdatasync of 4 KiB",
        "a disk that keeps what it says",
        met=system not in MEMORY_SYSTEMS,
        p99_ms=probe.quantile_ms(0.99),
        file_system=system,
    )


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
