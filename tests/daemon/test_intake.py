"""What comes in: the part of it that reads files, away from the loop."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from daemon.core.job import Image
from daemon.core.policy import Policy
from daemon.desk.intake import Intake
from daemon.desk.report import Reporter
from daemon.engines.engine import Problem
from daemon.media.inputs import InputStore
from daemon.media.pictures import PictureLimits
from daemon.providers import Provider
from daemon.wire.messages import RequestError, Row
from tests.fakes.clock import FakeClock
from tests.fakes.shell import Shell


class Reading:
    """An engine that notes which thread asked it, and refuses one prompt."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def check(self, prompt: str, params: Mapping[str, Any], images: int) -> list[Problem]:
        del params, images
        self.threads.add(threading.get_ident())
        return [Problem("prompt", "no")] if prompt == "bad" else []


@pytest.fixture
def engine() -> Reading:
    return Reading()


@pytest.fixture
def intake(engine: Reading, tmp_path: Path) -> Intake:
    shell, clock = Shell({}), FakeClock()
    provider = Provider(
        "p",
        kind="comfyui",
        engine=engine,  # type: ignore[arg-type]  # only its check is asked for
        policy=Policy(),
        params={},
        pictures=PictureLimits(),
    )
    reporter = Reporter(
        book=shell.book,
        store=shell.store,
        clock=clock,
        providers={"p": provider},
        socket="",
        config=None,
        problems=list,
    )
    return Intake(shell.book, InputStore(tmp_path), reporter, clock)


async def test_all_rows_are_checked_in_one_thread_that_is_not_the_loops(
    intake: Intake, engine: Reading
) -> None:
    rows = [Row(provider="p", prompt="a") for _ in range(50)]
    assert (await intake.add(rows, None, dry_run=True))["count"] == 50
    assert len(engine.threads) == 1
    assert threading.get_ident() not in engine.threads


async def test_what_the_thread_found_refuses_the_whole_add(intake: Intake) -> None:
    rows = [Row(provider="p", prompt=text) for text in ("a", "bad", "a")]
    with pytest.raises(RequestError) as caught:
        await intake.add(rows, None, dry_run=True)
    problems = caught.value.body.problems
    assert [(one.row, one.field, one.message) for one in problems] == [(1, "prompt", "no")]


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("source", ["refs/a.png", "/srv/a.png", "http:/a.test/b.png"])
async def test_a_file_that_was_only_named_is_not_taken_for_a_link(
    intake: Intake, source: str, dry_run: bool
) -> None:
    link = Image(source="https://a.test/b.png")
    rows = [Row(provider="p", prompt="a", images=(link, Image(source=source)))]
    with pytest.raises(RequestError) as caught:
        await intake.add(rows, None, dry_run=dry_run)
    problems = caught.value.body.problems
    found = [(one.row, one.field, one.message) for one in problems]
    assert found == [(0, "images[1]", "the picture was not sent")]
