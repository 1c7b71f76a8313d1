"""Somebody at a socket's other end who says what a test wants, whatever is asked. In a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from daemon.wire import codec
from daemon.wire.messages import Welcome

WELCOME = codec.encode(Welcome(hello="genq", protocol=1, version="0.1.0", boot="b1", seq=7))
Reply = Callable[[bytes], bytes | None]


class Peer:
    """For each line that comes, `reply` gives the bytes to send, or None to hang up.

    Each client has a `reply` of its own, in the order in which they come; the last one stays.
    """

    def __init__(self, path: Path, *replies: Reply) -> None:
        self.path = path
        self.heard: list[bytes] = []
        self._replies = list(replies)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
            self._serve(client, reply)

    def _serve(self, client: socket.socket, reply: Reply) -> None:
        with client, client.makefile("rb") as lines:
            for line in lines:
                self.heard.append(line)
                said = reply(line)
                if said is None:
                    return
                try:
                    client.sendall(said)
                except OSError:
                    return


def script(*answers: bytes | None) -> Reply:
    """A reply that says these in turn, whatever it hears; then nothing more."""
    left = list(answers)
    return lambda _: left.pop(0) if left else b""
