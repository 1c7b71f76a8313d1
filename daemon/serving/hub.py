"""Events to everybody who subscribed: each encoded once, joined once, never waited for.

A subscriber is live, and gets what is published at once; or it is behind, and a task of its own
brings it what it missed, first from the journal, the last of it from what was published a moment
ago. It turns live in the same breath in which it has everything. So a slow client loses its place,
nobody else's time, and no event.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Protocol

import structlog
from msgspec import Struct

from daemon.clock import Clock
from daemon.serving.replay import Journal, replay
from daemon.store.port import Line
from daemon.wire import codec

log = structlog.get_logger()

STALLED_S_MAX = 900.0
"""One who reads nothing for so long is hung up on."""


class Bounds(Struct, frozen=True):
    """How much is kept for whom.

    A client that leaves `buffer_bytes_max` unread is cut off from live events, until it has caught
    up; events are written in blocks of `block_bytes`, by which the buffer may overshoot. The newest
    events, `recent_bytes_max` of them, are at hand to bridge the last gap between journal and now.
    One who fell more than `behind_events_max` behind is told to begin anew: a snapshot is the
    shorter way.
    """

    buffer_bytes_max: int = 1_048_576
    block_bytes: int = 262_144
    recent_bytes_max: int = 1_048_576
    behind_events_max: int = 50_000


BOUNDS = Bounds()


class GoneError(Exception):
    """The client has hung up, or was hung up on because it read nothing."""


class Outlet(Protocol):
    """What the hub needs of a connection."""

    def write(self, content: bytes) -> None:
        """Send, or keep until it can be sent. Does nothing when the client is gone."""

    def waiting_bytes(self) -> int:
        """How much is kept."""

    async def drained(self, limit_s: float) -> None:
        """Return when little is kept. Raises GoneError, also when it takes longer than `limit_s`;
        then the connection is closed."""

    def abort(self) -> None:
        """Close the connection now."""


class Subscription:
    """One client's place in the stream. `seq`, while it is behind: it was told all up to there."""

    def __init__(self, outlet: Outlet, seq: int, job: int | None) -> None:
        self.outlet = outlet
        self.seq = seq
        self.job = job
        self.fell_behind = False
        self.task: asyncio.Task[None] | None = None


class Hub:
    """All subscriptions. Used on the event loop only; `publish` is the store's commit callback."""

    def __init__(self, *, journal: Journal, clock: Clock, bounds: Bounds = BOUNDS) -> None:
        self._journal = journal
        self._bounds = bounds
        self._clock = clock
        self._seq = journal.durable_seq
        self._live: dict[Subscription, None] = {}
        self._recent: deque[Line] = deque()
        self._recent_bytes = 0

    @property
    def seq(self) -> int:
        """The newest event that was published."""
        return self._seq

    def publish(self, lines: Sequence[Line]) -> None:
        """Tell the live ones, and let the others find it where they look. In order of seq."""
        for block in _blocks(lines, self._bounds.block_bytes):
            self._remember(block)
            self._tell(block)
            self._seq = block[-1].seq

    def subscribe(self, outlet: Outlet, after: int, *, job: int | None = None) -> Subscription:
        """Tell `outlet` every event after `after`, of `job` or of all, in order, without end.

        Where some are gone, a `snapshot` event says so (replay.py). It ends with `leave`, with the
        client, or with a `resync` frame that names its place.
        """
        one = Subscription(outlet, after, job)
        self._send_after(one)
        return one

    def leave(self, one: Subscription) -> None:
        """End a subscription. Safe to call twice."""
        self._live.pop(one, None)
        if one.task is not None:
            one.task.cancel()

    # ---- live ----

    def _tell(self, block: Sequence[Line]) -> None:
        whole: bytes | None = None
        for one in list(self._live):
            if one.outlet.waiting_bytes() > self._bounds.buffer_bytes_max:
                del self._live[one]
                one.seq = self._seq
                one.fell_behind = True
                self._send_after(one)
            elif one.job is None:
                whole = whole or _joined(block)
                one.outlet.write(whole)
            elif own := [line for line in block if line.job == one.job]:
                one.outlet.write(_joined(own))

    def _remember(self, block: Sequence[Line]) -> None:
        self._recent.extend(block)
        self._recent_bytes += sum(len(line.text) for line in block)
        while self._recent_bytes > self._bounds.recent_bytes_max:
            self._recent_bytes -= len(self._recent.popleft().text)

    # ---- behind ----

    def _send_after(self, one: Subscription) -> None:
        one.task = asyncio.get_running_loop().create_task(self._catch_up(one))

    async def _catch_up(self, one: Subscription) -> None:
        try:
            await self._bring(one)
        except GoneError:
            log.info("subscriber_gone", seq=one.seq)
        except Exception:  # whatever the journal raises: one without events must not seem live
            log.exception("replay_failed", seq=one.seq)
            one.outlet.abort()

    async def _bring(self, one: Subscription) -> None:
        """Bring `one` up to now, as fast as it reads."""
        while True:
            await one.outlet.drained(STALLED_S_MAX)
            if one.fell_behind and self._seq - one.seq > self._bounds.behind_events_max:
                log.warning("subscriber_resync", seq=one.seq, newest=self._seq)
                one.outlet.write(codec.encode({"resync": one.seq}))
                return
            if self._join(one):
                return
            await self._replay(one)

    def _join(self, one: Subscription) -> bool:
        """Make `one` live, if what it missed is at hand."""
        missed = list(takewhile(lambda line: line.seq > one.seq, reversed(self._recent)))
        if len(missed) != self._seq - one.seq:
            return False
        own = [line for line in reversed(missed) if one.job is None or line.job == one.job]
        if own:
            one.outlet.write(_joined(own))
        self._live[one] = None
        return True

    async def _replay(self, one: Subscription) -> None:
        """Send what the journal has after `one.seq`, a block at a time."""
        newest = self._journal.durable_seq
        block: list[bytes] = []
        size = 0
        seq = one.seq
        async for told in replay(self._journal, one.seq, job=one.job, now=self._clock.now()):
            block.append(told.line)
            size += len(told.line)
            seq = told.seq
            if size >= self._bounds.block_bytes:
                await self._send(one, block, seq)
                block, size = [], 0
        # Nothing of a job may have come since; its place is then where the journal ended. A place
        # beyond the journal moves back to where the snapshot event puts it.
        await self._send(one, block, max(seq, newest) if one.seq <= newest else seq)

    async def _send(self, one: Subscription, block: Sequence[bytes], seq: int) -> None:
        if block:
            one.outlet.write(b"\n".join(block) + b"\n")
        one.seq = seq
        await one.outlet.drained(STALLED_S_MAX)


def _joined(lines: Iterable[Line]) -> bytes:
    return b"\n".join([line.text for line in lines]) + b"\n"


def _blocks(lines: Sequence[Line], block_bytes: int) -> Iterator[Sequence[Line]]:
    """`lines` in runs of about `block_bytes`; nearly always one."""
    start = size = 0
    for index, line in enumerate(lines):
        size += len(line.text)
        if size >= block_bytes:
            yield lines[start : index + 1]
            start, size = index + 1, 0
    if start < len(lines):
        yield lines[start:]
