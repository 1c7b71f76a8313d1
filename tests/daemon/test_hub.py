"""Fan-out: live, behind, caught up, too far behind. Clients are outlets that take or don't."""

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog
from msgspec import Struct

from daemon.serving.hub import BOUNDS, Bounds, Hub, Subscription
from tests.fakes.clock import FakeClock, settle
from tests.fakes.desk import FakeDesk
from tests.fakes.outlet import FakeOutlet
from tests.fakes.reader import StreamReader, encoded

LONG = "p" * 10_000
BUFFER_BYTES = BOUNDS.buffer_bytes_max
BLOCK_BYTES = BOUNDS.block_bytes
RECENT_BYTES = BOUNDS.recent_bytes_max
BEHIND = Bounds(behind_events_max=500)


class Follower(Struct):
    """One subscriber, its outlet, and what it made of what it got."""

    reader: StreamReader
    outlet: FakeOutlet
    place: Subscription


class Stage:
    """A hub, its journal, and its followers."""

    def __init__(self) -> None:
        self.desk = FakeDesk()
        self.readers: list[StreamReader] = []
        self.restart()

    async def follow(
        self, after: int | None = None, *, job: int | None = None, stalled: bool = False
    ) -> Follower:
        reader = StreamReader(job)
        self.readers.append(reader)
        reader.place = self.hub.seq if after is None else after
        outlet = FakeOutlet(reader.take)
        outlet.stalled = stalled
        place = self.hub.subscribe(outlet, reader.place, job=job)
        await settle()
        return Follower(reader, outlet, place)

    def restart(self, bounds: Bounds = BOUNDS) -> None:
        """A new hub over the same journal, as after a restart: nothing is at hand."""
        self.hub = Hub(journal=self.desk, clock=FakeClock(), bounds=bounds)
        self.desk.hub = self.hub

    def overflow(self) -> None:
        """Commit, one by one, more than a stalled follower may leave unread."""
        for _ in range(2 * BUFFER_BYTES // len(LONG)):
            self.desk.add_jobs(1, prompt=LONG)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    assert [reader.faults for reader in stage.readers if reader.faults] == []


# ---- live ----


async def test_everybody_gets_every_event_in_one_write_a_commit(stage: Stage) -> None:
    followers = [await stage.follow() for _ in range(3)]
    stage.desk.add_jobs(5)
    assert [one.reader.seqs for one in followers] == [[1, 2, 3, 4, 5]] * 3
    assert [one.outlet.writes for one in followers] == [1, 1, 1]


async def test_the_bytes_are_joined_once_for_all(stage: Stage) -> None:
    written: list[bytes] = []
    for _ in range(3):
        stage.hub.subscribe(FakeOutlet(written.append), stage.hub.seq)
    await settle()
    stage.desk.add_jobs(2)
    assert len(written) == 3
    assert written[0] is written[1] is written[2]


async def test_a_follower_of_one_job_gets_its_events_only(stage: Stage) -> None:
    stage.desk.add_jobs(3)
    follower = await stage.follow(job=2)
    stage.desk.turn(1, "held")
    stage.desk.turn(2, "held")
    assert follower.reader.seqs == [5]
    assert follower.outlet.writes == 1


async def test_nobody_is_told_anything_after_leaving(stage: Stage) -> None:
    follower = await stage.follow()
    stage.hub.leave(follower.place)
    stage.hub.leave(follower.place)
    stage.desk.add_jobs(1)
    assert follower.reader.seqs == []


async def test_a_commit_without_events_changes_nothing(stage: Stage) -> None:
    follower = await stage.follow()
    stage.hub.publish([])
    assert follower.outlet.writes == 0


# ---- from the journal to now ----


async def test_what_was_missed_comes_first_and_then_what_happens(stage: Stage) -> None:
    stage.desk.add_jobs(20)
    follower = await stage.follow(after=5)
    stage.desk.add_jobs(3)
    assert follower.reader.seqs == list(range(6, 24))


async def test_events_committed_during_a_replay_come_once_and_in_order(stage: Stage) -> None:
    """Each page that is read lets another event be committed."""
    stage.desk.add_jobs(3 * BLOCK_BYTES // len(LONG), prompt=LONG)
    stage.hub = Hub(journal=CommittingDesk(stage.desk), clock=FakeClock())
    stage.desk.hub = stage.hub
    follower = await stage.follow(after=0)
    await settle(200)
    stage.desk.add_jobs(1)
    assert follower.reader.seqs == list(range(1, stage.desk.durable_seq + 1))
    assert not follower.reader.lost


class CommittingDesk:
    """A journal in which something happens with every tenth event that is read, for a while."""

    def __init__(self, desk: FakeDesk) -> None:
        self._desk = desk
        self._left = 12

    @property
    def durable_seq(self) -> int:
        return self._desk.durable_seq

    async def events(
        self, after: int | None, tail: int | None, job: int | None
    ) -> AsyncIterator[bytes]:
        if self._left:
            self._desk.add_jobs(1, prompt=LONG)
        stored = await self._desk.events(after, tail, job)
        return self._disturbed(stored)

    async def _disturbed(self, stored: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        count = 0
        async for line in stored:
            yield line
            count += 1
            if count % 10 == 0 and self._left:
                self._left -= 1
                self._desk.add_jobs(1, prompt=LONG)


async def test_a_replay_waits_for_a_reader_that_is_slow(stage: Stage) -> None:
    stage.desk.add_jobs(10 * BLOCK_BYTES // len(LONG), prompt=LONG)
    follower = await stage.follow(after=0, stalled=True)
    assert 0 < follower.outlet.waiting_bytes() < 2 * BLOCK_BYTES
    follower.outlet.flow()
    await settle(200)
    assert follower.reader.seqs == list(range(1, stage.desk.durable_seq + 1))


async def test_what_was_pruned_is_told_before_what_follows(stage: Stage) -> None:
    stage.desk.add_jobs(10)
    stage.restart()
    stage.desk.prune(7)
    for job in (None, 9):
        follower = await stage.follow(after=2, job=job)
        assert follower.reader.told_of_gap == 1
        assert follower.reader.seqs == ([7, 8, 9, 10] if job is None else [9])


async def test_a_follower_who_missed_only_what_is_pruned_is_told(stage: Stage) -> None:
    stage.desk.add_jobs(3)
    stage.restart()
    stage.desk.prune(4)
    follower = await stage.follow(after=2)
    assert follower.reader.told_of_gap == 1
    assert follower.reader.place == stage.desk.durable_seq
    follower = await stage.follow(after=2, job=1)
    assert follower.reader.told_of_gap == 1
    stage.desk.turn(1, "held")
    assert follower.reader.seqs == [stage.desk.durable_seq]


async def test_events_that_are_still_at_hand_need_no_journal(stage: Stage) -> None:
    stage.desk.add_jobs(10)
    stage.desk.prune(11)
    follower = await stage.follow(after=4)
    assert follower.reader.seqs == [5, 6, 7, 8, 9, 10]
    assert not follower.reader.lost


async def test_a_place_that_the_journal_never_reached_is_told(stage: Stage) -> None:
    stage.desk.add_jobs(3)
    follower = await stage.follow(after=99)
    assert (follower.reader.told_of_gap, follower.reader.place) == (1, 3)
    stage.desk.add_jobs(1)
    assert follower.reader.seqs == [4]


# ---- too slow ----


async def test_one_who_stops_reading_is_cut_off_and_costs_nobody_anything(stage: Stage) -> None:
    slow = await stage.follow()
    quick = await stage.follow()
    slow.outlet.stall()
    stage.overflow()
    assert quick.reader.seqs == list(range(1, stage.desk.durable_seq + 1))
    kept = slow.outlet.waiting_bytes()
    assert kept < BUFFER_BYTES + BLOCK_BYTES + 2 * len(LONG)
    stage.overflow()
    await settle()
    assert slow.outlet.waiting_bytes() == kept


async def test_one_who_reads_again_is_brought_up_to_now(stage: Stage) -> None:
    slow = await stage.follow()
    slow.outlet.stall()
    stage.overflow()
    stage.overflow()
    slow.outlet.flow()
    await settle(300)
    stage.desk.add_jobs(1)
    assert slow.reader.seqs == list(range(1, stage.desk.durable_seq + 1))
    assert encoded(slow.reader.jobs) == encoded(stage.desk.jobs)


async def test_a_huge_commit_fills_nobodys_memory(stage: Stage) -> None:
    slow = await stage.follow(stalled=True)
    await settle()
    stage.desk.add_jobs(3_000, prompt=LONG)
    assert slow.outlet.waiting_bytes() < BUFFER_BYTES + 2 * BLOCK_BYTES
    slow.outlet.flow()
    await settle(400)
    assert slow.reader.seqs == list(range(1, 3_001))


async def test_one_who_is_too_far_behind_is_told_his_place_once(stage: Stage) -> None:
    stage.restart(BEHIND)
    slow = await stage.follow()
    slow.outlet.stall()
    stage.overflow()
    stage.desk.add_jobs(501)
    with structlog.testing.capture_logs() as logged:
        slow.outlet.flow()
        await settle()
    assert slow.reader.resynced == slow.reader.seqs[-1]
    assert [line["event"] for line in logged] == ["subscriber_resync"]
    stage.desk.add_jobs(1)
    await settle()
    assert slow.reader.resynced < stage.desk.durable_seq - 500


async def test_a_replay_that_was_asked_for_is_never_too_long(stage: Stage) -> None:
    stage.desk.add_jobs(1_000)
    stage.restart(BEHIND)
    follower = await stage.follow(after=0)
    assert len(follower.reader.seqs) == 1_000


async def test_one_who_goes_while_behind_is_forgotten(stage: Stage) -> None:
    slow = await stage.follow()
    slow.outlet.stall()
    stage.overflow()
    await settle()
    with structlog.testing.capture_logs() as logged:
        slow.outlet.abort()
        await settle()
    assert [line["event"] for line in logged] == ["subscriber_gone"]
    stage.desk.add_jobs(1)


async def test_one_who_leaves_while_behind_gets_no_more(stage: Stage) -> None:
    slow = await stage.follow(after=0, stalled=True)
    stage.overflow()
    stage.hub.leave(slow.place)
    await settle()
    slow.outlet.flow()
    await settle()
    assert slow.place.task is not None
    assert slow.place.task.cancelled() or slow.place.task.done()
    stage.desk.add_jobs(1)
    assert stage.desk.durable_seq not in slow.reader.seqs


async def test_a_follower_whose_replay_fails_is_hung_up_on_not_left_in_silence(
    stage: Stage,
) -> None:
    stage.desk.add_jobs(5)
    stage.restart()
    stage.desk.failures["events"] = OSError("the disk")
    with structlog.testing.capture_logs() as logged:
        follower = await stage.follow(after=1)
    assert follower.outlet.gone
    assert [line["event"] for line in logged] == ["replay_failed"]


async def test_one_event_larger_than_all_buffers_reaches_everybody(stage: Stage) -> None:
    live = await stage.follow()
    stage.desk.add_jobs(1, prompt="p" * (2 * RECENT_BYTES))
    stage.desk.add_jobs(1)
    late = await stage.follow(after=0)
    assert live.reader.seqs == late.reader.seqs == [1, 2]


async def test_the_events_kept_at_hand_are_bounded(stage: Stage) -> None:
    stage.desk.add_jobs(RECENT_BYTES // len(LONG) + 50, prompt=LONG)
    kept = list(stage.hub._recent)  # noqa: SLF001 - what is bounded is private
    assert sum(len(line.text) for line in kept) <= RECENT_BYTES
    assert kept[-1].seq == stage.desk.durable_seq
