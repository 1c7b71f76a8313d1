"""The client for programs with an event loop: answers by their id, events as they come.

It ends with the connection. Whether, and from where, to begin another is for its user to decide:
`Subscribe(after=…)` for what came since, `Subscribe(snapshot=True)` after a Resync, a `snapshot`
event, or the first time.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct

from daemon.core.events import Event
from daemon.wire import codec
from daemon.wire.client import CONNECT_S_MAX, REPLY_S_MAX, ServerError, UnreachableError
from daemon.wire.codec import BadFrameError, Resync, Told
from daemon.wire.messages import Reply, Request, Welcome
from daemon.wire.session import ClientSession, ProtocolMismatchError
from daemon.wire.sockets import path_problem

UNANSWERED_MAX = 200
"""So many requests may wait for their answers."""


class _Waiting(Struct):
    answer: asyncio.Future[Raw]
    part: Callable[[Raw], None] | None


class Feed(asyncio.Protocol):
    """One connection. `told` gets every event, in order; `lost` is called once, at its end."""

    def __init__(
        self, path: Path, told: Callable[[Told | Resync], None], lost: Callable[[], None]
    ) -> None:
        self._path = path
        self._told = told
        self._lost = lost
        self._session = ClientSession()
        self._waiting: dict[int, _Waiting] = {}
        self._transport: asyncio.Transport | None = None
        self._greeted: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        self._greeted.add_done_callback(asyncio.Future.exception)

    @classmethod
    async def open(
        cls, path: Path, told: Callable[[Told | Resync], None], lost: Callable[[], None]
    ) -> tuple["Feed", Welcome]:
        """Connect, and say hello.

        Raises UnreachableError, ProtocolMismatchError, and ServerError where there are too many
        clients; `lost` is not called then.
        """
        if problem := path_problem(path):
            raise UnreachableError(path, problem)
        feed = cls(path, told, lambda: None)
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                loop = asyncio.get_running_loop()
                await loop.create_unix_connection(lambda: feed, str(path))
                welcome = await feed._greeted
        except BaseException as error:
            feed.close()
            if isinstance(error, OSError):  # TimeoutError is one
                why = codec.printable(error) or f"no hello within {CONNECT_S_MAX:g} s"
                raise UnreachableError(path, why) from None
            raise
        feed._lost = lost
        return feed, welcome

    async def ask(
        self,
        message: Request,
        part: Callable[[Raw], None] | None = None,
        *,
        wait_s: float | None = REPLY_S_MAX,
    ) -> Raw:
        """The value of the answer's Ok; `part` gets its parts. The id of `message` is given here.

        Raises ServerError if the daemon refuses, UnreachableError if no answer comes in time.
        """
        if self._transport is None:
            raise UnreachableError(self._path, "the connection has ended")
        if len(self._waiting) >= UNANSWERED_MAX:
            raise UnreachableError(self._path, f"{UNANSWERED_MAX} requests wait for an answer")
        numbered = self._session.number(message)
        waiting = _Waiting(asyncio.get_running_loop().create_future(), part)
        self._waiting[numbered.id] = waiting
        try:
            self._transport.write(codec.encode(numbered))
            async with asyncio.timeout(wait_s):
                return await waiting.answer
        except TimeoutError:
            raise UnreachableError(self._path, f"no answer within {wait_s:g} s") from None
        finally:
            del self._waiting[numbered.id]

    def close(self) -> None:
        """End the connection. Safe to call twice."""
        if self._transport is not None:
            self._transport.abort()

    # ---- what asyncio calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open: the greeting is ours."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  narrows
        self._transport = transport
        transport.write(self._session.hello())

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed: whoever waits is told."""
        self._transport = None
        why = "it has gone away" if exc is None else codec.printable(exc)
        self._fail(UnreachableError(self._path, why))
        self._lost()

    def data_received(self, content: bytes) -> None:
        """Bytes came."""
        try:
            for answer in self._session.receive(content):
                self._take(answer)
        except (BadFrameError, msgspec.DecodeError) as error:
            self._fail(UnreachableError(self._path, codec.printable(error)))
            self.close()
        except ProtocolMismatchError as error:
            self._fail(error)
            self.close()

    def _take(self, answer: Any) -> None:
        match answer:
            case Told() | Resync():
                self._told(answer)
            case Welcome():
                self._greeted.set_result(answer)
            case Reply(id=None, error=error) if error is not UNSET:
                self._fail(ServerError(error))
            case Reply(id=number) if waiting := self._waiting.get(number or 0):
                self._answered(waiting, answer)

    def _answered(self, waiting: _Waiting, reply: Reply) -> None:
        if waiting.answer.done():
            return
        if reply.part is not UNSET:
            if waiting.part is not None:
                waiting.part(reply.part)
        elif reply.ok is not UNSET:
            waiting.answer.set_result(reply.ok)
        elif reply.error is not UNSET:
            waiting.answer.set_exception(ServerError(reply.error))

    def _fail(self, error: Exception) -> None:
        """Tell `error` to everybody who waits."""
        futures: list[asyncio.Future[Any]] = [one.answer for one in self._waiting.values()]
        for future in (self._greeted, *futures):
            if not future.done():
                future.set_exception(error)


def decode_event(line: bytes) -> Event:
    """The event that a Told carries. Raises BadFrameError.

    One of a type that a later daemon invented is kept as it is: folding copies fields, whatever
    the event is called.
    """
    try:
        return _EVENT.decode(line)
    except msgspec.ValidationError:
        pass
    except codec.UNREADABLE as error:
        raise BadFrameError(f"an event makes no sense: {codec.printable(error)}") from None
    try:
        fields = msgspec.json.decode(line, type=dict[str, Any])
        event = msgspec.convert({**fields, "type": "edited"}, Event)
        return msgspec.structs.replace(event, type=str(fields["type"]))
    except (*codec.UNREADABLE, KeyError) as error:
        raise BadFrameError(f"an event makes no sense: {codec.printable(error)}") from None


_EVENT = msgspec.json.Decoder(Event)
