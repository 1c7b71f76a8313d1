import asyncio

import pytest

from daemon.core.commands import Edit, Hold
from daemon.core.job import Stage
from daemon.core.outcomes import Accepted, Pending, Ready, Saved
from daemon.store.port import Batch, StoreError
from tests.fakes.clock import settle
from tests.fakes.performer import Answer
from tests.fakes.shell import Shell
from tests.fakes.store import MemoryStore

LOST = StoreError("the disk is gone")


class FailingStore(MemoryStore):
    """Takes batches, stores none, and can be made to fail as a broken journal does."""

    def __init__(self) -> None:
        super().__init__(held=True)
        self.broken = False
        self.promised: list[asyncio.Future[int]] = []

    def append(self, batch: Batch) -> asyncio.Future[int]:
        if self.broken:
            raise LOST
        future = super().append(batch)
        self.promised.append(future)
        return future

    def fail(self) -> None:
        self.broken = True
        for future in self.promised:
            if not future.done():
                future.set_exception(LOST)


def answers() -> dict[str, list[Answer]]:
    return {
        "Submit": [Accepted("r1", "mock:")],
        "Poll": [Pending(0.5), Ready(())],
        "Fetch": [Saved(())],
    }


async def intent_on_its_way() -> tuple[Shell, FailingStore]:
    """A job whose intent is in memory, and not yet on disk."""
    store = FailingStore()
    shell = Shell(answers(), store=store)
    shell.add()
    await shell.run()
    assert shell.job(1).state == "submitting"
    return shell, store


async def test_nothing_is_durable_any_more_once_the_newest_batch_was_lost() -> None:
    shell, store = await intent_on_its_way()
    store.fail()
    for _ in range(2):
        with pytest.raises(StoreError):
            await shell.book.durable()


async def test_a_request_whose_intent_was_lost_with_the_journal_is_never_sent() -> None:
    shell, store = await intent_on_its_way()
    store.fail()
    shell.supervisor.hurry()
    await shell.run(1.0)
    assert shell.performer.count("Submit") == 0
    assert shell.supervisor.running == 0


async def test_one_who_gives_up_waiting_takes_nobody_else_along() -> None:
    shell = Shell(answers(), store=(store := MemoryStore(held=True)))
    shell.add()
    impatient, patient = (asyncio.create_task(shell.book.durable()) for _ in range(2))
    await settle()
    impatient.cancel()
    store.commit()
    await patient
    assert impatient.cancelled()
    await shell.stop()


async def test_each_stage_that_ended_well_is_learnt_from_once() -> None:
    shell = Shell(answers())
    shell.add(2)
    await shell.run(60.0)
    assert {shell.job(number).state for number in (1, 2)} == {"succeeded"}
    learnt = {stage: len(window) for (_, stage), window in shell.book.latencies.items()}
    assert learnt == dict.fromkeys(("queue", "prepare", "submit", "generate", "download"), 2)


async def test_the_time_in_the_queue_is_learnt_when_the_job_leaves_it() -> None:
    shell = Shell(answers())
    shell.add(stages=(Stage("queue", 0, shell.clock.now() - 30.0),))
    await shell.run()
    assert shell.book.latencies["p", "queue"].quantile(0.5) == 30.0


async def test_a_job_is_found_by_the_name_that_it_has_now() -> None:
    shell = Shell({})
    older, newer = shell.add(name="fox")[0], shell.add(name="fox")[0]
    for number in (older, newer):
        shell.supervisor.command(shell.job(number), Hold(), by=None)
    assert shell.book.named("fox") == newer
    shell.supervisor.command(shell.job(newer), Edit(name="hare"), by=None)
    assert (shell.book.named("fox"), shell.book.named("hare")) == (older, newer)
    shell.supervisor.command(shell.job(older), Edit(name="hare"), by=None)
    assert (shell.book.named("fox"), shell.book.named("hare")) == (None, newer)
    shell.supervisor.command(shell.job(newer), Edit(name=""), by=None)
    assert (shell.book.named(""), shell.book.named("hare")) == (None, older)
