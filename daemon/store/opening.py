"""What happens before a journal is used: found whole, brought up to date, its numbers read.

Nothing here changes a journal that is damaged or newer than this program: it is looked at through
a connection that can't write, and only what passed is opened for writing.
"""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from daemon import failpoints
from daemon.core.job import Intent, Job
from daemon.store import installing, schema
from daemon.store.connections import (
    beside,
    connect_reader,
    connect_writer,
    damaged,
    quick_check,
    sync_file,
    sync_folder,
    told,
    wal_bytes,
)
from daemon.store.encoding import decode_gate, decode_job
from daemon.store.paid import PAID_FILE, TAIL_BYTES, read_paid
from daemon.store.port import Loaded, Paid, StoreUnwritableError
from daemon.store.queries import read_numbers

STOPPED_FILE = "journal.stopped"
"""There after an orderly stop: the journal's size and time of change, as it was left."""

_WAITING = """
SELECT body FROM jobs WHERE id = ? AND state IN ('submitting', 'cancelling', 'in_doubt')
"""


def open_folder(folder: Path, upgrades: Sequence[str], *, now: float) -> Loaded:
    """Find or make the journal of `folder`, ready for use. Blocks. Raises StoreError."""
    journal = folder / installing.JOURNAL_FILE
    with told(journal):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise StoreUnwritableError(f"{folder}: the state folder can't be written")
        installing.finish(folder)
        fresh = not journal.exists() or journal.stat().st_size == 0
        left = _left_as(folder)
        suspect = left is None or left != _look(journal)
        if not fresh and not os.access(journal, os.W_OK):
            raise StoreUnwritableError(f"{journal}: can't be written")
        if fresh and wal_bytes(journal):
            raise damaged(journal, f"it is empty or missing, but {journal.name}-wal is there")
        if fresh and _anything_paid(folder / PAID_FILE):
            what = "empty" if journal.exists() else "gone"
            raise damaged(
                journal,
                f"it is {what}, but {PAID_FILE} tells of accepted jobs; move that away only to "
                "begin anew",
            )
        known = len(upgrades)
        if fresh or check(journal, known, thorough=suspect) != (known, "wal"):
            _prepare(journal, upgrades, now=now)
        _forget_stop(folder)
        return _load(folder, journal, unclean=left is None and not fresh)


def _anything_paid(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0 and bool(read_paid(path)[0])


def check(journal: Path, known: int, *, thorough: bool) -> tuple[int, str]:
    """The version and the journal mode of `journal`, found whole and fit for this program.

    `known` is the newest version that may be. Raises StoreError, sqlite3.Error. Nothing is changed.
    """
    if not os.access(journal, os.R_OK):
        raise StoreUnwritableError(f"{journal}: can't be read")
    connection = connect_reader(journal, alone=True)
    try:
        found = schema.check_owner(connection, journal, known)
        if thorough:
            quick_check(connection, journal)
        return found, str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    finally:
        connection.close()


def _prepare(journal: Path, upgrades: Sequence[str], *, now: float) -> None:
    """Make the journal, or bring it up to date, with a copy of what held something before."""
    connection = connect_writer(journal)
    try:
        old = schema.version(connection)
        if 0 < old < len(upgrades):
            name = f"version-{old}-{installing.stamp(now)}.sqlite3"
            copy(connection, journal.with_name(name), journal)
        failpoints.at("migration_begun")
        schema.migrate(connection, upgrades)
    finally:
        connection.close()
    sync_folder(journal.parent)


def copy(source: sqlite3.Connection, to: Path, original: Path) -> None:
    """A checked, synced copy of the database at `to`, in one file; made beside it and renamed.

    Raises StoreDamagedError about `original`, sqlite3.Error, OSError; then `to` is as it was.
    """
    temp = to.with_name(f".{to.name}.part")
    for suffix in ("", "-journal"):
        beside(temp, suffix).unlink(missing_ok=True)
    try:
        target = sqlite3.connect(temp, isolation_level=None)
        try:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")
            quick_check(target, original)
        finally:
            target.close()
        failpoints.at("backup_copied")
        sync_file(temp)
        failpoints.at("backup_synced")
        temp.replace(to)
        failpoints.at("backup_in_place")
    finally:
        temp.unlink(missing_ok=True)
    sync_folder(to.parent)


def _load(folder: Path, journal: Path, *, unclean: bool) -> Loaded:
    connection = connect_reader(journal, alone=True)
    try:
        numbers = read_numbers(connection)
        rows = connection.execute("SELECT provider, body FROM gates").fetchall()
        gates = {provider: decode_gate(body) for provider, body in rows}
        lost = _unrecorded(folder, connection)
    except msgspec.MsgspecError as error:
        raise damaged(journal, f"a row can't be read: {error}") from error
    finally:
        connection.close()
    return Loaded(
        seq=numbers.seq,
        next_job_id=numbers.next_job_id,
        gates=gates,
        unclean=unclean,
        first_seq=numbers.first_seq,
        unrecorded=lost,
    )


def _unrecorded(folder: Path, connection: sqlite3.Connection) -> tuple[Paid, ...]:
    """Ids that were accepted and noted, when a kill came before the journal had them.

    After an orderly stop too: the run before may have had no provider to settle them with.
    """
    path = folder / PAID_FILE
    if not path.is_file():
        return ()
    lines, _ = read_paid(path, tail_bytes=TAIL_BYTES)
    bodies: dict[int, bytes] = {}
    for number in {line.job for line in lines}:
        row = connection.execute(_WAITING, (number,)).fetchone()
        if row is not None:
            bodies[number] = row[0]
    jobs = {number: decode_job(body) for number, body in bodies.items()}
    return tuple(line for line in lines if line.job in jobs and awaits(jobs[line.job], line))


def awaits(job: Job, line: Paid) -> bool:
    """Whether `job` still waits for the answer that `line` is."""
    intent = getattr(job.work, "intent", None)
    return isinstance(intent, Intent) and intent.key == line.key


# ---- the mark of an orderly stop ----


def mark_stop(folder: Path) -> None:
    """Note that the journal was closed in order, durably. Raises OSError."""
    temp = folder / (STOPPED_FILE + ".part")
    failpoints.at("journal_closed")
    temp.write_text(_look(folder / installing.JOURNAL_FILE), encoding="ascii")
    sync_file(temp)
    temp.replace(folder / STOPPED_FILE)
    sync_folder(folder)


def _forget_stop(folder: Path) -> None:
    mark = folder / STOPPED_FILE
    if mark.exists():
        mark.unlink()
        sync_folder(folder)


def _left_as(folder: Path) -> str | None:
    """What the mark says; None without one."""
    try:
        return (folder / STOPPED_FILE).read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None


def _look(journal: Path) -> str:
    """Size and time of change: other than noted, something else wrote to it since."""
    try:
        found = journal.stat()
    except FileNotFoundError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns} {wal_bytes(journal)}\n"
