"""Copies of the journal: made while it is in use, and put back while it is not.

A backup is one file. paid.jsonl isn't part of it: whatever a backup could hold of it, the journal
in it knows; what counts at a restore is the newer one that lies in the state folder.
"""

import contextlib
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from daemon import failpoints
from daemon.core.events import Event
from daemon.core.gate import Gate
from daemon.core.job import Job
from daemon.store import installing, opening, schema
from daemon.store.connections import (
    DAMAGED,
    beside,
    connect_reader,
    connect_writer,
    damaged,
    primary,
    sync_file,
    told,
)
from daemon.store.encoding import decode_gate
from daemon.store.groups import Group, raise_mark
from daemon.store.paid import PAID_FILE, read_paid
from daemon.store.port import Batch, Paid, StoreDamagedError, StoreError
from daemon.store.queries import Numbers, jobs_after, read_numbers
from daemon.store.restored import Revived, placeholder, revive, shut

SEQ_MARGIN = 10_000_000
"""Added where the newest event that anybody saw isn't known: more than there can have been."""
PAGE_JOBS = 1_000

_WRITE_VERSION, _ROLLBACK = 18, 1
"""Offset of the write version, and the value that isn't WAL (SQLite's file format, 1.3.3)."""
_SHIFTED = """
UPDATE events SET
    seq = seq + :shift,
    body = CAST('{"seq":' || (seq + :shift) || substr(body, length('{"seq":' || seq) + 1) AS BLOB)
"""
"""Every stored event begins with its number (events.py)."""


class RestoreReport(Struct, frozen=True):
    """What a restore did.

    `jobs` are in the journal now, `held` of them wait for an operator, `in_doubt` need one to
    resolve them. `replayed` ids were taken from paid.jsonl, where `unreadable` lines were skipped.
    `set_aside` is where the former journal is.
    """

    jobs: int
    held: int
    in_doubt: int
    replayed: int
    unreadable: int
    set_aside: list[Path]


def backup_journal(state_dir: Path, to: Path) -> None:
    """Make a consistent, checked copy of the journal at `to`, whether or not it is in use. Blocks.

    An older backup there is replaced at once; of any other file it is an error. Raises StoreError;
    then `to` is as it was.
    """
    journal = state_dir / installing.JOURNAL_FILE
    if not journal.exists():
        raise StoreError(f"{journal}: no such file; there is nothing to back up yet")
    if to.resolve().parent == state_dir.resolve() and to.name.startswith(journal.name):
        raise StoreError(f"{to}: that is the journal itself; name another file")
    _check_target(to)
    with told(journal):
        connection = connect_reader(journal)
    try:
        with told(journal):
            schema.check_owner(connection, journal, len(schema.steps()))
        opening.copy(connection, to, journal)
    except OSError as error:
        raise StoreError(f"{error.filename or to}: {error.strerror}; no backup was made") from error
    except sqlite3.Error as error:
        if primary(error) in DAMAGED:
            raise damaged(journal, str(error)) from error
        raise StoreError(f"{to}: {error}; no backup was made") from error
    finally:
        connection.close()


def restore(state_dir: Path, source: Path, *, now: float) -> RestoreReport:
    """Put the backup `source` in the place of the journal of `state_dir`, which nobody has open.

    The former journal stays beside it under a dated name. Afterwards every gate is closed by the
    operator, what was unfinished is held (or in doubt), ids of paid.jsonl that the backup doesn't
    know are in their jobs, and numbers go on above all that were ever given. Blocks.

    Killed half-way it may be run again; a start then finds the old journal or the new one. Raises
    StoreError; then the journal is as it was.
    """
    journal = state_dir / installing.JOURNAL_FILE
    _check_source(source)
    with told(journal):
        state_dir.mkdir(parents=True, exist_ok=True)
        aside = installing.finish(state_dir)
        if journal.exists() and source.samefile(journal):
            raise StoreError(f"{source}: that is the journal itself; name a backup")
    prepared = state_dir / "restoring.sqlite3"
    try:
        with told(prepared):
            _remove(prepared)
            _copy(source, prepared)
            report = _revived(prepared, state_dir, now)
            sync_file(prepared)
            failpoints.at("restore_revived")
            aside += installing.install(state_dir, prepared, now=now)
            opening.mark_stop(state_dir)
    finally:
        _remove(prepared)
    return msgspec.structs.replace(report, set_aside=aside)


def _check_target(to: Path) -> None:
    """Return if nothing is at `to` but an older backup. Raises StoreError."""
    if not os.path.lexists(to):
        return
    if to.is_file():
        with contextlib.suppress(StoreError), told(to):
            found, _ = opening.check(to, len(schema.steps()), thorough=False)
            if found > 0 and _is_one_file(to):
                return
    raise StoreError(
        f"{to}: it is there and isn't a backup of genq; nothing was changed. Name another file, "
        "or move that one away"
    )


def _is_one_file(path: Path) -> bool:
    """Whether the database at `path` is no journal, in use or set aside, with a -wal file."""
    with path.open("rb") as file:
        return file.read(_WRITE_VERSION + 1)[_WRITE_VERSION] == _ROLLBACK


def _check_source(source: Path) -> None:
    if not source.is_file():
        raise StoreError(f"{source}: no such file")
    known = len(schema.steps())
    try:
        with told(source):
            found, _ = opening.check(source, known, thorough=True)
    except StoreDamagedError as error:
        raise StoreError(
            f"{source}: damaged, or no backup of genq; nothing was changed. Use an older one"
        ) from error
    if found == 0:
        raise StoreError(f"{source}: an empty file, not a backup; nothing was changed")


def _remove(prepared: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        beside(prepared, suffix).unlink(missing_ok=True)


def _copy(source: Path, prepared: Path) -> None:
    """The backup, brought up to date."""
    connection = connect_reader(source, alone=True)
    try:
        opening.copy(connection, prepared, source)
    finally:
        connection.close()
    connection = connect_writer(prepared)
    try:
        schema.migrate(connection, schema.steps())
    finally:
        connection.close()


def _revived(prepared: Path, folder: Path, now: float) -> RestoreReport:
    """Change the copy as `restore` says."""
    lines, unreadable = read_paid(folder / PAID_FILE)
    connection = connect_writer(prepared)
    try:
        old = read_numbers(connection)
        newest, next_job_id = _given(old, folder, lines)
        seq = _move_events(connection, old, newest)
        changes = list(_changes(connection, lines, old.next_job_id, now))
        gates, closed = _gates(connection, [one.job for one in changes], now)
        batch = Batch(
            events=_numbered([*closed, *(one.event for one in changes)], seq + 1),
            jobs=tuple(one.job for one in changes),
            gates=gates,
        )
        group = Group()
        group.add(batch)
        group.write(connection)
        raise_mark(connection, "seq", newest + 1)
        raise_mark(connection, "next_job_id", next_job_id)
        counts = dict(connection.execute("SELECT state, count(*) FROM jobs GROUP BY state"))
    except msgspec.MsgspecError as error:
        raise StoreError(f"{prepared}: a row of the backup can't be read: {error}") from error
    finally:
        connection.close()
    return RestoreReport(
        jobs=sum(counts.values()),
        held=counts.get("held", 0),
        in_doubt=counts.get("in_doubt", 0),
        replayed=sum(one.replayed for one in changes),
        unreadable=unreadable,
        set_aside=[],
    )


def _given(old: Numbers, folder: Path, lines: Sequence[Paid]) -> tuple[int, int]:
    """The newest seq that anybody can have seen, and a job id above all that were given out."""
    former = _former(folder)
    ids = [old.next_job_id, *(line.job + 1 for line in lines)]
    if former is None:
        return old.seq + SEQ_MARGIN, max(ids)
    return max(old.seq, former.seq), max(*ids, former.next_job_id)


def _former(folder: Path) -> Numbers | None:
    """The numbers of the journal that is to be replaced; None if they can't be read."""
    journal = folder / installing.JOURNAL_FILE
    try:
        connection = connect_reader(journal, alone=True)
    except sqlite3.Error:
        return None
    try:
        schema.check_owner(connection, journal, len(schema.steps()))
        return read_numbers(connection)
    except (sqlite3.Error, StoreError):
        return None
    finally:
        connection.close()


def _move_events(connection: sqlite3.Connection, old: Numbers, newest: int) -> int:
    """Number the copy's events anew, behind `newest` and one more; what the last is then.

    So the stream goes on without a hole, and a client that comes back with a number of the former
    journal finds that it is too old, and takes a snapshot: what it knows didn't happen.
    """
    first = newest + 2
    connection.execute(_SHIFTED, {"shift": first - old.first_seq})
    return first + old.seq - old.first_seq


def _changes(
    connection: sqlite3.Connection, lines: Sequence[Paid], next_job_id: int, now: float
) -> Iterator[Revived]:
    """Every job that isn't as it was in the copy."""
    by_job: dict[int, list[Paid]] = defaultdict(list)
    for line in lines:
        by_job[line.job].append(line)
    for job in _jobs(connection):
        changed = revive(job, by_job[job.id], now)
        if changed is not None:
            yield changed
    # A lower id that the copy doesn't have was finished long before it was made, and pruned.
    for number in sorted(number for number in by_job if number >= next_job_id):
        yield placeholder(by_job[number], now)


def _jobs(connection: sqlite3.Connection) -> Iterator[Job]:
    last = 0
    while jobs := jobs_after(connection, last, PAGE_JOBS):
        yield from jobs
        last = jobs[-1].id


def _gates(
    connection: sqlite3.Connection, changed: Sequence[Job], now: float
) -> tuple[dict[str, Gate], list[Event]]:
    """Every known gate closed, and the providers' of jobs that have none yet."""
    rows = connection.execute("SELECT provider, body FROM gates").fetchall()
    gates = {provider: decode_gate(body) for provider, body in rows}
    events: list[Event] = []
    for job in changed:
        gates.setdefault(job.provider, Gate())
    for provider, gate in gates.items():
        gates[provider], told_of = shut(provider, gate, now)
        events += told_of
    return gates, events


def _numbered(events: Sequence[Event], first: int) -> tuple[Event, ...]:
    return tuple(
        msgspec.structs.replace(event, seq=seq) for seq, event in enumerate(events, start=first)
    )
