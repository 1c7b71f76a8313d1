"""What the SQLite journal does besides the contract: its file, its thread, what can go wrong."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from daemon.clock import SystemClock
from daemon.core.events import Event
from daemon.store import opening, schema
from daemon.store.connections import BUSY_S, connect_reader, connect_writer, fold
from daemon.store.paid import read_paid
from daemon.store.port import Batch, StoreDamagedError, StoreError, StoreUnwritableError
from tests.store.facts import Heard, Pen, all_jobs, names, new_job, paid, running_job, sent_job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from daemon.store.sqlite import SqliteStore
    from tests.store.conftest import MakeStore


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def made_state(state: Path) -> Path:
    state.mkdir()
    return state


@pytest.fixture
def locked_state(state: Path) -> Path:
    state.mkdir(mode=0o555)
    return state


@pytest.fixture
def journal(state: Path) -> Path:
    return state / "journal.sqlite3"


def content(*paths: Path) -> list[str | None]:
    return [
        hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None for path in paths
    ]


def ask(journal: Path, question: str) -> Any:
    connection = sqlite3.connect(journal)
    try:
        return connection.execute(question).fetchone()[0]
    finally:
        connection.close()


def change(journal: Path, statement: str) -> None:
    connection = sqlite3.connect(journal)
    try:
        connection.execute(statement)
        connection.commit()
    finally:
        connection.close()


async def fill(make_store: MakeStore, jobs: int = 1, **options: Any) -> None:
    """A journal with so many jobs, closed in order."""
    store = make_store(**options)
    pen = Pen(store, await store.open())
    await asyncio.gather(*(pen.add(new_job(number)) for number in range(1, jobs + 1)))
    await store.close()


async def crash(make_store: MakeStore, state: Path, to: Path, jobs: int = 3) -> None:
    """In `to`: the folder as a power cut leaves it while the journal is in use."""
    store = make_store(state)
    pen = Pen(store, await store.open())
    await asyncio.gather(*(pen.add(new_job(number)) for number in range(1, jobs + 1)))
    shutil.copytree(state, to)
    await store.close()


async def until(met: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    for _ in range(10_000):
        if met():
            return
        await asyncio.to_thread(threading.Event().wait, 0.001)
    raise AssertionError("it didn't happen")


# ---- the file ----


async def test_the_file_says_what_it_is(make_store: MakeStore, journal: Path) -> None:
    await fill(make_store)
    assert ask(journal, "PRAGMA application_id").to_bytes(4, "big") == b"genq"
    assert ask(journal, "PRAGMA user_version") == len(schema.steps())
    assert ask(journal, "PRAGMA journal_mode") == "wal"
    strict = ask(journal, "SELECT count(*) FROM pragma_table_list WHERE strict AND type = 'table'")
    assert strict == 4


def test_the_writer_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    connection = connect_writer(tmp_path / "j.sqlite3")
    try:
        asked = ("journal_mode", "synchronous", "trusted_schema", "foreign_keys")
        found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in asked]
    finally:
        connection.close()
    assert found == ["wal", 2, 0, 1]


async def test_an_orderly_stop_leaves_one_file(make_store: MakeStore, state: Path) -> None:
    await fill(make_store)
    assert names(state) == ["ballast", "journal.sqlite3", "journal.stopped", "paid.jsonl"]


async def test_a_start_writes_nothing_into_a_sound_journal(
    make_store: MakeStore, journal: Path
) -> None:
    await fill(make_store, jobs=20)
    before = content(journal)
    store = make_store()
    await store.open()
    assert len(await all_jobs(store)) == 20
    await store.close()
    assert content(journal) == before


async def test_what_waits_is_stored_together(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    heard = Heard(store)
    await asyncio.gather(*(pen.add(new_job(number)) for number in range(1, 1_001)))
    assert len(heard.lines) == 1_000
    assert heard.commits < 200


async def test_a_failing_listener_keeps_no_caller_waiting(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))

    def fail(lines: object) -> None:
        raise RuntimeError("a listener's own mistake")

    store.on_commit(fail)
    assert await pen.add(new_job(1)) == 1
    assert await pen.add(new_job(2)) == 2
    assert len(seen) == 2


async def test_a_loop_that_never_rests_does_not_starve_the_writer(make_store: MakeStore) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    done = asyncio.Event()

    async def spin() -> None:
        while not done.is_set():
            sum(range(3_000))
            await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0)

    async def work() -> None:
        for number in range(1, 21):
            await pen.add(new_job(number))
        done.set()

    await asyncio.wait_for(asyncio.gather(spin(), work()), timeout=10.0)


# ---- starts after which something isn't as it was left ----


async def test_a_start_after_a_crash_finds_everything_and_says_so(
    make_store: MakeStore, state: Path, tmp_path: Path
) -> None:
    await crash(make_store, state, tmp_path / "crashed")
    store = make_store(tmp_path / "crashed")
    loaded = await store.open()
    assert loaded.unclean
    assert loaded.seq == 3
    assert [job.id for job in await all_jobs(store)] == [1, 2, 3]


async def test_a_crash_after_an_orderly_stop_is_a_crash(
    make_store: MakeStore, state: Path, tmp_path: Path
) -> None:
    await fill(make_store)
    store = make_store(state)
    await store.open()
    shutil.copytree(state, tmp_path / "crashed")
    await store.close()
    assert (await make_store(tmp_path / "crashed").open()).unclean


async def test_a_crash_is_forgotten_after_an_orderly_stop(
    make_store: MakeStore, state: Path, tmp_path: Path
) -> None:
    await crash(make_store, state, tmp_path / "crashed")
    first = make_store(tmp_path / "crashed")
    assert (await first.open()).unclean
    await first.close()
    assert not (await make_store(tmp_path / "crashed").open()).unclean


async def test_an_id_that_was_accepted_just_before_a_kill_is_told(
    make_store: MakeStore, state: Path, tmp_path: Path
) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    await pen.add(sent_job(1, key="key-1"))
    await pen.add(running_job(2, "task-2"), paid=[paid(2, "task-2")])
    shutil.copytree(state, tmp_path / "crashed")
    with (tmp_path / "crashed" / "paid.jsonl").open("a") as file:
        file.write('{"at":3.0,"job":1,"attempt":1,"key":"key-1","target":"http://mock",')
        file.write('"remote_id":"task-1","provider":"mock"}\n{"at":3.0,"job":1,"att')
    loaded = await make_store(tmp_path / "crashed").open()
    assert loaded.unrecorded == (paid(1, "task-1"),)


async def test_an_id_that_a_run_without_its_provider_left_is_told_after_an_orderly_stop(
    make_store: MakeStore, state: Path
) -> None:
    store = make_store()
    pen = Pen(store, await store.open())
    await pen.add(sent_job(1, key="key-1"))
    await store.close()
    with (state / "paid.jsonl").open("ab") as file:
        file.write(msgspec.json.encode(paid(1, "task-1")) + b"\n")
    loaded = await make_store().open()
    assert not loaded.unclean
    assert loaded.unrecorded == (paid(1, "task-1"),)


def overwrite_header(journal: Path) -> None:
    with journal.open("r+b") as file:
        file.write(b"not a database at all")


def overwrite_pages(journal: Path) -> None:
    with journal.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xde\xad\xbe\xef" * 4096)


def cut_off(journal: Path) -> None:
    os.truncate(journal, journal.stat().st_size // 2 + 100)


def overwrite_a_prompt(journal: Path) -> None:
    """Pages stay whole, what is in them doesn't."""
    whole = journal.read_bytes()
    place = whole.rindex(b'"prompt":"a fox"')
    with journal.open("r+b") as file:
        file.seek(place)
        file.write(b'"prompt":\x00\x00\x00\x00\x00\x00\x00')


def replace_by_text(journal: Path) -> None:
    journal.write_text("hello\n")


DAMAGES = [overwrite_header, overwrite_pages, cut_off, overwrite_a_prompt, replace_by_text]


async def start(store: SqliteStore) -> None:
    """As the daemon does: open, then load every job."""
    try:
        await store.open()
        await all_jobs(store)
    finally:
        await store.close()


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_journal_is_refused_and_left_byte_for_byte(
    make_store: MakeStore, journal: Path, damage: Callable[[Path], None]
) -> None:
    await fill(make_store, jobs=200)
    damage(journal)
    before = content(journal)
    for _ in range(2):
        with pytest.raises(StoreDamagedError, match=r"journal\.sqlite3.*`genqd restore FILE`"):
            await start(make_store())
        assert content(journal) == before


async def test_a_journal_damaged_in_a_crash_is_left_with_the_commits_beside_it(
    make_store: MakeStore, state: Path, tmp_path: Path
) -> None:
    await fill(make_store, jobs=200)
    store = make_store(state)
    await Pen(store, await store.open()).add(new_job(201))
    shutil.copytree(state, tmp_path / "crashed")
    await store.close()
    crashed = tmp_path / "crashed" / "journal.sqlite3"
    with crashed.open("r+b") as file:  # pages that the last commit didn't touch
        file.seek(8 * 4096)
        file.write(b"\xde\xad\xbe\xef" * 4096)
    files = [crashed, crashed.with_name("journal.sqlite3-wal")]
    before = content(*files)
    with pytest.raises(StoreDamagedError):
        await start(make_store(tmp_path / "crashed"))
    assert content(*files) == before
    assert files[1].stat().st_size > 0


async def test_a_missing_journal_beside_its_commits_is_not_made_anew(
    make_store: MakeStore, state: Path, tmp_path: Path
) -> None:
    await crash(make_store, state, tmp_path / "crashed")
    (tmp_path / "crashed" / "journal.sqlite3").unlink()
    wal = tmp_path / "crashed" / "journal.sqlite3-wal"
    before = content(wal)
    with pytest.raises(StoreDamagedError, match="-wal is there"):
        await start(make_store(tmp_path / "crashed"))
    assert content(wal) == before


async def test_a_first_start_that_was_cut_short_is_made_good(
    make_store: MakeStore, made_state: Path, journal: Path
) -> None:
    connection = sqlite3.connect(journal)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    store = make_store()
    assert await Pen(store, await store.open()).add(new_job(1)) == 1


async def test_another_programs_database_is_refused(
    make_store: MakeStore, made_state: Path, journal: Path
) -> None:
    change(journal, "CREATE TABLE bookmarks (url TEXT)")
    before = content(journal)
    with pytest.raises(StoreError, match="not a journal of genq"):
        await start(make_store())
    assert content(journal) == before


async def test_a_journal_of_a_newer_version_is_refused(
    make_store: MakeStore, journal: Path
) -> None:
    await fill(make_store)
    change(journal, "PRAGMA user_version = 99")
    before = content(journal)
    with pytest.raises(StoreError, match=r"newer genq \(journal version 99"):
        await start(make_store())
    assert content(journal) == before


async def test_a_backup_copied_over_the_journal_by_hand_works(
    make_store: MakeStore, state: Path, journal: Path, tmp_path: Path
) -> None:
    store = make_store()
    await Pen(store, await store.open()).add(new_job(1))
    await store.backup(str(tmp_path / "copy.sqlite3"))
    await store.close()
    shutil.copyfile(tmp_path / "copy.sqlite3", journal)
    again = make_store()
    assert await Pen(again, await again.open()).add(new_job(2)) == 2


def test_an_older_journal_is_brought_up_to_date_with_a_copy_beside_it(tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite3"
    opening.open_folder(tmp_path, schema.steps(), now=0.0)
    change(journal, "INSERT INTO meta VALUES ('seq', 41)")
    newer = (*schema.steps(), "ALTER TABLE jobs ADD COLUMN colour TEXT;")
    loaded = opening.open_folder(tmp_path, newer, now=0.0)
    assert loaded.seq == 41
    assert ask(journal, "PRAGMA user_version") == 2
    assert ask(journal, "SELECT count(*) FROM pragma_table_info('jobs') WHERE name = 'colour'") == 1
    copy = tmp_path / "version-1-19700101T000000Z.sqlite3"
    assert ask(copy, "PRAGMA user_version") == 1
    assert ask(copy, "SELECT value FROM meta") == 41


def test_a_step_that_fails_half_way_leaves_the_version_before_it(tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite3"
    opening.open_folder(tmp_path, schema.steps(), now=0.0)
    broken = (*schema.steps(), "CREATE TABLE extra (x TEXT); INSERT INTO nowhere VALUES (1);")
    with pytest.raises(StoreError, match="nowhere"):
        opening.open_folder(tmp_path, broken, now=0.0)
    assert ask(journal, "PRAGMA user_version") == 1
    assert ask(journal, "SELECT count(*) FROM sqlite_schema WHERE name = 'extra'") == 0
    assert opening.open_folder(tmp_path, schema.steps(), now=0.0).seq == 0


# ---- a folder that can't be written ----


async def test_a_folder_below_a_file_can_not_be_written(
    make_store: MakeStore, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritableError, match="file"):
        await make_store(tmp_path / "file" / "state").open()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_without_write_permission_is_refused(
    make_store: MakeStore, locked_state: Path
) -> None:
    with pytest.raises(StoreUnwritableError, match="state"):
        await make_store().open()


# ---- a full disk, a lock, a broken disk ----


class Disk:
    """The writer's connection, with a limit to what it can hold."""

    def __init__(self) -> None:
        self.connection: sqlite3.Connection | None = None
        self._pages: int | None = None

    def connect(self, path: Path) -> sqlite3.Connection:
        self.connection = connect_writer(path)
        self._limit()
        return self.connection

    def fill_up(self) -> None:
        self._pages = 1
        self._limit()

    def make_room(self) -> None:
        self._pages = 1_000_000
        self._limit()

    def _limit(self) -> None:
        if self.connection is not None and self._pages is not None:
            self.connection.execute(f"PRAGMA max_page_count = {self._pages}")


async def test_on_a_full_disk_facts_wait_and_nothing_is_lost(
    make_store: MakeStore, state: Path
) -> None:
    disk = Disk()
    store = make_store(connect=disk.connect)
    pen = Pen(store, await store.open())
    heard = Heard(store)
    await pen.add(new_job(1))
    disk.fill_up()
    waiting = [pen.add(new_job(number, prompt="x" * 20_000)) for number in (2, 3, 4)]
    await until(lambda: not (state / "ballast").exists() and len(heard.troubles) > 0)
    assert not any(future.done() for future in waiting)
    assert heard.troubles == [f"{state}: the disk is full"]

    disk.make_room()
    assert await asyncio.gather(*waiting) == [2, 3, 4]
    await until(lambda: heard.troubles[1:] == [None])
    assert (state / "ballast").stat().st_size == 4096
    assert [line.seq for line in heard.lines] == [1, 2, 3, 4]
    assert heard.fatal == []


async def test_facts_go_on_while_the_reserve_can_not_be_made_anew(
    make_store: MakeStore, state: Path
) -> None:
    disk = Disk()
    store = make_store(connect=disk.connect, ballast_bytes=4096)
    pen = Pen(store, await store.open())
    heard = Heard(store)
    await pen.add(new_job(1))
    (state / "ballast.part").mkdir()  # nothing can be put there
    disk.fill_up()
    waiting = pen.add(new_job(2, prompt="x" * 20_000))
    await until(lambda: len(heard.troubles) > 0)
    disk.make_room()
    await waiting
    assert await pen.add(new_job(3)) == 3
    assert heard.troubles == [f"{state}: the disk is full"]
    (state / "ballast.part").rmdir()
    await until(lambda: heard.troubles[1:] == [None])


async def test_without_room_for_paid_ids_the_fact_waits_too(
    make_store: MakeStore, made_state: Path
) -> None:
    (made_state / "paid.jsonl").symlink_to("/dev/full")
    store = make_store()
    pen = Pen(store, await store.open())
    heard = Heard(store)
    waiting = pen.add(running_job(1), paid=[paid(1)])
    await until(lambda: len(heard.troubles) > 0)
    assert not waiting.done()
    assert await store.events_after(0, limit=9) == []
    await store.close()
    with pytest.raises(StoreError, match="No space left"):
        await waiting


async def test_a_stop_on_a_full_disk_ends_and_says_what_was_not_stored(
    make_store: MakeStore, state: Path
) -> None:
    disk = Disk()
    store = make_store(connect=disk.connect)
    pen = Pen(store, await store.open())
    heard = Heard(store)
    await pen.add(new_job(1))
    disk.fill_up()
    waiting = pen.add(new_job(2, prompt="x" * 20_000))
    await until(lambda: len(heard.troubles) > 0)
    await store.close()
    with pytest.raises(StoreError, match="full"):
        await waiting
    assert heard.fatal == []
    again = make_store()
    loaded = await again.open()
    assert loaded.unclean
    assert [job.id for job in await all_jobs(again)] == [1]


async def test_another_programs_lock_is_waited_for(
    make_store: MakeStore, state: Path, journal: Path
) -> None:
    def connect(path: Path) -> sqlite3.Connection:
        connection = connect_writer(path)
        connection.execute("PRAGMA busy_timeout = 1")
        return connection

    store = make_store(connect=connect)
    pen = Pen(store, await store.open())
    heard = Heard(store)
    await pen.add(new_job(1))
    other = sqlite3.connect(journal, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waiting = pen.add(new_job(2))
    await until(lambda: len(heard.troubles) > 0)
    assert heard.troubles == [f"{state}: another program has locked the journal"]
    other.execute("ROLLBACK")
    other.close()
    assert await waiting == 2
    await until(lambda: heard.troubles[1:] == [None])


class FailingConnection(sqlite3.Connection):
    """Says what SQLite says when the disk fails, at a commit."""

    commits_left = 0

    def execute(self, statement: str, values: Iterable[Any] = ()) -> sqlite3.Cursor:  # type: ignore[override]
        self.commits_left -= statement == "COMMIT"
        if self.commits_left < 0:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return super().execute(statement, values)  # type: ignore[arg-type]


async def test_a_failed_fsync_ends_the_store(make_store: MakeStore, journal: Path) -> None:
    store = make_store(connect=lambda path: FailingConnection(path, isolation_level=None))
    pen = Pen(store, await store.open())
    heard = Heard(store)
    waiting = [pen.add(new_job(number)) for number in (1, 2, 3)]
    for future in waiting:
        with pytest.raises(StoreError, match=r"journal\.sqlite3: disk I/O error; nothing more"):
            await future
    assert [str(error) for error in heard.fatal] == [
        f"{journal}: disk I/O error; nothing more can be stored"
    ]
    with pytest.raises(StoreError, match="nothing more can be stored"):
        pen.add(new_job(4))
    with pytest.raises(StoreError, match="nothing more can be stored"):
        await store.prune(before=9.0)
    await store.close()
    assert (await make_store().open()).unclean


async def test_after_a_failed_fsync_all_is_left_as_it_is(
    make_store: MakeStore, journal: Path
) -> None:
    await fill(make_store, jobs=3)
    links: list[FailingConnection] = []

    def connect(path: Path) -> sqlite3.Connection:
        links.append(sqlite3.connect(path, isolation_level=None, factory=FailingConnection))
        links[0].commits_left = 1
        return links[0]

    store = make_store(connect=connect)
    pen = Pen(store, await store.open())
    await pen.add(new_job(4))
    with pytest.raises(StoreError):
        await pen.add(new_job(5))
    files = [journal, journal.with_name("journal.sqlite3-wal")]
    before = content(*files)
    await store.close()
    assert content(*files) == before
    again = make_store()
    assert (await again.open()).unclean
    assert [job.id for job in await all_jobs(again)] == [1, 2, 3, 4]


async def test_what_can_not_be_encoded_ends_the_store_and_no_caller_waits(
    make_store: MakeStore,
) -> None:
    store = make_store()
    await store.open()
    heard = Heard(store)
    event = Event(seq=1, at=1.0, type="edited", job=1, params={"no": object()})
    with pytest.raises(StoreError, match="nothing more can be stored"):
        await store.append(Batch((event,)))
    assert len(heard.fatal) == 1


async def test_a_paid_id_is_on_disk_before_its_fact(make_store: MakeStore, state: Path) -> None:
    store = make_store(connect=lambda path: FailingConnection(path, isolation_level=None))
    pen = Pen(store, await store.open())
    with pytest.raises(StoreError):
        await pen.add(running_job(1), paid=[paid(1)])
    assert read_paid(state / "paid.jsonl") == ([paid(1)], 0)


async def test_a_paid_file_that_fails_ends_the_store(
    make_store: MakeStore, made_state: Path
) -> None:
    os.mkfifo(made_state / "paid.jsonl")  # no fdatasync, no seeking: EINVAL and ESPIPE
    store = make_store()
    pen = Pen(store, await store.open())
    with pytest.raises(StoreError, match=os.strerror(errno.EINVAL)):
        await pen.add(running_job(1), paid=[paid(1)])
    assert await store.events_after(0, limit=9) == []


async def test_the_wal_is_folded_in_when_nothing_happens(
    make_store: MakeStore, journal: Path
) -> None:
    store = make_store(idle_s=0.01)
    await Pen(store, await store.open()).add(new_job(1))
    wal = journal.with_name("journal.sqlite3-wal")
    await until(lambda: wal.stat().st_size == 0)
    assert len(await all_jobs(store)) == 1


def test_folding_the_wal_in_waits_for_no_reader(tmp_path: Path) -> None:
    writer = connect_writer(tmp_path / "j.sqlite3")
    reader = connect_reader(tmp_path / "j.sqlite3")
    clock = SystemClock()
    try:
        writer.execute("CREATE TABLE facts (x)")
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM facts").fetchall()
        writer.execute("INSERT INTO facts VALUES (1)")
        before = clock.monotonic()
        assert not fold(writer)
        assert clock.monotonic() - before < BUSY_S / 2
        reader.execute("COMMIT")
        assert fold(writer)
        assert writer.execute("PRAGMA busy_timeout").fetchone() == (BUSY_S * 1000,)
    finally:
        reader.close()
        writer.close()


async def test_a_reserve_that_is_missing_is_made_when_nothing_happens(
    make_store: MakeStore, made_state: Path
) -> None:
    (made_state / "ballast.part").mkdir()  # nothing can be put there
    store = make_store(idle_s=0.01)
    pen = Pen(store, await store.open())
    assert not (made_state / "ballast").exists()
    (made_state / "ballast.part").rmdir()
    await pen.add(new_job(1))
    await until((made_state / "ballast").exists)
