"""What the daemon says of jobs that nobody works on: not that they go on."""

from __future__ import annotations

from daemon.core.commands import Cancel
from daemon.core.explain import why
from daemon.core.outcomes import Accepted, Stopped
from daemon.desk.report import Reporter
from tests.fakes.shell import Shell


def reporter(shell: Shell) -> Reporter:
    return Reporter(
        book=shell.book,
        store=shell.store,
        clock=shell.clock,
        providers=shell.providers,
        socket="s",
        config=None,
        problems=list,
    )


async def test_a_job_whose_provider_is_gone_does_not_start_as_soon_as_it_can() -> None:
    shell = Shell({})
    shell.providers.clear()
    (number,) = shell.add()
    told = why(shell.job(number), reporter(shell).scene(shell.job(number)))
    assert told.sentence == "Nobody works on it: p isn't configured any more."


async def test_a_job_that_is_left_alone_says_so_until_somebody_sends_it_on() -> None:
    boom = RuntimeError("boom")
    shell = Shell(
        {"Submit": [Accepted("r1", "mock:")], "Poll": [boom], "Stop": [Stopped("no", ended=True)]}
    )
    (number,) = shell.add()
    await shell.run(500.0)
    told = why(shell.job(number), reporter(shell).scene(shell.job(number)))
    assert told.sentence.startswith("Nobody works on it: unexpected errors")
    assert told.next_at is None
    shell.supervisor.command(shell.job(number), Cancel(), by="ana")
    await shell.run(10.0)
    told = why(shell.job(number), reporter(shell).scene(shell.job(number)))
    assert told.sentence.startswith("Cancelled by ana")
