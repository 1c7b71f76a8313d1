"""How far a ComfyUI run is, told by its socket (comfyui.md, "WebSocket").

It is an extra: nothing is replayed there, so polling stays the truth, and whatever goes wrong with
a socket costs a number and no more. One is open a run, only while it runs, for the events of a
run go to the client that its request named.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from aiohttp import (
    ClientError,
    ClientHandlerType,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    WSMsgType,
)
from yarl import URL

from daemon.engines.comfyui_answers import Spot
from daemon.engines.settings import EngineSettings
from daemon.engines.transport import FAILURES, USER_AGENT

SOCKETS_MAX = 32
HEARTBEAT_S = 30.0
FRAME_BYTES_MAX = 4 * 1024 * 1024


class Tally:
    """The share of a run's nodes that are done, as events tell it. It never goes back."""

    def __init__(self, remote_id: str, nodes: Iterable[str]) -> None:
        self._remote_id = remote_id
        self._nodes = frozenset(nodes)
        self._done: set[str] = set()
        self._current: str | None = None
        self.share: float | None = None

    def hear(self, event: Any) -> None:
        """Take an event into account; one of another run, or an unknown one, changes nothing.

        >>> tally = Tally("a", ["3", "9"])
        >>> data = {"prompt_id": "a", "node": "3", "value": 5, "max": 10}
        >>> tally.hear({"type": "progress", "data": data})
        >>> tally.share
        0.25
        """
        content = event.get("data") if isinstance(event, Mapping) else None
        if not isinstance(content, Mapping) or content.get("prompt_id") != self._remote_id:
            return
        match event.get("type"):
            case "execution_cached":
                nodes = content.get("nodes")
                self._finish(nodes if isinstance(nodes, list) else [], 0.0)
            case "executing":
                before, self._current = self._current, content.get("node")
                self._finish([] if before is None else [before], 0.0)
            case "progress":
                self._finish([], _share_of(content))
            case "progress_state":
                self._take_states(content.get("nodes"))
            case _:
                pass

    def _take_states(self, nodes: Any) -> None:
        found = nodes.items() if isinstance(nodes, Mapping) else ()
        states = [(node, state) for node, state in found if isinstance(state, Mapping)]
        running = [state for _, state in states if state.get("state") == "running"]
        done = [node for node, state in states if state.get("state") == "finished"]
        self._finish(done, max(map(_share_of, running), default=0.0))

    def _finish(self, nodes: Iterable[Any], running: float) -> None:
        self._done |= self._nodes.intersection(node for node in nodes if isinstance(node, str))
        if self._nodes:
            share = min(1.0, (len(self._done) + running) / len(self._nodes))
            self.share = max(self.share or 0.0, share)


class Progress:
    """Listens to runs, and forgets them when they end."""

    def __init__(self, settings: EngineSettings) -> None:
        self._limits = settings.limits
        self._proxy = settings.proxy or None
        given = {name: value.reveal() for name, value in settings.headers.items()}
        self._headers = {"User-Agent": USER_AGENT, **given}
        self._session: ClientSession | None = None
        self._closed = False
        self._tallies: dict[str, Tally] = {}
        self._listening: dict[str, asyncio.Task[None]] = {}

    def of(self, spot: Spot, *, target: str) -> float | None:
        """What is known of a run by now, from 0 to 1; begins to listen where nobody does."""
        tally = self._tallies.get(spot.remote_id)
        if tally is None:
            for oldest in list(self._tallies)[: max(0, len(self._tallies) + 1 - SOCKETS_MAX)]:
                self.forget(oldest)
            tally = self._tallies[spot.remote_id] = Tally(spot.remote_id, spot.nodes)
        task = self._listening.get(spot.remote_id)
        if (task is None or task.done()) and not self._closed:
            listening = self._listen(tally, spot.client_id or spot.remote_id, target)
            self._listening[spot.remote_id] = asyncio.create_task(listening)
        return tally.share

    def forget(self, remote_id: str) -> None:
        """The run is over, or nobody asks for it any more."""
        self._tallies.pop(remote_id, None)
        task = self._listening.pop(remote_id, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Close every socket; safe to call twice."""
        self._closed = True
        tasks = list(self._listening.values())
        for remote_id in list(self._tallies):
            self.forget(remote_id)
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _listen(self, tally: Tally, client_id: str, target: str) -> None:
        """Until the socket closes, or for as long as a run may take."""
        if self._session is None:
            self._session = ClientSession(
                cookie_jar=DummyCookieJar(),
                timeout=ClientTimeout(total=None, sock_connect=self._limits.connect_timeout_s),
                trust_env=False,
                middlewares=(_stay,),
            )
        url = URL(f"{target}/ws?{urlencode({'clientId': client_id})}", encoded=True)
        try:
            async with asyncio.timeout(self._limits.generate_timeout_s):
                async with asyncio.timeout(self._limits.poll_timeout_s):
                    socket = await self._session.ws_connect(
                        url,
                        headers=self._headers,
                        proxy=self._proxy,
                        heartbeat=HEARTBEAT_S,
                        max_msg_size=FRAME_BYTES_MAX,
                    )
                async with socket:
                    async for frame in socket:
                        if frame.type is WSMsgType.TEXT:
                            tally.hear(_parsed(frame.data))
        except FAILURES:
            return


async def _stay(request: ClientRequest, send: ClientHandlerType) -> ClientResponse:
    """Follow no redirect, which `ws_connect` would: the headers are for this server only."""
    response = await send(request)
    if 300 <= response.status < 400:
        response.close()
        raise ClientError("the socket's address redirects")
    return response


def _parsed(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None


def _share_of(content: Mapping[str, Any]) -> float:
    value, most = content.get("value"), content.get("max")
    if not isinstance(value, int | float) or not isinstance(most, int | float) or most <= 0:
        return 0.0
    try:
        return min(1.0, max(0.0, value / most))
    except OverflowError:
        return 0.0
