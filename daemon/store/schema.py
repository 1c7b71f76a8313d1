"""What the journal's file is: its mark, its version, and the steps from each version to the next.

A step is a file of migrations/; it runs once, in a transaction of its own, forward only.
"""

import sqlite3
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from daemon import failpoints
from daemon.store.port import StoreError

APPLICATION_ID = 0x67656E71
"""`genq` in ASCII: so that another program's database isn't taken for a journal."""

_FOLDER = Path(__file__).with_name("migrations")


@cache
def steps() -> tuple[str, ...]:
    """Every step, oldest first: as many as the version that this program knows."""
    return tuple(path.read_text(encoding="utf-8") for path in sorted(_FOLDER.glob("*.sql")))


def version(connection: sqlite3.Connection) -> int:
    """How many steps the journal has behind it."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_owner(connection: sqlite3.Connection, path: Path, known: int) -> int:
    """The version of the journal at `path`. Raises StoreError if this program can't use it."""
    found = version(connection)
    if found > known:
        raise StoreError(
            f"{path}: written by a newer genq (journal version {found}, this one knows {known}); "
            "nothing was changed. Use that version, or `genqd restore FILE` with an older backup"
        )
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if owner != APPLICATION_ID and not (empty and found == 0):
        raise StoreError(
            f"{path}: a database, but not a journal of genq; nothing was changed. Move it away, or "
            "name another folder with --state-dir"
        )
    return found


def migrate(connection: sqlite3.Connection, upgrades: Sequence[str]) -> None:
    """Bring the journal up to `len(upgrades)`: what is left of them, each in one transaction.

    Raises sqlite3.Error; then the journal has the version of the last step that was whole.
    """
    for number, step in enumerate(upgrades, start=1):
        if number <= version(connection):
            continue
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{step}\n;PRAGMA application_id = {APPLICATION_ID};\n"
                f"PRAGMA user_version = {number};\nCOMMIT;"
            )
            failpoints.at("migration_step")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
