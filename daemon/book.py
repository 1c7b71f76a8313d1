"""The book: every job and gate in memory, and the one door through which facts enter.

`record` folds facts into memory at once, so that two refusals in one tick see each other, and
queues them for the store; the future it returns is done when they are durable. Nothing else
writes jobs or gates. What is derived (backlog, slots, counts, latencies) is kept up here too.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from daemon.core.events import Event
from daemon.core.explain import Scene
from daemon.core.gate import Gate, on_the_way
from daemon.core.job import FINISHED, Held, Job, Stage, live_remote
from daemon.core.machine import evolve
from daemon.core.quantiles import Window
from daemon.core.schedule import Backlog, Slots
from daemon.core.stages import just_ended
from daemon.store.paid import line_of
from daemon.store.port import Batch, JobStore

STORE_S_MAX = 0.5
"""While the disk is full, who only looks waits so long for what was just recorded."""


class Book:
    """Jobs, gates, and what follows from them. Used on the event loop only."""

    def __init__(self, store: JobStore, *, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now
        self.jobs: dict[int, Job] = {}
        self.gates: dict[str, Gate] = {}
        self.backlog = Backlog()
        self.counts: Counter[str] = Counter()
        self.seq = 0
        self.next_job_id = 1
        self.latencies: dict[tuple[str, str], Window] = {}
        self._slots: dict[str, Slots] = {}
        self._on_the_way: dict[str, set[int]] = {}
        self._grace_s: Mapping[str, float] = {}
        self._names: dict[str, int] = {}
        self._newest: asyncio.Future[int] | None = None
        self.trouble: str | None = None
        self.left_alone: set[int] = set()
        """Jobs that nobody works on, after unexpected errors, until a command or a restart."""
        self._watchers: list[Callable[[Sequence[Event]], None]] = []

    def configure(self, grace_s: Mapping[str, float]) -> None:
        """Set how long a task that may live on still takes a slot, for each provider; recount."""
        self._grace_s = dict(grace_s)
        for job in self.jobs.values():
            self._slot(job)

    def watch(self, callback: Callable[[Sequence[Event]], None]) -> None:
        """Call `callback` with the facts of every record, when memory knows them."""
        self._watchers.append(callback)

    # ---- reading ----

    def gate(self, provider: str) -> Gate:
        """The provider's gate; an open one if nothing was ever said about it."""
        return self.gates.get(provider) or Gate()

    def slots_taken(self, provider: str) -> int:
        """How many of the provider's slots are taken now."""
        slots = self._slots.get(provider)
        return 0 if slots is None else slots.taken(self._now())

    def on_the_way(self, provider: str) -> int:
        """How many of the provider's jobs prepare, or have a paid request out."""
        return len(self._on_the_way.get(provider, ()))

    def next_slot_at(self, now: float) -> float | None:
        """When, after `now`, the next lingering slot is let go, or None."""
        times = (slots.next_free_at(now) for slots in self._slots.values())
        return min((at for at in times if at is not None), default=None)

    def named(self, name: str) -> int | None:
        """The newest job of that name, or None."""
        return self._names.get(name)

    def blocked_by(self, job: Job) -> tuple[tuple[int, str], ...]:
        """The dependencies that a queued job still waits for: id and state of each."""
        if job.state != "queued" or not job.after:
            return ()
        parents = ((parent, self.jobs.get(parent)) for parent in job.after)
        return tuple(
            (parent, known.state if known else "gone")
            for parent, known in parents
            if known is None or known.state != "succeeded"
        )

    def scene(self, job: Job, free_slots: int = 1) -> Scene:
        """What `explain` needs to know beside `job`."""
        return Scene(self.gate(job.provider), self._now(), self.blocked_by(job), free_slots)

    def uncollected(self) -> list[int]:
        """Jobs that were, or may have been, paid for, have no result yet, and are at rest."""
        return [
            job.id
            for job in self.jobs.values()
            if job.state == "in_doubt"
            or (job.state in ("held", "failed", "cancelled") and live_remote(job) is not None)
            or (isinstance(job.work, Held) and job.work.resend is not None)
        ]

    # ---- writing ----

    def load(self, jobs: Iterable[Job]) -> None:
        """Take in stored jobs, at start. Dependencies are looked at once all are in (`index`)."""
        for job in jobs:
            self.jobs[job.id] = job

    def index(self) -> None:
        """Derive everything that is derived, from the jobs that were loaded."""
        for job in self.jobs.values():
            self._count(None, job)
            if job.name is not None:
                self._names[job.name] = job.id
            if job.state in FINISHED:
                for stage in job.stages:
                    self._learn(job.provider, stage)

    def record(self, events: Sequence[Event]) -> asyncio.Future[int]:
        """Number `events`, fold them, queue them as one transaction. Done when durable.

        Raises IllegalTransitionError, before anything is changed, for a fact that can't be.
        """
        staged: dict[int, Job] = {}
        gates: dict[str, Gate] = {}
        numbered = []
        paid = []
        for number, fact in enumerate(events, self.seq + 1):
            event = msgspec.structs.replace(fact, seq=number)
            numbered.append(event)
            if isinstance(event.job, int):
                before = staged.get(event.job) or self.jobs.get(event.job)
                after = _folded(before, event)
                staged[event.job] = after
                if line := line_of(before, after, event):
                    paid.append(line)
            if isinstance(event.gate, Gate) and isinstance(event.provider, str):
                gates[event.provider] = event.gate
        self.seq += len(numbered)
        self.gates.update(gates)
        for after in staged.values():
            self._take(after)
        batch = Batch(tuple(numbered), tuple(staged.values()), gates, tuple(paid))
        self._newest = self._store.append(batch)
        for callback in self._watchers:
            callback(numbered)
        return self._newest

    def rest(self, job: Job) -> None:
        """Keep the new form of a job whose public half did not change (`decisions.waited`)."""
        self.jobs[job.id] = job

    def requeue(self, now: float) -> None:
        """Line the queued jobs up anew, and count the slots: the time has changed."""
        for job in self.jobs.values():
            self._slot(job)
            if job.state == "queued":
                self._line_up(job, now)

    def pick(self, provider: str, room: int, now: float) -> list[int]:
        """Up to `room` jobs to start now; they leave the backlog.

        One whose parent is being made anew waits again.
        """
        picked: list[int] = []
        while found := self.backlog.pick(provider, room - len(picked), now):
            for number in found:
                if self.blocked_by(self.jobs[number]):
                    self._line_up(self.jobs[number], now)
                else:
                    picked.append(number)
        return picked

    def leave_alone(self, job: int) -> None:
        """Note that nobody works on `job` any more, and tell whoever waits for it."""
        self.left_alone.add(job)
        for callback in self._watchers:
            callback(())

    async def durable(self) -> None:
        """Return when everything recorded so far is on disk. Raises StoreError if it can't be."""
        newest = self._newest
        if newest is None:
            return
        if not newest.done():
            # As asyncio.shield does it, at a third of its cost: every step of a job waits here.
            waiter = asyncio.get_running_loop().create_future()
            newest.add_done_callback(lambda _: None if waiter.done() else waiter.set_result(None))
            await waiter
        newest.result()

    async def seen(self) -> None:
        """As `durable`; but what a full disk keeps waiting may be looked at before it is on disk.

        So people can see what is wrong. `trouble` says why nothing can be stored, if that is so.
        """
        newest = self._newest
        while newest is not None and not newest.done():
            await asyncio.wait({newest}, timeout=STORE_S_MAX)
            if self.trouble is not None:
                break
        if newest is not None and newest.done():
            newest.result()

    async def stuck(self) -> str | None:
        """Why nothing new can be kept, not even in the reserve's place; None if it can."""
        await self.seen()
        stored = self._newest is None or self._newest.done()
        return None if stored else self.trouble

    def forget(self, jobs: Sequence[int]) -> asyncio.Future[int]:
        """Drop finished jobs, in memory and in the store."""
        for number in jobs:
            job = self.jobs.pop(number)
            self.counts[job.state] -= 1
            if job.name is not None and self._names.get(job.name) == number:
                del self._names[job.name]
        return self._store.append(Batch((), dropped=tuple(jobs)))

    # ---- what is derived ----

    def _take(self, job: Job) -> None:
        before = self.jobs.get(job.id)
        self.jobs[job.id] = job
        self.next_job_id = max(self.next_job_id, job.id + 1)
        if before is None or before.name != job.name:
            self._name(None if before is None else before.name, job)
        self._count(before, job)
        if before is not None and (stage := just_ended(before, job)):
            self._learn(job.provider, stage)

    def _name(self, was: str | None, job: Job) -> None:
        """Find `job` by its name from now on, and no longer by the one that it had."""
        if was is not None and self._names.get(was) == job.id:
            del self._names[was]
            others = (one.id for one in self.jobs.values() if one.name == was)
            if (newest := max(others, default=None)) is not None:
                self._names[was] = newest
        if job.name is not None and self._names.get(job.name, 0) < job.id:
            self._names[job.name] = job.id

    def _count(self, before: Job | None, job: Job) -> None:
        was = None if before is None else before.state
        if was != job.state:
            if was is not None:
                self.counts[was] -= 1
            self.counts[job.state] += 1
        if on_the_way(job):
            self._on_the_way.setdefault(job.provider, set()).add(job.id)
        elif before is not None:
            self._on_the_way.get(job.provider, set()).discard(job.id)
        self._slot(job)
        if job.state == "queued":
            self._line_up(job, self._now())
        elif was == "queued":
            self.backlog.remove(job.id)
        if job.state == "succeeded":
            self.backlog.finished(job.id, self._now())

    def _line_up(self, job: Job, now: float) -> None:
        self.backlog.put(job, [parent for parent, _ in self.blocked_by(job)], now)

    def _slot(self, job: Job) -> None:
        slots = self._slots.get(job.provider)
        if slots is None:
            slots = self._slots[job.provider] = Slots()
        slots.put(job, self._grace_s.get(job.provider, 0.0), self._now())

    def _learn(self, provider: str, stage: Stage) -> None:
        """Take the duration of a stage that ended well into its window."""
        if stage.result != "ok" or stage.duration_s is None:
            return
        window = self.latencies.get((provider, stage.stage))
        if window is None:
            window = self.latencies[provider, stage.stage] = Window()
        window.add(stage.duration_s)


def _folded(before: Job | None, event: Event) -> Job:
    if event.type == "added":
        if before is not None or not isinstance(event.value, Job):
            raise ValueError(f"job {event.job} can't be added twice")
        return msgspec.structs.replace(event.value, work=event.work, attempts=())
    if before is None:
        raise KeyError(event.job)
    return evolve(before, event)
