"""What a service manager is told, and the sockets it hands over (sd_notify(3), sd_listen_fds(3)).

Without one, telling does nothing, and there are no sockets.
"""

import socket
from collections.abc import Mapping
from contextlib import suppress

FIRST_FD = 3
"""SD_LISTEN_FDS_START."""


class Notifier:
    """Tells the manager that $NOTIFY_SOCKET names. Never blocks, and never fails."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self) -> None:
        """The daemon serves; also after a reload."""
        self._tell("READY=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell("STATUS=" + text.replace("\n", " "))

    def reloading(self, monotonic_s: float) -> None:
        """A reload begins; `ready` ends it. The time is CLOCK_MONOTONIC."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic_s * 1e6)}")

    def stopping(self) -> None:
        """The stop has begun."""
        self._tell("STOPPING=1")

    def extend_timeout(self, seconds: float) -> None:
        """The start or stop at hand needs up to `seconds` from now."""
        self._tell(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def _tell(self, state: str) -> None:
        if self._address:
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as sock:
                sock.sendto(state.encode(), self._address)


def inherited(environ: Mapping[str, str], pid: int) -> dict[str, socket.socket]:
    """The sockets that were handed to the process `pid`, by name (FileDescriptorName=).

    They are the caller's to close, and aren't passed on to children. Those of one name come as
    `name`, `name.1` and so on; nameless ones are called `unknown`, as systemd does.
    """
    if environ.get("LISTEN_PID") != str(pid) or not environ.get("LISTEN_FDS", "").isdecimal():
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, socket.socket] = {}
    for index in range(int(environ["LISTEN_FDS"])):
        sock = socket.socket(fileno=FIRST_FD + index)
        sock.set_inheritable(False)
        name = (names[index] if index < len(names) else "") or "unknown"
        taken = sum(one == name or one.startswith(f"{name}.") for one in found)
        found[f"{name}.{taken}" if taken else name] = sock
    return found
