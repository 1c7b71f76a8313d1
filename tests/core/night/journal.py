"""A journal that takes its time: what was appended is durable a little later, or never.

As the real one (daemon/store/writer.py) it commits in groups: the accepted ids of a group go to
paid.jsonl first, then the whole group is one transaction. A crash may come before, between, after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from daemon.core.events import Event, streamed
from daemon.core.gate import Gate
from daemon.core.job import Job
from daemon.store.opening import awaits
from daemon.store.port import Batch, Line, Loaded, Paid
from tests.core.world import Chance, between, happens
from tests.fakes.store import MemoryStore

STALL_S_MAX = 20.0


class Journal(MemoryStore):
    """What survives: rows, gates, events, paid.jsonl. `passing` is told each boundary passed."""

    def __init__(self, chance: Chance, passing: Callable[[str], None]) -> None:
        super().__init__(held=True)
        self.gates: dict[str, Gate] = {}
        self.seq = 0
        self.lost_facts = 0
        self.committed: Callable[[Sequence[Event], Sequence[bytes]], None] = lambda *_: None
        self._chance = chance
        self._passing = passing
        self._group: list[tuple[Batch, asyncio.Future[int]]] = []
        self._timer: asyncio.TimerHandle | None = None

    def append(self, batch: Batch) -> asyncio.Future[int]:
        future = super().append(batch)
        if self._timer is None:
            self._soon(self._note_paid)
        return future

    @property
    def idle(self) -> bool:
        """Whether everything that was appended is durable."""
        return not self._waiting and not self._group

    def crash(self) -> None:
        """The machine stops: what isn't on disk is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.lost_facts += sum(len(batch.events) for batch, _ in (*self._group, *self._waiting))
        self._group, self._waiting = [], []

    def loaded(self, *, unclean: bool) -> Loaded:
        """What a start finds; `daemon/store/opening.py` says which ids are unrecorded."""
        lost: tuple[Paid, ...] = ()
        if unclean:
            lost = tuple(
                line
                for line in self.paid
                if line.job in self.rows and awaits(self.rows[line.job], line)
            )
        number = max(self.rows, default=0) + 1
        return Loaded(self.seq, number, dict(self.gates), unclean, 1, lost)

    def _soon(self, step: Callable[[], None]) -> None:
        wait = between(self._chance, 0.0005, 0.01)
        if happens(self._chance, 0.002):
            wait = between(self._chance, 0.1, STALL_S_MAX)
        self._timer = asyncio.get_running_loop().call_later(wait, step)

    def _note_paid(self) -> None:
        self._group, self._waiting = self._waiting, []
        for batch, _ in self._group:
            self.paid += batch.paid
        if any(batch.paid for batch, _ in self._group):
            self._passing("an id is in paid.jsonl, not in the journal")
        self._soon(self._commit)

    def _commit(self) -> None:
        self._timer = None
        group, self._group = self._group, []
        events: list[Event] = []
        for batch, _ in group:
            self._keep(batch)
            events += batch.events
        texts = [msgspec.json.encode(streamed(event)) for event in events]
        self.lines += [_line(event, text) for event, text in zip(events, texts, strict=True)]
        self.seq = events[-1].seq if events else self.seq
        if any(event.type == "submitting" for event in events):
            self._passing("an intent is stored, its request isn't sent")
        self.committed(events, texts)
        for batch, future in group:
            if not future.done():
                future.set_result(batch.events[-1].seq if batch.events else 0)
        if self._waiting:
            self._soon(self._note_paid)

    def _keep(self, batch: Batch) -> None:
        rows: dict[int, Job] = {job.id: job for job in batch.jobs}
        self.rows.update(rows)
        self.gates.update(batch.gates)


def _line(event: Event, text: bytes) -> Line:
    return Line(event.seq, event.job if isinstance(event.job, int) else None, text, event)
