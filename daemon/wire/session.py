"""The conversation, without a socket: bytes in, frames out; who may say what, and when.

The first frame of each side says which protocol it speaks. After that the client's session numbers
its requests, and the daemon's says for each line which request it is, or what is wrong with it.
"""

from typing import TypeVar

import msgspec

from daemon import __version__
from daemon.wire import codec
from daemon.wire.codec import Problem, Resync, Told
from daemon.wire.messages import (
    ANSWER_BYTES_MAX,
    FRAME_BYTES_MAX,
    PROTOCOL,
    AnyRequest,
    ErrorBody,
    Hello,
    Reply,
    Request,
    Welcome,
)

R = TypeVar("R", bound=Request)


class ProtocolMismatchError(Exception):
    """Client and daemon speak different protocols; the message names both versions."""


def mismatch(*, client: str, daemon: str, spoken: int, known: int) -> str:
    """The one sentence for it. `spoken` is the client's protocol, `known` the daemon's.

    >>> mismatch(client="0.3", daemon="0.2", spoken=2, known=1)
    'genq 0.3 speaks protocol 2, genqd 0.2 speaks 1: update genqd, then restart it'
    """
    older = "genqd, then restart it" if spoken > known else "genq"
    return f"genq {client} speaks protocol {spoken}, genqd {daemon} speaks {known}: update {older}"


class ServerSession:
    """The daemon's side of one connection. Once `closing`, nothing more is read of it."""

    def __init__(self) -> None:
        self.greeted = False
        self.closing = False
        self._lines = codec.Splitter(FRAME_BYTES_MAX)

    def receive(self, content: bytes) -> list[Hello | AnyRequest | Problem]:
        """What the client said, in order. A Problem is to be answered, as an Error frame."""
        found: list[Hello | AnyRequest | Problem] = []
        for line in self._lines.receive(content):
            if self.closing:
                break
            found.append(codec.decode_request(line) if self.greeted else self._greeting(line))
        return found

    def _greeting(self, line: bytes | codec.Overlong) -> Hello | Problem:
        hello = codec.decode_hello(line)
        if hello is not None and hello.protocol == PROTOCOL:
            self.greeted = True
            return hello
        self.closing = True
        if hello is None:
            example = codec.encode(Hello(hello="genq", protocol=PROTOCOL)).decode().strip()
            message = f"the first line must be a hello: {example}"
        else:
            message = mismatch(
                client=codec.printable(hello.version[:40]) or "(of unknown version)",
                daemon=__version__,
                spoken=hello.protocol,
                known=PROTOCOL,
            )
        return Problem(None, ErrorBody("protocol", message))


class ClientSession:
    """A client's side of one connection. `welcome` is set once the daemon has answered."""

    def __init__(self) -> None:
        self.welcome: Welcome | None = None
        self._lines = codec.Splitter(ANSWER_BYTES_MAX)
        self._last_id = 0

    def hello(self) -> bytes:
        """The first bytes to send."""
        return codec.encode(Hello(hello="genq", protocol=PROTOCOL, version=__version__))

    def number(self, request: R) -> R:
        """`request` with an id of its own."""
        return msgspec.structs.replace(request, id=self.next_id())

    def next_id(self) -> int:
        """An id that was not given before."""
        self._last_id += 1
        return self._last_id

    def receive(self, content: bytes) -> list[Welcome | Reply | Told | Resync]:
        """What the daemon said, in order.

        Raises ProtocolMismatchError, and BadFrameError for what no genqd says.
        """
        return [self._read(line) for line in self._lines.receive(content)]

    def _read(self, line: bytes | codec.Overlong) -> Welcome | Reply | Told | Resync:
        if self.welcome is not None:
            return codec.decode_answer(line)
        first = codec.decode_welcome(line)
        if isinstance(first, Reply):
            if first.error is not msgspec.UNSET and first.error.code == "protocol":
                raise ProtocolMismatchError(first.error.message)
            return first
        if first.protocol != PROTOCOL:
            text = mismatch(
                client=__version__,
                daemon=codec.printable(first.version[:40]),
                spoken=PROTOCOL,
                known=first.protocol,
            )
            raise ProtocolMismatchError(text)
        self.welcome = first
        return first
