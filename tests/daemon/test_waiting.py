"""Who waits for jobs is told when none of them can go on by itself, also by our own fault."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from daemon.core.outcomes import Accepted
from daemon.desk.waiting import Waiting
from daemon.wire.messages import Wait
from tests.fakes.clock import settle
from tests.fakes.shell import Shell

if TYPE_CHECKING:
    from collections.abc import Mapping


def waiting(shell: Shell, *jobs: int) -> asyncio.Task[dict[str, Any]]:
    desk = Waiting(book=shell.book, clock=shell.clock, providers=shell.providers)

    def progress(_value: Mapping[str, Any]) -> None:
        """Nobody looks."""

    return asyncio.get_running_loop().create_task(desk.wait(Wait(id=0, jobs=jobs), progress))


async def test_a_job_whose_provider_is_not_configured_any_more_is_not_waited_for() -> None:
    shell = Shell({})
    shell.providers.clear()
    (number,) = shell.add()
    (child,) = shell.add(after=(number,))
    asked = waiting(shell, number, child)
    await shell.run(1.0)
    assert (await asked)["stuck"] == [number, child]


async def test_who_waits_for_a_job_hears_that_it_is_left_alone() -> None:
    shell = Shell({"Submit": [Accepted("r1", "mock:")], "Poll": [RuntimeError("boom")]})
    (number,) = shell.add()
    asked = waiting(shell, number)
    await settle()
    assert not asked.done()
    await shell.run(500.0)
    assert asked.done()
    assert (await asked)["stuck"] == [number]
