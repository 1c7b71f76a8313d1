"""Vendors on loopback: real sockets, strict about requests, with the weather they are told.

`Vendor` is one over aiohttp; `RawServer` does what no HTTP server would, byte by byte.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODY_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True)
class Weather:
    """What happens to a request instead of its answer; `accepts`: after it was carried out."""

    act: Handler
    accepts: bool = False


class Vendor:
    """A server; `weather[route]` is played in order, one a request, before normal behaviour.

    `complaints` has what requests did wrong, `accepted` how often a paid request was accepted by
    its key, `seen` every request as (method, path and query).
    """

    def __init__(self) -> None:
        self.weather: defaultdict[str, deque[Weather]] = defaultdict(deque)
        self.complaints: list[str] = []
        self.accepted: defaultdict[str, int] = defaultdict(int)
        self.seen: list[tuple[str, str]] = []
        self.origin = ""
        self.connections: set[Any] = set()
        self._app = web.Application(client_max_size=BODY_BYTES_MAX)
        self._app.router.add_route("*", "/{tail:.*}", self._handle)
        self._routes: list[tuple[str, str, str, Handler]] = []
        # A client that leaves ends its handler: nothing is waited for when the server stops.
        self._runner = web.AppRunner(self._app, handler_cancellation=True, shutdown_timeout=0.1)

    def route(self, name: str, method: str, path: str, handler: Handler) -> None:
        """Serve `path` (a beginning, if it ends with a slash or a colon)."""
        self._routes.append((name, method, path, handler))

    def will(self, route: str, *weather: Weather) -> None:
        """Play `weather` for the next requests to `route`."""
        self.weather[route].extend(weather)

    def complaint(self, what: str) -> str:
        """Note what a request did wrong."""
        self.complaints.append(what)
        return what

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.origin = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.raw_path))
        self.connections.add(request.transport)
        for name, method, path, handler in self._routes:
            if request.method == method and _leads(path, request.raw_path.partition("?")[0]):
                return await self._serve(name, handler, request)
        self.complaint(f"{request.method} {request.raw_path} is no route")
        return web.Response(status=404, text="<html>no such page</html>", content_type="text/html")

    async def _serve(self, name: str, handler: Handler, request: web.Request) -> web.StreamResponse:
        await request.read()
        coming = self.weather[name]
        weather = coming.popleft() if coming else None
        if weather is not None and not weather.accepts:
            return await weather.act(request)
        answer = await handler(request)
        return answer if weather is None else await weather.act(request)


def _leads(pattern: str, path: str) -> bool:
    return path.startswith(pattern) if pattern.endswith(("/", ":")) else path == pattern


# ---- weather ----


def answers(
    status: int = 200,
    body: Any = b"",
    *,
    mime: str = "application/json",
    headers: Mapping[str, str] | None = None,
    accepts: bool = False,
) -> Weather:
    """An answer of this status; a body that isn't bytes is JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def act(request: web.Request) -> web.Response:
        return web.Response(
            status=status, body=content, headers={"Content-Type": mime, **(headers or {})}
        )

    return Weather(act, accepts)


def page(status: int, title: str = "", *, accepts: bool = False) -> Weather:
    """A gateway's own HTML page."""
    words = f"<html><head><title>{title or status}</title></head><body><h1>oops</h1></body></html>"
    return answers(status, words.encode(), mime="text/html", accepts=accepts)


def cut(
    body: bytes = b'{"id": "t-1', *, status: int = 200, missing: int = 100, accepts: bool = False
) -> Weather:
    """An answer whose last `missing` bytes never come: the connection is closed before."""

    async def act(request: web.Request) -> web.StreamResponse:
        answer = await _begun(request, status, body, len(body) + missing)
        assert request.transport is not None
        request.transport.close()
        return answer

    return Weather(act, accepts)


def stalls(body: bytes = b"{", *, status: int = 200, accepts: bool = False) -> Weather:
    """An answer that begins with `body` and never goes on."""

    async def act(request: web.Request) -> web.StreamResponse:
        await _begun(request, status, body, len(body) + 100)
        await asyncio.Event().wait()
        raise AssertionError

    return Weather(act, accepts)


def silent(*, accepts: bool = False) -> Weather:
    """No answer at all."""

    async def act(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    return Weather(act, accepts)


def hangs_up(*, accepts: bool = False) -> Weather:
    """The connection is reset instead of an answer."""

    async def act(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return Weather(act, accepts)


def endless(*, status: int = 200) -> Weather:
    """A body that goes on for ever."""

    async def act(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(status=status)
        await answer.prepare(request)
        while True:
            await answer.write(b" " * 65_536)

    return Weather(act)


def drips(chunk: bytes = b" ", *, every_s: float = 0.01) -> Weather:
    """A body of which a little comes again and again: no single wait is long."""

    async def act(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        never = asyncio.Event()
        while True:
            await answer.write(chunk)
            try:
                await asyncio.wait_for(never.wait(), every_s)
            except TimeoutError:
                continue

    return Weather(act)


async def _begun(request: web.Request, status: int, body: bytes, length: int) -> web.StreamResponse:
    answer = web.StreamResponse(status=status, headers={"Content-Length": str(length)})
    answer.content_type = "application/json"
    await answer.prepare(request)
    await answer.write(body)
    return answer


# ---- below HTTP ----

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """Takes connections and lets `talk` do what it wants with each; counts them."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.host = ""

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.host = f"{host}:{port}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        for one in self._talks:
            one.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)
        await self._server.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self._talks.discard(task)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One whole request: head, and as many bytes as it announces."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return head + await reader.readexactly(int(value))
    return head
