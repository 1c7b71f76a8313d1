"""The outward contract of the daemon itself: gates, reload, its exit codes, stops and restores."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.installation import CLOCK, ROOT, Installation, fold, until

CONFIG = """
[daemon]
stop_grace_s = 5

[pictures]
image_workers = 1

[providers.mock]
engine = "mock"
submit_s = 0.01
generate_s = 0.05
poll_interval_s = 0.05
params = { width = 64, height = 48 }

[providers.other]
engine = "mock"
"""
SLOW = """
submit_s = 0.01
generate_s = 1
poll_interval_s = 0.05
concurrency = 4
params = { width = 64, height = 48 }
"""


@pytest.fixture(scope="module")
def genq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A daemon whose environment overrides a key of its configuration."""
    installation = Installation(tmp_path_factory.mktemp("t"), config=CONFIG)
    installation.environ["GENQ_PROVIDERS__MOCK__SUBMIT_RETRIES"] = "2"
    installation.start()
    yield installation
    installation.kill()


def _provider(genq: Installation, name: str) -> dict[str, Any]:
    rows = genq.ask("providers", "--json").value
    return next(row for row in rows if row["name"] == name)


# ---- pause and resume ----


def test_a_paused_provider_keeps_its_jobs_waiting_and_says_why(genq: Installation) -> None:
    assert genq.ask("pause", "mock", "--reason", "tea", "--json").value["changed"] == ["mock"]
    gate = _provider(genq, "mock")["gate"]
    assert (gate["state"], gate["source"], gate["until_at"]) == ("paused", "operator", None)
    assert gate["causes"] == [{"cause": "operator", "until_at": None, "reason": "tea"}]
    assert _provider(genq, "other")["gate"]["state"] == "open"
    number = genq.add("mock", "--prompt", "x")
    job = genq.show(number)
    assert (job["state"], job["reason"], job["next_at"]) == ("queued", "provider", None)
    assert "tea" in genq.ask("why", str(number)).out
    assert _provider(genq, "mock")["queued"] == 1
    assert genq.ask("wait", str(number), "--timeout", "0.05").code == 4
    assert genq.ask("resume", "mock", "--json").value["changed"] == ["mock"]
    genq.until(number, "succeeded")


def test_without_a_provider_all_are_paused_and_until_ends_it(genq: Installation) -> None:
    answer = genq.ask("pause", "--until", "+1s", "--json")
    assert answer.value["changed"] == ["mock", "other"]
    number = genq.add("mock", "--prompt", "x")
    job = genq.show(number)
    gate = _provider(genq, "mock")["gate"]
    assert job["next_at"] == gate["until_at"]
    assert job["created_at"] < gate["until_at"] <= job["created_at"] + 1
    job = genq.until(number, "succeeded")
    assert job["started_at"] >= gate["until_at"]
    assert genq.ask("resume").code == 0


def test_what_is_paused_or_open_already_is_done(genq: Installation) -> None:
    for verb in ("pause", "resume"):
        assert genq.ask(verb, "other", "--json").value == {"changed": ["other"], "refused": []}
        again = genq.ask(verb, "other", "--json")
        assert (again.code, again.value) == (0, {"changed": [], "refused": []})


# ---- reload, and the environment ----


def test_an_override_of_the_environment_counts(genq: Installation) -> None:
    assert genq.show(genq.add("mock", "--prompt", "x"))["retries_max"] == 2


def test_a_good_reload_takes_effect_and_a_bad_one_changes_nothing(genq: Installation) -> None:
    told = genq.reload(CONFIG.replace("[providers.other]", "concurrency = 9\n[providers.other]"))
    assert (told["type"], "concurrency" in told["detail"]) == ("config_reloaded", True)
    assert _provider(genq, "mock")["concurrency"] == 9

    told = genq.reload(CONFIG + "concurency = 5\nsubmit_retries = 'x'\n")
    assert told["type"] == "config_refused"
    assert "did you mean 'concurrency'?" in told["detail"]
    assert "submit_retries" in told["detail"]
    assert _provider(genq, "mock")["concurrency"] == 9
    problems = genq.ask("status", "--json").value["daemon"]["problems"]
    assert any("concurency" in problem for problem in problems)
    assert "concurency" in genq.ask("status").out
    assert "concurency" in "".join(path.read_text() for path in (genq.folder / "logs").iterdir())

    genq.reload(CONFIG)
    assert genq.ask("status", "--json").value["daemon"]["problems"] == []
    assert _provider(genq, "mock")["concurrency"] == 3


def test_a_provider_that_is_switched_off_keeps_its_jobs_with_a_warning(genq: Installation) -> None:
    genq.reload(CONFIG + "enabled = false\n")
    row = _provider(genq, "other")
    assert (row["enabled"], row["gate"]["source"]) == (False, "config")
    answer = genq.ask("add", "other", "--prompt", "x", "--json")
    assert (answer.code, len(answer.value["warnings"])) == (0, 1)
    (number,) = answer.value["ids"]
    assert genq.show(number)["reason"] == "provider"
    assert genq.ask("resume", "other").code == 1
    genq.ask("cancel", str(number))
    genq.reload(CONFIG)
    assert _provider(genq, "other")["gate"]["state"] == "open"


# ---- exit codes of genqd ----


def test_a_second_daemon_on_the_folder_leaves_with_75(genq: Installation) -> None:
    done = genq.genqd("run", "--config", str(genq.config))
    assert (done.returncode, done.stdout) == (75, "")
    assert genq.process is not None
    assert str(genq.process.pid) in done.stderr
    assert genq.ask("ping").code == 0


def test_a_bad_configuration_leaves_with_78_and_every_problem(tmp_path: Path) -> None:
    text = "[daemon]\nstat_dir = 'x'\nkeep_days = 'many'\n[providers.mock]\nengine = 'mok'\n"
    broken = Installation(tmp_path, config=text)
    for words in (["run", "--config", str(broken.config)], ["config", "check", "config.toml"]):
        done = broken.genqd(*words)
        told = done.stdout + done.stderr
        assert done.returncode == 78
        assert f"{broken.config}:2: " in told
        assert "'state_dir'" in told
        assert f"{broken.config}:3: " in told
        assert "'mock'" in told
    assert not broken.state.exists()


@pytest.mark.parametrize(
    ("script", "words"),
    [(None, ["config.toml:10: ", "No such file"]), ("[[outcome]]\nphas = 1", [":2: ", "'phase'"])],
)
def test_a_weather_script_that_can_not_be_played_is_a_problem_of_the_configuration(
    tmp_path: Path, script: str | None, words: list[str]
) -> None:
    broken = Installation(tmp_path, 'script = "weather.toml"\n')
    if script is not None:
        (tmp_path / "weather.toml").write_text(script)
    config = str(broken.config)
    for asked, code in (
        (["run", "--config", config], 78),
        (["config", "check", config], 78),
        (["doctor", "--config", config], 1),
    ):
        done = broken.genqd(*asked)
        told = done.stdout + done.stderr
        assert done.returncode == code, told
        assert all(word in told for word in ("weather.toml", *words)), told
        assert "Errno" not in told


def test_jobs_of_a_provider_that_is_configured_no_more_say_so(tmp_path: Path) -> None:
    genq = Installation(tmp_path, '[providers.other]\nengine = "mock"\ngenerate_s = 100\n')
    try:
        genq.start()
        live = genq.add("other", "--prompt", "x")
        genq.until(live, "generating")
        assert genq.ask("pause", "other").code == 0
        waiting = genq.add("other", "--prompt", "x")
        assert genq.stop() == 0
        with_both = genq.config.read_text()
        genq.config.write_text(with_both.partition("[providers.other]")[0])
        genq.start()
        for number in (live, waiting):
            why = genq.ask("why", str(number), "--json").value
            assert "other isn't configured any more" in why["sentence"]
            assert why["next_at"] is None
        genq.reload(with_both)
        assert "works on it" in genq.ask("why", str(live)).out
        assert "resumes it" in genq.ask("why", str(waiting)).out
    finally:
        genq.kill()


def test_an_override_that_sets_nothing_is_a_problem(tmp_path: Path) -> None:
    words = ("config", "check", "config.toml")
    done = Installation(tmp_path).genqd(*words, GENQ_PROVIDERS__MOCK__CONCURENCY="7")
    assert done.returncode == 78
    assert "GENQ_PROVIDERS__MOCK__CONCURRENCY" in done.stdout


def test_a_socket_path_that_is_too_long_leaves_with_78(tmp_path: Path) -> None:
    long = Installation(tmp_path)
    done = long.genqd("run", "--config", str(long.config), "--socket", f"/tmp/{'s' * 120}")
    assert (done.returncode, done.stdout) == (78, "")
    assert "107" in done.stderr


def test_a_state_folder_that_cannot_be_made_leaves_with_73(tmp_path: Path) -> None:
    blocked = Installation(tmp_path)
    (tmp_path / "file").touch()
    done = blocked.genqd("run", "--config", str(blocked.config), "--state-dir", "file/state")
    assert (done.returncode, done.stdout) == (73, "")
    assert "file" in done.stderr
    assert "[Errno" not in done.stderr


@pytest.mark.parametrize("damage", ["garbage", "torn", "overwritten"])
def test_a_damaged_journal_leaves_with_65_and_is_left_byte_for_byte(
    genq: Installation, tmp_path: Path, damage: str
) -> None:
    broken = Installation(tmp_path)
    broken.state.mkdir()
    journal = broken.state / "journal.sqlite3"
    assert genq.genqd("backup", "--config", str(genq.config), "--to", str(journal)).returncode == 0
    whole = journal.read_bytes()
    journal.write_bytes(
        {
            "garbage": b"garbage" * 1000,
            "torn": whole[: len(whole) // 2],
            "overwritten": whole[:8192] + b"\xff" * 8192 + whole[16384:],
        }[damage]
    )
    before = hashlib.sha256(journal.read_bytes()).hexdigest()
    done = broken.genqd("run", "--config", str(broken.config))
    assert (done.returncode, done.stdout) == (65, "")
    assert str(journal) in done.stderr
    assert "genqd restore" in done.stderr
    assert hashlib.sha256(journal.read_bytes()).hexdigest() == before


def test_a_journal_that_was_emptied_is_damaged(tmp_path: Path) -> None:
    broken = Installation(tmp_path)
    broken.state.mkdir()
    (broken.state / "journal.sqlite3").touch()
    line = {"at": 1.0, "job": 1, "attempt": 1, "key": "k", "target": "mock:", "remote_id": "r"}
    (broken.state / "paid.jsonl").write_text(json.dumps({**line, "provider": "mock"}) + "\n")
    try:
        with pytest.raises(RuntimeError, match="damaged"):
            broken.start()
    finally:
        broken.kill()


def test_config_init_never_overwrites_and_what_it_writes_is_good(tmp_path: Path) -> None:
    new = Installation(tmp_path)
    words = ("config", "init", "--to", "made.toml")
    assert new.genqd(*words).returncode == 0
    made = (tmp_path / "made.toml").read_bytes()
    again = new.genqd(*words)
    assert (again.returncode, again.stdout) == (1, "")
    assert (tmp_path / "made.toml").read_bytes() == made
    assert new.genqd("config", "check", "made.toml").returncode == 0
    done = new.genqd(
        "config", "show", "--config", "made.toml", "--sources", "--json", GENQ_DAEMON__KEEP_DAYS="7"
    )
    shown = json.loads(done.stdout)
    assert shown["daemon"]["keep_days"]["value"] == 7
    assert "GENQ_DAEMON__KEEP_DAYS" in shown["daemon"]["keep_days"]["source"]
    assert shown["providers"]["mock"]["concurrency"]["source"].startswith(str(tmp_path))


# ---- stops and starts ----


def test_stops_and_crashes_lose_nothing_and_a_follower_sees_every_event(tmp_path: Path) -> None:
    genq = Installation(tmp_path, SLOW)
    genq.start()
    ids = genq.ask("add", "mock", "--prompt", "x", "--count", "4", "--json").value["ids"]
    for number in ids:
        genq.until(number, "generating")
    genq.ask("pause", "mock", "--until", "+1h", "--reason", "night")
    waiting = genq.add("mock", "--prompt", "waits")
    with subprocess.Popen(
        [sys.executable, "-m", "tui.cli", "events", "--follow", "--after", "0", "--json"],
        cwd=ROOT,
        env={**genq.environ, "GENQ_SOCKET": str(genq.socket)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as follower:
        try:
            assert follower.stdout is not None
            seen = [json.loads(follower.stdout.readline())]
            started = CLOCK.monotonic()
            assert genq.stop() == 0
            assert CLOCK.monotonic() - started < 5
            genq.start()
            gate = _provider(genq, "mock")["gate"]
            assert (gate["state"], gate["reason"]) == ("paused", "night")
            assert genq.show(waiting)["next_at"] == gate["until_at"]
            genq.kill()
            genq.start()
            assert genq.ask("resume", "mock").code == 0
            assert waiting in genq.ask("wait", "--json").value["succeeded"]
            events = genq.events()
            seen += [json.loads(follower.stdout.readline()) for _ in events[1:]]
        finally:
            follower.terminate()
            genq.kill()
    assert seen == events
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [event["type"] for event in events].count("daemon_started") == 3
    assert [event["type"] for event in events].count("daemon_stopping") == 1
    assert sorted(row["job"] for row in genq.ledger()) == [*ids, waiting]
    assert len(fold(events)) == 5


def test_a_restored_backup_waits_for_a_person_and_submits_nothing_twice(tmp_path: Path) -> None:
    genq = Installation(tmp_path, SLOW + "watch_interval_s = 600\n")
    genq.start()
    try:
        ids = genq.ask("add", "mock", "--prompt", "x", "--count", "2", "--json").value["ids"]
        for number in ids:
            genq.until(number, "generating")
        ids.append(genq.add("mock", "--prompt", "later", "--not-before", "+1d"))
        backup = str(tmp_path / "backup.sqlite3")
        assert genq.genqd("backup", "--config", "config.toml", "--to", backup).returncode == 0
        ids.append(genq.add("mock", "--prompt", "after the backup"))
        genq.until(ids[-1], "generating")
        refused = genq.genqd("restore", "--config", "config.toml", backup)
        assert (refused.returncode, refused.stdout) == (75, "")
        genq.stop()
        assert genq.genqd("restore", "--config", "config.toml", backup).returncode == 0
        genq.start()
        assert _provider(genq, "mock")["gate"]["state"] == "paused"
        until(lambda: [job["id"] for job in genq.ask("ls", "--json").value] == ids)
        held = genq.show(ids[2])
        assert (held["state"], held["reason"]) == ("held", "restored")
        assert len(genq.ledger()) == 3
        genq.ask("release", *map(str, ids))
        genq.ask("resume")
        for number in (ids[0], ids[1], ids[3]):
            genq.until(number, "succeeded")
        assert len(genq.ledger()) == 3
        jobs = {job["id"] for job in genq.ask("ls", "--json").value}
        events = genq.events()
        first = events[0]["seq"]
        assert [one["seq"] for one in events] == list(range(first, first + len(events)))
        assert jobs == set(ids)
    finally:
        genq.kill()


def test_a_backup_takes_the_place_of_an_older_one_and_of_no_other_file(tmp_path: Path) -> None:
    genq = Installation(tmp_path)
    genq.start()
    genq.stop()
    for _ in range(2):
        done = genq.genqd("backup", "--config", "config.toml", "--to", "old.sqlite3")
        assert (done.returncode, done.stderr) == (0, "")
    before = genq.config.read_text()
    done = genq.genqd("backup", "--config", "config.toml", "--to", "config.toml")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{genq.config}: it is there and isn't a backup" in done.stderr
    assert genq.config.read_text() == before


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def _modes(*folders: Path) -> dict[str, int]:
    paths = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    return {path.name: path.stat().st_mode & 0o777 for path in paths}


@pytest.mark.usefixtures("usual_umask")
def test_what_holds_prompts_is_for_the_daemons_user_and_group(tmp_path: Path) -> None:
    genq = Installation(tmp_path)
    genq.start()
    try:
        genq.until(genq.add("mock", "--prompt", "secret"), "succeeded")
        modes = _modes(genq.state, tmp_path / "logs")
        assert {name for name, mode in modes.items() if mode & 0o007} == set()
        for name in ("journal.sqlite3", "journal.sqlite3-wal", "journal.sqlite3-shm"):
            assert modes[name] == 0o640
        assert (modes["paid.jsonl"], modes["genqd.jsonl"]) == (0o640, 0o640)
        assert (modes["state"], modes["logs"]) == (0o750, 0o750)
        assert _modes(tmp_path / "outputs")["outputs"] == 0o755
    finally:
        genq.stop()
    for _ in range(2):
        done = genq.genqd("backup", "--config", "config.toml", "--to", "kept/copy.sqlite3")
        assert (done.returncode, done.stderr) == (0, "")
    assert _modes(tmp_path / "kept") == {"kept": 0o750, "copy.sqlite3": 0o640}
    shutil.rmtree(genq.state)
    done = genq.genqd("restore", "--config", "config.toml", "kept/copy.sqlite3")
    assert (done.returncode, done.stderr) == (0, "")
    assert {name for name, mode in _modes(genq.state).items() if mode & 0o007} == set()


@pytest.mark.usefixtures("usual_umask")
def test_what_is_there_keeps_its_mode_and_a_narrower_umask_counts(tmp_path: Path) -> None:
    genq = Installation(tmp_path)
    (tmp_path / "logs").mkdir(mode=0o755)
    os.umask(0o077)
    genq.start()
    genq.stop()
    modes = _modes(genq.state, tmp_path / "logs")
    assert (modes["logs"], modes["state"], modes["journal.sqlite3"]) == (0o755, 0o700, 0o600)


def test_restored_jobs_stay_held_until_somebody_releases_them(tmp_path: Path) -> None:
    genq = Installation(tmp_path, SLOW.replace("generate_s = 1", "generate_s = 3"))
    genq.start()
    try:
        number = genq.add("mock", "--prompt", "x")
        genq.until(number, "generating")
        backup = str(tmp_path / "backup.sqlite3")
        assert genq.genqd("backup", "--config", "config.toml", "--to", backup).returncode == 0
        genq.until(number, "succeeded")
        genq.stop()
        assert genq.genqd("restore", "--config", "config.toml", backup).returncode == 0
        genq.start()
        CLOCK.sleep(1.0)
        assert "rescued" not in {event["type"] for event in genq.events()}
        job = genq.show(number)
        assert (job["state"], job["reason"]) == ("held", "restored")
    finally:
        genq.kill()


def test_the_shipped_configuration_is_played_by_the_mock_without_keys(tmp_path: Path) -> None:
    text = (ROOT / "config.toml").read_text()
    genq = Installation(tmp_path, config=text)
    genq.environ["GENQ_PICTURES__IMAGE_WORKERS"] = "1"
    genq.environ["GENQ_PROVIDERS__VEO__POLL_INTERVAL_S"] = "0.1"
    genq.environ["GENQ_PROVIDERS__VEO__GENERATE_S"] = "0.1"
    genq.start("--mock")
    try:
        rows = genq.ask("providers", "--json").value
        names = ["cogvideox", "comfyui", "coze", "jiekou", "mock", "veo"]
        assert [row["name"] for row in rows] == names
        assert all(row["enabled"] and row["gate"]["state"] == "open" for row in rows)
        for name in names:
            answer = genq.ask("add", name, "--prompt", "x", "--json")
            assert (answer.code, answer.value["warnings"]) == (0, [])
    finally:
        genq.kill()


def test_a_held_task_is_asked_about_slowly_however_it_answers(tmp_path: Path) -> None:
    (tmp_path / "weather.toml").write_text(
        '[[outcome]]\nphase = "poll"\nhttp = 504\ntimes = 1000\n'
    )
    weather = 'script = "weather.toml"\nwatch_interval_s = 0.2\nbackoff_max_s = 0.01\n'
    genq = Installation(tmp_path, SLOW + weather)
    genq.start()
    try:
        number = genq.add("mock", "--prompt", "x")
        genq.until(number, "held")
        began, before = CLOCK.monotonic(), len(genq.events())
        CLOCK.sleep(0.5)
        seen = len(genq.events()) - before
        assert seen <= 2 + (CLOCK.monotonic() - began) / 0.2
    finally:
        genq.kill()
