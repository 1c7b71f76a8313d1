"""What is old goes, and nothing that is needed again: not even while it goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from daemon.core.commands import Requeue
from daemon.core.job import Finished
from daemon.engines.spool import Spool
from daemon.housekeeping import JOBS_PER_TURN, Housekeeper
from daemon.media.downloads import Filing
from daemon.media.inputs import InputStore
from daemon.media.pictures import PicturePool
from tests.fakes.clock import settle
from tests.fakes.shell import Shell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class House:
    """A shell with many old jobs, and who tidies it."""

    def __init__(self, folder: Path) -> None:
        self.shell = Shell({"Prepare": []})
        self.shell.performer.gates["Prepare"] = asyncio.Event()
        self.inputs = InputStore(folder / "inputs")
        self.pictures = PicturePool(1, folder / "fitted")
        self.keeper = Housekeeper(
            book=self.shell.book,
            store=self.shell.store,
            clock=self.shell.clock,
            inputs=self.inputs,
            pictures=self.pictures,
            filing=Filing(folder / "outputs"),
            spool=Spool(folder / "spool"),
            keep_days=1.0,
        )

    async def old(self, count: int = 1, **fields: object) -> list[int]:
        """Jobs that ended long ago."""
        ended = {"state": "succeeded", "work": Finished(), "finished_at": 5.0, **fields}
        numbers = self.shell.add(count, **ended)
        await settle()
        return numbers


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path)
    await made.inputs.open()
    yield made
    await made.shell.stop()
    await made.pictures.close()


async def test_a_job_that_is_requeued_while_old_ones_go_stays(house: House) -> None:
    numbers = await house.old(JOBS_PER_TURN + 1)
    house.shell.store.held = True
    pruning = asyncio.get_running_loop().create_task(house.keeper.prune())
    await settle()
    last = numbers[-1]
    house.shell.supervisor.command(house.shell.job(last), Requeue(), by="ana")
    house.shell.store.commit()
    house.shell.store.held = False
    assert await pruning == JOBS_PER_TURN
    assert set(house.shell.book.jobs) == {last}
    await house.shell.run()
    assert house.shell.job(last).state == "preparing"


async def test_what_a_job_that_stays_comes_after_stays_too(house: House) -> None:
    now = house.shell.clock.now()
    (first,) = await house.old()
    (second,) = await house.old(after=(first,))
    await house.old()
    (third,) = await house.old(after=(second,), state="failed", finished_at=now)
    await house.keeper.prune()
    assert set(house.shell.book.jobs) == {first, second, third}
    house.shell.supervisor.command(house.shell.job(third), Requeue(), by="ana")
    assert house.shell.book.blocked_by(house.shell.job(third)) == ()
