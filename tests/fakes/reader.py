"""What a client makes of the stream: the jobs it knows, folded from a snapshot and the events."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from daemon.core.events import apply
from daemon.core.job import Job
from daemon.wire.codec import Resync, Told
from daemon.wire.feed import decode_event
from daemon.wire.messages import Reply, Welcome
from daemon.wire.session import ClientSession


class StreamReader:
    """Folds, and notes the seq of every event; `lost` says that it needs a snapshot.

    Fails at once where the stream has a hole that it wasn't told of, or repeats itself.
    """

    def __init__(self, job: int | None = None) -> None:
        self.session = ClientSession()
        self.session.welcome = Welcome(hello="genq", protocol=1)
        self.job = job
        self.jobs: dict[int, Job] = {}
        self.seqs: list[int] = []
        self.place = 0
        self.resynced: int | None = None
        self.told_of_gap = 0

    @property
    def lost(self) -> bool:
        return self.resynced is not None or self.told_of_gap > 0

    def load(self, seq: int, jobs: dict[int, Job]) -> None:
        """Begin from a snapshot."""
        self.place = seq
        self.jobs = dict(jobs)
        self.resynced = None
        self.told_of_gap = 0

    def take(self, content: bytes) -> None:
        """What arrived."""
        for answer in self.session.receive(content):
            match answer:
                case Told():
                    self._told(answer)
                case Resync(seq=seq):
                    assert self.resynced is None
                    assert seq == self.place or self.job is not None
                    self.resynced = seq
                case Reply() | Welcome():
                    raise AssertionError(answer)

    def _told(self, told: Told) -> None:
        assert self.resynced is None, "an event after the resync"
        event = decode_event(told.line)
        assert event.seq == told.seq
        if event.type == "snapshot":
            self.place = event.seq
            self.told_of_gap += 1
            return
        if self.job is None:
            assert event.seq == self.place + 1
        else:
            assert event.seq > self.place
            assert event.job == self.job
        self.place = event.seq
        self.seqs.append(event.seq)
        if isinstance(event.job, int):
            if event.value is not UNSET:
                self.jobs[event.job] = event.value
            elif event.job in self.jobs:
                self.jobs[event.job] = apply(self.jobs[event.job], event)


def encoded(jobs: dict[int, Job]) -> bytes:
    """To compare: what two sides know, key for key."""
    return msgspec.json.encode(sorted(jobs.values(), key=lambda job: job.id))
