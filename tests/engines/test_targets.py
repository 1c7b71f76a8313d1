"""A job keeps what it was made out to: an engine that can't have its task says so at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from daemon.assembly import REAL, engine_class
from daemon.core.faults import classify
from daemon.core.job import Result
from daemon.core.outcomes import Fault
from daemon.engines.engine import Engine, Picture
from tests.fakes.clock import FakeClock
from tests.fakes.vendors.customer import Bucket, request_of, settings_of

OWN: Mapping[str, dict[str, Any]] = {
    "coze": {"workflow_id": "7400000000000000001"},
    "veo": {"variant": "developer"},
}
GRAPH = {"3": {"class_type": "Text", "inputs": {"text": "{{prompt}}"}}}


@pytest.fixture(params=REAL)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def engine(kind: str, tmp_path: Path) -> AsyncIterator[Engine]:
    settings = settings_of(
        "http://127.0.0.1:9", key="k-1", model="seedream-4.5", own=OWN.get(kind, {})
    )
    made: Engine = engine_class(kind)(settings, clock=FakeClock(), spool=tmp_path)
    yield made
    await made.close()


async def test_a_task_of_the_mocks_is_held_at_once(engine: Engine) -> None:
    answers: list[object] = [
        await engine.poll("mock-1", target="mock:"),
        await engine.fetch(Result("mock:mock-1/0"), Bucket(), target="mock:"),
    ]
    if engine.abilities.cancel:
        answers.append(await engine.cancel("mock-1", target="mock:"))
    for answer in answers:
        assert isinstance(answer, Fault)
        assert (answer.kind, answer.effect) == ("local.target", "accepted")
        rule = classify(answer, engine.rules)
        assert (rule.name, rule.do, rule.reason) == ("shared.foreign", "hold", "lost")


@pytest.mark.parametrize("picture", [(), (Picture("a", url="http://127.0.0.1:9/a.png"),)])
async def test_a_doubt_of_the_mocks_stays_a_doubt(
    engine: Engine, kind: str, picture: tuple[Picture, ...]
) -> None:
    graph = {"9": {"class_type": "LoadImage", "inputs": {"image": "{{image}}"}}} if picture else {}
    params = {"workflow": {**GRAPH, **graph}} if kind == "comfyui" else {}
    request = request_of("a fox", *picture, **params)
    answers: list[object] = [await engine.submit(request, key="0" * 32, target="mock:")]
    if engine.abilities.lookup:
        answers.append(await engine.lookup("0" * 32, target="mock:"))
    for answer in answers:
        assert isinstance(answer, Fault)
        assert (answer.kind, answer.effect) == ("local.target", "unknown")
        assert classify(answer, engine.rules).name == "guard"
