"""One client: its bytes in, its requests one task each, its bytes out, and the end.

A long `wait` or `ls` holds up nothing else that the client asks. A client that doesn't read is
waited for by its own tasks only, and not for ever.
"""

import asyncio
from contextlib import suppress

import structlog

from daemon import __version__
from daemon.clock import Clock
from daemon.serving.answers import Answers
from daemon.serving.deadline import within
from daemon.serving.desk import Desk
from daemon.serving.hub import GoneError, Hub
from daemon.wire import codec
from daemon.wire.codec import Problem
from daemon.wire.messages import (
    PROTOCOL,
    AnyRequest,
    ErrorBody,
    Hello,
    RequestError,
    Wait,
    Welcome,
)
from daemon.wire.session import ServerSession

log = structlog.get_logger()

HELLO_S_MAX = 10.0
"""Time for a client's first frame."""
SEND_S_MAX = 30.0
"""A client that takes nothing of an answer for so long is hung up on."""
LINGER_S_MAX = 10.0
"""Answers that are due when a client has said its last still have so long."""
CLOSE_S_MAX = 2.0
"""Time for what is written last to be taken."""
IN_FLIGHT_MAX = 16
"""Requests of one client at a time; it is not read while there are so many."""
WAITS_MAX = 16
"""`wait`s of one client; they take long, and aren't counted with the others."""
READ_BYTES = 262_144
UNREAD_BYTES_MAX = 65_536
"""More than this kept for a client, and who sends waits until it has been taken."""
SILENT = ErrorBody("protocol", f"no hello came within {HELLO_S_MAX:g} s")
STOPPING = ErrorBody("stopping", "genqd is stopping: ask again when it is back")
BROKEN = ErrorBody("internal", "genqd failed at this request; its log says where")


class Connection:
    """A client's place in the daemon, from its hello to its end. An Outlet for the hub."""

    def __init__(
        self,
        *,
        desk: Desk,
        hub: Hub,
        clock: Clock,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        by: str | None,
    ) -> None:
        self._desk = desk
        self._clock = clock
        self._reader = reader
        self._writer = writer
        self._by = by
        self._session = ServerSession()
        self._answers = Answers(desk=desk, hub=hub, clock=clock, line=self, by=by)
        self._room = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._tasks: set[asyncio.Task[None]] = set()
        self._waits: dict[asyncio.Task[None], int] = {}
        self._stopping = False
        writer.transport.set_write_buffer_limits(high=UNREAD_BYTES_MAX)

    async def run(self) -> None:
        """Serve the client until it goes, or breaks off."""
        try:
            await self._converse()
            with suppress(TimeoutError):
                await within(self._clock, LINGER_S_MAX, self._answered())
        except (GoneError, OSError):
            pass
        finally:
            await self._end()

    async def finish(self) -> None:
        """Take no more requests, give up waits, and return when the other answers are out."""
        self._stopping = True
        for task, number in list(self._waits.items()):
            task.cancel()
            self.write(codec.encode_error(number, STOPPING))
        await self._answered()

    # ---- bytes out ----

    def write(self, content: bytes) -> None:
        """Send, or keep until it can be sent. Does nothing when the client is gone."""
        if not self._writer.is_closing():
            self._writer.write(content)

    async def send(self, frame: bytes) -> None:
        """Write, and wait for a client that is slow. Raises GoneError."""
        self.write(frame)
        if len(frame) > UNREAD_BYTES_MAX:
            await self._clock.sleep(0)  # the others' turn
        await self.drained(SEND_S_MAX)

    def waiting_bytes(self) -> int:
        """What the client hasn't taken."""
        return self._writer.transport.get_write_buffer_size()

    async def drained(self, limit_s: float) -> None:
        """Return when the client has taken nearly all. Raises GoneError."""
        if self._writer.is_closing():
            raise GoneError
        if self.waiting_bytes() <= UNREAD_BYTES_MAX:
            return
        try:
            await within(self._clock, limit_s, self._writer.drain())
        except TimeoutError:
            log.warning("client_stalled", by=self._by, waited_s=limit_s)
            self.abort()
            raise GoneError from None
        except OSError:
            raise GoneError from None

    def abort(self) -> None:
        """Hang up."""
        self._writer.transport.abort()

    # ---- frames in ----

    async def _converse(self) -> None:
        """Take frames until the client has said its last, or what can't be answered."""
        try:
            items = await within(self._clock, HELLO_S_MAX, self._heard())
        except TimeoutError:
            self.write(codec.encode_error(None, SILENT))
            return
        while items:
            for item in items:
                await self._take(item)
            items = await self._heard()

    async def _heard(self) -> list[Hello | AnyRequest | Problem]:
        """What the client said next; nothing once it is over."""
        while not self._session.closing and (content := await self._reader.read(READ_BYTES)):
            if items := self._session.receive(content):
                return items
        return []

    async def _take(self, item: Hello | AnyRequest | Problem) -> None:
        match item:
            case Hello():
                self.write(self._welcome())
            case Problem(id=number, body=body):
                await self.send(codec.encode_error(number, body))
            case _ if self._stopping:
                await self.send(codec.encode_error(item.id, STOPPING))
            case Wait() if len(self._waits) >= WAITS_MAX:
                body = ErrorBody("limit", f"a client can have {WAITS_MAX} waits at a time")
                await self.send(codec.encode_error(item.id, body))
            case Wait():
                task = self._start(item)
                self._waits[task] = item.id
                task.add_done_callback(self._waits.pop)
            case _:
                await self._room.acquire()
                self._start(item).add_done_callback(lambda _: self._room.release())

    def _welcome(self) -> bytes:
        welcome = Welcome(
            hello="genq",
            protocol=PROTOCOL,
            version=__version__,
            boot=self._desk.boot,
            seq=self._desk.durable_seq,
        )
        return codec.encode(welcome)

    def _start(self, request: AnyRequest) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._serve(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _serve(self, request: AnyRequest) -> None:
        """Answer `request`, whatever becomes of it; a client that is gone gets none."""
        try:
            try:
                await self._answers.answer(request)
            except RequestError as error:
                await self._answers.refuse(request.id, error.body)
            except GoneError:
                raise
            except Exception:  # a mistake of ours: that request fails, the connection lives
                log.exception("request_failed", op=type(request).__name__, by=self._by)
                await self._answers.refuse(request.id, BROKEN)
        except GoneError:
            self.abort()

    # ---- the end ----

    async def _answered(self) -> None:
        """Return when nothing that was asked for is open."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _end(self) -> None:
        self._answers.close()
        for task in self._tasks:
            task.cancel()
        await self._answered()
        self._writer.close()
        try:
            await within(self._clock, CLOSE_S_MAX, self._writer.wait_closed())
        except OSError:  # TimeoutError is one
            self.abort()
