"""What a client makes of the stream: the jobs it knows, folded from a snapshot and the events."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from daemon.core.events import Event, apply
from daemon.core.job import Job
from daemon.wire.codec import Resync, Told
from daemon.wire.messages import Reply, Welcome
from daemon.wire.session import ClientSession


class StreamReader:
    """Folds, and notes the seq of every event; `lost` says that it needs a snapshot.

    `faults` says where the stream had a hole that nobody told of, or repeated itself. It isn't
    raised: whoever writes to a client must live with what the client makes of it.
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
        self.faults: list[str] = []

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
                    self._expect(self.resynced is None, "a second resync")
                    whole = self.job is None
                    self._expect(seq == self.place or not whole, f"{answer} at {self.place}")
                    self.resynced = seq
                case Reply() | Welcome():
                    self._expect(False, str(answer))

    def _told(self, told: Told) -> None:
        self._expect(self.resynced is None, "an event after the resync")
        event = msgspec.json.decode(told.line, type=Event)
        self._expect(event.seq == told.seq, f"{told} is {event.seq}")
        if event.type == "snapshot":
            self.place = event.seq
            self.told_of_gap += 1
            return
        if self.job is None:
            self._expect(event.seq == self.place + 1, f"{event.seq} after {self.place}")
        else:
            self._expect(event.seq > self.place, f"{event.seq} after {self.place}")
            self._expect(event.job == self.job, f"an event of {event.job}")
        self.place = event.seq
        self.seqs.append(event.seq)
        if isinstance(event.job, int):
            if event.value is not UNSET:
                self.jobs[event.job] = event.value
            elif event.job in self.jobs:
                self.jobs[event.job] = apply(self.jobs[event.job], event)

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.faults.append(otherwise)


def encoded(jobs: dict[int, Job]) -> bytes:
    """To compare: what two sides know, key for key."""
    return msgspec.json.encode(sorted(jobs.values(), key=lambda job: job.id))
