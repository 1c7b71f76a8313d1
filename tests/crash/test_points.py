"""The places themselves: each is in the code, once; a wrong name is told; nothing dies unasked."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from daemon import failpoints
from daemon.core.events import EventType
from daemon.failpoints import FACTS, POINTS, FailpointError, arm
from tests.crash.cells import IN_FLIGHT, cells
from tests.fakes.installation import ROOT, Installation


def passages() -> Counter[str]:
    """The names that the daemon's code passes by; `commit` stands for all of its own."""
    found: Counter[str] = Counter()
    for path in (ROOT / "daemon").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="failpoints"), attr="at"),
                    args=[ast.Constant(value=str(name))],
                ):
                    found[name] += 1
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="failpoints"), attr="commit"),
                    args=[ast.Constant(value=str(side)), _],
                ):
                    found.update(f"{side}_{word}" for word in FACTS.values())
                case _:
                    pass
    return found


def test_every_place_is_in_the_code_exactly_once() -> None:
    assert passages() == Counter(dict.fromkeys(POINTS, 1))


def test_the_matrix_kills_at_every_place() -> None:
    killed_at = {cell.place for cell in cells()} - {IN_FLIGHT}
    assert killed_at == set(POINTS)


def test_the_places_at_commits_are_called_after_events_that_there_are() -> None:
    assert set(FACTS) <= set(get_args(EventType))


def test_without_the_variables_a_passage_does_nothing() -> None:
    passing = failpoints.at, failpoints.commit
    assert not arm({"PATH": "/bin"})
    assert (failpoints.at, failpoints.commit) == passing
    failpoints.at("before_post")
    failpoints.commit("before", [])


@pytest.mark.parametrize(
    "asked", ["before_past", "before_post:0", "before_post:x", "before_post:-1"]
)
def test_what_names_no_place_is_refused(asked: str) -> None:
    with pytest.raises(FailpointError):
        arm({"GENQ_FAILPOINT": asked})


def test_genqd_does_not_start_for_an_unknown_place_and_lists_those_that_there_are(
    tmp_path: Path,
) -> None:
    done = Installation(tmp_path).genqd("run", GENQ_FAILPOINT="before_past")
    assert done.returncode == 78
    assert "there is no place 'before_past'" in done.stderr
    assert all(name in done.stderr for name in POINTS)
    assert not (tmp_path / "state").exists()
