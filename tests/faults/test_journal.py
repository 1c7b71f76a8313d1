"""What can happen to the journal of a real daemon, and that nothing is paid twice for it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.store import opening, schema
from tests.fakes.installation import READY_S_MAX, ROOT, Installation, until

if TYPE_CHECKING:
    from collections.abc import Iterator

WEATHER = """
submit_s = 0.02
generate_s = 0.3
poll_interval_s = 0.1
watch_interval_s = 600
"""


@pytest.fixture
def genq(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path, WEATHER)
    yield installation
    installation.kill()


def add(genq: Installation) -> int:
    return genq.add("mock", "--prompt", "a fox", "--set", "width=64", "--set", "height=48")


def ended(genq: Installation) -> int:
    """The exit code of a daemon that ends by itself."""
    assert genq.process is not None
    code = genq.process.wait(READY_S_MAX)
    genq.process = None
    return code


def said(genq: Installation) -> str:
    return (genq.folder / "genqd.out").read_text()


def paid_once(genq: Installation, jobs: int) -> None:
    keys = Counter(row["key"] for row in genq.ledger())
    assert len(keys) == jobs
    assert max(keys.values()) == 1


# ---- a disk that fails ----


def test_a_write_that_fails_ends_the_daemon_and_the_next_start_goes_on(genq: Installation) -> None:
    genq.start()
    number = add(genq)
    genq.until(number, "generating")
    assert genq.process is not None
    # What a broken disk says to a write isn't "full": nothing may be promised after it.
    size = (genq.state / "journal.sqlite3-wal").stat().st_size
    resource.prlimit(genq.process.pid, resource.RLIMIT_FSIZE, (size, size))
    assert ended(genq) == 1
    assert "journal.sqlite3: disk I/O error; nothing more can be stored" in said(genq)
    genq.start()
    genq.until(number, "succeeded")
    paid_once(genq, 1)
    assert genq.stop() == 0


def test_a_paid_file_that_cannot_be_written_ends_the_daemon_and_the_id_is_not_lost(
    genq: Installation,
) -> None:
    genq.start()
    genq.until(add(genq), "succeeded")
    genq.stop()
    paid = genq.state / "paid.jsonl"
    paid.rename(genq.state / "paid.before")
    paid.symlink_to("/dev/full")
    genq.start()
    number = add(genq)
    until(lambda: len(genq.ledger()) == 2)
    # /dev/full says that the disk is full: the answer waits, in memory, and nothing else is bought.
    until(lambda: "the disk is full" in genq.ask("status").out)
    assert genq.ask("add", "mock", "--prompt", "more").code == 1
    genq.kill()
    paid.unlink()
    (genq.state / "paid.before").rename(paid)
    genq.start()
    assert genq.until(number, "in_doubt")["billed"] == "unknown"
    paid_once(genq, 2)


# ---- damage ----


def test_damage_found_while_running_ends_the_daemon_with_65_and_the_way_out(
    genq: Installation,
) -> None:
    genq.start()
    number = add(genq)
    genq.until(number, "succeeded")
    backup = str(genq.folder / "backup.sqlite3")
    assert genq.genqd("backup", "--config", str(genq.config), "--to", backup).returncode == 0
    for name in ("journal.sqlite3", "journal.sqlite3-wal"):
        with (genq.state / name).open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(100)
            file.write(b"\xff" * (size - 100))
    genq.ask("events")
    assert ended(genq) == 65
    assert "genqd restore FILE" in said(genq)
    before = (genq.state / "journal.sqlite3").read_bytes()
    done = genq.genqd("run", "--config", str(genq.config))
    assert (done.returncode, done.stdout) == (65, "")
    assert (genq.state / "journal.sqlite3").read_bytes() == before
    restored = genq.genqd("restore", "--config", str(genq.config), backup)
    assert restored.returncode == 0, restored
    assert "set aside: " in restored.stdout
    genq.start()
    assert genq.show(number)["state"] == "succeeded"
    paid_once(genq, 1)


def test_a_journal_that_is_gone_is_not_silently_made_anew_where_ids_were_paid_for(
    genq: Installation,
) -> None:
    genq.start()
    genq.until(add(genq), "succeeded")
    genq.stop()
    for path in genq.state.glob("journal.sqlite3*"):
        path.unlink()
    done = genq.genqd("run", "--config", str(genq.config))
    assert (done.returncode, done.stdout) == (65, "")
    assert "paid.jsonl" in done.stderr
    assert "genqd restore" in done.stderr
    assert not (genq.state / "journal.sqlite3").exists()


# ---- two daemons, a folder that can't be written ----


def test_of_daemons_started_together_one_works_and_the_others_leave_with_75(
    genq: Installation,
) -> None:
    words = [sys.executable, "-m", "daemon.cli", "run", "--config", str(genq.config)]
    started = [
        subprocess.Popen(words, cwd=ROOT, env=genq.environ, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        until(lambda: sum(one.poll() is not None for one in started) == 2)
        (winner,) = (one for one in started if one.poll() is None)
        for loser in set(started) - {winner}:
            assert loser.returncode == 75
            assert loser.stderr is not None
            assert "another genqd" in loser.stderr.read()
        until(lambda: genq.ask("ping").code == 0)
    finally:
        for one in started:
            one.send_signal(signal.SIGTERM)
            one.communicate(timeout=READY_S_MAX)
    assert winner.returncode == 0


def test_tidying_the_lock_file_away_lets_no_second_daemon_in(genq: Installation) -> None:
    genq.start()
    (genq.state / "daemon.lock").unlink()
    done = genq.genqd("run", "--config", str(genq.config))
    assert (done.returncode, done.stdout) == (75, "")
    assert "another genqd works on" in done.stderr


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a folder nobody can write")
def test_a_state_folder_that_nobody_can_write_leaves_with_73(genq: Installation) -> None:
    done = genq.genqd("run", "--config", str(genq.config), "--state-dir", "/sys/kernel")
    assert (done.returncode, done.stdout) == (73, "")
    assert "/sys/kernel" in done.stderr
    assert "--state-dir" in done.stderr


# ---- killed in the middle of a restore, and of a migration ----

RESTORE_POINTS = [
    "backup_copied",
    "backup_in_place",
    "restore_revived",
    "restore_pending",
    "restore_set_aside",
    "restore_in_place",
]


@pytest.mark.parametrize("again", ["start", "restore"])
@pytest.mark.parametrize("point", RESTORE_POINTS)
def test_a_restore_killed_anywhere_leaves_a_journal_that_pays_nothing_twice(
    genq: Installation, point: str, again: str
) -> None:
    genq.start()
    first = add(genq)
    backup = str(genq.folder / "backup.sqlite3")
    place = ["--config", str(genq.config)]
    assert genq.genqd("backup", *place, "--to", backup).returncode == 0
    second = add(genq)
    genq.until(first, "succeeded")
    genq.until(second, "succeeded")
    genq.stop()
    killed = genq.genqd("restore", *place, backup, GENQ_FAILPOINT=point)
    assert killed.returncode == -signal.SIGKILL, killed
    if again == "restore":
        done = genq.genqd("restore", *place, backup)
        assert done.returncode == 0, done
    genq.start()
    genq.ask("resume")
    genq.ask("release", str(first), str(second))
    for number in (first, second):
        genq.until(number, "succeeded")
    paid_once(genq, 2)


MIGRATION = """
import sys
from pathlib import Path
from daemon import failpoints
from daemon.store import opening, schema
failpoints.arm({"GENQ_FAILPOINT": sys.argv[2]})
steps = (*schema.steps(), "ALTER TABLE jobs ADD COLUMN colour TEXT;", "CREATE TABLE more (x TEXT);")
opening.open_folder(Path(sys.argv[1]), steps, now=0.0)
"""


@pytest.mark.parametrize(
    "point",
    ["backup_copied", "backup_in_place", "migration_begun", "migration_step", "migration_step:2"],
)
def test_a_migration_killed_anywhere_is_finished_by_the_next_start(
    tmp_path: Path, point: str
) -> None:
    opening.open_folder(tmp_path, schema.steps(), now=0.0)
    killed = subprocess.run(
        [sys.executable, "-c", MIGRATION, str(tmp_path), point], cwd=ROOT, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    newer = (*schema.steps(), "ALTER TABLE jobs ADD COLUMN colour TEXT;", "CREATE TABLE more (x);")
    assert opening.open_folder(tmp_path, newer, now=1.0).seq == 0
    assert opening.check(tmp_path / "journal.sqlite3", 3, thorough=True)[0] == 3
