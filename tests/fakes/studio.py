"""A real genqd beside a fake vendor that the same test serves: for the seeds, end to end."""

import asyncio
from pathlib import Path
from typing import Any

from tests.fakes.installation import WAIT_S_MAX, Installation


class Studio:
    """The daemon is a process; the vendor answers in this loop, so each command is awaited."""

    def __init__(self, folder: Path, config: str, **environ: str) -> None:
        self.genq = Installation(folder, config=config)
        self.genq.environ.update(environ)

    async def start(self) -> None:
        """Start the daemon and wait until it answers."""
        await asyncio.to_thread(self.genq.start)

    async def kill(self) -> None:
        """SIGKILL; does nothing if it isn't running."""
        await asyncio.to_thread(self.genq.kill)

    async def run(self, *words: str, check: bool = True) -> str:
        """What `genq WORDS` prints; fails on a non-zero exit if `check`."""
        return (await asyncio.to_thread(self.genq.genq, *words, check=check)).stdout

    async def job(self, number: int = 1) -> dict[str, Any]:
        """One job with its attempts, as `genq show --json` prints it."""
        return await asyncio.to_thread(self.genq.show, number)

    async def until(self, number: int, *states: str) -> dict[str, Any]:
        """The job, once it is in one of `states`. Fails if that takes too long."""
        return await asyncio.to_thread(self.genq.until, number, *states)

    async def settled(self) -> None:
        """Wait until no job moves by itself."""
        await self.run("wait", "--timeout", f"{WAIT_S_MAX:g}", check=False)
