"""One daemon a state folder: a lock that the kernel lets go when its holder dies.

The folder itself is locked. A file for it could be tidied away under a running daemon, and the next
one would work on the same journal.
"""

import fcntl
import os
from pathlib import Path

from daemon.core.kinds import DISK_FULL

LOCK_FILE = "daemon.lock"
"""Names the holder, for people; nothing depends on it."""


class LockHeldError(Exception):
    """Another daemon works on this state folder; the message names it where it is known."""


def take(state_dir: Path) -> int:
    """Hold the lock of `state_dir`; returns the open folder, which holds it until it is closed.

    Raises LockHeldError, and OSError if the folder can't be written. A full disk is no reason.
    """
    handle = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _sign(state_dir / LOCK_FILE)
    except BlockingIOError:
        os.close(handle)
        raise LockHeldError(f"another genqd{_holder(state_dir)} works on {state_dir}") from None
    except OSError:
        os.close(handle)
        raise
    return handle


def held(state_dir: Path) -> bool:
    """Whether a process is seen to hold the lock of `state_dir`; it isn't kept."""
    try:
        handle = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _sign(path: Path) -> None:
    try:
        path.write_text(f"{os.getpid()}\n", encoding="ascii")
        path.chmod(0o600)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise


def _holder(state_dir: Path) -> str:
    try:
        holder = (state_dir / LOCK_FILE).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
    return f" (pid {holder})" if holder.isdigit() else ""
