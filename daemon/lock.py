"""One daemon a state folder: a lock that the kernel lets go when its holder dies."""

import fcntl
import os
from pathlib import Path

LOCK_FILE = "daemon.lock"


class LockHeldError(Exception):
    """Another daemon works on this state folder; the message names it where it is known."""


def take(state_dir: Path) -> int:
    """Hold the lock of `state_dir`; returns the open file, which holds it until it is closed.

    Raises LockHeldError, and OSError if the folder can't be written.
    """
    path = state_dir / LOCK_FILE
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 32).decode(errors="replace").strip()
        os.close(handle)
        who = f" (pid {holder})" if holder.isdigit() else ""
        raise LockHeldError(f"another genqd{who} works on {state_dir}") from None
    os.ftruncate(handle, 0)
    os.write(handle, f"{os.getpid()}\n".encode())
    return handle
