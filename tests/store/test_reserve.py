"""The ballast: there when it is needed, made anew only when there is plenty of room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.store.reserve import Reserve

if TYPE_CHECKING:
    from pathlib import Path


def test_the_reserve_takes_its_room_on_the_disk(tmp_path: Path) -> None:
    assert Reserve(tmp_path, 1_048_576).fill()
    found = (tmp_path / "ballast").stat()
    assert found.st_size == 1_048_576
    assert found.st_blocks * 512 >= 1_048_576


def test_the_reserve_is_spent_once(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path, 4096)
    reserve.fill()
    assert reserve.spend()
    assert not reserve.spend()
    assert list(tmp_path.iterdir()) == []


def test_the_last_room_is_not_taken_for_a_reserve(tmp_path: Path) -> None:
    assert not Reserve(tmp_path, 1 << 60).fill()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_has_no_reserve(tmp_path: Path) -> None:
    assert not Reserve(tmp_path / "gone", 4096).fill()
