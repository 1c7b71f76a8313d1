"""The contract of a store (daemon/store/port.py). Another adapter takes the same tests: it needs
only a `make_store` that opens the same journal again each time it is called.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from daemon.core.events import Event, streamed
from daemon.core.gate import Closure, Gate
from daemon.core.job import Failure
from daemon.store.port import Batch, StoreError
from tests.store.facts import Heard, Pen, all_jobs, names, new_job, running_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from daemon.store.port import JobStore

    MakeStore = Callable[[], JobStore]


async def test_a_new_journal_starts_at_the_beginning(make_store: MakeStore) -> None:
    store = make_store()
    loaded = await store.open()
    assert (loaded.seq, loaded.next_job_id, loaded.first_seq) == (0, 1, 1)
    assert not loaded.unclean
    assert await all_jobs(store) == []
    assert await store.events_after(0, limit=10) == []
    assert await store.first_seq() == 1


async def test_what_was_appended_is_found_by_the_next_start(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    jobs = [new_job(1), running_job(2)]
    for job in jobs:
        await pen.add(job)
    gate = Gate((Closure("quota", 99.0, "429"),), epoch=3)
    await store.append(Batch((), gates={"mock": gate}))
    await store.close()

    again = make_store()
    loaded = await again.open()
    assert (loaded.seq, loaded.next_job_id, loaded.first_seq) == (2, 3, 1)
    assert loaded.gates == {"mock": gate}
    assert await all_jobs(again) == jobs


async def test_futures_give_the_last_number_of_their_batch(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    waiting = [pen.note("config_reloaded"), pen.note("config_reloaded", "config_refused")]
    empty = store.append(Batch(()))
    assert await asyncio.gather(*waiting) == [1, 3]
    assert await empty == 3


async def test_listeners_hear_every_fact_once_in_order(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    heard = Heard(store)
    await asyncio.gather(*(pen.add(new_job(number)) for number in range(1, 301)))
    assert [line.seq for line in heard.lines] == list(range(1, 301))
    assert [line.job for line in heard.lines] == list(range(1, 301))


async def test_listeners_hear_nothing_before_it_is_durable(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    heard = Heard(store)
    future = pen.add(new_job(1))
    assert heard.lines == []
    await future
    assert [line.seq for line in heard.lines] == [1]


async def test_a_line_is_what_is_stored_word_for_word(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    heard = Heard(store)
    await pen.add(running_job(1))
    line = heard.lines[0]
    assert line.text == msgspec.json.encode(streamed(line.event))
    assert await store.events_after(0, limit=5) == [(1, line.text)]


async def test_the_world_is_not_told_the_working_memory(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    await pen.add(running_job(1))
    ((_, text),) = await store.events_after(0, limit=5)
    told = msgspec.json.decode(text)
    assert told["seq"] == 1
    assert "work" not in told


async def test_the_last_version_of_a_job_stays(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    versions = [msgspec.structs.replace(new_job(1), rev=rev) for rev in range(1, 40)]
    await asyncio.gather(*map(pen.add, versions))
    assert await all_jobs(store) == versions[-1:]


async def test_a_large_batch_is_one_batch(make_store: MakeStore) -> None:
    store = make_store()
    loaded = await store.open()
    heard = Heard(store)
    jobs = tuple(new_job(number) for number in range(1, 2_502))
    events = tuple(
        Event(seq=seq, at=1.0, type="added", job=seq, provider="mock")
        for seq in range(loaded.seq + 1, loaded.seq + 2_502)
    )
    assert await store.append(Batch(events, jobs)) == 2_501
    assert heard.commits == 1
    assert len(await all_jobs(store)) == 2_501


@pytest.mark.parametrize("page", [1, 3, 7, 8])
async def test_jobs_come_in_pages_in_order_of_their_ids(make_store: MakeStore, page: int) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    await asyncio.gather(*(pen.add(new_job(number)) for number in (5, 1, 9, 3, 7, 2, 8)))
    pages = [[job.id for job in jobs] async for jobs in store.jobs(page)]
    assert [number for ids in pages for number in ids] == [1, 2, 3, 5, 7, 8, 9]
    assert max(map(len, pages)) <= page


async def test_a_dropped_job_is_gone_and_its_id_is_not_given_again(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    for number in (1, 2, 3):
        await pen.add(new_job(number))
    await store.append(Batch((), dropped=(2, 3)))
    assert [job.id for job in await all_jobs(store)] == [1]
    await store.close()
    assert (await make_store().open()).next_job_id == 4


async def test_a_job_dropped_right_behind_its_last_change_is_gone(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    changed = pen.add(new_job(1))
    dropped = store.append(Batch((), dropped=(1,)))
    await asyncio.gather(changed, dropped)
    assert await all_jobs(store) == []


async def test_events_are_read_from_a_place_on_up_to_a_limit(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    for _ in range(5):
        await pen.note("config_reloaded", "config_refused")
    assert [seq for seq, _ in await store.events_after(0, limit=3)] == [1, 2, 3]
    assert [seq for seq, _ in await store.events_after(7, limit=99)] == [8, 9, 10]
    assert await store.events_after(10, limit=99) == []


async def test_events_of_one_job_are_read_without_the_others(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    for number in (1, 2, 1, 2, 1):
        await pen.add(new_job(number))
    await pen.note("config_reloaded")
    assert [seq for seq, _ in await store.events_after(0, limit=99, job=1)] == [1, 3, 5]
    assert [seq for seq, _ in await store.events_after(1, limit=1, job=1)] == [3]
    assert await store.events_after(0, limit=99, job=7) == []


async def test_pruning_takes_old_events_from_the_front_only(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    for at in (10.0, 11.0, 50.0, 12.0, 60.0):
        await pen.note("config_reloaded", at=at)
    assert await store.prune(before=40.0) == 2
    assert await store.first_seq() == 3
    assert [seq for seq, _ in await store.events_after(0, limit=9)] == [3, 4, 5]
    assert await store.prune(before=40.0) == 0


async def test_pruning_goes_on_until_all_that_is_old_is_gone(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    await pen.note(*["config_reloaded"] * 2_345, at=10.0)
    await pen.note("config_refused", at=50.0)
    assert await store.prune(before=40.0) == 2_345
    assert [seq for seq, _ in await store.events_after(0, limit=9)] == [2_346]


async def test_numbers_go_on_when_every_event_was_pruned(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    await pen.note("config_reloaded", "config_refused")
    await store.prune(before=40.0)
    assert await store.first_seq() == 3
    await store.close()

    again = make_store()
    loaded = await again.open()
    assert (loaded.seq, loaded.first_seq) == (2, 3)
    assert await Pen(again, loaded).note("config_reloaded") == 3


async def test_a_hole_in_the_numbers_is_refused(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    await pen.note("config_reloaded")
    with pytest.raises(ValueError, match="3 to 3 can't follow 1"):
        store.append(Batch((Event(seq=3, at=1.0, type="config_reloaded"),)))
    assert await pen.note("config_reloaded") == 2


async def test_closing_stores_what_is_queued(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    waiting = [pen.add(new_job(number)) for number in range(1, 101)]
    await store.close()
    await store.close()
    assert [future.result() for future in waiting] == list(range(1, 101))
    again = make_store()
    assert (await again.open()).seq == 100


async def test_a_closed_journal_refuses_with_words(make_store: MakeStore) -> None:
    store = make_store()
    await store.open()
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        store.append(Batch(()))
    with pytest.raises(StoreError, match="closed"):
        await store.events_after(0, limit=1)


async def test_an_orderly_stop_is_known_to_the_next_start(make_store: MakeStore) -> None:
    store = make_store()
    await Pen(store, await store.open()).add(new_job(1))
    await store.close()
    again = make_store()
    assert not (await again.open()).unclean


async def test_nobody_waiting_is_no_reason_to_lose_a_fact(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    pen.add(new_job(1)).cancel()
    await pen.add(new_job(2))
    assert [job.id for job in await all_jobs(store)] == [1, 2]


async def test_half_a_character_from_a_provider_keeps_no_fact_off_the_disk(
    make_store: MakeStore,
) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    heard = Heard(store)
    broken = Failure("poll", "provider.failed", message="cut short \ud83d")
    await pen.add(msgspec.structs.replace(running_job(1), error=broken))
    (job,) = await all_jobs(store)
    assert job.error is not None
    assert job.error.message == "cut short ?"
    assert msgspec.json.decode(heard.lines[0].text)["value"]["error"]["message"] == "cut short ?"


async def test_a_backup_is_made_while_the_journal_is_in_use(
    make_store: MakeStore, tmp_path: Path
) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    await pen.add(new_job(1))
    await store.backup(str(tmp_path / "copy.sqlite3"))
    await pen.add(new_job(2))
    assert (tmp_path / "copy.sqlite3").stat().st_size > 0
    assert names(tmp_path, "*copy*") == ["copy.sqlite3"]
    assert await store.size_bytes() > 0


async def test_a_backup_that_can_not_be_made_says_why(
    make_store: MakeStore, tmp_path: Path
) -> None:
    store = make_store()
    await store.open()
    with pytest.raises(StoreError, match="no backup was made"):
        await store.backup(str(tmp_path / "missing" / "copy.sqlite3"))
