"""Batches that become durable together: what they come to, and the few statements that store it.

Statements are few and large on purpose. SQLite's module lets go of the interpreter's lock around
each one, and with a busy event loop it may take milliseconds to get it back.
"""

import contextlib
import sqlite3
from collections.abc import Iterable

from msgspec import UNSET

from daemon.core.events import Event, streamed
from daemon.core.gate import Gate
from daemon.core.job import Job
from daemon.store.encoding import encode
from daemon.store.port import Batch, Line

GROUP_EVENTS_MAX = 2_000
GROUP_BYTES_MAX = 4 * 1024 * 1024
"""Encoded events; a larger batch makes a group of its own."""
ROWS_MAX = 200
"""Rows of one statement."""

_EVENTS = "INSERT INTO events (seq, at, job, body) VALUES "
_JOBS = "REPLACE INTO jobs (id, rev, state, finished_at, body) VALUES "
_GATES = "REPLACE INTO gates (provider, body) VALUES "
_DROPPED = "DELETE FROM jobs WHERE id IN (VALUES "
_RAISED = "INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = max(value, ?)"


class Group:
    """What some batches come to together: of a job or gate that several wrote, the last word."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.paid = b""
        self._jobs: dict[int, Job] = {}
        self._gates: dict[str, Gate] = {}
        self._dropped: set[int] = set()
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether what waits should go into the next group."""
        return len(self.lines) >= GROUP_EVENTS_MAX or self._bytes >= GROUP_BYTES_MAX

    def add(self, batch: Batch) -> None:
        """Take `batch` too, its events encoded."""
        for event in batch.events:
            line = _line(event)
            self.lines.append(line)
            self._bytes += len(line.text)
        for job in batch.jobs:
            self._jobs[job.id] = job
            self._dropped.discard(job.id)
        self._dropped.update(batch.dropped)  # deleted last, whatever was written before
        self._gates.update(batch.gates)
        for paid in batch.paid:
            self.paid += encode(paid) + b"\n"

    def write(self, connection: sqlite3.Connection) -> None:
        """Store all of it in one transaction: durable on return.

        Raises sqlite3.Error; then nothing of it is stored, and it may be tried again, unless the
        disk itself failed.
        """
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._insert(connection)
            connection.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _insert(self, connection: sqlite3.Connection) -> None:
        events: list[object] = []
        for line in self.lines:
            events += (line.seq, line.event.at, line.job, line.text)
        _rows(connection, _EVENTS, 4, events)
        jobs: list[object] = []
        for job in self._jobs.values():
            jobs += (job.id, job.rev, job.state, job.finished_at, encode(job))
        _rows(connection, _JOBS, 5, jobs)
        gates: list[object] = []
        for provider, gate in self._gates.items():
            gates += (provider, encode(gate))
        _rows(connection, _GATES, 2, gates)
        if self._dropped:
            _rows(connection, _DROPPED, 1, self._dropped, end=")")
            raise_mark(connection, "next_job_id", max(self._dropped) + 1)


def _line(event: Event) -> Line:
    job = None if event.job is UNSET else event.job
    return Line(event.seq, job, encode(streamed(event)), event)


def _rows(
    connection: sqlite3.Connection,
    verb: str,
    width: int,
    values: Iterable[object],
    *,
    end: str = "",
) -> None:
    """Execute `verb` for all of `values`, `width` to a row, with as many rows a time as may be."""
    flat = list(values)
    row = "(" + ",".join("?" * width) + ")"
    for start in range(0, len(flat), ROWS_MAX * width):
        part = flat[start : start + ROWS_MAX * width]
        connection.execute(verb + ",".join([row] * (len(part) // width)) + end, part)


def raise_mark(connection: sqlite3.Connection, key: str, value: int) -> None:
    """Keep `value` in meta under `key`, unless a higher one is there."""
    connection.execute(_RAISED, (key, value, value))
