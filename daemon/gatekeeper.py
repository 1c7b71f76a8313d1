"""The gates that the daemon itself opens and shuts: by configuration, by overrides, for space.

What operators paused is kept twice on purpose: in the journal, with everything else, and in
`overrides.toml`, which people can read and add to while the daemon is down. At the start a provider
is paused if either says so: a pause that is lost costs money, one that is left costs a command.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from daemon import overrides
from daemon.book import Book
from daemon.clock import Clock
from daemon.core.events import Event, EventType
from daemon.core.gate import Closure, Gate
from daemon.core.judge import close, gate_events, without
from daemon.overrides import Overrides, Paused
from daemon.providers import Provider, configured

log = structlog.get_logger()


class Gatekeeper:
    """Keeps every provider's gate in line with what isn't the provider's own word."""

    def __init__(
        self,
        *,
        book: Book,
        clock: Clock,
        providers: Mapping[str, Provider],
        overrides_file: Path,
        problem: Callable[[str, str | None], None],
    ) -> None:
        self._book = book
        self._clock = clock
        self._providers = providers
        self._file = overrides_file
        self._problem = problem
        self._saved = Overrides()
        self._saving: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take over what the file says that operators paused. Call once, before anything runs."""
        self._saved, trouble = await asyncio.to_thread(overrides.load, self._file)
        self._problem("overrides", trouble)
        self._change(None, self._as_overridden)
        self._book.watch(self._recorded)

    def configure(self) -> None:
        """Bring the gates in line with the configuration: missing keys, disabled providers."""
        self._change(None, lambda name, gate: configured(gate, self._providers[name].shut))

    def pause_all(self, reason: str) -> None:
        """Shut every gate until an operator opens it."""
        self._change(
            "provider_paused",
            lambda _, gate: close(gate, "operator", None, reason, source="operator"),
        )

    def space(self, trouble: str | None) -> None:
        """The disk is full, and why that is known; or, with None, there is room again."""
        self._problem("space", trouble)
        if trouble is None:
            self._change("provider_resumed", lambda _, gate: without(gate, "space"))
        else:
            self._change("provider_paused", lambda _, gate: close(gate, "space", None, trouble))

    async def close(self) -> None:
        """Wait until the file is written."""
        if self._saving is not None:
            await self._saving

    def _change(self, kind: EventType | None, change: Callable[[str, Gate], Gate]) -> None:
        events: list[Event] = []
        for name in self._providers:
            before = self._book.gate(name)
            events += gate_events(name, before, change(name, before), kind, self._clock.now())
        if events:
            self._book.record(events)

    def _as_overridden(self, name: str, gate: Gate) -> Gate:
        paused = self._saved.paused.get(name)
        if paused is None or any(one.cause == "operator" for one in gate.causes):
            return gate
        return close(gate, "operator", paused.until_at, paused.reason, source="operator")

    def _recorded(self, events: Sequence[Event]) -> None:
        """An operator paused or resumed: keep the file true."""
        if not any(isinstance(event.gate, Gate) for event in events):
            return
        paused = {
            name: Paused(one.until_at, one.reason)
            for name, gate in self._book.gates.items()
            for one in gate.causes
            if _by_operator(one)
        }
        if paused != self._saved.paused:
            self._saved = msgspec.structs.replace(self._saved, paused=paused)
            before = self._saving
            self._saving = asyncio.get_running_loop().create_task(self._save(before))

    async def _save(self, before: "asyncio.Task[None] | None") -> None:
        if before is not None:
            await before
        try:
            await asyncio.to_thread(overrides.save, self._file, self._saved)
        except OSError as error:
            log.warning("overrides_not_saved", error=str(error))


def _by_operator(closure: Closure) -> bool:
    return closure.cause == "operator" and closure.source == "operator"
