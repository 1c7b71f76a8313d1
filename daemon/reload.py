"""SIGHUP: the configuration read again. A bad one changes nothing, and everybody is told why."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from daemon.assembly import Assembler, AssemblyError
from daemon.config import ConfigError, Flags, Loaded, changed, load
from daemon.core.events import EventType
from daemon.engines.engine import Engine
from daemon.providers import Provider

log = structlog.get_logger()
DETAIL_CHARS_MAX = 2_000


class Reloader:
    """Takes over a new configuration into the running providers, one reload at a time."""

    def __init__(
        self,
        loaded: Loaded,
        flags: Flags,
        environ: Mapping[str, str],
        cwd: Path,
        *,
        assembler: Assembler,
        providers: dict[str, Provider],
        taken: Callable[[Loaded], None],
        tell: Callable[[EventType, str], None],
    ) -> None:
        self._loaded = loaded
        self._flags = flags
        self._environ = environ
        self._cwd = cwd
        self._assembler = assembler
        self._providers = providers
        self._taken = taken
        self._tell = tell
        self._one_at_a_time = asyncio.Lock()
        self._retired: list[Engine] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def soon(self) -> None:
        """Reload in a task of its own."""
        task = asyncio.get_running_loop().create_task(self.reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def reload(self) -> None:
        """Read, check, build; then take over all of it, or nothing.

        A provider that is gone from the file stays until the next start, for its jobs.
        """
        async with self._one_at_a_time:
            try:
                loaded = await asyncio.to_thread(self._read)
                providers = await asyncio.to_thread(self._assembler.build, loaded)
            except (ConfigError, AssemblyError, OSError) as error:
                log.warning("config_not_taken_over", problems=str(error))
                self._tell("config_refused", str(error)[:DETAIL_CHARS_MAX])
                return
            changes = changed(self._loaded.config, loaded.config)
            for name in sorted(set(self._providers) - set(providers)):
                log.warning("provider_kept", provider=name, why="it goes at the next start")
            self._retired += [
                engine
                for name in providers
                if name in self._providers and (engine := self._providers[name].engine) is not None
            ]
            self._loaded = loaded
            self._providers.update(providers)
            self._taken(loaded)
            told = ", ".join(str(one) for one in changes) or "nothing changed"
            self._tell("config_reloaded", told[:DETAIL_CHARS_MAX])

    async def close(self) -> None:
        """Close the engines that were replaced; call when no request is out any more.

        Not earlier: a paid request may be on its way through one of them.
        """
        for engine in self._retired:
            await engine.close()

    def _read(self) -> Loaded:
        return load(self._flags, self._environ, self._cwd, path=self._loaded.path)
