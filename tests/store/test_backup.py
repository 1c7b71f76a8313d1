"""Backups, and what a restore makes of them: whole files, real journals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import pytest

from daemon.core.gate import Gate
from daemon.core.job import Job, live_remote
from daemon.store import installing
from daemon.store.backup import SEQ_MARGIN, RestoreReport, backup_journal, restore
from daemon.store.encoding import encode
from daemon.store.port import Batch, Paid, StoreDamagedError, StoreError
from tests.store.facts import Pen, all_jobs, names, new_job, paid, running_job, sent_job

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from daemon.store.port import Loaded
    from tests.store.conftest import MakeStore

NOW = 1_000_000_000.0
STAMP = "20010909T014640Z"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "copy.sqlite3"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def backed_up(
    make_store: MakeStore, copy: Path, jobs: Sequence[Job], later: Sequence[Job] = ()
) -> int:
    """A journal with `jobs`, a copy of it, then `later`. The newest number that anybody saw."""
    store = make_store()
    pen = Pen(store, await store.open())
    await asyncio.gather(*map(pen.add, jobs))
    await store.backup(str(copy))
    seq = 0
    for job in later:
        seq = await pen.add(job)
    await store.close()
    return max(seq, len(jobs))


def write_paid(state: Path, *lines: Paid) -> None:
    state.mkdir(exist_ok=True)
    with (state / "paid.jsonl").open("ab") as file:
        file.writelines(encode(line) + b"\n" for line in lines)


async def started(make_store: MakeStore) -> tuple[Loaded, dict[int, Job], list[tuple[int, bytes]]]:
    store = make_store()
    loaded = await store.open()
    jobs = {job.id: job for job in await all_jobs(store)}
    events = list(await store.events_after(0, limit=10_000))
    await store.close()
    return loaded, jobs, events


# ---- making one ----


async def test_a_backup_is_one_whole_file(make_store: MakeStore, copy: Path) -> None:
    await backed_up(make_store, copy, [new_job(1), running_job(2)])
    connection = sqlite3.connect(f"{copy.as_uri()}?mode=ro", uri=True)
    try:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (2,)
    finally:
        connection.close()
    assert names(copy.parent, "*copy*") == ["copy.sqlite3"]


async def test_a_backup_is_made_without_a_daemon_too(
    make_store: MakeStore, state: Path, copy: Path, tmp_path: Path
) -> None:
    await backed_up(make_store, copy, [new_job(1)], later=[new_job(2)])
    backup_journal(state, tmp_path / "second.sqlite3")
    shutil.rmtree(state)
    assert restore(state, tmp_path / "second.sqlite3", now=NOW).jobs == 2


async def test_a_newer_backup_takes_the_place_of_an_older_one(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    await backed_up(make_store, copy, [new_job(1)], later=[new_job(2)])
    backup_journal(state, copy)
    shutil.rmtree(state)
    assert restore(state, copy, now=NOW).jobs == 2


async def test_the_journal_is_not_its_own_backup(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    await backed_up(make_store, copy, [new_job(1)])
    for name in ("journal.sqlite3", "journal.sqlite3-wal"):
        with pytest.raises(StoreError, match="the journal itself"):
            backup_journal(state, state / name)


async def test_only_a_backup_is_replaced(
    make_store: MakeStore, state: Path, copy: Path, tmp_path: Path
) -> None:
    await backed_up(make_store, copy, [new_job(1)])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    set_aside = tmp_path / "journal-1.sqlite3"
    shutil.copy(state / "journal.sqlite3", set_aside)
    with contextlib.closing(sqlite3.connect(tmp_path / "foreign.sqlite3")) as connection:
        connection.execute("CREATE TABLE photos (name TEXT)")
    (tmp_path / "config.toml").write_text("[daemon]\n" * 200)
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to(tmp_path / "config.toml")
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "foreign.sqlite3", tmp_path / "config.toml", tmp_path / "empty"):
        before = path.read_bytes()
        with pytest.raises(StoreError, match="isn't a backup of genq"):
            backup_journal(state, path)
        assert path.read_bytes() == before
    for path in (set_aside, elsewhere, tmp_path / "link", tmp_path / "pipe"):
        with pytest.raises(StoreError, match="isn't a backup of genq"):
            backup_journal(state, path)
    assert not names(tmp_path, "*.part")


def test_without_a_journal_there_is_nothing_to_back_up(state: Path, copy: Path) -> None:
    with pytest.raises(StoreError, match="nothing to back up"):
        backup_journal(state, copy)
    assert not copy.exists()


async def test_a_damaged_journal_gives_no_backup(
    make_store: MakeStore, state: Path, copy: Path, tmp_path: Path
) -> None:
    await backed_up(make_store, copy, [new_job(number) for number in range(1, 300)])
    with (state / "journal.sqlite3").open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096 * 4)
    with pytest.raises(StoreDamagedError, match=r"journal\.sqlite3"):
        backup_journal(state, tmp_path / "second.sqlite3")
    assert names(tmp_path, "*second*") == []


# ---- putting one back ----


async def test_nothing_goes_on_by_itself_after_a_restore(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    finished = msgspec.structs.replace(running_job(4), state="succeeded", finished_at=9.0)
    jobs = [new_job(1), sent_job(2), running_job(3, provider="veo"), finished]
    await backed_up(make_store, copy, jobs)
    report = restore(state, copy, now=NOW)
    assert (report.jobs, report.held, report.in_doubt, report.replayed) == (4, 2, 1, 0)

    loaded, found, _ = await started(make_store)
    assert [job.state for job in found.values()] == ["held", "in_doubt", "held", "succeeded"]
    assert [job.reason for job in found.values()] == ["restored", None, "restored", None]
    assert sorted(loaded.gates) == ["mock", "veo"]
    for gate in loaded.gates.values():
        assert [one.cause for one in gate.causes] == ["operator"]
    assert not loaded.unclean


async def test_a_gate_keeps_what_else_closed_it(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    store = make_store()
    await store.open()
    await store.append(Batch((), gates={"veo": Gate(epoch=7, quota_consecutive=2)}))
    await store.backup(str(copy))
    await store.close()
    restore(state, copy, now=NOW)
    loaded, _, _ = await started(make_store)
    assert (loaded.gates["veo"].epoch, loaded.gates["veo"].quota_consecutive) == (7, 2)
    assert [one.cause for one in loaded.gates["veo"].causes] == ["operator"]


async def test_what_was_paid_after_the_backup_is_put_in(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    await backed_up(make_store, copy, [new_job(1), running_job(2, "task-2"), new_job(3)])
    write_paid(
        state,
        paid(2, "task-2"),
        paid(1, "task-a", attempt=1, at=5.0),
        paid(1, "task-b", attempt=2, at=6.0),
    )
    with (state / "paid.jsonl").open("ab") as file:
        file.write(b'{"at":7.0,"job":3,"att')
    report = restore(state, copy, now=NOW)
    assert (report.held, report.replayed, report.unreadable) == (3, 2, 1)

    _, jobs, _ = await started(make_store)
    first = live_remote(jobs[1])
    assert first is not None
    assert (first.remote_id, first.key, jobs[1].attempt) == ("task-b", "key-2", 2)
    second = live_remote(jobs[2])
    assert second is not None
    assert (second.remote_id, jobs[2].attempt) == ("task-2", 1)
    assert live_remote(jobs[3]) is None


async def test_a_job_accepted_again_after_the_backup_is_no_longer_finished(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    failed = msgspec.structs.replace(running_job(1), state="failed", finished_at=9.0)
    await backed_up(make_store, copy, [failed])
    write_paid(state, paid(1, "task-1"), paid(1, "task-2", attempt=2, at=20.0))
    restore(state, copy, now=NOW)
    _, jobs, _ = await started(make_store)
    assert (jobs[1].state, jobs[1].remote_id, jobs[1].finished_at) == ("held", "task-2", None)


async def test_a_paid_job_that_the_backup_does_not_have_is_not_lost(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    await backed_up(make_store, copy, [new_job(1)], later=[new_job(2), new_job(3)])
    write_paid(state, paid(7, "task-7"))
    report = restore(state, copy, now=NOW)
    assert (report.jobs, report.held, report.replayed) == (2, 2, 1)
    loaded, jobs, events = await started(make_store)
    assert (jobs[7].state, jobs[7].remote_id) == ("held", "task-7")
    assert loaded.next_job_id == 8
    added = [msgspec.json.decode(text) for _, text in events][-1]
    assert (added["type"], added["value"]["id"]) == ("added", 7)


async def test_a_job_pruned_before_the_backup_does_not_come_back(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    await pen.add(running_job(1), paid=[paid(1)])
    await pen.add(new_job(2))
    await store.append(Batch((), dropped=(1,)))
    await store.backup(str(copy))
    await store.close()
    assert restore(state, copy, now=NOW).replayed == 0
    _, jobs, _ = await started(make_store)
    assert sorted(jobs) == [2]


async def test_job_ids_go_on_above_those_of_the_former_journal(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    await backed_up(make_store, copy, [new_job(1)], later=[new_job(5), new_job(6)])
    restore(state, copy, now=NOW)
    loaded, jobs, _ = await started(make_store)
    assert sorted(jobs) == [1]
    assert loaded.next_job_id == 7


async def test_a_client_of_the_former_journal_finds_its_place_too_old(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    jobs = [new_job(number) for number in range(1, 11)]
    seen = await backed_up(make_store, copy, jobs, later=[new_job(11), new_job(12)])
    restore(state, copy, now=NOW)
    loaded, _, events = await started(make_store)
    assert loaded.first_seq > seen + 1
    assert events[0][0] == loaded.first_seq
    assert events[-1][0] == loaded.seq
    assert all(after - before == 1 for (before, _), (after, _) in pairwise(events))
    assert [msgspec.json.decode(text)["seq"] for _, text in events] == [seq for seq, _ in events]
    kinds = [msgspec.json.decode(text)["type"] for _, text in events]
    assert kinds == ["added"] * 10 + ["provider_paused"] + ["held"] * 10


async def test_numbers_leap_ahead_where_the_former_ones_are_not_known(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    await backed_up(make_store, copy, [new_job(1)])
    (state / "journal.sqlite3").write_bytes(b"no database")
    restore(state, copy, now=NOW)
    loaded, _, _ = await started(make_store)
    assert loaded.first_seq > SEQ_MARGIN


async def test_a_backup_without_any_event_goes_on_above_the_former_numbers(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    await pen.note("config_reloaded", "config_reloaded")
    await store.prune(before=40.0)
    await store.backup(str(copy))
    await pen.note("config_reloaded")
    await store.close()
    restore(state, copy, now=NOW)
    loaded, _, events = await started(make_store)
    assert events == []
    assert (loaded.seq, loaded.first_seq) == (4, 5)


async def test_the_former_journal_is_kept_byte_for_byte(
    make_store: MakeStore, state: Path, copy: Path, tmp_path: Path
) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    await pen.add(new_job(1))
    await store.backup(str(copy))
    await pen.add(new_job(2))
    crashed = tmp_path / "crashed"
    shutil.copytree(state, crashed)
    await store.close()
    before = contents(crashed)
    report = restore(crashed, copy, now=NOW)
    aside = crashed / f"journal-{STAMP}.sqlite3"
    wal = crashed / f"journal-{STAMP}.sqlite3-wal"
    assert {aside, wal} <= set(report.set_aside)
    assert aside.read_bytes() == before["journal.sqlite3"]
    assert wal.read_bytes() == before["journal.sqlite3-wal"]
    assert not (crashed / "journal.sqlite3-wal").exists()
    # It is a journal still, with what was committed last.
    assert restore(state, aside, now=NOW).jobs == 2


async def test_a_second_restore_keeps_what_the_first_one_set_aside(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    await backed_up(make_store, copy, [new_job(1)])
    first = restore(state, copy, now=NOW)
    second = restore(state, copy, now=NOW)
    assert [path.name for path in first.set_aside] == [f"journal-{STAMP}.sqlite3"]
    assert [path.name for path in second.set_aside] == [f"journal-{STAMP}-2.sqlite3"]
    assert all(path.exists() for path in (*first.set_aside, *second.set_aside))


async def test_a_restore_into_a_new_folder_works(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    await backed_up(make_store, copy, [new_job(1)])
    shutil.rmtree(state)
    report = restore(state, copy, now=NOW)
    assert report == RestoreReport(1, 1, 0, 0, 0, [])


def make_nothing(copy: Path) -> None:
    copy.unlink()


def make_folder(copy: Path) -> None:
    copy.unlink()
    copy.mkdir()


def make_empty(copy: Path) -> None:
    copy.write_bytes(b"")


def damage(copy: Path) -> None:
    with copy.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)


def cut_off(copy: Path) -> None:
    os.truncate(copy, copy.stat().st_size // 2)


def make_text(copy: Path) -> None:
    copy.write_text("not a backup\n" * 100)


def alter(copy: Path, statement: str) -> None:
    connection = sqlite3.connect(copy)
    try:
        connection.execute(statement)
        connection.commit()
    finally:
        connection.close()


def make_newer(copy: Path) -> None:
    alter(copy, "PRAGMA user_version = 99")


def make_foreign(copy: Path) -> None:
    alter(copy, "PRAGMA application_id = 7")


def spoil_a_job(copy: Path) -> None:
    alter(copy, "UPDATE jobs SET body = CAST('{}' AS BLOB)")


REFUSED = [
    (make_nothing, "no such file"),
    (make_folder, "no such file"),
    (make_empty, "an empty file, not a backup"),
    (damage, "damaged, or no backup"),
    (cut_off, "damaged, or no backup"),
    (make_text, "damaged, or no backup"),
    (make_newer, "newer genq"),
    (make_foreign, "not a journal of genq"),
    (spoil_a_job, "can't be read"),
]


@pytest.mark.parametrize(("spoil", "words"), REFUSED)
async def test_a_bad_backup_is_refused_and_nothing_is_changed(
    make_store: MakeStore, state: Path, copy: Path, spoil: object, words: str
) -> None:
    await backed_up(make_store, copy, [new_job(number) for number in range(1, 100)])
    spoil(copy)  # type: ignore[operator]
    before = contents(state)
    with pytest.raises(StoreError, match=words):
        restore(state, copy, now=NOW)
    assert contents(state) == before


async def test_the_journal_itself_is_no_backup_to_restore(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    await backed_up(make_store, copy, [new_job(1)])
    before = contents(state)
    with pytest.raises(StoreError, match="the journal itself"):
        restore(state, state / "journal.sqlite3", now=NOW)
    assert contents(state) == before


# ---- killed half-way ----


def nothing_moved(state: Path) -> None:
    """The new journal is complete; that is the moment from which it counts."""
    (state / "prepared").rename(state / f"restored-{STAMP}.sqlite3")


def commits_moved(state: Path) -> None:
    nothing_moved(state)
    (state / "journal.sqlite3-wal").rename(state / f"journal-{STAMP}.sqlite3-wal")


def all_moved(state: Path) -> None:
    commits_moved(state)
    (state / "journal.sqlite3-shm").rename(state / f"journal-{STAMP}.sqlite3-shm")
    (state / "journal.sqlite3").rename(state / f"journal-{STAMP}.sqlite3")


KILLS = [nothing_moved, commits_moved, all_moved]


async def half_restored(
    make_store: MakeStore, state: Path, copy: Path, tmp_path: Path, kill: object
) -> dict[str, bytes]:
    """The folder of a daemon that was killed, then of a restore that was killed too."""
    store = make_store(tmp_path / "first")
    pen = Pen(store, await store.open())
    await pen.add(new_job(1))
    await store.backup(str(copy))
    await pen.add(new_job(2))
    shutil.copytree(tmp_path / "first", state)
    await store.close()
    before = contents(state)
    shutil.copyfile(copy, state / "prepared")
    kill(state)  # type: ignore[operator]
    return before


@pytest.mark.parametrize("kill", KILLS)
async def test_a_start_after_a_killed_restore_finishes_it(
    make_store: MakeStore, state: Path, copy: Path, tmp_path: Path, kill: object
) -> None:
    before = await half_restored(make_store, state, copy, tmp_path, kill)
    _, jobs, _ = await started(make_store)
    assert sorted(jobs) == [1]
    assert (state / f"journal-{STAMP}.sqlite3").read_bytes() == before["journal.sqlite3"]
    assert (state / f"journal-{STAMP}.sqlite3-wal").read_bytes() == before["journal.sqlite3-wal"]
    assert names(state, "restored-*") == []


@pytest.mark.parametrize("kill", KILLS)
async def test_a_second_restore_after_a_killed_one_works(
    make_store: MakeStore, state: Path, copy: Path, tmp_path: Path, kill: object
) -> None:
    before = await half_restored(make_store, state, copy, tmp_path, kill)
    report = restore(state, copy, now=NOW)
    assert (state / f"journal-{STAMP}.sqlite3").read_bytes() == before["journal.sqlite3"]
    assert state / f"journal-{STAMP}.sqlite3" in report.set_aside
    _, jobs, _ = await started(make_store)
    assert [(job.id, job.reason) for job in jobs.values()] == [(1, "restored")]


async def test_a_restore_killed_before_it_was_complete_changed_nothing(
    make_store: MakeStore, state: Path, copy: Path
) -> None:
    await backed_up(make_store, copy, [new_job(1)], later=[new_job(2)])
    shutil.copyfile(copy, state / "restoring.sqlite3")
    (state / "restoring.sqlite3-wal").write_bytes(b"half of something")
    _, jobs, _ = await started(make_store)
    assert sorted(jobs) == [1, 2]
    assert restore(state, copy, now=NOW).jobs == 1
    assert names(state, "restoring*") == []


def test_finishing_when_nothing_waits_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "restored-notes.txt").write_text("mine")
    assert installing.finish(tmp_path) == []
    assert names(tmp_path) == ["restored-notes.txt"]
