"""`python -m tests.crash.programs WAY … PATH`: parts of the daemon that no command leads to.

`hurried` is genqd with an hour that takes a moment, so that its housekeeping can be killed.
`upgrade` brings a journal up to a version that is two steps ahead of today's.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from daemon import failpoints
from daemon.app import App
from daemon.clock import SystemClock
from daemon.config import Flags, load
from daemon.store import opening, schema

HOUR_S = 3_600.0
MOMENT_S = 0.2
STEPS = (
    "CREATE TABLE later (id INTEGER PRIMARY KEY) STRICT;",
    "INSERT INTO later SELECT id FROM jobs;",
)


class HurriedClock(SystemClock):
    """An hour takes MOMENT_S."""

    async def sleep(self, seconds: float) -> None:
        """Wait as long as is asked for, but for an hour."""
        await super().sleep(MOMENT_S if seconds == HOUR_S else seconds)


def hurried(config: Path) -> None:
    flags, here = Flags(config=config), Path.cwd()
    app = App(load(flags, os.environ, here), flags, os.environ, here, clock=HurriedClock())
    asyncio.run(app.run())


def upgrade(folder: Path) -> None:
    opening.open_folder(folder, (*schema.steps(), *STEPS), now=SystemClock().now())


if __name__ == "__main__":
    failpoints.arm(os.environ)
    {"hurried": hurried, "upgrade": upgrade}[sys.argv[1]](Path(sys.argv[-1]))
