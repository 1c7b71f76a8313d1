"""The listening socket: bound to a path that is free, or inherited; removed only while it is ours.

resilience.md 6.1: connect first; refused means stale, answered means another daemon. There is no
moment at which the socket is open wider than `socket_mode`.
"""

import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

from daemon.systemd import inherited
from daemon.wire.sockets import path_problem

BACKLOG = 512
"""So many clients may wait for their turn."""
CLOSED_UMASK = 0o177


class BindError(Exception):
    """No socket can be had at that path; the message says why, and the way out."""


class TakenError(BindError):
    """Another daemon answers there."""


class Binding:
    """A listening socket. `path` is None if it was inherited: its file is somebody else's."""

    def __init__(self, sock: socket.socket, path: Path | None) -> None:
        self.socket = sock
        self.path = path
        self._mark = None if path is None else _mark(path)

    @property
    def name(self) -> str:
        """Where clients find it; an abstract one begins with `@`."""
        address = self.socket.getsockname()
        if isinstance(address, bytes):
            return "@" + os.fsdecode(address[1:])
        return str(address)

    def close(self) -> None:
        """Remove the socket's file, unless another took its place; stop listening."""
        if self.path is not None and self._mark is not None and _mark(self.path) == self._mark:
            self.path.unlink(missing_ok=True)
        self.socket.close()


def listen(path: Path, mode: int, environ: Mapping[str, str]) -> Binding:
    """The socket that the service manager holds for this process, else one bound at `path`.

    Raises BindError.
    """
    for sock in inherited(environ, os.getpid()).values():
        return inherit(sock)
    return bind(path, mode)


def inherit(sock: socket.socket) -> Binding:
    """The binding of a socket that the service manager holds. Raises BindError."""
    listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM or not listens:
        raise BindError("the inherited socket isn't a listening Unix stream socket: ListenStream=")
    sock.setblocking(False)
    return Binding(sock, None)


def bind(path: Path, mode: int) -> Binding:
    """Listen at `path` with access `mode`.

    A stale socket there is replaced. Raises TakenError, or BindError for anything else that is
    there, which is left as it is.
    """
    if problem := path_problem(path):
        raise BindError(problem)
    _clear(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(CLOSED_UMASK)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        path.chmod(mode)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise BindError(f"can't listen at {path}: {error.strerror}") from None
    return Binding(sock, path)


def _clear(path: Path) -> None:
    """Make room for a socket at `path`."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise BindError(f"can't look at {path}: {error.strerror}") from None
    if not stat.S_ISSOCK(found.st_mode):
        raise BindError(f"{path} is there and no socket; it was left: choose another --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a queue that is full is an answer too
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except BlockingIOError:
            raise TakenError(_taken(path)) from None
        except FileNotFoundError:
            return
        except OSError as error:
            raise BindError(f"can't tell whose socket {path} is: {error.strerror}") from None
        else:
            raise TakenError(_taken(path))


def _taken(path: Path) -> str:
    return f"another genqd listens at {path}: `genq status` asks it; --socket chooses another path"


def _mark(path: Path) -> tuple[int, int] | None:
    """What tells this file from another that takes its place."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
