"""The one client: a blocking conversation with the daemon, for commands that start fast.

It is a socket around a session, and imports neither asyncio nor anything else that costs a command
time to load. The monitor has the same session around a loop's transport.
"""

import errno
import socket
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, overload

import msgspec
from msgspec import UNSET

from daemon.wire import codec
from daemon.wire.answers import Gathered
from daemon.wire.codec import BadFrameError, Resync, Told
from daemon.wire.messages import ErrorBody, Reply, Request, Subscribe, Welcome
from daemon.wire.session import ClientSession, ProtocolMismatchError
from daemon.wire.sockets import how_to_start, path_problem

__all__ = ["Client", "ProtocolMismatchError", "ServerError", "UnreachableError"]

CONNECT_S_MAX = 5.0
"""Time for the socket to take a connection, and again for the daemon's hello."""
REPLY_S_MAX = 60.0
"""So long may nothing come while an answer is due."""
READ_BYTES = 262_144

T = TypeVar("T")
_REASONS = {
    errno.ENOENT: "there is no socket",
    errno.ECONNREFUSED: "nobody listens there",
    errno.EACCES: "you may not use that socket; its group may (ls -l)",
    errno.ENOTSOCK: "that is no socket",
}


class UnreachableError(Exception):
    """The daemon can't be reached at `path`, or not any more; `why` says what was seen."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"genqd can't be reached at {path}: {why}; {how_to_start(path)}")
        self.path = path
        self.why = why


class ServerError(Exception):
    """The daemon refused a request, with the body of its Error frame."""

    def __init__(self, body: ErrorBody) -> None:
        super().__init__(body.message)
        self.body = body


class Client:
    """A connection that has been greeted: one request at a time. Close it, or use it in a `with`.

    Every method raises UnreachableError when the daemon goes away, or is no genqd.
    """

    def __init__(self, sock: socket.socket, path: Path) -> None:
        self.path = path
        self._socket = sock
        self._session = ClientSession()
        self._replies: deque[Reply] = deque()
        self._told: deque[Told | Resync] = deque()
        self._ended: ServerError | None = None

    @classmethod
    def connect(cls, path: Path, *, timeout_s: float = CONNECT_S_MAX) -> "Client":
        """Connect, and say hello.

        Raises UnreachableError, ProtocolMismatchError, and ServerError where there are too many
        clients.
        """
        if problem := path_problem(path):
            raise UnreachableError(path, problem)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client = cls(sock, path)
        try:
            # Not settimeout: a socket that doesn't block has no patience with a full queue.
            limit = struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1e6))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            sock.connect(str(path))
            client._greet(timeout_s)
        except OSError as error:
            sock.close()
            raise UnreachableError(path, _reason(error, timeout_s)) from None
        except BaseException:
            sock.close()
            raise
        return client

    @property
    def welcome(self) -> Welcome:
        """What the daemon said of itself."""
        assert self._session.welcome is not None, "connect() greets"  # noqa: S101  narrows
        return self._session.welcome

    def close(self) -> None:
        """End the conversation. Safe to call twice."""
        self._socket.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- asking ----

    @overload
    def request(self, message: Request, kind: type[T], *, idle_s: float | None = ...) -> T: ...
    @overload
    def request(self, message: Request, *, idle_s: float | None = ...) -> Any: ...
    def request(
        self, message: Request, kind: Any = Any, *, idle_s: float | None = REPLY_S_MAX
    ) -> Any:
        """The value of the answer, as `kind`: its Ok, with the lists that came in parts.

        The id of `message` is given here. Raises ServerError; UnreachableError also when nothing
        comes for `idle_s` (None: however long it takes).
        """
        gathered = Gathered()
        last = Reply(id=None)
        try:
            for last in self._answer(message, idle_s):
                if last.part is not UNSET:
                    gathered.add(last.part)
            if last.error is not UNSET:
                raise ServerError(gathered.error(last.error))
            assert last.ok is not UNSET, "an answer ends with an Ok or an Error"  # noqa: S101
            return gathered.value(last.ok, kind)
        except msgspec.DecodeError as error:
            raise UnreachableError(self.path, f"its answer makes no sense: {error}") from None

    def stream(self, message: Request, *, idle_s: float | None = REPLY_S_MAX) -> Iterator[Reply]:
        """Every frame of the answer as it comes: parts and progress, and at last the Ok.

        Raises as `request` does. Read it to its end before the next request.
        """
        for reply in self._answer(message, idle_s):
            if reply.error is not UNSET:
                raise ServerError(reply.error)
            yield reply

    def subscribe(self, *, after: int | None = None, job: int | None = None) -> int:
        """Have events sent, from now or from after `after`: `told` gives those after the result."""
        value: dict[str, Any] = self.request(Subscribe(after=after, job=job))
        return int(value["seq"])

    def told(self, *, idle_s: float | None = None) -> Iterator[Told | Resync]:
        """Events as they come, without end; a Resync is the last one of a subscription."""
        while True:
            while not self._told:
                self._read(idle_s)
            yield self._told.popleft()

    # ---- the socket ----

    def _greet(self, timeout_s: float) -> None:
        self._socket.settimeout(timeout_s)
        with suppress(BrokenPipeError):  # it may have said why before it hung up
            self._socket.sendall(self._session.hello())
        while self._session.welcome is None:
            self._read(timeout_s)

    def _answer(self, message: Request, idle_s: float | None) -> Iterator[Reply]:
        """Every frame about `message`, up to the Ok or Error that ends it."""
        numbered = self._session.number(message)
        try:
            self._socket.settimeout(idle_s)
            with suppress(BrokenPipeError):  # it may have said why before it hung up
                self._socket.sendall(codec.encode(numbered))
        except OSError as error:
            raise UnreachableError(self.path, _reason(error, idle_s)) from None
        while True:
            while not self._replies:
                self._read(idle_s)
            reply = self._replies.popleft()
            if reply.id == numbered.id:
                yield reply
                if reply.ok is not UNSET or reply.error is not UNSET:
                    return

    def _read(self, idle_s: float | None) -> None:
        """Take in what came. An error about no request ends the conversation, once all is read."""
        if self._ended is not None:
            raise self._ended
        try:
            self._socket.settimeout(idle_s)
            content = self._socket.recv(READ_BYTES)
            answers = self._session.receive(content)
        except OSError as error:
            raise UnreachableError(self.path, _reason(error, idle_s)) from None
        except BadFrameError as error:
            raise UnreachableError(self.path, str(error)) from None
        for answer in answers:
            if isinstance(answer, Told | Resync):
                self._told.append(answer)
            elif isinstance(answer, Reply):
                if answer.id is None and answer.error is not UNSET:
                    self._ended = ServerError(answer.error)
                self._replies.append(answer)
        if not content:
            raise UnreachableError(self.path, "it has gone away")


def _reason(error: OSError, waited_s: float | None) -> str:
    if isinstance(error, TimeoutError | BlockingIOError):
        return f"it hasn't answered for {waited_s:g} s"
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)
