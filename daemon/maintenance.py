"""`genqd backup` and `genqd restore`: what the administrator does to the journal from outside."""

import os
import sys
from pathlib import Path

from daemon import lock
from daemon.clock import SystemClock
from daemon.config import ConfigError, Flags, load
from daemon.privacy import private_files
from daemon.store.backup import backup_journal
from daemon.store.backup import restore as restore_journal
from daemon.store.port import StoreDamagedError, StoreError, StoreUnwritableError

BACKUPS = "backups"
EX_OK, EX_FAILED = 0, 1
EX_DATAERR, EX_CANTCREAT, EX_TEMPFAIL, EX_CONFIG = 65, 73, 75, 78


def backup(flags: Flags, to: Path | None) -> int:
    """Copy the journal to `to`, checked; by default beside it, dated. Returns the exit code."""
    state_dir = _state_dir(flags)
    if state_dir is None:
        return EX_CONFIG
    if to is None:
        folder = state_dir / BACKUPS
        to = folder / f"journal-{int(SystemClock().now())}.sqlite3"
    try:
        with private_files(to.parent):
            backup_journal(state_dir, to.absolute())
    except (StoreError, OSError) as error:
        return _failed(error)
    sys.stdout.write(f"{to.absolute()}\n")
    return EX_OK


def restore(flags: Flags, source: Path) -> int:
    """Put `source` in the journal's place, while no daemon runs. Returns the exit code."""
    state_dir = _state_dir(flags)
    if state_dir is None:
        return EX_CONFIG
    try:
        with private_files(state_dir):
            held = lock.take(state_dir)
    except lock.LockHeldError as error:
        sys.stderr.write(f"genqd: {error}: stop it first (`systemctl stop genqd`)\n")
        return EX_TEMPFAIL
    except OSError as error:
        return _failed(error)
    try:
        with private_files():
            report = restore_journal(state_dir, source.absolute(), now=SystemClock().now())
    except (StoreError, OSError) as error:
        return _failed(error)
    finally:
        os.close(held)
    lines = [
        f"restored {report.jobs} jobs: {report.held} held, {report.in_doubt} in doubt",
        f"{report.replayed} accepted ids were taken from paid.jsonl",
        "every provider is paused: look at `genq ls --state held`, then `genq release` and "
        "`genq resume`",
    ]
    if report.unreadable:
        lines.append(f"{report.unreadable} lines of paid.jsonl could not be read")
    lines += [f"set aside: {path}" for path in report.set_aside]
    sys.stdout.write("\n".join(lines) + "\n")
    return EX_OK


def _state_dir(flags: Flags) -> Path | None:
    try:
        return load(flags, os.environ, Path.cwd()).config.daemon.state_dir
    except ConfigError as error:
        sys.stderr.write(f"genqd: {error}\n")
        return None


def _failed(error: Exception) -> int:
    sys.stderr.write(f"genqd: {error}\n")
    match error:
        case StoreDamagedError():
            return EX_DATAERR
        case StoreUnwritableError() | PermissionError():
            return EX_CANTCREAT
        case _:
            return EX_FAILED
