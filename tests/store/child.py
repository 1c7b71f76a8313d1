"""A process that writes to a journal until it is killed.

`child.py FOLDER` says each number that is durable. `child.py FOLDER commit` kills itself at the
commit of an accepted id: paid.jsonl has it, the journal doesn't.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from daemon.clock import SystemClock
from daemon.store.sqlite import SqliteStore
from tests.store.facts import Pen, new_job, paid, running_job, sent_job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.store.port import Line

WRITERS = 20


class DyingConnection(sqlite3.Connection):
    """Kills its process instead of committing what was accepted."""

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        if statement == "COMMIT" and "generating" in str(
            super().execute("SELECT state FROM jobs WHERE id = 1").fetchone()
        ):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(statement, values)


def say(lines: Sequence[Line]) -> None:
    os.write(1, b"".join(b"%d\n" % line.seq for line in lines))


async def write_for_ever(folder: Path) -> None:
    store = SqliteStore(folder, clock=SystemClock())
    pen = Pen(store, await store.open())
    store.on_commit(say)

    async def revise(number: int) -> None:
        job = new_job(number)
        while True:
            await pen.add(job)
            job = msgspec.structs.replace(job, rev=job.rev + 1)

    await asyncio.gather(*map(revise, range(1, WRITERS + 1)))


async def die_at_the_commit(folder: Path) -> None:
    def connect(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, factory=DyingConnection
        )

    store = SqliteStore(folder, clock=SystemClock(), connect=connect)
    pen = Pen(store, await store.open())
    await pen.add(sent_job(1, key="key-1"))
    await pen.add(running_job(1), paid=[paid(1)])


if __name__ == "__main__":
    ways = {"write": write_for_ever, "commit": die_at_the_commit}
    asyncio.run(ways[sys.argv[2]](Path(sys.argv[1])))
