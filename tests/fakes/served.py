"""The real server and hub on a real socket, before a desk in memory, and a client by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from daemon.serving.binding import bind
from daemon.serving.hub import Hub
from daemon.serving.server import Server, user_name
from daemon.wire import codec
from daemon.wire.messages import Hello, Request
from tests.fakes.clock import FakeClock, settle
from tests.fakes.desk import FakeDesk

HELLO = codec.encode(Hello(hello="genq", protocol=1, version="test"))
READ_LIMIT = 16 * 1024 * 1024


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until `condition()` holds."""
    async with asyncio.timeout(5):
        while not condition():
            await settle(1)


class ByHand:
    """A client that sends what it likes, and reads when it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *frames: bytes | Request) -> None:
        for frame in frames:
            self.writer.write(frame if isinstance(frame, bytes) else codec.encode(frame))
        await self.writer.drain()

    def stop_reading(self) -> None:
        """Leave everything that comes where it is."""
        assert isinstance(self.writer.transport, asyncio.Transport)
        self.writer.transport.pause_reading()

    async def line(self) -> bytes:
        """The next line, without its newline; empty at the end."""
        async with asyncio.timeout(5):
            return (await self.reader.readline()).removesuffix(b"\n")

    async def frame(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(await self.line())
        return found

    async def answer(self, number: int) -> list[dict[str, Any]]:
        """Every frame about one request, others left out."""
        found: list[dict[str, Any]] = []
        while not found or not found[-1].keys() & {"ok", "error"}:
            frame = await self.frame()
            if frame.get("id") == number:
                found.append(frame)
        return found

    async def ask(self, request: Request) -> dict[str, Any]:
        """The last frame of the answer."""
        await self.send(request)
        return (await self.answer(request.id))[-1]

    async def seqs(self, count: int) -> list[int]:
        """The seqs of the next events."""
        found: list[int] = []
        while len(found) < count:
            frame = await self.frame()
            if "seq" in frame:
                found.append(frame["seq"])
        return found

    async def ended(self) -> bool:
        """Whether nothing more comes."""
        return await self.line() == b""


class Served:
    """Use in an `async with`."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.desk = FakeDesk()
        self.hub = Hub(journal=self.desk, clock=self.clock)
        self.desk.hub = self.hub
        self.names: list[str] = []
        self.server = Server(desk=self.desk, hub=self.hub, clock=self.clock, name_of=self._name_of)
        self.path = folder / "genq.sock"
        self.binding = bind(self.path, 0o600)
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Served:
        await self.server.start(self.binding.socket)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await self.server.stop("the test is over")
        self.binding.close()

    def _name_of(self, uid: int) -> str:
        """The user's name; or what stands first in `names`: an empty one isn't known."""
        if not self.names:
            return user_name(uid)
        if name := self.names.pop(0):
            return name
        raise KeyError(uid)

    async def pass_time(self, seconds: float) -> None:
        """Wait until somebody sleeps for so long, then let that time pass."""
        due = self.clock.now() + seconds
        await until(lambda: self.clock.next_wake_at == due)
        await self.clock.advance(seconds)

    async def connect(self) -> ByHand:
        """A client that has said nothing yet."""
        reader, writer = await asyncio.open_unix_connection(str(self.path), limit=READ_LIMIT)
        self._writers.append(writer)
        return ByHand(reader, writer)

    async def client(self) -> ByHand:
        """A client that was greeted."""
        client = await self.connect()
        await client.send(HELLO)
        assert (await client.frame())["hello"] == "genq"
        return client
