import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from multiprocessing import active_children
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pytest
from PIL import Image

from daemon.media import worker
from daemon.media.drawing import draw_still
from daemon.media.pictures import PictureError, PictureLimits, PicturePool, PoolClosedError

P = ParamSpec("P")
T = TypeVar("T")
ROOT = Path(__file__).parents[2]
PNG_OR_JPEG = PictureLimits(types=frozenset({"image/png", "image/jpeg"}))
SMALL = PictureLimits(max_kb=10, max_side=100, max_mpixel=1)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PicturePool]:
    made = PicturePool(2, tmp_path_factory.mktemp("cache"))
    yield made
    asyncio.run(made.close())


@pytest.fixture
async def own_pool(tmp_path: Path) -> AsyncIterator[PicturePool]:
    """For tests that look at the cache, or leave the pool closed."""
    made = PicturePool(1, tmp_path / "cache")
    yield made
    await made.close()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture"
    Image.effect_noise((300, 200), 80).save(path, "PNG")
    return path


def content(path: Path) -> bytes:
    return path.read_bytes()


class CountingPool(PicturePool):
    """Counts how often a worker is asked."""

    runs = 0

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.runs += 1
        return await super().run(function, *args, **kwargs)


class Held:
    """A call that a worker is in, until it is let go: it reads a pipe that has no end yet."""

    def __init__(self, pool: PicturePool, fifo: Path) -> None:
        os.mkfifo(fifo)
        self._fifo = fifo
        self.task = asyncio.create_task(pool.run(Path.read_bytes, fifo))

    async def begun(self) -> int:
        """Return when the worker is in it: only then does a writer get the other end."""
        return await asyncio.to_thread(os.open, self._fifo, os.O_WRONLY)


async def test_a_picture_that_fits_is_sent_as_it_is(pool: PicturePool, picture: Path) -> None:
    fitted = await pool.fit(picture, PictureLimits())
    assert (fitted.path, fitted.scaled) == (picture, False)
    assert (fitted.mime, fitted.width, fitted.height) == ("image/png", 300, 200)
    assert fitted.bytes == len(content(picture))


@pytest.mark.parametrize(
    "limits", [PictureLimits(max_side=299), PictureLimits(max_kb=20), PictureLimits(1, 50, 40)]
)
async def test_a_picture_over_a_limit_is_made_to_fit(
    pool: PicturePool, picture: Path, limits: PictureLimits
) -> None:
    fitted = await pool.fit(picture, limits)
    assert (fitted.mime, fitted.scaled) == ("image/jpeg", True)
    assert fitted.bytes == len(fitted.path.read_bytes()) <= limits.max_bytes
    assert max(fitted.width, fitted.height) <= limits.max_side
    with Image.open(fitted.path) as made:
        assert made.size == (fitted.width, fitted.height)


@pytest.mark.parametrize("form", ["WEBP", "GIF", "BMP"])
async def test_a_type_that_the_provider_does_not_take_is_made_a_jpeg_of_the_same_size(
    pool: PicturePool, tmp_path: Path, form: str
) -> None:
    path = tmp_path / "picture"
    Image.new("RGB", (30, 20), "red").save(path, form)
    fitted = await pool.fit(path, PNG_OR_JPEG)
    assert (fitted.mime, fitted.scaled) == ("image/jpeg", True)
    assert (fitted.width, fitted.height) == (30, 20)
    assert (await pool.fit(path, PictureLimits())).path == path


async def test_a_jpeg_made_for_its_type_is_the_one_made_for_its_size(
    tmp_path: Path, picture: Path
) -> None:
    own_pool, small = CountingPool(1, tmp_path / "cache"), tmp_path / "webp"
    Image.open(picture).save(small, "WEBP")
    limits = PictureLimits(max_kb=10, max_side=100, types=PNG_OR_JPEG.types)
    first = await own_pool.fit(small, limits)
    assert await own_pool.fit(small, SMALL) == first
    assert own_pool.runs == 1
    await own_pool.close()


async def test_the_same_picture_is_worked_on_once(picture: Path, tmp_path: Path) -> None:
    own_pool = CountingPool(1, tmp_path / "cache")
    both = await asyncio.gather(own_pool.fit(picture, SMALL), own_pool.fit(picture, SMALL))
    assert both[0] == both[1]
    copy = tmp_path / "copy"
    copy.write_bytes(content(picture))
    assert await own_pool.fit(copy, SMALL) == both[0]
    assert own_pool.runs == 1
    await own_pool.close()


async def test_a_hash_that_is_known_is_not_counted_again(
    own_pool: PicturePool, picture: Path
) -> None:
    fitted = await own_pool.fit(picture, SMALL, sha256="5a" * 32)
    assert fitted.path.name == f"{'5a' * 32}-10-100.jpg"


async def test_a_cached_picture_that_was_damaged_is_made_anew(
    own_pool: PicturePool, picture: Path
) -> None:
    first = await own_pool.fit(picture, SMALL)
    first.path.write_bytes(b"")
    assert await own_pool.fit(picture, SMALL) == first
    assert first.path.stat().st_size == first.bytes


async def test_one_caller_less_leaves_the_picture_to_the_others(
    own_pool: PicturePool, picture: Path, tmp_path: Path
) -> None:
    held = Held(own_pool, tmp_path / "fifo")
    writer = await held.begun()
    leaving, staying = (asyncio.create_task(own_pool.fit(picture, SMALL)) for _ in range(2))
    for _ in range(9):
        await asyncio.to_thread(int)
    leaving.cancel()
    os.close(writer)
    assert (await staying).scaled
    assert leaving.cancelled()


async def test_pruning_removes_what_was_made_from_pictures_that_are_gone(
    own_pool: PicturePool, picture: Path, tmp_path: Path
) -> None:
    assert await own_pool.prune(set()) == 0
    made = (await own_pool.fit(picture, SMALL)).path
    left = made.with_name(made.name + ".123.part")
    left.touch()
    assert await own_pool.prune({made.name[:64]}) == 1
    assert (made.exists(), left.exists()) == (True, False)
    assert await own_pool.prune(set()) == 1
    assert not made.exists()


async def test_a_refused_picture_starts_no_worker(tmp_path: Path, picture: Path) -> None:
    before = set(active_children())
    pool = PicturePool(2, tmp_path / "cache")
    (tmp_path / "page").write_bytes(b"<html>")
    (tmp_path / "cut").write_bytes(content(picture)[:18])
    for name, limits, words in (
        ("picture", PictureLimits(max_mpixel=0.05), "0.1 megapixels, the limit is 0.05: make it"),
        ("page", SMALL, "the file is no picture: use a PNG"),
        ("cut", SMALL, "image/png is damaged"),
        ("gone", SMALL, "can't be read: No such file"),
    ):
        with pytest.raises(PictureError, match=words):
            await pool.fit(tmp_path / name, limits)
    assert set(active_children()) == before
    await pool.close()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP"])
async def test_half_a_picture_is_refused_however_small(
    pool: PicturePool, tmp_path: Path, form: str
) -> None:
    whole, half = tmp_path / "whole", tmp_path / "half"
    Image.effect_noise((90, 90), 80).convert("RGB").save(whole, form)
    assert (await pool.fit(whole, PictureLimits())).path == whole
    half.write_bytes(content(whole)[: whole.stat().st_size // 2])
    with pytest.raises(PictureError, match=r"can't be decoded|is damaged"):
        await pool.fit(half, PictureLimits())


async def test_words_behind_a_pictures_end_are_no_harm(pool: PicturePool, tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    for form in ("PNG", "JPEG", "WEBP", "BMP"):
        Image.effect_noise((90, 90), 80).convert("RGB").save(odd, form)
        with odd.open("ab") as file:
            file.write(b"made with care")
        assert (await pool.fit(odd, PictureLimits())).path == odd


async def test_an_undecodable_picture_is_refused_and_the_pool_goes_on(
    pool: PicturePool, picture: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(content(picture)[:9_000])
    with pytest.raises(PictureError, match=r"can't be decoded: .*truncated"):
        await pool.fit(cut, PictureLimits(max_kb=5))
    assert (await pool.fit(picture, SMALL)).scaled


async def test_the_loop_turns_while_a_large_picture_is_compressed(
    pool: PicturePool, tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    channel = Image.effect_noise((480, 270), 60).resize((3840, 2160), Image.Resampling.NEAREST)
    Image.merge("RGB", [channel] * 3).save(large, compress_level=1)
    loop = asyncio.get_running_loop()
    turns = 0

    def turn() -> None:
        nonlocal turns
        turns += 1
        if not fitting.done():
            loop.call_soon(turn)

    fitting = asyncio.create_task(pool.fit(large, PictureLimits()))
    turn()
    assert (await fitting).width == 1280
    assert turns > 1_000


async def test_pictures_are_drawn_in_the_pool_too(pool: PicturePool) -> None:
    assert await pool.run(draw_still, "a fox", 7, 64, 36) == draw_still("a fox", 7, 64, 36)


async def test_what_a_call_raises_is_raised_here(pool: PicturePool) -> None:
    with pytest.raises(ValueError, match="1 to 4096 pixels a side, not 0x5") as caught:
        await pool.run(draw_still, "", seed=1, width=0, height=5)
    assert "_check_size" in "".join(caught.value.__notes__)  # where it was raised, over there


def test_an_error_that_cannot_travel_goes_as_text() -> None:
    class LocalError(Exception):
        pass

    travelled = worker._portable(LocalError("why"))  # noqa: SLF001 - seen by no other way
    assert (type(travelled), str(travelled)) == (RuntimeError, "LocalError: why")
    error = OSError(2, "No such file")
    assert worker._portable(error) is error  # noqa: SLF001


async def test_workers_killed_while_idle_are_no_pictures_fault(tmp_path: Path) -> None:
    before = set(active_children())
    pool = PicturePool(2, tmp_path / "cache")
    held = Held(pool, tmp_path / "fifo")
    writer = await held.begun()
    await pool.run(os.getpid)
    os.close(writer)
    await held.task
    idle = set(active_children()) - before
    assert len(idle) == 2
    for process in idle:
        process.kill()
    assert await pool.run(os.getpid) not in {process.pid for process in idle}
    await pool.close()


@pytest.mark.parametrize(
    ("function", "argument", "end"),
    [(os._exit, 3, "exit status 3"), (signal.raise_signal, signal.SIGSEGV, "killed by SIGSEGV")],
)
async def test_what_kills_a_fresh_worker_too_is_refused_and_hurts_nobody_else(
    pool: PicturePool, tmp_path: Path, function: Callable[[int], Any], argument: int, end: str
) -> None:
    held = Held(pool, tmp_path / "fifo")
    writer = await held.begun()
    with pytest.raises(PictureError, match=rf"ended its worker twice \({end}\)"):
        await pool.run(function, argument)
    os.write(writer, b"unharmed")
    os.close(writer)
    assert await held.task == b"unharmed"


async def test_a_call_that_hangs_is_cut_at_its_limit(tmp_path: Path) -> None:
    before = set(active_children())
    pool = PicturePool(1, tmp_path, call_s_max=0.1)
    async with asyncio.timeout(4):
        with pytest.raises(PictureError, match=r"busy for 0\.1 s, the limit"):
            await pool.run(signal.pause)
    assert set(active_children()) <= before
    await pool.close()


async def test_closing_ends_a_worker_that_hangs(own_pool: PicturePool, tmp_path: Path) -> None:
    before = set(active_children())
    held = Held(own_pool, tmp_path / "fifo")
    writer = await held.begun()
    waiting = asyncio.create_task(own_pool.run(os.getpid))
    await asyncio.to_thread(int)
    await own_pool.close()
    os.close(writer)
    for task in (held.task, waiting):
        with pytest.raises(PoolClosedError, match="the daemon stops"):
            await task
    with pytest.raises(PoolClosedError):
        await own_pool.run(os.getpid)
    assert set(active_children()) <= before


async def test_a_worker_is_nice_bounded_and_deaf_to_ctrl_c(pool: PicturePool) -> None:
    assert await pool.run(os.nice, 0) == min(19, os.nice(0) + worker.NICENESS)
    assert await pool.run(signal.getsignal, signal.SIGINT) == signal.SIG_IGN
    soft, _ = await pool.run(resource.getrlimit, resource.RLIMIT_AS)
    assert soft == worker.ADDRESS_BYTES_MAX
    with pytest.raises(MemoryError):
        await pool.run(bytearray, worker.ADDRESS_BYTES_MAX)


async def test_a_worker_is_replaced_after_many_calls(own_pool: PicturePool) -> None:
    pids = [await own_pool.run(os.getpid) for _ in range(201)]
    assert len(set(pids[:200])) == 1
    assert pids[200] != pids[0]


async def test_idle_workers_end_after_a_rest_and_come_back_when_they_are_needed(
    tmp_path: Path,
) -> None:
    before = set(active_children())
    pool = PicturePool(2, tmp_path / "cache", rest_s=0.0)
    first = await pool.run(os.getpid)
    async with asyncio.timeout(4):
        while not set(active_children()) <= before:
            await asyncio.to_thread(int)
    assert await pool.run(os.getpid) != first
    await pool.close()


DIES = """
import asyncio, os, signal, sys
from pathlib import Path
from daemon.media.pictures import PicturePool

async def main():
    pool = PicturePool(2, Path(sys.argv[1]))
    print(await pool.run(os.getpid), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_workers_end_when_the_daemon_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "dies.py"
    script.write_text(DIES)
    # Every process inherits the output pipe: its end is the end of them all.
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert int(done.stdout) > 0
    assert done.stderr == b""


def test_the_daemon_does_not_carry_pillow() -> None:
    modules = "drawing, downloads, fitting, inputs, names, pictures, sniff, worker"
    code = f"import sys; from daemon.media import {modules}; sys.exit('PIL' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
