"""A world to try the core in: providers that keep a truthful ledger, whatever they answer.

What a provider does and what it says are two things: a request may be accepted and its answer
lost, an acceptance may become visible late, a link may be dead. The ledger knows what happened;
the core knows only the answers. Every draw comes from one `Chance`, so that a seed is a history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

from daemon.core.job import Intent, Output, Phase, Remote, Result
from daemon.core.outcomes import (
    Absent,
    Accepted,
    Fault,
    Outcome,
    Pending,
    Prepared,
    Ready,
    Saved,
    Stopped,
)
from daemon.core.policy import Policy

T = TypeVar("T")


class Chance(Protocol):
    """Where all luck comes from."""

    def random(self) -> float:
        """A draw from [0, 1)."""


class Dice:
    """SplitMix64: the same rolls for the same seed, on every version of Python."""

    MASK = (1 << 64) - 1

    def __init__(self, seed: int) -> None:
        self._state = (seed * 0x2545F4914F6CDD1D + 0x1234567) & self.MASK

    def random(self) -> float:
        self._state = (self._state + 0x9E3779B97F4A7C15) & self.MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & self.MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & self.MASK
        return float(((mixed ^ (mixed >> 31)) >> 11) / (1 << 53))


def happens(chance: Chance, share: float) -> bool:
    return chance.random() < share


def between(chance: Chance, low: float, high: float) -> float:
    return low + chance.random() * (high - low)


def one_of(chance: Chance, options: Sequence[T]) -> T:
    return options[int(chance.random() * len(options)) % len(options)]


class Task:
    """What really became of one accepted request."""

    def __init__(self, key: str, remote_id: str, now: float, lag_s: float, took_s: float) -> None:
        self.key = key
        self.remote_id = remote_id
        self.started_at = now
        self.visible_at = now + lag_s
        self.ready_at = now + took_s
        self.fails = False
        self.strange = False
        self.vanished = False
        self.stopped = False
        self.billed = True


class Weather(Struct, frozen=True):
    """How bad it is now. Shares from 0 to 1; `down`: nobody is reached; `quota`: 429 to submits.

    `strange`: answers that no page of the provider's documents names; `forgetful`: it denies a
    task that it runs; `link_s`: how long a link to a result works; `lag_s`: how long an accepted
    task isn't seen by a lookup yet.
    """

    faults: float = 0.0
    lost: float = 0.0
    refused: float = 0.0
    failing: float = 0.0
    vanishing: float = 0.0
    strange: float = 0.0
    forgetful: float = 0.0
    link_s: float = 3_600.0
    lag_s: float = 1.0
    down: bool = False
    quota: bool = False
    quota_hint_s: float | None = None
    daily: bool = False


CALM = Weather()
ANOTHER_DAY = "quota exceeded: generate_requests_per_model_per_day"


def storm(chance: Chance, lag_s_max: float) -> Weather:
    """Some of everything; no two are alike."""
    return Weather(
        faults=one_of(chance, (0.0, 0.3, 0.9)),
        lost=one_of(chance, (0.0, 0.3, 0.8)),
        refused=one_of(chance, (0.0, 0.0, 0.3, 0.6)),
        failing=one_of(chance, (0.0, 0.3)),
        vanishing=one_of(chance, (0.0, 0.05)),
        strange=one_of(chance, (0.0, 0.0, 0.2)),
        forgetful=one_of(chance, (0.0, 0.0, 0.1)),
        link_s=one_of(chance, (1.0, 20.0, 3_600.0)),
        lag_s=one_of(chance, (0.0, 1.0, lag_s_max)),
        down=happens(chance, 0.15),
        quota=happens(chance, 0.2),
        quota_hint_s=one_of(chance, (None, None, 0.0, 30.0, 5_000.0)),
        daily=happens(chance, 0.3),
    )


class FakeVendor:
    """One provider. `ledger` is the truth about what was accepted; answers may tell less."""

    def __init__(
        self,
        name: str,
        policy: Policy,
        chance: Chance,
        was_accepted: Callable[[str], None] = lambda key: None,
    ) -> None:
        self.name = name
        self.policy = policy
        self.weather = CALM
        self.ledger: dict[str, Task] = {}
        self._was_accepted = was_accepted
        self._chance = chance
        self._links: dict[str, float] = {}

    def tasks(self, keys: set[str]) -> list[Task]:
        return [task for task in self.ledger.values() if task.key in keys]

    # ---- what it does ----

    def prepare(self, key: str) -> Outcome:
        if happens(self._chance, self.weather.faults / 8):
            kind = one_of(self._chance, ("local.decode", "local.io", "internal", "local.nospace"))
            return Fault("prepare", kind, message="a picture that can't be read")
        return Prepared(key, f"http://{self.name}", "digest")

    def submit(self, intent: Intent, now: float) -> Outcome:
        """The answer that will arrive; it need not say whether the ledger has the task."""
        weather, chance = self.weather, self._chance
        if weather.down:
            return Fault("submit", one_of(chance, ("transport.connect", "transport.dns")))
        if weather.quota:
            hint = weather.quota_hint_s
            words = ANOTHER_DAY if weather.daily else "too many requests"
            return Fault("submit", "http", http=429, message=words, retry_after_s=hint)
        if happens(chance, weather.refused):
            return self._refusal()
        if happens(chance, weather.lost):
            if happens(chance, 0.5):
                self._accept(intent, now)
            return self._lost("submit")
        task = self._accept(intent, now)
        if happens(chance, weather.lost / 4):
            return Fault("submit", "http", http=400, code="1231", effect="accepted")
        if not self.policy.abilities.synchronous:
            return Accepted(task.remote_id, intent.target)
        if task.fails:
            return Fault("submit", "provider.failed", message="filtered", effect="accepted")
        return Ready((self._link(f"spool:{task.remote_id}", now, 86_400.0),))

    def _link(self, url: str, now: float, works_s: float) -> Result:
        """A link to a result; a fresh one each time, as signed addresses are."""
        url = f"{url}?{len(self._links)}"
        self._links[url] = now + works_s
        return Result(url)

    def _accept(self, intent: Intent, now: float) -> Task:
        limits = self.policy.limits
        lag_s = between(self._chance, 0.0, self.weather.lag_s)
        took_s = between(self._chance, 0.0, limits.generate_timeout_s * 1.1)
        remote_id = f"{self.name}-{len(self.ledger) + 1}"
        task = Task(intent.key, remote_id, now, lag_s, took_s)
        task.fails = happens(self._chance, self.weather.failing)
        task.strange = happens(self._chance, self.weather.strange)
        self.ledger[remote_id] = task
        self._was_accepted(intent.key)
        return task

    def _refusal(self) -> Fault:
        http, kind = one_of(
            self._chance,
            ((400, "http"), (401, "http"), (402, "http"), (503, "http"), (None, "provider.error")),
        )
        return Fault("submit", kind, http=http, message="no", effect="none")

    def _lost(self, phase: Phase) -> Fault:
        http, kind = one_of(
            self._chance,
            ((504, "http"), (None, "transport.timeout.read"), (None, "transport.reset")),
        )
        return Fault(phase, kind, http=http, effect="unknown")

    def lookup(self, intent: Intent, now: float) -> Outcome:
        """Truthful, but for faults of every effect: a look that failed says nothing."""
        if self.weather.down or happens(self._chance, self.weather.faults):
            effect = one_of(self._chance, ("none", "unknown", "accepted"))
            phase: Phase = one_of(self._chance, ("submit", "poll"))
            http = one_of(self._chance, (None, 404, 401, 429, 500))
            kind = "transport.connect" if http is None else "http"
            return Fault(phase, kind, http=http, effect=effect)  # type: ignore[arg-type]
        for task in reversed(self.tasks({intent.key})):
            if now >= task.visible_at and not task.vanished:
                return Accepted(task.remote_id, intent.target)
        return Absent()

    def poll(self, remote: Remote, now: float) -> Outcome:
        weather, chance = self.weather, self._chance
        if weather.down:
            return Fault("poll", "transport.connect", effect="accepted")
        if happens(chance, weather.faults):
            http = one_of(chance, (504, 502, 500, 429, 408, 404, 403, 401, None, None))
            kind = "transport.timeout.read" if http is None else "http"
            hint = one_of(chance, (None, 5.0, 90.0)) if http == 429 else None
            return Fault("poll", kind, http=http, retry_after_s=hint, effect="accepted")
        task = self.ledger.get(remote.remote_id)
        if task is None or self._is_forgotten(task, now):
            return Fault("poll", "http", http=404, message="no such task", effect="accepted")
        unfinished = now < task.ready_at and self.policy.abilities.lookup
        if unfinished and happens(chance, weather.vanishing):
            task.vanished, task.billed = True, False
        if task.vanished:
            return Absent()
        return self._state_of(task, now)

    def _is_forgotten(self, task: Task, now: float) -> bool:
        """After its retention for good; in forgetful weather for once."""
        old = now > task.ready_at + self.policy.abilities.retention_s
        return old or happens(self._chance, self.weather.forgetful)

    def _state_of(self, task: Task, now: float) -> Outcome:
        if happens(self._chance, self.weather.strange):
            words = "task_status is PAUSED_BY_SATURN"
            return Fault("poll", "protocol", http=200, message=words, effect="accepted")
        if now < task.ready_at and not task.stopped:
            done = (now - task.started_at) / (task.ready_at - task.started_at)
            return Pending(round(done, 1) if self.policy.abilities.progress else None)
        if task.fails or task.stopped:
            return Fault("poll", "provider.failed", message="it failed", effect="accepted")
        if task.strange:
            task.strange = False
            return Fault("poll", "provider.error", message="done, and no URL", effect="accepted")
        return Ready(
            (self._link(f"http://{self.name}/{task.remote_id}", now, self.weather.link_s),)
        )

    def fetch(self, job: int, remote: Remote, now: float) -> Outcome:
        if any(now > self._links.get(one.url, 0.0) for one in remote.results):
            return Fault("download", "http", http=403, message="expired", effect="accepted")
        if happens(self._chance, self.weather.faults):
            kind, http = one_of(
                self._chance,
                (
                    ("http", 403),
                    ("http", 404),
                    ("http", 500),
                    ("http", 429),
                    ("transport.timeout.read", None),
                    ("local.nospace", None),
                    ("local.toolarge", None),
                ),
            )
            return Fault("download", kind, http=http, effect="accepted")
        size = 1_000 + len(self.ledger)
        return Saved(
            tuple(Output(f"/out/{job}", size, "hash", "video/mp4") for _ in remote.results)
        )

    def stop(self, remote: Remote, now: float) -> Outcome:
        if not self.policy.abilities.cancel:
            return Stopped("unknown")
        if self.weather.down or happens(self._chance, self.weather.faults):
            return Fault("poll", "transport.reset", effect="accepted")
        task = self.ledger.get(remote.remote_id)
        if task is None or task.vanished:
            return Absent()
        if now >= task.ready_at and not task.fails and not task.stopped:
            return Ready((self._link(f"http://{self.name}/{task.remote_id}", now, 60.0),))
        if not task.stopped:
            task.stopped, task.billed = True, happens(self._chance, 0.5)
        return Stopped("unknown" if task.billed else "no", ended=happens(self._chance, 0.5))
