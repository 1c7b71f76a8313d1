"""One genqd for all tests of a file: each brings a vendor and a provider of its own to it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomli_w

from tests.fakes.installation import until
from tests.fakes.studio import Studio

ALONE = "[pictures]\nimage_workers = 1\n"


class SharedStudio(Studio):
    """`common` holds the keys of every provider's section. Commands run in this process, into a
    pipe, but for those of `run`. The daemon starts with the first provider that it is to have.
    """

    def __init__(self, folder: Path, common: dict[str, Any], **environ: str) -> None:
        super().__init__(folder, ALONE, **environ)
        self._common = common
        self._sections: dict[str, dict[str, Any]] = {}

    async def provider(self, name: str, base_url: str, **keys: Any) -> None:
        """Have the daemon take over one more section; start it, if it was stopped."""
        self._sections[name] = {**self._common, "base_url": base_url, **keys}
        config = ALONE + tomli_w.dumps({"providers": self._sections})
        if self.genq.process is None:
            self.genq.config.write_text(config)
            await self.start()
        else:
            event = await asyncio.to_thread(self.genq.reload, config)
            assert event["type"] == "config_reloaded", event

    async def add(self, *words: str) -> int:
        """Add one job; its id."""
        return await asyncio.to_thread(self.genq.add, *words)

    async def told(self, *words: str) -> Any:
        """The value that a command prints with --json. Fails if it doesn't exit with 0."""
        answer = await asyncio.to_thread(self.genq.ask, *words, "--json")
        assert answer.code == 0, answer
        return answer.value

    async def why(self, number: int) -> str:
        """The sentence of `genq why`."""
        sentence: str = (await self.told("why", str(number)))["sentence"]
        return sentence

    async def provider_row(self, name: str) -> dict[str, Any]:
        """A provider, as `genq providers --json` shows it."""
        return await asyncio.to_thread(self._row, name)

    async def gate(self, name: str) -> dict[str, Any]:
        """A provider's gate."""
        gate: dict[str, Any] = (await self.provider_row(name))["gate"]
        return gate

    async def paused(self, name: str, cause: str) -> dict[str, Any]:
        """What closes a provider's gate, once `cause` does."""

        def look() -> dict[str, Any]:
            causes = self._row(name)["gate"]["causes"]
            return next((one for one in causes if one["cause"] == cause), {})

        return await asyncio.to_thread(until, look)

    def _row(self, name: str) -> dict[str, Any]:
        rows = self.genq.ask("providers", "--json").value
        found: dict[str, Any] = next(row for row in rows if row["name"] == name)
        return found

    async def events(self, number: int) -> list[dict[str, Any]]:
        """What happened to a job."""
        answer = await asyncio.to_thread(self.genq.ask, "events", "--job", str(number), "--json")
        return [json.loads(line) for line in answer.out.splitlines()]


async def eventually(look: Callable[[], Any]) -> Any:
    """The first true value of `look`; fails if that takes too long."""
    return await asyncio.to_thread(until, look)
