"""Stored events for one reader, and a `snapshot` event wherever some of them are gone.

So nobody takes a stream for whole that isn't: old events are pruned, and a journal may have been
restored from a backup that is older than what the reader has seen.
"""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec
from msgspec import Struct

from daemon.core.events import Event
from daemon.wire.codec import Told


class Journal(Protocol):
    """What a replay reads of the desk."""

    @property
    def durable_seq(self) -> int:
        """The newest event that is on disk."""

    async def events(
        self, after: int | None, tail: int | None, job: int | None
    ) -> AsyncIterator[bytes]:
        """Stored events, each encoded, from after `after` up to the newest at the call."""


class _Numbered(Struct):
    seq: int


_NUMBERED = msgspec.json.Decoder(_Numbered)


def seq_of(line: bytes) -> int:
    """The seq of an encoded event.

    >>> seq_of(b'{"seq":901,"at":1.0,"type":"started"}')
    901
    """
    return _NUMBERED.decode(line).seq


async def replay(
    journal: Journal, after: int, *, job: int | None, now: float
) -> AsyncIterator[Told]:
    """Events after `after` up to the newest at the call, of `job` or of all.

    The seqs rise. Without `job` they have no gap, but where a `snapshot` event says which are gone;
    it carries the last seq before those that follow. With `after` newer than the journal it comes
    alone, with the newest seq there is.
    """
    newest = journal.durable_seq
    if after > newest:
        said = f"event {after} isn't in this journal, which ends at {newest}: it was restored"
        yield _snapshot(newest, now, said)
        return
    last = after
    if job is not None:
        oldest = await _first_after(journal, after, newest)
        if oldest > after + 1:
            yield _gone(oldest, now)
    async for line in await journal.events(after, None, job):
        seq = seq_of(line)
        if job is None and seq != last + 1:
            yield _gone(seq, now)
        yield Told(seq, line)
        last = seq
    if job is None and last < newest:
        yield _gone(newest + 1, now)


async def _first_after(journal: Journal, after: int, newest: int) -> int:
    """The seq of the first kept event after `after`; one past the newest if there is none."""
    async for line in await journal.events(after, None, None):
        return seq_of(line)
    return newest + 1


def _gone(first: int, now: float) -> Told:
    return _snapshot(first - 1, now, f"events before {first} are gone: they were pruned")


def _snapshot(seq: int, now: float, detail: str) -> Told:
    event = Event(seq=seq, at=now, type="snapshot", detail=detail)
    return Told(seq, msgspec.json.encode(event))
