"""Adding from the client's side: rows in frames that fit, pictures that are missing."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon.core.job import Image
from daemon.wire.client import Client, ServerError
from daemon.wire.messages import FRAME_BYTES_MAX, PICTURE_CHUNK_BYTES, Row
from daemon.wire.upload import ROW_BYTES_MAX, add_all
from tests.fakes.served import Served


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with Served(tmp_path) as served:
        yield served


async def add(
    served: Served, rows: list[Row], pictures: dict[str, Path], *, dry_run: bool = False
) -> Any:
    def work() -> dict[str, Any]:
        with Client.connect(served.path) as client:
            return add_all(client, rows, pictures, dry_run=dry_run)

    return await asyncio.to_thread(work)


def picture(folder: Path, size: int) -> tuple[str, Path]:
    content = bytes(size % 251 for size in range(size))
    path = folder / f"{size}.png"
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest(), path


async def test_ten_thousand_rows_arrive_as_they_were(served: Served) -> None:
    rows = [
        Row(
            provider="mock",
            prompt=f'镜头 {number}, "night"\n',
            name=f"shot-{number}",
            labels=("a", "b"),
            after=(number, "x"),
            params={"seed": number, "deep": [{"a": None}]},
            images=(Image("https://pictures.test/a.png"),),
        )
        for number in range(10_000)
    ]
    assert await add(served, rows, {}) == {"first": 1, "count": 10_000, "warnings": []}
    assert served.desk.added[0][0] == rows


@pytest.mark.parametrize(
    "size", [0, 1, PICTURE_CHUNK_BYTES, PICTURE_CHUNK_BYTES + 1, 3 * PICTURE_CHUNK_BYTES]
)
async def test_a_picture_of_any_size_arrives_whole(
    served: Served, tmp_path: Path, size: int
) -> None:
    sha256, path = picture(tmp_path, size)
    row = Row(provider="mock", images=(Image(str(path), sha256),))
    await add(served, [row], {sha256: path})
    assert served.desk.pictures == {sha256: path.read_bytes()}


async def test_a_picture_that_is_there_is_not_sent_again(served: Served, tmp_path: Path) -> None:
    sha256, path = picture(tmp_path, 100)
    served.desk.pictures[sha256] = b"kept"
    await add(served, [Row(provider="mock")], {sha256: path})
    assert served.desk.pictures == {sha256: b"kept"}


async def test_a_dry_run_sends_rows_and_no_pictures(served: Served, tmp_path: Path) -> None:
    sha256, path = picture(tmp_path, 100)
    value = await add(served, [Row(provider="mock")], {sha256: path}, dry_run=True)
    assert value["first"] is None
    assert served.desk.pictures == {}


async def test_a_picture_that_changed_since_it_was_hashed_is_refused(
    served: Served, tmp_path: Path
) -> None:
    _, path = picture(tmp_path, 100)
    with pytest.raises(ServerError, match="another hash"):
        await add(served, [Row(provider="mock")], {"0" * 64: path})
    assert served.desk.added == []


async def test_every_refused_picture_is_told_with_its_rows(served: Served, tmp_path: Path) -> None:
    good, bad, worse = "a" * 64, "b" * 64, "c" * 64
    served.desk.pictures = {good: b"kept"}
    _, path = picture(tmp_path, 100)
    rows = [
        Row(provider="mock", images=(Image("1.png", good), Image("2.png", bad))),
        Row(provider="mock", images=(Image("3.png", worse),)),
        Row(provider="mock", images=(Image("2.png", bad),)),
    ]
    with pytest.raises(ServerError) as caught:
        await add(served, rows, {good: path, bad: path, worse: path})
    places = [(problem.row, problem.field) for problem in caught.value.body.problems]
    assert places == [(0, "images[1]"), (1, "images[0]"), (2, "images[0]")]
    assert served.desk.added == []


async def test_rows_too_long_for_a_frame_are_named_before_anything_is_sent(
    served: Served,
) -> None:
    long = Row(provider="mock", prompt="\x01" * 100_000, params={"pad": "x" * 500_000})
    assert len(msgspec.json.encode(long)) > FRAME_BYTES_MAX
    with pytest.raises(ServerError) as caught:
        await add(served, [Row(provider="mock"), long], {})
    (problem,) = caught.value.body.problems
    assert problem.row == 1
    assert f"the limit is {ROW_BYTES_MAX:,}" in problem.message
    assert served.desk.added == []


async def test_the_longest_row_fits_its_frame(served: Served) -> None:
    row = Row(provider="mock")
    spare = ROW_BYTES_MAX - len(msgspec.json.encode(msgspec.structs.replace(row, prompt="p")))
    longest = msgspec.structs.replace(row, prompt="p" * (spare + 1))
    assert len(msgspec.json.encode(longest)) == ROW_BYTES_MAX
    await add(served, [longest], {})
    assert served.desk.added[0][0] == [longest]


async def test_many_hashes_are_asked_about_in_frames_that_fit(
    served: Served, tmp_path: Path
) -> None:
    path = tmp_path / "empty"
    path.touch()
    hashes = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(20_000)]
    served.desk.pictures = dict.fromkeys(hashes, b"")
    await add(served, [Row(provider="mock")], dict.fromkeys(hashes, path))
    assert len(served.desk.added) == 1


async def test_what_the_daemon_finds_wrong_comes_back_with_its_rows(served: Served) -> None:
    problems = served.desk.failures
    from daemon.wire.messages import RowProblem, refusal

    wrong = tuple(RowProblem(row, "provider", "unknown") for row in range(400))
    problems["add"] = refusal("bad_jobs", "400 problems; nothing was added", problems=wrong)
    with pytest.raises(ServerError) as caught:
        await add(served, [Row(provider="x")] * 400, {})
    assert caught.value.body.problems == wrong
