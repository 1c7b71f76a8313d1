"""One connection to the daemon: a session of the wire, on asyncio, answers matched by their id.

It ends with the connection. What it is used for, and when to begin a new one, the feed decides.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import UNSET, Raw

from daemon.wire.codec import BadFrameError, Resync, Told, encode
from daemon.wire.messages import Reply, Request, RequestError, Welcome
from daemon.wire.session import ClientSession, ProtocolMismatchError
from daemon.wire.sockets import path_problem

CONNECT_S_MAX = 5.0
ANSWER_S_MAX = 30.0
UNANSWERED_MAX = 200
"""So many requests may wait for their answers."""


class LostError(Exception):
    """The connection isn't there, or ended before the answer came."""


class _Answer:
    """An answer that is due, and where its parts go."""

    def __init__(self, ended: asyncio.Future[Raw], part: Callable[[Raw], None] | None) -> None:
        self.ended = ended
        self.part = part

    def take(self, reply: Reply) -> None:
        """A frame of it."""
        if self.ended.done():
            return
        if reply.part is not UNSET:
            if self.part is not None:
                self.part(reply.part)
        elif reply.ok is not UNSET:
            self.ended.set_result(reply.ok)
        elif reply.error is not UNSET:
            self.ended.set_exception(RequestError(reply.error))


class Link(asyncio.Protocol):
    """`told` gets what no request asked for; `lost` is called once, when the connection ended."""

    def __init__(self, told: Callable[[Told | Resync], None], lost: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self.welcome: asyncio.Future[Welcome] = loop.create_future()
        self._loop = loop
        self._told = told
        self._lost = lost
        self._session = ClientSession()
        self._transport: asyncio.Transport | None = None
        self._answers: dict[int, _Answer] = {}

    @classmethod
    async def open(
        cls,
        path: Path,
        told: Callable[[Told | Resync], None],
        lost: Callable[[], None],
        *,
        wait_s: float = CONNECT_S_MAX,
    ) -> tuple["Link", Welcome]:
        """Connect and greet, in at most `wait_s`.

        Raises LostError, ProtocolMismatchError, BadFrameError, and RequestError where the daemon
        takes no more clients.
        """
        if problem := path_problem(path):
            raise LostError(problem)
        loop, link = asyncio.get_running_loop(), cls(told, lost)
        welcome = None
        try:
            async with asyncio.timeout(wait_s):
                await loop.create_unix_connection(lambda: link, str(path))
                welcome = await link.welcome
        except (OSError, TimeoutError) as error:
            raise LostError(str(error) or "it doesn't answer") from None
        finally:
            if welcome is None:
                link.close()
        return link, welcome

    async def ask(
        self,
        request: Request,
        part: Callable[[Raw], None] | None = None,
        *,
        wait_s: float = ANSWER_S_MAX,
    ) -> Raw:
        """The Ok of the answer; parts go to `part`.

        Raises RequestError if the daemon refuses, LostError if no answer comes in `wait_s`.
        """
        if self._transport is None:
            raise LostError("not connected")
        if len(self._answers) >= UNANSWERED_MAX:
            raise LostError("too many requests wait for an answer")
        numbered = self._session.number(request)
        answer = _Answer(self._loop.create_future(), part)
        self._answers[numbered.id] = answer
        try:
            self._transport.write(encode(numbered))
            async with asyncio.timeout(wait_s):
                return await answer.ended
        except TimeoutError:
            raise LostError(f"no answer within {wait_s:g} s") from None
        finally:
            self._answers.pop(numbered.id, None)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    # ---- what asyncio says ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open: greet."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  narrows
        self._transport = transport
        transport.write(self._session.hello())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's own signature
        """The socket is closed: whoever waits is told."""
        self._transport = None
        self._fail(LostError("the connection ended"))
        self._lost()

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        try:
            for answer in self._session.receive(data):
                self._take(answer)
        except (BadFrameError, ProtocolMismatchError, msgspec.DecodeError) as error:
            self._fail(error)
            self.close()

    def _take(self, answer: Welcome | Reply | Told | Resync) -> None:
        if isinstance(answer, Told | Resync):
            self._told(answer)
        elif isinstance(answer, Welcome):
            if not self.welcome.done():
                self.welcome.set_result(answer)
        elif answer.id is not None and answer.id in self._answers:
            self._answers[answer.id].take(answer)
        elif answer.id is None and answer.error is not UNSET:
            self._fail(RequestError(answer.error))
            self.close()

    def _fail(self, reason: Exception) -> None:
        """Whoever waits gets `reason`; whoever has given up isn't told again."""
        if not self.welcome.done():
            self.welcome.set_exception(reason)
            self.welcome.exception()
        for answer in self._answers.values():
            if not answer.ended.done():
                answer.ended.set_exception(reason)
                answer.ended.exception()
