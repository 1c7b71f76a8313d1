"""Who goes next: priority, then turns between batches, then age; never above the room."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.job import Cancelling, Downloading, Finished, Held, Job, Queued, Submitting
from daemon.core.quantiles import WINDOW, Window
from daemon.core.schedule import FOREVER, Backlog, Pace, Slots, ready_at, slot_until
from tests.core.jobs import (
    INTENT,
    NOW,
    READY_REMOTE,
    cancelled,
    cancelling,
    downloading,
    failed,
    generating,
    held,
    in_doubt,
    preparing,
    queued,
    submitting,
    succeeded,
)


def waiting(number: int, **fields: Any) -> Job:
    usual = {"id": number, "provider": "m", "batch": None}
    return msgspec.structs.replace(queued(fields.pop("work", None)), **{**usual, **fields})


def backlog_of(*jobs: Job, now: float = NOW) -> Backlog:
    backlog = Backlog()
    for job in jobs:
        backlog.put(job, (), now)
    return backlog


def drained(backlog: Backlog, now: float = NOW) -> list[int]:
    """One by one, as slots become free."""
    order = []
    while picked := backlog.pick("m", 1, now):
        order += picked
    return order


def test_priority_goes_first_and_then_age() -> None:
    jobs = [waiting(1), waiting(2, priority=5), waiting(3, priority=-5), waiting(4, priority=5)]
    assert drained(backlog_of(*jobs)) == [2, 4, 1, 3]


def test_batches_take_turns_however_long_one_of_them_is() -> None:
    jobs = [waiting(n, batch="long") for n in range(1, 6)]
    jobs += [waiting(10, batch="short"), waiting(11, batch="short"), waiting(12)]
    assert drained(backlog_of(*jobs)) == [1, 10, 12, 2, 11, 3, 4, 5]


def test_a_pick_takes_no_more_than_there_is_room_and_only_of_its_provider() -> None:
    backlog = backlog_of(*(waiting(n) for n in range(1, 5)), waiting(9, provider="other"))
    assert backlog.pick("m", 3, NOW) == [1, 2, 3]
    assert (backlog.queued("m"), backlog.queued("other"), backlog.queued("none")) == (1, 1, 0)
    assert backlog.pick("m", 3, NOW) == [4]
    assert backlog.pick("none", 3, NOW) == []


def test_a_job_waits_for_its_time_and_then_for_its_turn() -> None:
    backoff = waiting(1, work=Queued("backoff", NOW + 9.0))
    scheduled = waiting(2, not_before_at=NOW + 5.0)
    backlog = backlog_of(backoff, scheduled, waiting(3))
    assert backlog.pick("m", 9, NOW) == [3]
    assert backlog.next_wakeup(NOW) == NOW + 5.0
    assert backlog.pick("m", 9, NOW + 5.0) == [2]
    assert backlog.next_wakeup(NOW) == NOW + 9.0
    assert backlog.pick("m", 9, NOW + 9.0) == [1]
    assert backlog.next_wakeup(NOW) is None


def test_a_job_that_is_due_and_finds_no_room_is_not_waited_for_again() -> None:
    """Else a pass would be followed by the next at once, for as long as the gate is shut."""
    backlog = backlog_of(waiting(1, not_before_at=NOW + 5.0), waiting(2, not_before_at=NOW + 9.0))
    assert backlog.next_wakeup(NOW + 6.0) == NOW + 9.0
    assert backlog.next_wakeup(NOW + 9.0) is None
    assert backlog.pick("m", 9, NOW + 9.0) == [1, 2]


def test_a_job_that_left_is_not_waited_for() -> None:
    backlog = backlog_of(waiting(1, not_before_at=NOW + 5.0), waiting(2))
    for number in (1, 2, 3):
        backlog.remove(number)
    assert backlog.next_wakeup(NOW) is None
    assert backlog.pick("m", 9, NOW + 9.0) == []
    assert backlog.queued("m") == 0


def test_a_later_time_replaces_an_earlier_one() -> None:
    backlog = backlog_of(waiting(1, not_before_at=NOW + 5.0))
    backlog.put(waiting(1, not_before_at=NOW + 50.0), (), NOW)
    assert backlog.next_wakeup(NOW) == NOW + 50.0
    assert backlog.pick("m", 1, NOW + 6.0) == []


def test_a_new_priority_is_a_new_place_in_line() -> None:
    backlog = backlog_of(waiting(1), waiting(2))
    backlog.put(waiting(2, priority=9), (), NOW)
    assert drained(backlog) == [2, 1]


def test_a_child_waits_for_all_of_its_parents() -> None:
    backlog = Backlog()
    backlog.put(waiting(3), (1, 2), NOW)
    assert backlog.blocked_by(3) == (1, 2)
    assert drained(backlog) == []
    backlog.finished(1, NOW)
    assert (backlog.blocked_by(3), drained(backlog)) == ((2,), [])
    backlog.finished(2, NOW)
    assert (backlog.blocked_by(3), drained(backlog)) == ((), [3])


def test_a_child_that_left_is_not_called_back_by_its_parent() -> None:
    backlog = Backlog()
    backlog.put(waiting(3), (1, 2), NOW)
    backlog.put(waiting(4), (1,), NOW)
    backlog.remove(4)
    backlog.finished(1, NOW)
    backlog.remove(3)
    backlog.finished(2, NOW)
    assert drained(backlog) == []


JOBS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["a", "b", None]), st.sampled_from([0, 5, 9])),
    max_size=30,
)


@given(rows=JOBS, rooms=st.lists(st.integers(0, 4), max_size=20), gone=st.sets(st.integers(1, 30)))
def test_every_pick_is_within_its_room_ready_and_the_best_there_was(
    rows: list[tuple[int, str | None, int]], rooms: list[int], gone: set[int]
) -> None:
    jobs = {
        n: waiting(n, priority=p, batch=b, not_before_at=NOW + later)
        for n, (p, b, later) in enumerate(rows, 1)
    }
    backlog = backlog_of(*jobs.values())
    left = dict(jobs)
    for number in gone:
        backlog.remove(number)
        left.pop(number, None)
    for step, room in enumerate([*rooms, 99]):
        now = NOW + step if step < len(rooms) else NOW + 99.0
        picked = backlog.pick("m", room, now)
        assert len(picked) <= room
        ready = {n: job for n, job in left.items() if ready_at(job) <= now}
        assert len(picked) == min(room, len(ready))
        for number in picked:
            best = max(job.priority for job in ready.values())
            assert ready.pop(number).priority == best
            same = [n for n, job in ready.items() if _alike(job, jobs[number])]
            assert all(number < other for other in same)
            del left[number]
    assert not left
    assert backlog.queued("m") == 0


def _alike(one: Job, other: Job) -> bool:
    return (one.priority, one.batch) == (other.priority, other.batch)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=40))
def test_no_batch_waits_longer_than_one_turn_of_each_other(batches: list[str]) -> None:
    backlog = backlog_of(*(waiting(n, batch=b) for n, b in enumerate(batches, 1)))
    left = list(batches)
    waited = dict.fromkeys(set(batches), 0)
    for number in drained(backlog):
        batch = batches[number - 1]
        left.remove(batch)
        waited = {b: 0 if b == batch else n + 1 for b, n in waited.items() if b in left}
        assert all(n < len(set(batches)) for n in waited.values())


# ---- slots ----


@pytest.mark.parametrize(
    ("job", "until"),
    [
        (queued(), 0.0),
        (preparing(), FOREVER),
        (submitting(), FOREVER),
        (submitting(Submitting(INTENT, NOW)), FOREVER),
        (generating(), FOREVER),
        (downloading(), 0.0),
        (cancelling(), FOREVER),
        (cancelling(Cancelling(intent=INTENT)), FOREVER),
        (in_doubt(), 1.0 + 300.0),
        (held(), 1.0 + 300.0),
        (held(Held()), 0.0),
        (held(Held(READY_REMOTE)), 0.0),
        (failed(), NOW - 5.0 + 300.0),
        (cancelled(), NOW - 5.0 + 300.0),
        (cancelled(Finished()), 0.0),
        (succeeded(), 0.0),
    ],
)
def test_a_slot_is_taken_as_long_as_the_provider_may_be_at_work(job: Job, until: float) -> None:
    assert slot_until(job, 300.0) == until


def test_a_slot_whose_time_is_over_is_not_waited_for_though_nobody_counted() -> None:
    slots = Slots()
    slots.put(generating(), 300.0, NOW)
    slots.put(msgspec.structs.replace(cancelled(), id=2), 300.0, NOW)
    assert slots.next_free_at(NOW + 295.0) is None


def test_lingering_slots_are_let_go_when_their_time_is_over() -> None:
    slots = Slots()
    slots.put(generating(), 300.0, NOW)
    slots.put(msgspec.structs.replace(cancelled(), id=2), 300.0, NOW)
    assert (slots.taken(NOW), slots.next_free_at(NOW)) == (2, NOW + 295.0)
    assert (slots.taken(NOW + 295.0), slots.next_free_at(NOW + 295.0)) == (1, None)
    slots.put(downloading(Downloading(READY_REMOTE, NOW)), 300.0, NOW)
    assert slots.taken(NOW) == 0


# ---- pace and latencies ----


def test_calls_are_spaced_evenly_and_without_a_limit_not_at_all() -> None:
    pace = Pace(30)
    assert [pace.take(NOW) for _ in range(3)] == [NOW, NOW + 2.0, NOW + 4.0]
    assert pace.ready_at(NOW) == NOW + 6.0
    assert pace.take(NOW + 60.0) == NOW + 60.0
    free = Pace(0)
    assert [free.take(NOW) for _ in range(3)] == [NOW, NOW, NOW]


@given(
    st.lists(st.integers(0, 9), max_size=20).map(lambda some: [float(n) for n in some] * 15),
    st.sampled_from([0.0, 0.5, 0.95, 1.0]),
)
def test_a_quantile_is_exact_over_the_last_of_the_window(durations: list[float], q: float) -> None:
    window = Window()
    for seconds in durations:
        window.add(seconds)
    kept = sorted(durations[-WINDOW:])
    assert len(window) == len(kept)
    found = window.quantile(q)
    assert (found is None) == (not kept)
    if found is not None:
        assert sum(one <= found for one in kept) >= q * len(kept)
        assert sum(one < found for one in kept) <= max(0.0, q * len(kept) - 1e-9)
