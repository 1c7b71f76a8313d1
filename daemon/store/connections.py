"""How the journal's file is reached: connections with their settings, errors in plain words."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from daemon.store.port import StoreDamagedError, StoreError, StoreUnwritableError

BUSY_S = 5.0
"""How long a statement waits for another program's lock."""
STATEMENTS_MAX = 32
"""Prepared statements that are kept; those for many rows are large."""
WAL_PAGES = 1_000
WAL_BYTES_MAX = 64 * 1024 * 1024
"""What is left of the -wal file after a checkpoint, at most."""

_SETTINGS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    f"wal_autocheckpoint={WAL_PAGES}",
    f"journal_size_limit={WAL_BYTES_MAX}",
    "temp_store=MEMORY",
    "trusted_schema=OFF",
)
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""Codes of a file that can't be trusted."""
_UNWRITABLE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DETAIL_CHARS_MAX = 200


def connect_writer(path: Path) -> sqlite3.Connection:
    """A connection that may change the journal: a commit is on disk when it returns.

    resilience.md 3.2. Raises sqlite3.Error.
    """
    connection = _connect(path.absolute().as_uri() + "?mode=rwc")
    try:
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def connect_reader(path: Path, *, alone: bool = False) -> sqlite3.Connection:
    """A connection that can't change the journal. Raises sqlite3.Error, if only when it is used.

    `alone`: nobody else has the file open, so that not even a -shm file is made beside it, unless
    commits still wait in a -wal file.
    """
    uri = path.absolute().as_uri() + "?mode=ro"
    if alone and not wal_bytes(path):
        uri += "&immutable=1"
    return _connect(uri)


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(
        uri,
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS_MAX,
    )


def fold(connection: sqlite3.Connection) -> bool:
    """Whether all of the -wal file is in the journal now, and the file empty; waits for no reader.

    Raises sqlite3.Error for what is neither a lock nor a lack of room.
    """
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.Error as error:
        if primary(error) not in _LOCKED | {sqlite3.SQLITE_FULL}:
            raise
        return False
    finally:
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_S * 1000)}")
    return not busy


def beside(path: Path, suffix: str) -> Path:
    """The file that SQLite keeps beside `path`: suffix -wal or -shm."""
    return path.with_name(path.name + suffix)


def wal_bytes(path: Path) -> int:
    """The size of the -wal file of `path`; 0 without one."""
    try:
        return beside(path, "-wal").stat().st_size
    except FileNotFoundError:
        return 0


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Raise what goes wrong with the journal at `path` inside as a StoreError."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error
    except OSError as error:
        raise StoreUnwritableError(f"{error.filename or path}: {error.strerror}") from error


def translate(error: sqlite3.Error, path: Path) -> StoreError:
    """`error` as the daemon's own, with the way out."""
    code = primary(error)
    if code in DAMAGED:
        return damaged(path, str(error))
    if code in _UNWRITABLE:
        return StoreUnwritableError(
            f"{path}: {error}; the state folder must be writable for the daemon, and not full"
        )
    if code in _LOCKED:
        return StoreError(f"{path}: another program has locked it; end that one and start again")
    return StoreError(f"{path}: {error}")


def primary(error: sqlite3.Error) -> int | None:
    """SQLite's code of `error` without its details, if it came from there."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def damaged(path: Path, detail: str) -> StoreDamagedError:
    """The error for a journal that can't be trusted any more."""
    line = " ".join(detail.split())[:_DETAIL_CHARS_MAX]
    return StoreDamagedError(
        f"{path}: the journal is damaged ({line}). It was left as it is. "
        "`genqd restore FILE` puts a backup in its place and keeps this one beside it"
    )


def quick_check(connection: sqlite3.Connection, path: Path) -> None:
    """Return if the structure of the file is whole. Raises StoreDamagedError, sqlite3.Error."""
    verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if verdict != "ok":
        raise damaged(path, verdict)


def sync_folder(folder: Path) -> None:
    """Make renames and new files in `folder` durable. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make the content of `path` durable. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
