"""paid.jsonl survives what a crash and a full disk do to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from daemon.store.encoding import encode
from daemon.store.paid import PaidFile, read_paid
from tests.store.facts import paid

if TYPE_CHECKING:
    from pathlib import Path


def append(path: Path, *remote_ids: str) -> None:
    file = PaidFile(path)
    try:
        file.append(b"".join(encode(paid(1, one)) + b"\n" for one in remote_ids))
    finally:
        file.close()
        file.close()


def test_ids_are_read_in_the_order_they_were_accepted(tmp_path: Path) -> None:
    path = tmp_path / "paid.jsonl"
    append(path, "a", "b")
    append(path, "c")
    assert [line.remote_id for line in read_paid(path)[0]] == ["a", "b", "c"]


def test_without_a_file_nothing_was_paid(tmp_path: Path) -> None:
    assert read_paid(tmp_path / "paid.jsonl") == ([], 0)


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_torn_last_line_spoils_no_other(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "paid.jsonl"
    append(path, "a", "b")
    os.truncate(path, path.stat().st_size - cut)
    whole = ["a", "b"] if cut == 1 else ["a"]
    torn = 0 if cut == 1 else 1
    assert [line.remote_id for line in read_paid(path)[0]] == whole
    append(path, "c")
    lines, unreadable = read_paid(path)
    assert [line.remote_id for line in lines] == [*whole, "c"]
    assert unreadable == torn


def test_only_whole_lines_of_the_end_are_read(tmp_path: Path) -> None:
    path = tmp_path / "paid.jsonl"
    append(path, *(f"task-{number:03}" for number in range(100)))
    line_bytes = path.stat().st_size // 100
    lines, unreadable = read_paid(path, tail_bytes=5 * line_bytes + 7)
    assert [line.remote_id for line in lines] == [f"task-{number:03}" for number in range(95, 100)]
    assert unreadable == 0


def test_a_part_that_was_written_before_is_written_again_whole(tmp_path: Path) -> None:
    path = tmp_path / "paid.jsonl"
    append(path, "a")
    with path.open("ab") as file:
        file.write(encode(paid(1, "b"))[:30])
    append(path, "b")
    lines, unreadable = read_paid(path)
    assert [line.remote_id for line in lines] == ["a", "b"]
    assert unreadable == 1


def test_without_room_the_caller_is_told(tmp_path: Path) -> None:
    path = tmp_path / "paid.jsonl"
    path.symlink_to("/dev/full")
    file = PaidFile(path)
    try:
        with pytest.raises(OSError, match="No space left"):
            file.append(b"{}\n")
    finally:
        file.close()
