"""Who goes next: priority, then fair between batches, then age; never above a limit.

`Backlog` is an index over the queued jobs, kept up to date job by job, so that a pick costs the
same with ten jobs and with a hundred thousand. It holds no truth of its own: everything in it is
derived from the jobs it was given.
"""

import heapq
from collections import OrderedDict
from collections.abc import Collection

from msgspec import Struct

from daemon.core.job import ACTIVE, Held, InDoubt, Job, Queued, live_remote

FOREVER = float("inf")


def ready_at(job: Job) -> float:
    """From when on a queued job may start: its own schedule, or its backoff. 0 for at once.

    >>> ready_at(Job(id=1, provider="m", created_at=0.0, updated_at=0.0, not_before_at=7.0))
    7.0
    """
    retry_at = job.work.retry_at if isinstance(job.work, Queued) else None
    return max(job.not_before_at or 0.0, retry_at or 0.0)


def slot_until(job: Job, grace_s: float) -> float:
    """Until when `job` takes one of its provider's slots: forever while it is at work.

    From preparing to the end of generating; a task that may still live at the provider (cancelled
    here only, held, failed, in doubt) for `grace_s` more; a download takes none. Seconds since the
    epoch; 0 for no slot.

    >>> slot_until(Job(id=1, provider="m", created_at=0.0, updated_at=5.0, state="preparing"), 9.0)
    inf
    """
    if job.state in ACTIVE:
        return 0.0 if job.state == "downloading" else FOREVER
    if isinstance(job.work, InDoubt):
        return job.updated_at + grace_s
    remote = live_remote(job)
    if remote is None or remote.results:
        return 0.0
    if job.finished_at is not None:
        return job.finished_at + grace_s
    return _held_at(job) + grace_s if isinstance(job.work, Held) else 0.0


def _held_at(job: Job) -> float:
    """When `job` came to rest: an edit since then says nothing of its task."""
    last = job.stages[-1] if job.stages else None
    if last is None or last.duration_s is None:
        return job.updated_at
    return last.started_at + last.duration_s


class Slots:
    """Which jobs take a slot of one provider. A lingering one is let go when its time is over."""

    def __init__(self) -> None:
        self._busy: set[int] = set()
        self._lingering: dict[int, float] = {}

    def put(self, job: Job, grace_s: float, now: float) -> None:
        """Note what `job` takes now; after it ended no longer than `grace_s`, whatever the clock
        said then.
        """
        until = slot_until(job, grace_s)
        self._busy.discard(job.id)
        self._lingering.pop(job.id, None)
        if until == FOREVER:
            self._busy.add(job.id)
        elif until > 0.0:
            self._lingering[job.id] = min(until, now + grace_s)

    def taken(self, now: float) -> int:
        """How many slots are taken at `now`.

        >>> slots = Slots()
        >>> job = Job(id=1, provider="m", created_at=0.0, updated_at=0.0, state="preparing")
        >>> slots.put(job, 1.0, 5.0)
        >>> slots.taken(99.0)
        1
        """
        for job in [job for job, until in self._lingering.items() if until <= now]:
            del self._lingering[job]
        return len(self._busy) + len(self._lingering)

    def next_free_at(self, now: float) -> float | None:
        """When, after `now`, the next lingering one lets go, or None."""
        return min((until for until in self._lingering.values() if until > now), default=None)


class _Place(Struct, frozen=True):
    provider: str
    priority: int
    batch: str


class Backlog:
    """The queued jobs: ready ones by provider, priority and batch; later ones by time; blocked."""

    def __init__(self) -> None:
        self._ready: dict[int, _Place] = {}
        self._lines: dict[str, dict[int, OrderedDict[str, list[int]]]] = {}
        self._later: list[tuple[float, int]] = []
        self._due: dict[int, tuple[float, _Place]] = {}
        self._missing: dict[int, set[int]] = {}
        self._children: dict[int, set[int]] = {}
        self._blocked: dict[int, Job] = {}
        self._queued: dict[str, int] = {}
        self._provider: dict[int, str] = {}

    def put(self, job: Job, missing: Collection[int], now: float) -> None:
        """Take in a queued job, or its new form; `missing` are its unfinished dependencies."""
        self.remove(job.id)
        self._provider[job.id] = job.provider
        self._queued[job.provider] = self._queued.get(job.provider, 0) + 1
        if missing:
            self._missing[job.id] = set(missing)
            self._blocked[job.id] = job
            for parent in missing:
                self._children.setdefault(parent, set()).add(job.id)
            return
        place = _Place(job.provider, job.priority, job.batch or "")
        at = ready_at(job)
        if at > now:
            self._due[job.id] = (at, place)
            heapq.heappush(self._later, (at, job.id))
        else:
            self._line_up(job.id, place)

    def _line_up(self, job: int, place: _Place) -> None:
        self._ready[job] = place
        lines = self._lines.setdefault(place.provider, {})
        batches = lines.setdefault(place.priority, OrderedDict())
        heapq.heappush(batches.setdefault(place.batch, []), job)

    def remove(self, job: int) -> None:
        """Forget `job`, if it is here. Its place in a line is passed over when its turn comes."""
        provider = self._provider.pop(job, None)
        if provider is None:
            return
        self._queued[provider] -= 1
        self._ready.pop(job, None)
        self._due.pop(job, None)
        self._blocked.pop(job, None)
        for parent in self._missing.pop(job, ()):
            self._children[parent].discard(job)

    def finished(self, parent: int, now: float) -> None:
        """`parent` succeeded: children that waited for nothing else line up."""
        for child in self._children.pop(parent, ()):
            missing = self._missing[child]
            missing.discard(parent)
            if not missing:
                self.put(self._blocked[child], (), now)

    def blocked_by(self, job: int) -> tuple[int, ...]:
        """The unfinished dependencies of `job`, in order."""
        return tuple(sorted(self._missing.get(job, ())))

    def queued(self, provider: str) -> int:
        """How many jobs of `provider` are queued, for whatever reason."""
        return self._queued.get(provider, 0)

    def pick(self, provider: str, room: int, now: float) -> list[int]:
        """Up to `room` jobs to start now, best first; they leave the backlog.

        Highest priority first; within one, batches take turns; within a batch, the oldest.

        >>> backlog = Backlog()
        >>> for n, batch in ((1, "a"), (2, "a"), (3, "b")):
        ...     job = Job(id=n, provider="m", batch=batch, created_at=0.0, updated_at=0.0)
        ...     backlog.put(job, (), 0.0)
        >>> backlog.pick("m", 3, 0.0)
        [1, 3, 2]
        """
        self._wake(now)
        picked: list[int] = []
        lines = self._lines.get(provider, {})
        for priority in sorted(lines, reverse=True):
            batches = lines[priority]
            while batches and len(picked) < room:
                job = self._next(provider, priority, batches)
                if job is not None:
                    picked.append(job)
            if not batches:
                del lines[priority]
            if len(picked) >= room:
                break
        for job in picked:
            self.remove(job)
        return picked

    def _next(
        self, provider: str, priority: int, batches: OrderedDict[str, list[int]]
    ) -> int | None:
        """The next job of the batch whose turn it is; the batch goes to the end, or goes."""
        batch, line = next(iter(batches.items()))
        place = _Place(provider, priority, batch)
        found = None
        while line and found is None:
            job = heapq.heappop(line)
            if self._ready.get(job) == place:
                del self._ready[job]
                found = job
        if line:
            batches.move_to_end(batch)
        else:
            del batches[batch]
        return found

    def _wake(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            at, job = heapq.heappop(self._later)
            due = self._due.get(job)
            if due is not None and due[0] == at:
                del self._due[job]
                self._line_up(job, due[1])

    def next_wakeup(self, now: float) -> float | None:
        """When, after `now`, the next job that waits for its time is due, or None.

        Those that are due line up: for them it is a slot, or the gate, that must be waited for.
        """
        self._wake(now)
        while self._later:
            at, job = self._later[0]
            due = self._due.get(job)
            if due is not None and due[0] == at:
                return at
            heapq.heappop(self._later)
        return None


class Pace(Struct):
    """At most so many calls a minute, evenly spaced. 0: no limit."""

    per_minute: int
    next_at: float = 0.0

    def ready_at(self, now: float) -> float:
        """When the next call may go."""
        return now if self.per_minute == 0 else max(now, self.next_at)

    def take(self, now: float) -> float:
        """Reserve the next call; when it may go.

        >>> pace = Pace(60)
        >>> pace.take(5.0), pace.take(5.0), pace.take(5.0)
        (5.0, 6.0, 7.0)
        """
        at = self.ready_at(now)
        if self.per_minute:
            self.next_at = at + 60.0 / self.per_minute
        return at
