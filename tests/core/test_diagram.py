"""The picture of the machine is made from its table."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.core.diagram import BEGIN, END, MarkersMissingError, mermaid, replaced
from daemon.core.job import STATES
from daemon.core.machine import TABLE
from daemon.diagram import main

ROOT = Path(__file__).parent.parent.parent


def test_every_way_from_state_to_state_is_drawn_once() -> None:
    lines = mermaid(TABLE).splitlines()
    assert lines[0] == "stateDiagram-v2"
    drawn = [tuple(line.strip().split(": ")[0].split(" --> ")) for line in lines[3:]]
    ways = {
        (state, target)
        for state in STATES
        for targets in TABLE[state].values()
        for target in targets
        if target != state
    }
    assert set(drawn) == ways
    assert len(drawn) == len(ways)


def test_the_diagram_is_printed_or_put_between_its_markers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\nmore\n")
    for _ in range(2):
        assert main(["--update", str(page)]) == 0
        text = page.read_text()
        assert text == f"# Title\n\n{BEGIN}\n```mermaid\n{printed}```\n{END}\nmore\n"


@pytest.mark.parametrize("text", ["no markers", BEGIN, END, f"{END}\n{BEGIN}\n"])
def test_a_page_without_a_place_for_the_diagram_is_left_as_it_is(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MarkersMissingError):
        replaced(text, "x")
    page = tmp_path / "page.md"
    page.write_text(text)
    assert main(["--update", str(page)]) == 1
    assert page.read_text() == text
    assert "needs a line" in capsys.readouterr().err


def test_a_page_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--update", str(tmp_path / "none.md")]) == 1
    assert "none.md" in capsys.readouterr().err


def test_the_diagram_in_the_documents_is_the_one_of_the_table() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert replaced(page, mermaid(TABLE)) == page, "python -m daemon.diagram --update it"
