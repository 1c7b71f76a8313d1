"""What the monitor knows: every job, provider and recent event, folded from the stream. Pure.

One writer (the feed), no Textual, no clock. The fold is the daemon's own (`daemon.core.events`).
Foreign text is cleaned here, once, when it comes in. What only the detail of one job shows (its
stages, params, pictures, files) is not kept for all of them: the open job is asked for whole.
"""

import sys
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from daemon.core.events import Event, apply
from daemon.core.gate import blocking
from daemon.core.job import Failure, Job, State
from tui.monitor.gates import Provider, ProviderRow, moved, provider
from tui.text import clean

EVENTS_KEPT_MAX = 5_000
_BULKY: dict[str, Any] = {"params": {}, "images": (), "stages": (), "outputs": ()}
_FOREIGN = ("name", "prompt", "remote_id", "by", "reason", "detail")


class Gap(Struct, frozen=True):
    """A stretch without a connection. `replayed` events of it follow; `anew`: after a snapshot."""

    since_at: float
    until_at: float
    replayed: int
    anew: bool = False


Entry = Event | Gap
Reading = Literal["none", "changed", "torn"]
"""What an event did: nothing new, a change, or it shows that some were missed."""


class Ledger:
    """Every job by its id, and what is counted of them as they come and go."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.counts: Counter[State] = Counter()
        self.by_provider: Counter[tuple[str, State]] = Counter()
        self.highest = 0

    def put(self, job: Job) -> Job | None:
        """Have `job` in the place of what was known of it, which is returned."""
        known = self.jobs.get(job.id)
        if known is not None:
            self.counts[known.state] -= 1
            self.by_provider[known.provider, known.state] -= 1
        self.counts[job.state] += 1
        self.by_provider[job.provider, job.state] += 1
        self.jobs[job.id] = job
        self.highest = max(self.highest, job.id)
        return known


class Board:
    """All that the screens draw. `dirty` has what changed, as it was before (None: not there)."""

    def __init__(self) -> None:
        self.providers: dict[str, Provider] = {}
        self.entries: deque[Entry] = deque(maxlen=EVENTS_KEPT_MAX)
        self.entries_total = 0
        self.seq = 0
        self.dirty: dict[int, Job | None] = {}
        self.snapshots = 0
        self._ledger = Ledger()
        self._coming = Ledger()

    @property
    def jobs(self) -> Mapping[int, Job]:
        """Every job, by its id."""
        return self._ledger.jobs

    @property
    def highest(self) -> int:
        """The highest id of a job; 0 without jobs."""
        return self._ledger.highest

    # ---- coming in ----

    def begin(self) -> None:
        """A snapshot follows. Until it is whole, what is known stands."""
        self._coming = Ledger()

    def load(self, jobs: Iterable[Job]) -> int:
        """A part of a snapshot; how many jobs have come."""
        for job in jobs:
            self._coming.put(tidy(job))
        return len(self._coming.jobs)

    def commit(self, seq: int) -> None:
        """The snapshot is whole: it is the state after the event `seq`."""
        self._ledger, self._coming = self._coming, Ledger()
        self.seq = seq
        self.dirty.clear()
        self.snapshots += 1

    def know(self, rows: Iterable[ProviderRow]) -> None:
        """Fresh rows of all providers."""
        self.providers = {row.name: provider(row) for row in rows}

    def read(self, event: Event) -> Reading:
        """Fold one event of the stream, and keep it for the list of events."""
        if event.type == "snapshot":
            return "torn"
        if event.seq <= self.seq:
            return "none"
        self.seq = event.seq
        event = _cleaned(event)
        self.keep(event)
        if event.gate is not UNSET and event.provider is not UNSET:
            known = self.providers.get(event.provider)
            self.providers[event.provider] = moved(known, event.provider, event.gate)
        if event.job is UNSET:
            return "changed"
        if event.value is not UNSET:
            self._put(tidy(event.value))
            return "changed"
        known_job = self.jobs.get(event.job)
        if known_job is None:
            return "torn"
        self._put(folded(known_job, event))
        return "changed"

    def keep(self, entry: Entry) -> None:
        """Add a line to the list of events; the oldest goes when it is full."""
        if isinstance(entry, Event):
            entry = msgspec.structs.replace(
                entry, value=UNSET, stages=UNSET, params=UNSET, prompt=UNSET
            )
        self.entries.append(entry)
        self.entries_total += 1

    def recall(self, events: Iterable[Event]) -> None:
        """Put stored events into the list, before what comes by the stream."""
        for event in events:
            if event.seq <= self.seq:
                self.keep(_cleaned(event))

    def _put(self, job: Job) -> None:
        self.dirty.setdefault(job.id, self._ledger.put(job))

    # ---- asking ----

    @property
    def counts(self) -> Mapping[State, int]:
        """How many jobs are in each state."""
        return self._ledger.counts

    def count(self, name: str, state: State) -> int:
        """How many jobs of provider `name` are in a state."""
        return self._ledger.by_provider[name, state]

    def queued(self, name: str) -> int:
        """How many jobs wait for provider `name`."""
        return self.count(name, "queued")

    def running(self, name: str) -> int:
        """How many jobs of provider `name` take a slot of it, as far as clients can tell."""
        states: tuple[State, ...] = ("preparing", "submitting", "generating", "cancelling")
        return sum(self._ledger.by_provider[name, state] for state in states)

    def shut(self, now: float) -> list[Provider]:
        """The providers whose gate stops submits at `now`, those somebody must open first."""
        held = [one for one in self.providers.values() if blocking(one.gate, now)]
        held = [one for one in held if one.row.enabled]
        return sorted(
            held, key=lambda one: (blocking(one.gate, now)[0].until_at or 0, one.row.name)
        )

    def shown(self, job: Job, now: float) -> Job:
        """`job` with why it waits, as far as public facts tell (explain.py knows all of them)."""
        if job.state != "queued":
            return job
        reason = self._reason(job, now)
        return job if reason == job.reason else msgspec.structs.replace(job, reason=reason)

    def _reason(self, job: Job, now: float) -> str | None:
        if any(self._unfinished(parent) for parent in job.after):
            return "dependency"
        if job.not_before_at is not None and job.not_before_at > now:
            return "schedule"
        one = self.providers.get(job.provider)
        if one is not None and blocking(one.gate, now):
            return "provider"
        if job.reason == "backoff" and job.next_at is not None and job.next_at > now:
            return "backoff"
        return None

    def _unfinished(self, parent: int) -> bool:
        job = self.jobs.get(parent)
        return job is not None and job.state != "succeeded"


def folded(job: Job, event: Event) -> Job:
    """`job` after `event`, for a list. Why it waited lapses with its state: that is derived.

    >>> job = Job(id=1, provider="m", state="queued", reason="provider", created_at=0, updated_at=0)
    >>> folded(job, Event(at=1.0, type="started", job=1, state="preparing")).reason is None
    True
    """
    after = slim(apply(job, event))
    changes: dict[str, Any] = {}
    if after.state != job.state:
        if event.reason is UNSET:
            changes["reason"] = None
        changes["next_at"] = None
    if event.type == "doubted" and after.state == "submitting":
        changes["reason"] = "reconciling"
    return msgspec.structs.replace(after, **changes) if changes else after


def slim(job: Job) -> Job:
    """`job` without what no list shows."""
    if job.params or job.images or job.stages or job.outputs or job.attempts is not UNSET:
        return msgspec.structs.replace(job, **_BULKY, attempts=UNSET, work=UNSET)
    return job


def tidy(job: Job) -> Job:
    """`job` for a list: slim, every foreign text cleaned, repeated ones shared.

    >>> tidy(Job(id=1, provider="m", prompt="a\\x1b[2Jb", created_at=0.0, updated_at=0.0)).prompt
    'a␛[2Jb'
    """
    return cleaned_job(slim(job))


def cleaned_job(job: Job) -> Job:
    """`job` whole, with every foreign text that the screens show cleaned."""
    changes: dict[str, Any] = {
        "provider": sys.intern(clean(job.provider)),
        "state": sys.intern(job.state),
    }
    if job.prompt:
        changes["prompt"] = clean(job.prompt)
    if job.labels:
        changes["labels"] = tuple(sys.intern(clean(label)) for label in job.labels)
    if job.error is not None:
        changes["error"] = _cleaned_failure(job.error)
    for field in ("batch", "by"):
        value = getattr(job, field)
        if value is not None:
            changes[field] = sys.intern(clean(value))
    for field in ("name", "remote_id", "reason"):
        value = getattr(job, field)
        if value is not None:
            changes[field] = clean(value)
    return msgspec.structs.replace(job, **changes)


def _cleaned_failure(error: Failure) -> Failure:
    return Failure(
        phase=error.phase,
        kind=clean(error.kind),
        http=error.http,
        code=None if error.code is None else clean(error.code),
        message=clean(error.message),
        rule=None if error.rule is None else clean(error.rule),
        advice=None if error.advice is None else clean(error.advice),
    )


def _cleaned(event: Event) -> Event:
    changes: dict[str, Any] = {}
    for field in _FOREIGN:
        value = getattr(event, field)
        if isinstance(value, str):
            changes[field] = clean(value)
    if isinstance(event.provider, str):
        changes["provider"] = sys.intern(clean(event.provider))
    if isinstance(event.error, Failure):
        changes["error"] = _cleaned_failure(event.error)
    if event.labels is not UNSET:
        changes["labels"] = tuple(clean(label) for label in event.labels)
    return msgspec.structs.replace(event, **changes) if changes else event
