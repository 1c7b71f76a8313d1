"""The most telling cells of the crash matrix, and a few random kills; `./dev crash` has all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.cells import Cell, cells
from tests.crash.matrix import play
from tests.crash.night import Night

KILLS = 6
TELLING = {
    ("http", "request_leaves", False, "kept"),
    ("http", "in_flight", True, "kept"),
    ("http", "in_flight", False, "cut"),
    ("deliver", "before_post", False, "kept"),
    ("deliver", "before_post", True, "lost"),
    ("deliver", "mock_accepted", True, "cut"),
    ("deliver", "after_paid_line", False, "kept"),
    ("deliver", "mid_download", False, "kept"),
    ("deliver", "folder_synced", False, "kept"),
    ("cancel early", "before_paid_line", True, "kept"),
    ("pay again", "mock_accepted", False, "kept"),
    ("restart", "after_recovery", False, "kept"),
    ("restore", "restore_set_aside", False, "kept"),
}


def telling() -> list[Cell]:
    """Those cells."""
    return [one for one in cells() if (one.scene, one.place, one.lookup, one.answer) in TELLING]


def test_the_telling_cells_are_all_in_the_matrix() -> None:
    assert len(telling()) == len(TELLING)


@pytest.mark.parametrize("cell", telling(), ids=lambda one: "-".join(map(str, one[:4])))
def test_killed_there_it_neither_pays_twice_nor_loses_what_was_paid_for(
    cell: Cell, tmp_path: Path
) -> None:
    result = play(cell, tmp_path)
    assert not result.wrong, "\n".join(result.wrong)


def test_killed_at_random_moments_under_a_mixed_load_it_keeps_every_promise(
    tmp_path: Path,
) -> None:
    tally = Night(tmp_path, 20).pass_by(KILLS, lambda _: None)
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.kills == KILLS
