"""paid.jsonl: every id that a provider accepted, one a line, on disk before the journal has it.

Append only. It is what a restore replays, and what a start reads after a kill between the two.
"""

import os
from pathlib import Path

import msgspec

from daemon.core.events import Event
from daemon.core.job import Job, live_remote
from daemon.store.connections import sync_folder
from daemon.store.encoding import decode_paid
from daemon.store.port import Paid

PAID_FILE = "paid.jsonl"
TAIL_BYTES = 4 * 1024 * 1024
"""So much of the end is read at a start: many times what one commit can add."""

_MODE = 0o640


def line_of(before: Job | None, after: Job, event: Event) -> Paid | None:
    """The line of `event`, which made `after` of `before`, if it brings an id not known before.

    >>> line_of(None, Job(id=1, provider="m", created_at=0.0, updated_at=0.0), Event(at=1.0,
    ...     type="added", job=1))
    """
    remote = live_remote(after)
    if remote is None or (before is not None and live_remote(before) is not None):
        return None
    return Paid(
        at=event.at,
        job=after.id,
        attempt=after.attempt,
        key=remote.key,
        target=remote.target,
        remote_id=remote.remote_id,
        provider=after.provider,
        results=remote.results,
    )


class PaidFile:
    """The file at `path`, open for appending. Blocks; one thread at a time."""

    def __init__(self, path: Path) -> None:
        new = not path.exists()
        self._handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        if new:
            sync_folder(path.parent)

    def append(self, lines: bytes) -> None:
        """Add whole lines, durable on return.

        Raises OSError; then a part may be there, which does no harm when it is done again.
        """
        size = os.fstat(self._handle).st_size
        # A line that a crash or a full disk cut short is ended, so that it spoils no other.
        torn = size > 0 and os.pread(self._handle, 1, size - 1) != b"\n"
        rest = memoryview(b"\n" + lines if torn else lines)
        while rest:
            rest = rest[os.write(self._handle, rest) :]
        os.fdatasync(self._handle)

    def close(self) -> None:
        """Give the file back. Safe to call twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def read_paid(path: Path, *, tail_bytes: int | None = None) -> tuple[list[Paid], int]:
    """The accepted ids in their order, and how many lines can't be read; none without a file.

    `tail_bytes`: only whole lines among the last so many bytes. Raises OSError.
    """
    try:
        with path.open("rb") as file:
            if tail_bytes is not None and path.stat().st_size > tail_bytes:
                file.seek(-tail_bytes, os.SEEK_END)
                file.readline()
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return [], 0
    known: list[Paid] = []
    unreadable = 0
    for line in filter(None, lines):
        try:
            known.append(decode_paid(line))
        except msgspec.MsgspecError:
            unreadable += 1
    return known, unreadable
