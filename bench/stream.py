"""The event stream as a program reads it: bytes from the socket, counted and dated."""

import socket
import time
from pathlib import Path

from daemon.wire import codec
from daemon.wire.messages import PROTOCOL, Hello, Subscribe

READ_BYTES = 262_144
PATIENCE_S = 120.0


class Subscriber:
    """A connection that has subscribed. Events are told when they are durable."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(str(path))
        self._rest = b""
        self.socket.sendall(codec.encode(Hello(hello="genq", protocol=PROTOCOL)))
        self.socket.sendall(codec.encode(Subscribe(id=1)))
        while b'"ok"' not in self.read():
            pass

    def read(self) -> bytes:
        """What came, in whole lines; waits until something does."""
        while True:
            content = self.socket.recv(READ_BYTES)
            if not content:
                raise ConnectionError("the daemon went away")
            content = self._rest + content
            end = content.rfind(b"\n") + 1
            self._rest = content[end:]
            if end:
                return content[:end]

    def wait_for(self, kind: str, count: int) -> float:
        """The time (perf_counter) at which the `count`-th event of `kind` came."""
        sign = f'"type":"{kind}"'.encode()
        seen = 0
        while seen < count:
            seen += self.read().count(sign)
        return time.perf_counter()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()
