"""Adds in frames: begun, filled, committed or forgotten; and their limits."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from daemon.core.limits import ADD_JOBS_MAX, IMAGE_BYTES_MAX
from daemon.serving.adds import UPLOADS_MAX, Add
from daemon.wire.messages import (
    PICTURE_CHUNK_BYTES,
    AddAbort,
    AddBegin,
    AddCommit,
    AddNeed,
    AddPicture,
    AddRows,
    Ping,
    RequestError,
    Row,
    refusal,
)
from tests.fakes.served import ByHand, Served, until

ROW = Row(provider="mock", prompt="a fox")
PICTURE = bytes(range(256)) * 8_000
SHA = hashlib.sha256(PICTURE).hexdigest()
HEAVY = Row(provider="mock", params={"pad": "x" * 500_000})


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with Served(tmp_path) as served:
        yield served


async def begun(served: Served) -> ByHand:
    """A client that has begun the add 1."""
    client = await served.client()
    assert (await client.ask(AddBegin(id=1)))["ok"] == {"add": 1}
    return client


def code(frame: dict[str, dict[str, str]]) -> str:
    return frame["error"]["code"]


async def test_rows_of_several_frames_are_added_together_and_in_order(served: Served) -> None:
    client = await begun(served)
    rows = tuple(msgspec.structs.replace(ROW, name=f"shot-{number}") for number in range(30))
    for number in range(3):
        part = rows[10 * number : 10 * number + 10]
        assert (await client.ask(AddRows(id=2, add=1, rows=part)))["ok"] == {}
    assert served.desk.added == []
    answer = await client.ask(AddCommit(id=3, add=1))
    assert answer["ok"] == {"first": 1, "count": 30, "warnings": []}
    ((added, by, dry_run),) = served.desk.added
    assert (tuple(added), dry_run) == (rows, False)
    assert by


async def test_frames_sent_without_waiting_for_answers_keep_their_order(served: Served) -> None:
    client = await served.client()
    rows = [msgspec.structs.replace(ROW, priority=number) for number in range(40)]
    frames = [AddRows(id=2 + n, add=1, rows=(row,)) for n, row in enumerate(rows)]
    await client.send(AddBegin(id=1), *frames, AddCommit(id=99, add=1))
    assert (await client.answer(99))[-1]["ok"]["count"] == 40
    assert served.desk.added[0][0] == rows


async def test_a_dry_run_is_handed_on_as_one(served: Served) -> None:
    client = await served.client()
    await client.ask(AddBegin(id=1, dry_run=True))
    await client.ask(AddRows(id=2, add=1, rows=(ROW,)))
    assert (await client.ask(AddCommit(id=3, add=1)))["ok"]["first"] is None
    assert served.desk.added[0][2] is True


async def test_a_refused_add_is_over_and_another_may_begin(served: Served) -> None:
    served.desk.failures["add"] = refusal("bad_jobs", "1 problem; nothing was added")
    client = await begun(served)
    await client.ask(AddRows(id=2, add=1, rows=(ROW,)))
    assert code(await client.ask(AddCommit(id=3, add=1))) == "bad_jobs"
    assert code(await client.ask(AddCommit(id=4, add=1))) == "bad_request"
    assert (await client.ask(AddBegin(id=5)))["ok"] == {"add": 2}


async def test_an_aborted_add_is_forgotten(served: Served) -> None:
    client = await begun(served)
    await client.ask(AddRows(id=2, add=1, rows=(ROW,)))
    assert (await client.ask(AddAbort(id=3, add=1)))["ok"] == {}
    for request in (AddRows(id=4, add=1, rows=()), AddNeed(id=5, add=1, sha256=())):
        assert code(await client.ask(request)) == "bad_request"
    assert served.desk.added == []


async def test_an_add_ends_with_its_connection(served: Served) -> None:
    client = await begun(served)
    await client.send(AddPicture(id=2, add=1, sha256=SHA, data=PICTURE[:100]))
    await client.answer(2)
    client.writer.close()
    await until(lambda: served.server.clients == 0)
    other = await served.client()
    assert code(await other.ask(AddCommit(id=1, add=1))) == "bad_request"
    assert served.desk.pictures == {}


async def test_a_client_has_one_add_open_at_a_time(served: Served) -> None:
    client = await begun(served)
    assert code(await client.ask(AddBegin(id=2))) == "limit"
    assert (await (await served.client()).ask(AddBegin(id=1)))["ok"] == {"add": 1}


async def test_counts_are_multiplied_out_before_they_are_counted(served: Served) -> None:
    client = await begun(served)
    half = msgspec.structs.replace(ROW, count=ADD_JOBS_MAX // 2)
    assert "ok" in await client.ask(AddRows(id=2, add=1, rows=(half, half)))
    answer = await client.ask(AddRows(id=3, add=1, rows=(ROW,)))
    assert code(answer) == "limit"
    assert "200,001 jobs; the limit of one add is 200,000" in answer["error"]["message"]
    assert code(await client.ask(AddCommit(id=4, add=1))) == "bad_request"


async def test_the_bytes_of_an_add_are_bounded(served: Served) -> None:
    client = await begun(served)
    many = msgspec.structs.replace(HEAVY, count=520)
    assert "ok" in await client.ask(AddRows(id=2, add=1, rows=(many,)))
    assert code(await client.ask(AddRows(id=3, add=1, rows=(many,)))) == "limit"


def test_a_row_with_a_count_of_nothing_takes_room_all_the_same() -> None:
    none = msgspec.structs.replace(HEAVY, count=-(10**6))
    with pytest.raises(RequestError, match="268,435,456"):
        Add(dry_run=False).take((none,) * 540)


# ---- pictures ----


async def test_only_missing_pictures_are_asked_for(served: Served) -> None:
    served.desk.pictures[SHA] = PICTURE
    client = await begun(served)
    other = "0" * 64
    answer = await client.ask(AddNeed(id=2, add=1, sha256=(SHA, other)))
    assert answer["ok"] == {"need": [other]}


async def test_a_picture_comes_in_chunks_and_is_kept_whole(served: Served) -> None:
    client = await begun(served)
    chunks = [
        PICTURE[start : start + PICTURE_CHUNK_BYTES]
        for start in range(0, len(PICTURE), PICTURE_CHUNK_BYTES)
    ]
    frames = [
        AddPicture(id=2 + n, add=1, sha256=SHA, data=chunk, last=n == len(chunks) - 1)
        for n, chunk in enumerate(chunks)
    ]
    await client.send(*frames)
    answers = [await client.frame() for _ in frames]
    assert [answer["ok"] for answer in answers] == [{}] * len(chunks)
    assert served.desk.pictures == {SHA: PICTURE}


async def test_a_picture_with_another_hash_is_refused_and_may_come_again(served: Served) -> None:
    client = await begun(served)
    wrong = AddPicture(id=2, add=1, sha256=SHA, data=b"other", last=True)
    assert code(await client.ask(wrong)) == "bad_request"
    assert served.desk.pictures == {}
    right = AddPicture(id=3, add=1, sha256=SHA, data=PICTURE, last=False)
    short = AddPicture(id=4, add=1, sha256=SHA, data=b"", last=True)
    await client.ask(msgspec.structs.replace(right, data=PICTURE[:700_000]))
    await client.ask(msgspec.structs.replace(right, data=PICTURE[700_000:1_400_000]))
    await client.ask(msgspec.structs.replace(right, data=PICTURE[1_400_000:]))
    assert (await client.ask(short))["ok"] == {}
    assert served.desk.pictures == {SHA: PICTURE}


async def test_a_desk_that_gives_up_half_way_is_quoted_at_the_next_chunk(served: Served) -> None:
    served.desk.failures["receive"] = refusal("limit", "the disk is full")
    client = await begun(served)
    chunk = AddPicture(id=2, add=1, sha256=SHA, data=b"x" * 1_000)
    answers = [await client.ask(chunk) for _ in range(3)]
    assert answers[-1]["error"]["message"] == "the disk is full"


async def test_a_picture_has_a_limit(served: Served) -> None:
    client = await begun(served)
    chunk = AddPicture(id=2, add=1, sha256=SHA, data=b"x" * 700_000)
    for _ in range(IMAGE_BYTES_MAX // 700_000):
        assert "ok" in await client.ask(chunk)
    answer = await client.ask(chunk)
    assert code(answer) == "limit"
    assert "67,108,864 bytes" in answer["error"]["message"]
    assert (await client.ask(Ping(id=3)))["ok"]


async def test_only_some_pictures_may_be_half_sent(served: Served) -> None:
    client = await begun(served)
    for number in range(UPLOADS_MAX):
        half = AddPicture(id=2, add=1, sha256=f"{number:064}", data=b"x")
        assert "ok" in await client.ask(half)
    assert code(await client.ask(AddPicture(id=2, add=1, sha256=SHA, data=b"x"))) == "limit"


async def test_a_commit_with_a_picture_half_sent_is_refused(served: Served) -> None:
    client = await begun(served)
    await client.ask(AddPicture(id=2, add=1, sha256=SHA, data=b"x"))
    answer = await client.ask(AddCommit(id=3, add=1))
    assert code(answer) == "bad_request"
    assert answer["error"]["message"] == "1 of the pictures were not sent to their end"
    assert served.desk.added == []


async def test_chunks_that_wait_when_an_upload_fails_are_all_answered(served: Served) -> None:
    """None of them is left without an answer, whoever was first to learn of it."""
    slow = asyncio.Event()

    async def receive(sha256: str, chunks: AsyncIterator[bytes]) -> None:
        await slow.wait()
        raise refusal("limit", "the disk is full")

    served.desk.receive = receive  # type: ignore[method-assign]
    client = await begun(served)
    frames = [AddPicture(id=number, add=1, sha256=SHA, data=b"x") for number in range(2, 8)]
    await client.send(*frames)
    assert [(await client.frame()).get("ok") for _ in range(2)] == [{}, {}]
    slow.set()
    answers = [await client.frame() for _ in range(4)]
    assert {answer["id"] for answer in answers} == {4, 5, 6, 7}
    assert {code(answer) for answer in answers} == {"limit"}


async def test_chunks_that_wait_when_their_add_is_aborted_are_all_answered(
    served: Served,
) -> None:
    async def receive(sha256: str, chunks: AsyncIterator[bytes]) -> None:
        await asyncio.Event().wait()

    served.desk.receive = receive  # type: ignore[method-assign]
    client = await begun(served)
    frames = [AddPicture(id=number, add=1, sha256=SHA, data=b"x") for number in range(2, 8)]
    await client.send(*frames, AddAbort(id=9, add=1))
    answers = {frame["id"]: frame for frame in [await client.frame() for _ in range(7)]}
    assert answers[9]["ok"] == {}
    assert {code(answers[number]) for number in (4, 5, 6, 7)} == {"bad_request"}
