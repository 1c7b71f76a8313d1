import asyncio
import hashlib
import io
import os
import resource
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from daemon.media.downloads import (
    BUFFER_BYTES_MAX,
    PARTS,
    Filing,
    FilingError,
    Sink,
    TooLargeError,
    WrongContentError,
)

MP4 = b"\0\0\0\x20ftypisom" + bytes(100)


def png(shade: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (40, 30), shade).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def filing(tmp_path: Path) -> Filing:
    return Filing(tmp_path / "outputs")


@pytest.fixture
def narrow_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


async def downloaded(filing: Filing, content: bytes, job_id: int = 12, n: int = 0) -> Path:
    part = await filing.part(job_id, 1, n)
    async with Sink(part, bytes_max=1_000_000) as sink:
        await sink.write(content)
    return part


async def filed(
    filing: Filing, content: bytes, *, job_id: int = 12, index: int = 0, folder: str = "ep-1"
) -> Path:
    part = await downloaded(filing, content, job_id, index)
    output = await filing.file(part, job_id=job_id, name="shot 03", folder=folder, index=index)
    return Path(output.path)


async def test_a_result_is_filed_with_its_type_size_and_hash(
    filing: Filing, tmp_path: Path
) -> None:
    part = await downloaded(filing, MP4)
    output = await filing.file(part, job_id=12, name="shot 03", folder="ep-1", index=0)
    expected = tmp_path / "outputs" / "ep-1" / "12-shot-03.mp4"
    assert output.path == str(expected)
    assert expected.read_bytes() == MP4
    assert (output.bytes, output.mime) == (len(MP4), "video/mp4")
    assert output.sha256 == hashlib.sha256(MP4).hexdigest()
    assert not part.exists()


async def test_each_result_of_a_job_has_a_name_of_its_own(filing: Filing) -> None:
    first, second = await filed(filing, png()), await filed(filing, png(), index=1)
    assert [first.name, second.name] == ["12-shot-03.png", "12-shot-03-2.png"]


async def test_a_relative_output_folder_gives_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (await filed(Filing(Path("out")), MP4)).is_absolute()


async def test_a_download_done_again_takes_its_old_place(filing: Filing) -> None:
    first, again = await filed(filing, png()), await filed(filing, png())
    assert first == again
    assert len(list(first.parent.iterdir())) == 1


async def test_a_result_never_replaces_another_content(filing: Filing) -> None:
    old, new = await filed(filing, png(1)), await filed(filing, png(2))
    assert (old.name, old.read_bytes()) == ("12-shot-03.png", png(1))
    assert (new.name, new.read_bytes()) == ("12-shot-03-2.png", png(2))
    assert await filed(filing, png(2)) == new


async def test_a_name_taken_by_something_odd_is_left_alone(filing: Filing, tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "ep-1"
    folder.mkdir(parents=True)
    (folder / "12-shot-03.png").mkdir()
    (folder / "12-shot-03-2.png").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(folder / "12-shot-03-3.png")
    assert (await filed(filing, png())).name == "12-shot-03-4.png"


async def test_results_filed_at_once_get_different_names(filing: Filing) -> None:
    paths = await asyncio.gather(*(filed_copy(filing, number) for number in range(5)))
    assert len(set(paths)) == 5


async def filed_copy(filing: Filing, number: int) -> str:
    part = await downloaded(filing, png(number), n=number)
    return (await filing.file(part, job_id=12, name=None, folder="ep-1", index=0)).path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty: 0 bytes"),
        ("<html>\r\n502\x1b[31m Bad\u202e Gateway".encode(), "<html> 502 [31m Bad Gateway"),
        (b'{"code": 429}', '{"code": 429}'),
        (b"PK\x03\x04\x00\x01", "50 4b 03 04 00 01"),
    ],
)
async def test_what_is_no_result_is_never_filed(
    filing: Filing, tmp_path: Path, content: bytes, words: str
) -> None:
    part = await downloaded(filing, content)
    with pytest.raises(WrongContentError) as caught:
        await filing.file(part, job_id=12, name=None, folder="ep-1", index=0)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()
    assert not part.exists()
    assert not (tmp_path / "outputs" / "ep-1").exists()


@pytest.mark.usefixtures("narrow_umask")
async def test_the_mode_holds_whatever_the_umask(tmp_path: Path) -> None:
    path = await filed(Filing(tmp_path / "outputs", mode=0o640), MP4)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent, path.parent.parent)]
    assert modes == [0o640, 0o750, 0o750]


async def test_a_part_is_for_nobody_else_to_read(filing: Filing) -> None:
    part = await downloaded(filing, MP4)
    assert stat.S_IMODE(part.stat().st_mode) == 0o600


async def test_a_folder_that_was_there_keeps_its_mode(filing: Filing, tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "ep-1"
    folder.mkdir(parents=True, mode=0o700)
    await filed(filing, MP4)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "folder", ["", "..", ".", "a/b", "/etc", ".parts", "-x", "a\nb", "x" * 101]
)
async def test_a_batch_that_is_no_plain_name_is_refused(
    filing: Filing, tmp_path: Path, folder: str
) -> None:
    part = await downloaded(filing, MP4)
    with pytest.raises(FilingError, match="can't name a folder: it "):
        await filing.file(part, job_id=12, name=None, folder=folder, index=0)
    assert part.exists()
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == [PARTS]


async def test_a_batch_folder_that_is_a_link_is_refused(filing: Filing, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    part = await downloaded(filing, MP4)
    (tmp_path / "outputs" / "ep-1").symlink_to(outside)
    with pytest.raises(FilingError, match="outputs/ep-1 is a link or a file"):
        await filing.file(part, job_id=12, name=None, folder="ep-1", index=0)
    assert part.exists()
    assert list(outside.iterdir()) == []


async def test_a_batch_folder_that_is_a_file_is_refused(filing: Filing, tmp_path: Path) -> None:
    part = await downloaded(filing, MP4)
    (tmp_path / "outputs" / "ep-1").touch()
    with pytest.raises(FilingError, match="move it out of the way"):
        await filing.file(part, job_id=12, name=None, folder="ep-1", index=0)


async def test_an_output_folder_removed_meanwhile_is_made_again(
    filing: Filing, tmp_path: Path
) -> None:
    (await filed(filing, MP4)).unlink()
    for folder in ("ep-1", PARTS, "."):
        (tmp_path / "outputs" / folder).rmdir()
    assert (await filed(filing, MP4)).exists()


async def test_sweeping_keeps_the_parts_of_unfinished_jobs(filing: Filing) -> None:
    kept, gone = [await downloaded(filing, MP4, job_id) for job_id in (1, 12)]
    assert await filing.sweep({1}) == 1
    assert (kept.exists(), gone.exists()) == (True, False)


async def test_a_sink_stops_at_its_limit_and_keeps_what_fitted(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    async with Sink(part, bytes_max=10) as sink:
        await sink.write(b"12345")
        await sink.write(b"67890")
        with pytest.raises(TooLargeError, match="more than 10 bytes"):
            await sink.write(b"x")
    assert part.read_bytes() == b"1234567890"


async def test_a_sink_writes_before_its_buffer_grows(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    async with Sink(part, bytes_max=10 * BUFFER_BYTES_MAX) as sink:
        await sink.write(bytes(BUFFER_BYTES_MAX - 1))
        assert part.stat().st_size == 0
        await sink.write(b"x")
        assert part.stat().st_size == BUFFER_BYTES_MAX


async def test_a_sink_starts_anew_unless_it_shall_resume(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    part.write_bytes(b"old")
    async with Sink(part, bytes_max=10, resume=True) as sink:
        assert sink.bytes == 3
        await sink.write(b" new")
        assert sink.bytes == 7
    assert part.read_bytes() == b"old new"
    async with Sink(part, bytes_max=10) as sink:
        assert sink.bytes == 0
        await sink.write(b"new")
    assert part.read_bytes() == b"new"


async def test_what_a_resumed_download_has_counts_against_the_limit(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    part.write_bytes(b"12345678")
    async with Sink(part, bytes_max=10, resume=True) as sink:
        with pytest.raises(TooLargeError):
            await sink.write(b"90x")


class SlowThreads(ThreadPoolExecutor):
    """Keeps the second piece of work waiting until it is let go."""

    def __init__(self) -> None:
        super().__init__(max_workers=2)
        self.pieces = 0
        self.begun = asyncio.Event()
        self.let_go = threading.Event()

    def submit(self, piece: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.pieces += 1
        if self.pieces != 2:
            return super().submit(piece, *args, **kwargs)
        self.begun.set()
        return super().submit(lambda: self.let_go.wait(5) and piece(*args, **kwargs))


async def test_a_cancelled_download_keeps_its_beginning_without_a_hole(tmp_path: Path) -> None:
    part = tmp_path / "a.part"
    block = b"x" * BUFFER_BYTES_MAX
    threads = SlowThreads()
    asyncio.get_running_loop().set_default_executor(threads)

    async def download() -> None:
        async with Sink(part, bytes_max=BUFFER_BYTES_MAX) as sink:
            await sink.write(block)

    task = asyncio.create_task(download())
    await threads.begun.wait()
    task.cancel()
    for _ in range(3):  # time enough to close the file under the thread that writes
        await asyncio.to_thread(int)
    threads.let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert part.read_bytes() == block


@pytest.fixture
def file_limit() -> Iterator[Callable[[int], None]]:
    """Limit how large this process's files may get, which fails as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda bytes_max: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_after_a_failed_write_nothing_takes_the_lost_place(
    tmp_path: Path, file_limit: Callable[[int], None]
) -> None:
    part = tmp_path / "a.part"
    async with Sink(part, bytes_max=100 * BUFFER_BYTES_MAX) as sink:
        file_limit(BUFFER_BYTES_MAX + 100)
        await sink.write(b"a" * BUFFER_BYTES_MAX)
        with pytest.raises(OSError, match="File too large"):
            await sink.write(b"b" * BUFFER_BYTES_MAX)
        file_limit(100 * BUFFER_BYTES_MAX)
        with pytest.raises(OSError, match="File too large"):
            await sink.write(b"c" * BUFFER_BYTES_MAX)
    assert part.read_bytes() == b"a" * BUFFER_BYTES_MAX + b"b" * 100


async def test_a_link_in_place_of_the_part_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.part").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        async with Sink(tmp_path / "a.part", bytes_max=10):
            pass
    assert not (tmp_path / "victim").exists()
