"""A default that doesn't apply is left out; what the job asks for is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from daemon.assembly import engine_class
from daemon.engines.defaults import Asked, ask
from tests.fakes.clock import FakeClock
from tests.fakes.vendors.customer import settings_of

TEXT = {"6": {"class_type": "Text", "inputs": {"text": "{{prompt}}", "steps": 20}}}
SIZED = {**TEXT, "5": {"class_type": "Size", "inputs": {"width": "{{width}}"}}}


def asked(
    kind: str, folder: Path, own: Mapping[str, Any], section: str = "", **defaults: Any
) -> Asked:
    settings = settings_of("http://127.0.0.1:9", model=section)
    engine = engine_class(kind)(settings, clock=FakeClock(), spool=folder)
    return ask(engine, "a fox", own, 0, defaults=defaults)


@pytest.mark.parametrize(
    ("kind", "own", "model", "defaults"),
    [
        ("jiekou", {"model": "async/flux-2-flex"}, "seedream-4.5", {"size": "2560x1440"}),
        ("jiekou", {"model": "gemini-3-text-to-image"}, "seedream-4.5", {"watermark": False}),
        ("cogvideox", {"model": "cogvideox-3"}, "cogvideox-2", {"size": "720x480"}),
        ("veo", {"resolution": "1080p"}, "", {"durationSeconds": 4}),
        ("comfyui", {"workflow": TEXT}, "", {"width": 640}),
        ("comfyui", {"workflow": TEXT}, "", {"6.stops": 3}),
        ("comfyui", {"workflow": TEXT}, "", {"9": {"steps": 3}}),
    ],
)
def test_a_default_that_does_not_apply_is_left_out_and_told(
    tmp_path: Path, kind: str, own: dict[str, Any], model: str, defaults: dict[str, Any]
) -> None:
    found = asked(kind, tmp_path, own, model, **defaults)
    assert found.problems == []
    assert found.params == own
    assert list(found.left_out) == list(defaults)
    assert all(found.left_out.values())


@pytest.mark.parametrize(
    ("kind", "own", "model", "defaults"),
    [
        ("jiekou", {}, "seedream-4.5", {"size": "2560x1440"}),
        ("cogvideox", {"duration": 10}, "cogvideox-3", {"quality": "speed", "duration": 5}),
        ("comfyui", {"workflow": SIZED}, "", {"width": 640, "6.steps": 3}),
        ("comfyui", {"workflow": SIZED}, "", {"width": 640, "6": {"steps": 3}}),
    ],
)
def test_a_default_that_applies_is_taken_unless_the_job_has_its_own(
    tmp_path: Path, kind: str, own: dict[str, Any], model: str, defaults: dict[str, Any]
) -> None:
    found = asked(kind, tmp_path, own, model, **defaults)
    assert (found.problems, found.left_out) == ([], {})
    assert found.params == {**defaults, **own}


@pytest.mark.parametrize(
    ("kind", "own", "field"),
    [
        ("jiekou", {"model": "async/flux-2-flex", "size": "2560x1440"}, "params.size"),
        ("comfyui", {"workflow": TEXT, "width": 640}, "params.width"),
        ("comfyui", {"workflow": TEXT, "6.stops": 3}, "params.6.stops"),
    ],
)
def test_what_the_job_asks_for_itself_is_refused(
    tmp_path: Path, kind: str, own: dict[str, Any], field: str
) -> None:
    found = asked(kind, tmp_path, own, "seedream-4.5", **{**own, "watermark": True})
    assert [problem.field for problem in found.problems] == [field]
    assert list(found.left_out) == ["watermark"]


def test_a_default_that_says_what_is_run_is_never_left_out(tmp_path: Path) -> None:
    found = asked("comfyui", tmp_path, {}, workflow=str(tmp_path / "gone.json"), width=640)
    assert [problem.field for problem in found.problems] == ["params.workflow"]
    assert found.left_out == {}


def test_a_default_without_which_the_job_lacks_something_leaves_a_problem(tmp_path: Path) -> None:
    found = asked("comfyui", tmp_path, {"workflow": SIZED}, width=0)
    assert [problem.field for problem in found.problems] == ["params.width"]
    assert list(found.left_out) == ["width"]
