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
        self._full: dict[str, str] = {}
        self._keys: dict[str, object] = {}

    async def open(self) -> None:
        """Take over what the file says that operators paused. Call once, before anything runs."""
        self._saved, trouble = await asyncio.to_thread(overrides.load, self._file)
        self._problem("overrides", trouble)
        self._change(None, self._as_overridden)
        self._book.watch(self._recorded)

    def configure(self) -> None:
        """Bring the gates in line with the configuration: missing keys, disabled providers.

        A key that changed may be accepted where the last one was refused (interfaces.md 3).
        """
        self._change(None, self._as_configured)
        self._keys = {name: provider.key for name, provider in self._providers.items()}
        if self._full:
            self._shut_for_space()  # a provider may be new

    def pause_all(self, reason: str) -> None:
        """Shut every gate until an operator opens it."""
        self._change(
            "provider_paused",
            lambda _, gate: close(gate, "operator", None, reason, source="operator"),
        )

    def space(self, trouble: str | None) -> None:
        """The journal's disk is full, and why that is known; or, with None, there is room again."""
        self._book.trouble = trouble
        self._space("journal", trouble)

    def room(self, trouble: str | None) -> None:
        """A disk is nearly full; or, with None, none is."""
        self._space("room", trouble)

    def _space(self, about: str, trouble: str | None) -> None:
        """No operator can resume what waits for room: it goes on by itself."""
        self._problem(f"space: {about}", trouble)
        if trouble is not None:
            self._full[about] = trouble
        elif self._full.pop(about, None) is None:
            return
        if self._full:
            self._shut_for_space()
        else:
            self._change("provider_resumed", lambda _, gate: without(gate, "space"))

    def _shut_for_space(self) -> None:
        why = next(iter(self._full.values()))
        self._change(
            "provider_paused", lambda _, gate: close(gate, "space", None, why, source="config")
        )

    async def close(self) -> None:
        """Wait until the file is written."""
        if self._saving is not None:
            await self._saving

    def _change(self, kind: EventType | None, change: Callable[[str, Gate], Gate]) -> None:
        events: list[Event] = []
        for name in self._providers:
            before = self._book.gate(name)
            after = change(name, before)
            said = None if kind == "provider_resumed" and after.causes else kind
            events += gate_events(name, before, after, said, self._clock.now())
        if events:
            self._book.record(events)

    def _as_configured(self, name: str, gate: Gate) -> Gate:
        provider = self._providers[name]
        if name in self._keys and self._keys[name] != provider.key:
            gate = without(gate, "auth")
        return configured(gate, provider.shut)

    def _as_overridden(self, name: str, gate: Gate) -> Gate:
        paused = self._saved.paused.get(name)
        if paused is None or any(_by_operator(one) for one in gate.causes):
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
