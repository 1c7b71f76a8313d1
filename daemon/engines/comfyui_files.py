"""Workflows on this machine's disk: read once, and again when they have changed."""

import os
import stat
from pathlib import Path

from daemon.engines.comfyui_workflow import Workflow, WorkflowError, read_workflow

WORKFLOW_BYTES_MAX = 2 * 1024 * 1024
FILES_MAX = 64
"""Kept in memory at once; the one that was read first goes first."""

_Stamp = tuple[int, int, int]


def reason(error: OSError | WorkflowError) -> str:
    """Why a workflow can't be had, in words."""
    if isinstance(error, OSError):
        return f"it can't be read: {error.strerror or error}"
    return str(error)


def unusable(place: str, path: Path, error: OSError | WorkflowError) -> str:
    """Why the workflow at `path` can't be had, which the configuration names at `place`."""
    return f"{place}: {str(path)!r}: {reason(error)}".removeprefix(": ")


class WorkflowFiles:
    """Reads workflows; an unchanged file costs one look at its size and time."""

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[_Stamp, Workflow | str]] = {}

    def read(self, path: Path) -> Workflow:
        """The workflow in `path`. Raises WorkflowError, and OSError if it can't be read."""
        if not path.is_absolute():
            raise WorkflowError("expected an absolute path")
        # A pipe would keep its reader waiting: it is opened without, and then refused.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            kept = self._kept.get(path)
            stamp = _stamp(os.fstat(handle))
            if kept is None or kept[0] != stamp:
                with os.fdopen(handle, "rb", closefd=False) as file:
                    kept = (stamp, _read(file.read(WORKFLOW_BYTES_MAX)))
                self._keep(path, kept)
        finally:
            os.close(handle)
        if isinstance(kept[1], str):
            raise WorkflowError(kept[1])
        return kept[1]

    def _keep(self, path: Path, kept: tuple[_Stamp, Workflow | str]) -> None:
        self._kept.pop(path, None)
        for oldest in list(self._kept)[: max(0, len(self._kept) + 1 - FILES_MAX)]:
            self._kept.pop(oldest, None)
        self._kept[path] = kept


def _stamp(found: os.stat_result) -> _Stamp:
    """What changes with the file. Raises WorkflowError for what isn't read at all."""
    if not stat.S_ISREG(found.st_mode):
        raise WorkflowError("it is no regular file")
    if found.st_size > WORKFLOW_BYTES_MAX:
        raise WorkflowError(f"it has more than {WORKFLOW_BYTES_MAX:,} bytes")
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read(content: bytes) -> Workflow | str:
    """What is wrong with a file is kept, too: a batch of many jobs may name it."""
    try:
        return read_workflow(content)
    except WorkflowError as error:
        return str(error)
