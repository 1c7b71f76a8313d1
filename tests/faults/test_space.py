"""Full and read-only disks, without one: room, the gates it shuts, and what may be seen meanwhile.

With real disks: test_disk_full.py.
"""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

from daemon.core.job import Output, Result
from daemon.core.outcomes import Accepted, Fault, Pending, Ready, Saved
from daemon.gatekeeper import Gatekeeper
from daemon.lock import LockHeldError, held, take
from daemon.space import FREE_BYTES_MIN, LOOK_EVERY_S, Room
from daemon.store.reserve import Reserve
from tests.fakes.clock import FakeClock, settle
from tests.fakes.shell import LIMITS, Shell
from tests.fakes.store import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.performer import Answer

GIB = 1 << 30
READY = Ready((Result("mock:1"),))
SAVED = Saved((Output("/out/1.png", 10, "ab" * 32, "image/png"),))
NO_ROOM = Fault("download", "local.nospace", message="No space left on device", effect="accepted")


class Usage(NamedTuple):
    total: int
    free: int


class Gauge:
    """A disk that has what it is told to have."""

    def __init__(self, total: int = 100 * GIB, free: int = 50 * GIB) -> None:
        self.total = total
        self.free = free
        self.looks = 0
        self.broken = False

    def __call__(self, _folder: Path) -> Usage:
        self.looks += 1
        if self.broken:
            raise OSError(errno.EIO, "Input/output error")
        return Usage(self.total, self.free)


class Watched:
    """A room and what it said."""

    def __init__(self, folder: Path, gauge: Gauge) -> None:
        self.said: list[str | None] = []
        self.clock = FakeClock()
        self.room = Room(self.clock, self.said.append, folder, folder, measure=gauge)


async def test_room_that_runs_short_is_said_once_and_trusted_again_at_twice_the_least(
    tmp_path: Path,
) -> None:
    gauge = Gauge()
    one = Watched(tmp_path, gauge)
    for free in (FREE_BYTES_MIN, FREE_BYTES_MIN - 1, 0, 2 * FREE_BYTES_MIN - 1):
        gauge.free = free
        await one.room.look()
    (why,) = one.said
    assert why is not None
    assert str(tmp_path) in why
    assert "134 MB" in why
    gauge.free = 2 * FREE_BYTES_MIN
    await one.room.look()
    assert one.said == [why, None]


async def test_a_small_disk_keeps_a_share_of_itself_and_more_than_its_reserve(
    tmp_path: Path,
) -> None:
    gauge = Gauge(total=16 * 1024 * 1024, free=2 * 1024 * 1024)
    one = Watched(tmp_path, gauge)
    await one.room.look()
    assert one.said == []
    gauge.free = gauge.total // 16  # its reserve, just spent
    await one.room.look()
    assert len(one.said) == 1


async def test_a_disk_that_cannot_be_measured_is_as_it_was(tmp_path: Path) -> None:
    gauge = Gauge(free=0)
    one = Watched(tmp_path, gauge)
    await one.room.look()
    gauge.broken = True
    await one.room.look()
    assert len(one.said) == 1


async def test_before_a_submit_the_disks_are_looked_at_unless_they_just_were(
    tmp_path: Path,
) -> None:
    gauge = Gauge()
    one = Watched(tmp_path, gauge)
    await asyncio.gather(*(one.room.check() for _ in range(50)))
    assert gauge.looks == 1
    await one.clock.advance(1.0)
    gauge.free = 0
    await one.room.check()
    assert len(one.said) == 1


async def test_the_disks_are_looked_at_now_and_then(tmp_path: Path) -> None:
    gauge = Gauge()
    one = Watched(tmp_path, gauge)
    task = asyncio.create_task(one.room.run())
    for looks in (1, 2, 3):
        while one.clock.next_wake_at is None:  # the look is made in a thread
            await asyncio.to_thread(int)
        assert gauge.looks == looks
        await one.clock.advance(LOOK_EVERY_S)
    task.cancel()


async def test_a_folder_that_may_not_be_written_stops_submits(tmp_path: Path) -> None:
    folder = tmp_path / "outputs"
    folder.write_text("a file that nobody can enter")
    folder.chmod(0o400)
    one = Watched(folder, Gauge())
    await one.room.look()
    (why,) = one.said
    assert why is not None
    assert "can't be written" in why


# ---- what follows ----


def shell(store: MemoryStore | None = None, **more: list[Answer]) -> Shell:
    answers: dict[str, list[Answer]] = {
        "Submit": [Accepted("r1", "mock:")],
        "Poll": [READY],
        "Fetch": [SAVED],
        **more,
    }
    return Shell(answers, store=store)


class Doorman:
    """A shell with a gatekeeper, and the problems that it told of."""

    def __init__(self, shell: Shell, folder: Path) -> None:
        self.problems: dict[str, str | None] = {}
        self.keeper = Gatekeeper(
            book=shell.book,
            clock=shell.clock,
            providers=shell.providers,
            overrides_file=folder / "overrides.toml",
            problem=self.problems.__setitem__,
        )


async def test_two_reasons_for_no_room_shut_the_gate_until_both_are_gone(tmp_path: Path) -> None:
    told = shell()
    keeper = Doorman(told, tmp_path).keeper
    keeper.space("the journal's disk is full")
    keeper.room("the outputs' disk is nearly full")
    keeper.space(None)
    (cause,) = told.book.gate("p").causes
    assert (cause.cause, cause.reason) == ("space", "the outputs' disk is nearly full")
    told.add()
    await told.run(100.0)
    assert told.performer.count("Submit") == 0
    keeper.room(None)
    await told.run(100.0)
    assert told.job(1).state == "succeeded"


async def test_a_result_without_room_is_fetched_later_and_burns_nothing() -> None:
    told = shell(Fetch=[NO_ROOM, NO_ROOM, NO_ROOM, NO_ROOM, NO_ROOM, SAVED])
    told.add(1)
    await told.run(LIMITS.poll_interval_s + 1.0)
    job = told.job(1)
    assert job.state == "downloading"
    assert (job.errors_consecutive, job.errors_total, job.retries) == (0, 0, 0)
    assert [one.cause for one in told.book.gate("p").causes] == ["space"]
    told.add(1)
    await told.run(1.0)
    assert told.performer.count("Submit") == 1
    await told.run(6 * LIMITS.backoff_max_s)
    assert told.job(1).state == "succeeded"
    assert (told.job(1).retries, told.job(1).attempt) == (0, 1)
    assert sum(name == "Submit" for job, name in told.performer.asked if job == 1) == 1


async def test_while_nothing_can_be_stored_people_see_and_nothing_hangs() -> None:
    store = MemoryStore(held=True)
    told = shell(store)
    told.add()
    looking = asyncio.create_task(told.book.seen())
    await settle()
    assert not looking.done()
    told.book.trouble = "the disk is full"
    await asyncio.wait_for(looking, 5.0)
    assert await told.book.stuck() == "the disk is full"
    store.commit()
    assert await told.book.stuck() is None


async def test_what_is_stored_after_all_is_waited_for_as_ever() -> None:
    store = MemoryStore(held=True)
    told = shell(store, Poll=[Pending()])
    told.add()
    looking = asyncio.create_task(told.book.seen())
    await settle()
    store.commit()
    await asyncio.wait_for(looking, 5.0)


# ---- the reserve, and the lock ----


def test_a_start_with_room_keeps_its_reserve(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path, 4096)
    assert reserve.fill()
    reserve.lend()
    assert (tmp_path / "ballast").exists()


def test_the_lock_is_the_folders_and_outlives_its_file(tmp_path: Path) -> None:
    assert not held(tmp_path)
    handle = take(tmp_path)
    (tmp_path / "daemon.lock").unlink()
    assert held(tmp_path)
    with pytest.raises(LockHeldError, match="another genqd works on"):
        take(tmp_path)
    os.close(handle)
    assert not held(tmp_path)
    os.close(take(tmp_path))
