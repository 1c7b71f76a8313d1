"""A connection as the hub sees it: it takes everything at once, or, stalled, keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from daemon.serving.hub import GoneError


class FakeOutlet:
    """`take` gets what the client reads. `stall` and `flow` stop and start its reading.

    It counts as drained with no more than `low_bytes` kept.
    """

    def __init__(self, take: Callable[[bytes], None], *, low_bytes: int = 65_536) -> None:
        self._take = take
        self._low_bytes = low_bytes
        self._kept = bytearray()
        self._moved = asyncio.Event()
        self.stalled = False
        self.gone = False
        self.writes = 0

    def stall(self) -> None:
        self.stalled = True

    def flow(self, bytes_max: int | None = None) -> None:
        """Let the client read all that is kept; with `bytes_max` only so much, and stall again."""
        self.stalled = bytes_max is not None
        count = len(self._kept) if bytes_max is None else bytes_max
        taken = bytes(self._kept[:count])
        del self._kept[:count]
        self._moved.set()
        if taken:
            self._take(taken)

    def write(self, content: bytes) -> None:
        if self.gone:
            return
        self.writes += 1
        if self.stalled:
            self._kept += content
        else:
            self._take(content)

    def waiting_bytes(self) -> int:
        return len(self._kept)

    async def drained(self, limit_s: float) -> None:
        while len(self._kept) > self._low_bytes and not self.gone:
            self._moved.clear()
            await self._moved.wait()
        if self.gone:
            raise GoneError

    def abort(self) -> None:
        self.gone = True
        self._moved.set()
