"""How a restored journal takes the place of the present one: a kill leaves one or the other.

The journal is up to three files, and no rename moves three. So the new one waits, complete, under
the name `restored-<stamp>.sqlite3`: from that moment on it counts, and whoever opens the folder
next, a restore or a start, finishes the move: the old files to `journal-<stamp>.sqlite3`, then the
new one to its place. Each step may be repeated; nothing is deleted.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

from daemon import failpoints
from daemon.store.connections import beside, sync_folder

JOURNAL_FILE = "journal.sqlite3"

_PENDING = re.compile(r"restored-(?P<stamp>.+)\.sqlite3")
_SUFFIXES = ("-wal", "-shm", "")


def install(folder: Path, prepared: Path, *, now: float) -> list[Path]:
    """Make `prepared`, a synced file of `folder`, its journal; where the old one's files are now.

    Raises OSError.
    """
    prepared.rename(folder / f"restored-{_free_stamp(folder, now)}.sqlite3")
    sync_folder(folder)
    failpoints.at("restore_pending")
    return finish(folder)


def finish(folder: Path) -> list[Path]:
    """Finish an installation that was cut short, if there is one; the old one's files as they are.

    Raises OSError.
    """
    moved: list[Path] = []
    for pending in sorted(folder.glob("restored-*.sqlite3")):
        if (match := _PENDING.fullmatch(pending.name)) is None:
            continue
        journal, aside = folder / JOURNAL_FILE, _aside(folder, match["stamp"])
        for suffix in _SUFFIXES:
            if beside(journal, suffix).exists():
                beside(journal, suffix).rename(beside(aside, suffix))
        sync_folder(folder)
        failpoints.at("restore_set_aside")
        pending.rename(journal)
        sync_folder(folder)
        failpoints.at("restore_in_place")
        moved += [path for suffix in _SUFFIXES if (path := beside(aside, suffix)).exists()]
    return sorted(moved)


def stamp(now: float) -> str:
    """`now` as part of a file's name: UTC, sorted by time.

    >>> stamp(0.0)
    '19700101T000000Z'
    """
    return datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")


def _free_stamp(folder: Path, now: float) -> str:
    """A stamp that no earlier restore used."""
    first = free = stamp(now)
    number = 1
    while any(folder.glob(f"*-{free}.sqlite3*")):
        number += 1
        free = f"{first}-{number}"
    return free


def _aside(folder: Path, name: str) -> Path:
    return folder / f"journal-{name}.sqlite3"
