"""What processes take, from /proc: memory and processor time, children included."""

import time
from pathlib import Path

PROC = Path("/proc")


def family(pid: int) -> list[int]:
    """`pid` and all that descends from it."""
    found = [pid]
    for one in found:
        for task in _tasks(one):
            found += map(int, _read(task / "children").split())
    return found


def pss_mb(pid: int) -> float:
    """What `pid` and its descendants take of memory, shared pages shared out, in MB (10^6)."""
    total = 0
    for one in family(pid):
        for row in _read(PROC / str(one) / "smaps_rollup").splitlines():
            if row.startswith("Pss:"):
                total += int(row.split()[1])
    return total * 1024 / 1e6


def cpu_s(pid: int) -> float:
    """Processor seconds that `pid` and its descendants took so far.

    From the scheduler, in nanoseconds: the ticks of /proc/PID/stat are too coarse for an idle
    process. Threads that ended are not in it.
    """
    total = 0
    for one in family(pid):
        for task in _tasks(one):
            total += int((_read(task / "schedstat").split() or ["0"])[0])
    return total / 1e9


class Meter:
    """The share of a core that a process takes from now on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cpu_s = cpu_s(pid)
        self._at = time.perf_counter()

    def cpu_s(self) -> float:
        """Processor seconds since the beginning."""
        return cpu_s(self._pid) - self._cpu_s

    def percent(self) -> float:
        """The same as a share of one core, in percent."""
        return 100 * self.cpu_s() / (time.perf_counter() - self._at)


def _tasks(pid: int) -> list[Path]:
    try:
        return list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return []  # it has ended


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
