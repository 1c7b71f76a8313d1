import asyncio
import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from daemon.engines.mock_ledger import Cancelled, Entry, MockLedger
from tests.fakes.clock import settle


class Disk:
    """Stands in for fsync: counts what is synced, or fails."""

    def __init__(self) -> None:
        self.files = 0
        self.folders = 0
        self.is_broken = False

    def sync(self, handle: int) -> None:
        if self.is_broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            self.folders += 1
        else:
            self.files += 1


def entry(key: str = "k1", task: str = "mock-1", prompt: str = "a fox") -> Entry:
    return Entry(
        at=12.5,
        key=key,
        remote_id=task,
        job=3,
        prompt=prompt,
        kind="image",
        width=640,
        height=360,
        duration_s=5.0,
    )


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def read(path: Path) -> bytes:
    return path.read_bytes()


def remove(path: Path) -> None:
    path.unlink()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mock-ledger.jsonl"


async def test_a_line_holds_what_was_accepted(path: Path) -> None:
    await MockLedger(path).append(entry(prompt="狐狸 \x1b[2J\n"))
    assert rows(path) == [
        {
            "type": "accepted",
            "at": 12.5,
            "key": "k1",
            "remote_id": "mock-1",
            "job": 3,
            "prompt": "狐狸 \x1b[2J\n",
            "kind": "image",
            "width": 640,
            "height": 360,
            "duration_s": 5.0,
            "pictures": 0,
            "picture_bytes": 0,
        }
    ]
    assert mode(path) == 0o600


async def test_a_line_is_synced_and_a_new_file_in_its_folder_too(path: Path) -> None:
    disk = Disk()
    ledger = MockLedger(path, sync=disk.sync)
    await ledger.append(entry())
    assert (disk.files, disk.folders) == (1, 1)
    await ledger.append(entry("k2", "mock-2"))
    assert (disk.files, disk.folders) == (2, 1)


async def test_lines_at_the_same_time_share_a_sync(path: Path) -> None:
    disk = Disk()
    ledger = MockLedger(path, sync=disk.sync)
    await ledger.open()
    lines = [entry(f"k{n}", f"mock-{n}") for n in range(100)]
    await asyncio.gather(*map(ledger.append, lines))
    assert disk.files <= 2
    assert {row["key"] for row in rows(path)} == {f"k{n}" for n in range(100)}
    for line in lines:
        assert await ledger.entry(line.remote_id) == line


async def test_the_same_key_twice_is_two_lines_and_the_first_is_found(path: Path) -> None:
    ledger = MockLedger(path)
    await ledger.append(entry("k1", "mock-1"))
    await ledger.append(entry("k1", "mock-2"))
    assert [row["key"] for row in rows(path)] == ["k1", "k1"]
    assert await ledger.find("k1") == "mock-1"
    assert await ledger.find("k2") is None


async def test_a_restart_finds_everything_again(path: Path) -> None:
    before = MockLedger(path)
    await before.append(entry("k1", "mock-1", "a fox\n" * 300))
    await before.append(Cancelled(at=13.0, remote_id="mock-1"))
    await before.append(entry("k2", "mock-2", "纸狐狸"))
    after = MockLedger(path)
    assert await after.find("k2") == "mock-2"
    assert (await after.is_cancelled("mock-1"), await after.is_cancelled("mock-2")) == (True, False)
    found = [await after.entry(task) for task in ("mock-1", "mock-2", "mock-3")]
    assert [one and one.prompt for one in found] == ["a fox\n" * 300, "纸狐狸", None]


async def test_serials_go_on_over_a_restart(path: Path) -> None:
    before = MockLedger(path)
    assert [await before.take_serial(), await before.take_serial()] == [1, 2]
    await before.append(entry("k1", "mock-1"))
    await before.append(entry("k2", "mock-2"))
    assert await MockLedger(path).take_serial() == 3


async def test_a_last_line_that_was_cut_short_is_dropped(path: Path) -> None:
    await MockLedger(path).append(entry("k1", "mock-1"))
    whole = read(path)
    write(path, whole + whole.replace(b"k1", b"k2")[:-10])
    ledger = MockLedger(path)
    assert await ledger.find("k2") is None
    await ledger.append(entry("k3", "mock-3"))
    assert [row["key"] for row in rows(path)] == ["k1", "k3"]
    assert await ledger.entry("mock-3") == entry("k3", "mock-3")


@pytest.mark.parametrize(
    "line",
    [
        b"not JSON",
        b'{"type": "refused"}',
        b'{"type": "accepted", "key": 1}',
        b"",
        b'{"type": "\xff"}',
        b'{"type": "accepted", "x": ' + b"[" * 2_000,
    ],
)
async def test_lines_of_other_sorts_are_left_alone(path: Path, line: bytes) -> None:
    write(path, line + b"\n")
    ledger = MockLedger(path)
    await ledger.append(entry())
    assert read(path).startswith(line + b"\n")
    assert await MockLedger(path).entry("mock-1") == entry()


async def test_a_ledger_put_away_under_a_running_mock_is_begun_anew(path: Path) -> None:
    ledger = MockLedger(path)
    await ledger.append(entry("k1", "mock-1"))
    remove(path)
    assert await ledger.entry("mock-1") is None
    await ledger.append(entry("k2", "mock-2"))
    assert await ledger.entry("mock-2") == entry("k2", "mock-2")
    assert await ledger.entry("mock-1") is None


async def test_lines_that_could_not_be_synced_are_taken_back(path: Path) -> None:
    disk = Disk()
    ledger = MockLedger(path, sync=disk.sync)
    await ledger.append(entry("k1", "mock-1"))
    disk.is_broken = True
    lines = [entry("k2", "mock-2"), entry("k3", "mock-3")]
    ends = await asyncio.gather(*map(ledger.append, lines), return_exceptions=True)
    assert [type(end) for end in ends] == [OSError, OSError]
    assert await ledger.find("k2") is None
    disk.is_broken = False
    await ledger.append(entry("k4", "mock-4"))
    assert [row["key"] for row in rows(path)] == ["k1", "k4"]


async def test_a_ledger_that_can_not_be_read_says_so_each_time(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    ledger = MockLedger(path)
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            await ledger.find("k1")
    path.rmdir()
    assert await ledger.find("k1") is None


async def test_a_line_stands_though_nobody_waits_for_it_any_more(path: Path) -> None:
    ledger = MockLedger(path)
    await ledger.open()
    given_up = asyncio.create_task(ledger.append(entry("k1", "mock-1")))
    await settle(1)
    given_up.cancel()
    await ledger.append(entry("k2", "mock-2"))
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert [row["key"] for row in rows(path)] == ["k1", "k2"]
    assert await ledger.find("k1") == "mock-1"


async def test_callers_at_the_same_time_open_the_ledger_once(path: Path) -> None:
    await MockLedger(path).append(entry())
    ledger = MockLedger(path)
    found = await asyncio.gather(*[ledger.find("k1") for _ in range(10)])
    assert found == ["mock-1"] * 10
