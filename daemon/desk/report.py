"""What the daemon says about itself: providers, status, and what explains a job."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from daemon import __version__
from daemon.book import Book
from daemon.clock import Clock
from daemon.core.explain import Scene
from daemon.core.gate import Gate, blocking, reopens_at, state
from daemon.core.job import STATES, Job
from daemon.providers import Provider
from daemon.store.port import JobStore

UNCOLLECTED_MAX = 100
"""Ids of jobs without their paid result that a status lists."""
LEFT_ALONE = "unexpected errors, see the daemon's log; a restart tries again"
STAGES = ("queue", "prepare", "submit", "generate", "download")


class Reporter:
    """Reads the book; changes nothing. `started_at` is when it was made."""

    def __init__(
        self,
        *,
        book: Book,
        store: JobStore,
        clock: Clock,
        providers: Mapping[str, Provider],
        socket: str,
        config: Path | None,
        problems: Callable[[], list[str]],
    ) -> None:
        self.providers = providers
        self._book = book
        self._store = store
        self._clock = clock
        self._facts = {
            "pid": os.getpid(),
            "socket": socket,
            "started_at": clock.now(),
            "config": None if config is None else str(config),
        }
        self._problems = problems

    def scene(self, job: Job) -> Scene:
        """What explains `job`: its gate, what it waits for, whether there is a slot."""
        provider = self.providers.get(job.provider)
        if provider is None:
            idle = f"{job.provider} isn't configured any more"
            return msgspec.structs.replace(self._book.scene(job), idle=idle)
        if job.id in self._book.left_alone:
            return msgspec.structs.replace(self._book.scene(job), idle=LEFT_ALONE)
        if job.state != "queued":
            return self._book.scene(job)
        taken = self._book.slots_taken(job.provider)
        return self._book.scene(job, provider.policy.limits.concurrency - taken)

    async def status(self) -> dict[str, Any]:
        """Interfaces.md 2, `status`."""
        owed = self._book.uncollected()
        return {
            "counts": {name: self._book.counts.get(name, 0) for name in STATES},
            "uncollected": len(owed),
            "providers": self.provider_rows(),
            "daemon": {
                "version": __version__,
                **self._facts,
                "journal_bytes": await self._store.size_bytes(),
                "problems": self._problems(),
                "uncollected_jobs": owed[:UNCOLLECTED_MAX],
            },
        }

    def provider_rows(self) -> list[dict[str, Any]]:
        """Interfaces.md 2, a provider: every configured one, by name."""
        return [self.provider_row(self.providers[name]) for name in sorted(self.providers)]

    def provider_row(self, provider: Provider) -> dict[str, Any]:
        """One provider as `genq providers --json` shows it."""
        name, book = provider.name, self._book
        gate = book.gate(name)
        return {
            "name": name,
            "engine": provider.kind,
            "enabled": provider.enabled,
            "gate": gate_row(gate, self._clock.now()),
            "errors_consecutive": gate.errors_consecutive,
            "quota_consecutive": gate.quota_consecutive,
            "running": book.slots_taken(name),
            "concurrency": provider.policy.limits.concurrency,
            "queued": book.backlog.queued(name),
            "latency": self._latency(name),
        }

    def _latency(self, name: str) -> dict[str, dict[str, Any]]:
        rows = {}
        for stage in STAGES:
            window = self._book.latencies.get((name, stage))
            if window is not None:
                p50, p95 = window.quantile(0.5), window.quantile(0.95)
                rows[stage] = {"p50_s": p50, "p95_s": p95, "n": len(window)}
        return rows

    def kept_shut(self, name: str) -> str | None:
        """Why nobody can resume `name`: the configuration shuts it. None if that isn't so."""
        shut = blocking(self._book.gate(name), self._clock.now())
        if shut and shut[0].source == "config":
            return f"{name} stays closed: {shut[0].reason}"
        return None


def gate_row(gate: Gate, now: float) -> dict[str, Any]:
    """A gate as JSON shows it: the word, until when, and the cause that holds longest.

    Causes that ran out, and only ask for a probe, aren't shown.
    """
    shut = blocking(gate, now)
    first = shut[0] if shut else None
    return {
        "state": state(gate, now),
        "until_at": reopens_at(gate, now),
        "reason": None if first is None else first.reason,
        "source": None if first is None else first.source,
        "causes": [
            {"cause": one.cause, "until_at": one.until_at, "reason": one.reason} for one in shut
        ],
    }
