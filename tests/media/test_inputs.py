import asyncio
import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image

from daemon.media.inputs import InputError, InputStore


def png(shade: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (40, 30), shade).save(buffer, "PNG")
    return buffer.getvalue()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def send(store: InputStore, content: bytes, sha256: str | None = None, step: int = 16) -> str:
    sha256 = sha256 or digest(content)
    upload = await store.begin(sha256)
    for start in range(0, len(content), step):
        await upload.write(content[start : start + step])
    await upload.commit()
    return sha256


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
async def store(tmp_path: Path) -> InputStore:
    made = InputStore(tmp_path / "inputs", picture_bytes_max=10_000)
    await made.open()
    return made


async def test_a_picture_is_kept_under_its_hash(store: InputStore, tmp_path: Path) -> None:
    sha256 = await send(store, png())
    assert store.path(sha256) == tmp_path / "inputs" / sha256[:2] / sha256
    assert store.path(sha256).read_bytes() == png()
    assert files(tmp_path) == [store.path(sha256)]


async def test_only_what_is_not_there_is_missing(store: InputStore) -> None:
    here, gone, other = await send(store, png(1)), digest(b"gone"), digest(b"other")
    assert await store.missing([gone, here, other, gone]) == [gone, other]


async def test_the_same_picture_may_be_sent_by_two_at_once(store: InputStore) -> None:
    first, second = await send(store, png()), await send(store, png())
    assert first == second
    assert store.path(first).read_bytes() == png()


async def test_bytes_with_another_hash_are_refused(store: InputStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has the SHA-256 " + digest(png(1))):
        await send(store, png(1), digest(png(2)))
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<html>no</html>", "no picture: send a PNG"),
        (b"\0\0\0\x20ftypisom" + bytes(50), "video/mp4: send a PNG"),
        (b"II*\0" + bytes(50), "image/tiff: send a PNG"),
        (png()[:18], "image/png is damaged"),
    ],
)
async def test_what_is_no_picture_is_refused(
    store: InputStore, tmp_path: Path, content: bytes, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        await send(store, content)
    assert files(tmp_path) == []


async def test_a_picture_over_the_limit_is_refused_at_the_byte(
    store: InputStore, tmp_path: Path
) -> None:
    upload = await store.begin(digest(b""))
    await upload.write(bytes(10_000))
    with pytest.raises(InputError, match="more than 10,000 bytes"):
        await upload.write(b"x")
    with pytest.raises(InputError, match="has ended"):
        await upload.write(b"x")
    assert files(tmp_path) == []


async def test_an_aborted_upload_leaves_nothing(store: InputStore, tmp_path: Path) -> None:
    upload = await store.begin(digest(png()))
    await upload.write(png())
    await upload.abort()
    await upload.abort()
    assert files(tmp_path) == []
    with pytest.raises(InputError, match="has ended"):
        await upload.commit()


async def test_abort_after_commit_keeps_the_picture(store: InputStore) -> None:
    upload = await store.begin(digest(png()))
    await upload.write(png())
    await upload.commit()
    await upload.abort()
    assert await store.missing([digest(png())]) == []


async def test_an_upload_whose_writer_was_cancelled_can_be_aborted(
    store: InputStore, tmp_path: Path
) -> None:
    upload = await store.begin(digest(png()))
    writing = asyncio.create_task(upload.write(png()))
    await asyncio.to_thread(lambda: None)
    writing.cancel()
    await upload.abort()
    assert files(tmp_path) == []


@pytest.mark.parametrize("text", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n"])
async def test_a_hash_that_is_none_never_becomes_a_path(store: InputStore, text: str) -> None:
    with pytest.raises(InputError, match="isn't a SHA-256"):
        store.path(text)
    with pytest.raises(InputError, match="isn't a SHA-256"):
        await store.begin(text)
    with pytest.raises(InputError, match="isn't a SHA-256"):
        await store.missing([text])


async def test_opening_removes_what_a_crash_left(store: InputStore, tmp_path: Path) -> None:
    kept = await send(store, png(1))
    upload = await store.begin(digest(png(2)))
    await upload.write(png(2))
    assert len(files(tmp_path)) == 2
    await InputStore(tmp_path / "inputs").open()
    assert files(tmp_path) == [store.path(kept)]
    await upload.abort()


async def test_pruning_removes_what_no_job_names(store: InputStore, tmp_path: Path) -> None:
    kept, gone = await send(store, png(1)), await send(store, png(2))
    fitted = tmp_path / "inputs" / "fitted" / f"{kept}-300-1280.jpg"
    fitted.parent.mkdir()
    fitted.touch()
    later = InputStore(tmp_path / "inputs")
    assert await later.prune({kept}) == 1
    assert await later.missing([kept, gone]) == [gone]
    assert fitted.exists()


async def test_a_picture_just_sent_or_asked_for_survives_one_pruning(
    store: InputStore, tmp_path: Path
) -> None:
    sent = await send(store, png(1))
    assert await store.prune(set()) == 0
    assert await store.missing([sent]) == []
    assert await store.prune(set()) == 0
    assert await store.prune(set()) == 1
    assert await store.missing([sent]) == [sent]
