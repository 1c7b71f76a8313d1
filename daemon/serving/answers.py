"""From requests to frames: what one client asks is asked of the desk, and sent in pieces it can
take.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any, Protocol

import msgspec

from daemon.clock import Clock
from daemon.serving.adds import Adds
from daemon.serving.desk import Desk
from daemon.serving.hub import Hub, Outlet, Subscription
from daemon.serving.replay import replay
from daemon.wire import codec
from daemon.wire.messages import (
    PART_BYTES_MAX,
    AddAbort,
    AddBegin,
    AddCommit,
    AddNeed,
    AddPicture,
    AddRows,
    AnyRequest,
    ErrorBody,
    Events,
    Ls,
    Subscribe,
    Wait,
)

LIST_ITEMS_MAX = 256
"""A longer list in an answer goes out in parts."""
SLOW_BYTES = 65_536
"""With more than this unread, a client is spared reports of progress."""


class Line(Outlet, Protocol):
    """What answers need of a connection."""

    async def send(self, frame: bytes) -> None:
        """Write, and wait for a client that is slow. Raises GoneError."""


class Answers:
    """Answers for one client, `by` whom things are done."""

    def __init__(self, *, desk: Desk, hub: Hub, clock: Clock, line: Line, by: str | None) -> None:
        self._desk = desk
        self._hub = hub
        self._clock = clock
        self._line = line
        self._by = by
        self._adds = Adds(desk, by)
        self._subscription: Subscription | None = None

    async def answer(self, request: AnyRequest) -> None:
        """Send everything up to the Ok. Call it in the order in which the requests came.

        Raises RequestError, GoneError, and whatever goes wrong in the desk.
        """
        match request:
            case Ls():
                jobs = await self._desk.ls(request)
                await self._parts(request.id, "jobs", jobs)
                await self._ok(request.id, {"count": len(jobs)})
            case Events():
                await self._events(request)
            case Subscribe():
                await self._subscribe(request)
            case Wait():
                await self._ok(request.id, await self._wait(request))
            case AddBegin() | AddRows() | AddNeed() | AddPicture() | AddCommit() | AddAbort():
                await self._ok(request.id, await self._adds.answer(request))
            case _:
                await self._ok(request.id, await self._desk.answer(request, self._by))

    async def refuse(self, number: int, body: ErrorBody) -> None:
        """Send the Error; problems, where there are many, before it in parts. Raises GoneError."""
        if len(body.problems) > LIST_ITEMS_MAX:
            await self._parts(number, "problems", map(msgspec.json.encode, body.problems))
            body = msgspec.structs.replace(body, problems=())
        await self._line.send(codec.encode_error(number, body))

    def close(self) -> None:
        """End the subscription, and forget adds that were not committed."""
        self._leave()
        self._adds.close()

    # ---- what is more than one value ----

    async def _wait(self, request: Wait) -> dict[str, Any]:
        def progress(value: dict[str, Any]) -> None:
            # The next one says more: a client that doesn't read needs none of them.
            if self._line.waiting_bytes() <= SLOW_BYTES:
                self._line.write(codec.encode_progress(request.id, value))

        return await self._desk.wait(request, progress)

    async def _subscribe(self, request: Subscribe) -> None:
        self._leave()
        if request.snapshot:
            seq, jobs, providers = await self._desk.snapshot()
            await self._parts(request.id, "jobs", jobs)
            await self._parts(request.id, "providers", providers)
        else:
            seq = self._hub.seq if request.after is None else request.after
        await self._ok(request.id, {"seq": seq, "boot": self._desk.boot})
        self._leave()
        self._subscription = self._hub.subscribe(self._line, seq, job=request.job)

    def _leave(self) -> None:
        if self._subscription is not None:
            self._hub.leave(self._subscription)
            self._subscription = None

    async def _events(self, request: Events) -> None:
        newest = self._desk.durable_seq
        block: list[bytes] = []
        size = 0
        async for line in await self._stored(request):
            if block and size + len(line) > PART_BYTES_MAX:
                await self._line.send(codec.encode_part(request.id, "events", block))
                block, size = [], 0
            block.append(line)
            size += len(line)
        if block:
            await self._line.send(codec.encode_part(request.id, "events", block))
        await self._ok(request.id, {"seq": newest})

    async def _stored(self, request: Events) -> AsyncIterator[bytes]:
        """The events asked for; that some are gone is told only where `after` names a place."""
        if request.after is None or request.tail is not None:
            return await self._desk.events(request.after, request.tail, request.job)
        told = replay(self._desk, request.after, job=request.job, now=self._clock.now())
        return (one.line async for one in told)

    # ---- frames out ----

    async def _ok(self, number: int, value: Any) -> None:
        """The Ok; of its lists, those that are long go before it in parts."""
        if isinstance(value, dict):
            long = [
                name
                for name, items in value.items()
                if isinstance(items, list | tuple) and len(items) > LIST_ITEMS_MAX
            ]
            for name in long:
                await self._parts(number, name, map(msgspec.json.encode, value[name]))
            value = {**value, **dict.fromkeys(long, ())}
        await self._line.send(codec.encode_ok(number, value))

    async def _parts(self, number: int, name: str, items: Iterable[bytes]) -> None:
        for batch in codec.gather(items):
            await self._line.send(codec.encode_part(number, name, batch))
