"""The questions that are asked of a journal, each in one short statement, and the pruning."""

import contextlib
import sqlite3
from itertools import takewhile

from msgspec import Struct

from daemon.core.job import Job
from daemon.store.encoding import decode_job
from daemon.store.groups import raise_mark

PRUNE_EVENTS_MAX = 1_000
"""Events deleted in one transaction: others get their turn in between."""


class Numbers(Struct, frozen=True):
    """What must never be given twice: the newest event, the next job's id; and the oldest event."""

    seq: int
    next_job_id: int
    first_seq: int


def read_numbers(link: sqlite3.Connection) -> Numbers:
    """The numbers of a journal. Raises sqlite3.Error."""
    marks = dict(link.execute("SELECT key, value FROM meta").fetchall())
    first, last = link.execute(
        "SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)"
    ).fetchone()
    newest = link.execute("SELECT max(id) FROM jobs").fetchone()[0]
    seq = max(last or 0, marks.get("seq", 0))
    return Numbers(
        seq=seq,
        next_job_id=max((newest or 0) + 1, marks.get("next_job_id", 1)),
        first_seq=seq + 1 if first is None else first,
    )


def jobs_after(link: sqlite3.Connection, last: int, limit: int) -> list[Job]:
    """Up to `limit` jobs with ids above `last`. Raises sqlite3.Error, msgspec.MsgspecError."""
    query = "SELECT body FROM jobs WHERE id > ? ORDER BY id LIMIT ?"
    return [decode_job(body) for (body,) in link.execute(query, (last, limit)).fetchall()]


def events_after(
    link: sqlite3.Connection, seq: int, limit: int, job: int | None
) -> list[tuple[int, bytes]]:
    """Up to `limit` events after `seq`, of all jobs or of one. Raises sqlite3.Error."""
    if job is None:
        query = "SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        return link.execute(query, (seq, limit)).fetchall()
    query = "SELECT seq, body FROM events WHERE job = ? AND seq > ? ORDER BY seq LIMIT ?"
    return link.execute(query, (job, seq, limit)).fetchall()


def prune_events(link: sqlite3.Connection, before: float) -> int:
    """Delete some of the oldest events, up to the first that is younger than `before`; how many.

    Raises sqlite3.Error; then none is deleted.
    """
    query = "SELECT seq, at FROM events ORDER BY seq LIMIT ?"
    rows = link.execute(query, (PRUNE_EVENTS_MAX,)).fetchall()
    old = [seq for seq, _ in takewhile(lambda row: row[1] < before, rows)]
    if old:
        link.execute("BEGIN IMMEDIATE")
        try:
            link.execute("DELETE FROM events WHERE seq <= ?", (old[-1],))
            raise_mark(link, "seq", old[-1])
            link.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                link.execute("ROLLBACK")
            raise
    return len(old)
