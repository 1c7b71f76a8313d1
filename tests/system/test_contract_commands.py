"""The outward contract of the commands: exit codes, what goes where, and the shapes of JSON."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from daemon.wire.client import Client
from tests.fakes.installation import ROOT, Installation, fold, until, without_derived

WEATHER = """
submit_s = 0.02
generate_s = 0.05
poll_interval_s = 0.05

[providers.patient]
engine = "mock"
generate_s = 600
poll_interval_s = 0.05
"""
STATES = [
    "queued",
    "preparing",
    "submitting",
    "generating",
    "downloading",
    "cancelling",
    "in_doubt",
    "held",
    "succeeded",
    "failed",
    "cancelled",
]
JOB_KEYS = {
    "id",
    "name",
    "provider",
    "state",
    "reason",
    "batch",
    "labels",
    "priority",
    "prompt",
    "params",
    "images",
    "after",
    "attempt",
    "retries",
    "retries_max",
    "errors_consecutive",
    "errors_consecutive_max",
    "errors_total",
    "remote_id",
    "progress",
    "created_at",
    "updated_at",
    "started_at",
    "finished_at",
    "next_at",
    "deadline_at",
    "stages",
    "outputs",
    "error",
    "billed",
    "by",
    "rev",
}
ATTEMPT_KEYS = {
    "attempt",
    "key",
    "remote_id",
    "submitted_at",
    "accepted_at",
    "finished_at",
    "polls",
    "result",
    "error",
}


@pytest.fixture(scope="module")
def genq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A daemon with job 1 done and job 2 held."""
    installation = Installation(tmp_path_factory.mktemp("t"), WEATHER)
    installation.start()
    try:
        assert installation.add("mock", "--prompt", "first", "--name", "first") == 1
        assert installation.add("mock", "--prompt", "second", "--hold") == 2
        installation.until(1, "succeeded")
        yield installation
    finally:
        installation.kill()


# ---- exit codes, and what goes where ----


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("staus", "status"),
        ("ls --stat x", "--state"),
        ("ls --state faild", "failed"),
        ("ls --provider mok", "mock"),
        ("ls --sort colour", "priority"),
        ("ls --limit x", "whole number"),
        ("ls --filter state:faild", "      ^"),
        ("ls --filter foo:bar", "  ^"),
        ("ls --filter err:>x", "      ^"),
        ("add mok --prompt x", "mock"),
        ("add mock --prompt x --set widht=64", "width"),
        ("add mock --prompt x --set width=6", "from 16 to 4096"),
        ("add mock --prompt x --set width", "KEY=VALUE"),
        ("add", "--file"),
        ("add mock --prompt x --not-before noon", "ISO 8601"),
        ("add mock --prompt x --after nobody", "nobody"),
        ("add mock --prompt x --image job:nobody", "nobody"),
        ("add mock --prompt x --batch a/b", "--batch"),
        ("add mock --prompt x --batch .b", "--batch"),
        ("add mock --prompt x --count 0", "200000"),
        ("add mock --prompt x --count 200001", "200000"),
        ("add --file no-such-file.toml", "no-such-file.toml"),
        ("priority 2 1001", "-1000 to 1000"),
        ("resolve 2 bogus", "write-off"),
        ("resolve 2 attach", "REMOTE_ID"),
        ("pause mok", "mock"),
        ("resume mok", "mock"),
        ("pause mock --until xx", "ISO 8601"),
        ("pause mock --until 2020-01-01T00:00:00Z", "past"),
        ("events --after x", "whole number"),
        ("wait --timeout x", "seconds"),
        ("ping --wait x", "seconds"),
        ("show", "ID"),
        ("show abc", "abc"),
        ("cancel", "which jobs"),
        ("cancel 1 --all-failed", "only one"),
        ("cancel --all-failed", "--yes"),
        ("requeue --filter state:failed", "--yes"),
        ("cancel --filter foo:x --yes", "foo"),
    ],
)
def test_bad_usage_leaves_with_2_says_the_way_out_and_nothing_on_stdout(
    genq: Installation, line: str, told: str
) -> None:
    for words in (line.split(), ["--json", *line.split()]):
        answer = genq.ask(*words)
        assert (answer.code, answer.out) == (2, ""), answer
        assert told in answer.err


@pytest.mark.parametrize(
    "line",
    [
        "show 99",
        "why 99",
        "cancel 99",
        "cancel 1",
        "requeue 1",
        "requeue 99",
        "hold 1",
        "hold 2",
        "release 1",
        "approve 1",
        "priority 1 5",
        "resolve 1 pay-again",
        "resolve 1 attach x",
        "resolve 99 write-off",
        "wait 99",
        "wait --batch nobody",
    ],
)
def test_what_is_refused_or_unknown_leaves_with_1_and_says_why(
    genq: Installation, line: str
) -> None:
    answer = genq.ask(*line.split())
    assert (answer.code, answer.out) == (1, "")
    assert "job" in answer.err


def test_actions_in_json_tell_what_changed_and_what_was_refused(genq: Installation) -> None:
    number = genq.add("patient", "--prompt", "x", "--hold")
    answer = genq.ask("release", str(number), "1", "99", "--json")
    assert answer.code == 1
    assert answer.value["changed"] == [number]
    assert [one["id"] for one in answer.value["refused"]] == [1, 99]
    assert all(one["why"] for one in answer.value["refused"])
    genq.until(number, "generating")
    held = genq.ask("hold", str(number), "--json")
    assert (held.code, held.value["changed"]) == (1, [])
    assert "cancel" in held.value["refused"][0]["why"]
    assert genq.ask("cancel", str(number), "--json").value == {"changed": [number], "refused": []}


def test_actions_print_one_line_a_job(genq: Installation) -> None:
    numbers = [genq.add("mock", "--prompt", "x", "--hold") for _ in range(2)]
    answer = genq.ask("cancel", *map(str, numbers))
    assert answer.code == 0
    assert len(answer.out.splitlines()) == 2
    assert all(str(number) in answer.out for number in numbers)


def test_a_bulk_that_matches_nothing_is_done(genq: Installation) -> None:
    answer = genq.ask("cancel", "--filter", "name:nobody", "--yes", "--json")
    assert (answer.code, answer.value) == (0, {"changed": [], "refused": []})


def test_json_may_stand_before_or_after_the_verb(genq: Installation) -> None:
    assert genq.ask("--json", "ls").value == genq.ask("ls", "--json").value
    assert genq.ask("--socket", str(genq.socket), "--json", "ping").value["ok"] is True
    assert genq.ask("ping", "--json", "--socket", str(genq.socket)).value["ok"] is True


def test_bare_genq_in_a_pipe_is_the_status(genq: Installation) -> None:
    done = genq.genq()
    assert "done" in done.stdout
    assert str(genq.socket) in done.stdout
    assert json.loads(genq.genq("--json").stdout)["daemon"]["socket"] == str(genq.socket)


def test_no_colour_goes_into_a_pipe(genq: Installation) -> None:
    for words in (["status"], ["ls"], ["show", "1"], ["providers"], ["events"], ["why", "1"]):
        answer = genq.ask(*words)
        assert answer.code == 0
        assert "\x1b" not in answer.out + answer.err


def _shell(genq: Installation, line: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of `line`, in which `genq` is the command."""
    return subprocess.run(
        ["bash", "-c", line.replace("genq", f"{sys.executable} -m tui.cli")],
        cwd=genq.folder,
        env={**genq.environ, "GENQ_SOCKET": str(genq.socket), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_pipe_that_is_closed_early_is_no_error(genq: Installation) -> None:
    done = _shell(genq, "genq events --json | head -1; echo ${PIPESTATUS[0]}")
    first, code = done.stdout.splitlines()
    assert json.loads(first)["seq"] == 1
    assert (code, done.stderr) == ("0", "")


def test_an_export_into_a_pipe_that_is_closed_early_is_no_error(genq: Installation) -> None:
    assert genq.ask("add", "mock", "--prompt", "p" * 90_000, "--hold", "--json").code == 0
    done = _shell(genq, "genq export | head -c 8; echo ${PIPESTATUS[0]}")
    assert (done.stdout, done.stderr) == ("[[jobs]]0\n", "")


@pytest.mark.parametrize("words", ["--file - --format toml", "mock --prompt-file -"])
def test_an_add_from_a_closed_input_leaves_with_2(genq: Installation, words: str) -> None:
    done = _shell(genq, f"genq add {words} <&-")
    assert (done.returncode, done.stdout) == (2, "")
    assert "can't be read: it is closed" in done.stderr


def test_the_monitor_with_a_closed_input_leaves_with_2(genq: Installation) -> None:
    done = _shell(genq, "genq monitor <&-")
    assert (done.returncode, done.stdout) == (2, "")
    assert "terminal" in done.stderr


def test_a_daemon_without_room_for_one_more_client_leaves_with_3(genq: Installation) -> None:
    with ExitStack() as clients:
        for _ in range(256):
            clients.enter_context(Client.connect(genq.socket))
        answer = genq.ask("ls", "--json")
    assert (answer.code, answer.out) == (3, "")
    assert str(genq.socket) in answer.err
    assert "256 clients" in answer.err
    until(lambda: genq.ask("ping").code == 0)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "status",
        "ls",
        "show 1",
        "why 1",
        "providers",
        "events",
        "events --follow",
        "wait",
        "ping",
        "ping --wait 0.1",
        "add mock --prompt x",
        "cancel 1",
        "pause",
        "resume",
        "priority 1 5",
        "resolve 1 write-off",
    ],
)
def test_without_a_daemon_it_leaves_with_3_the_socket_and_how_to_start_one(
    tmp_path: Path, line: str
) -> None:
    nobody = Installation(tmp_path)
    for words in (line.split(), [*line.split(), "--json"]):
        answer = nobody.ask(*words)
        assert (answer.code, answer.out) == (3, "")
        assert str(nobody.socket) in answer.err
        assert "genqd" in answer.err


# ---- shapes ----


def _check_job(job: dict[str, Any]) -> None:
    assert set(job) >= JOB_KEYS
    assert job["state"] in STATES
    for key in ("id", "priority", "attempt", "retries", "retries_max", "errors_total", "rev"):
        assert type(job[key]) is int
    for key in ("labels", "images", "after", "stages", "outputs"):
        assert isinstance(job[key], list)
    assert isinstance(job["params"], dict)
    for stage in job["stages"]:
        assert set(stage) == {"stage", "attempt", "started_at", "duration_s", "result"}
        assert stage["stage"] in ("queue", "prepare", "submit", "generate", "download")
    for output in job["outputs"]:
        assert set(output) == {"path", "bytes", "sha256", "mime"}
        path = Path(output["path"])
        assert path.is_absolute()
        assert path.stat().st_size == output["bytes"]


def test_a_job_has_every_key_of_the_contract(genq: Installation) -> None:
    jobs = genq.ask("ls", "--json").value
    assert [job["id"] for job in jobs] == sorted(job["id"] for job in jobs)
    for job in jobs:
        _check_job(job)
    first = jobs[0]
    assert (first["state"], first["billed"], first["error"]) == ("succeeded", "yes", None)
    assert (first["attempt"], first["retries"], first["reason"]) == (1, 0, None)
    assert first["created_at"] <= first["started_at"] <= first["finished_at"]
    assert [stage["result"] for stage in first["stages"]] == ["ok"] * 5
    assert jobs[1]["reason"] == "approval"
    assert jobs[1]["started_at"] is jobs[1]["remote_id"] is jobs[1]["batch"] is None


def test_show_is_the_job_and_its_attempts(genq: Installation) -> None:
    shown = genq.show(1)
    listed = genq.ask("ls", "--filter", "id:1", "--json").value[0]
    attempts = shown.pop("attempts")
    assert shown == listed
    (attempt,) = attempts
    assert set(attempt) == ATTEMPT_KEYS
    assert attempt["remote_id"] == listed["remote_id"]
    assert attempt["key"] == genq.ledger()[0]["key"]
    assert attempt["submitted_at"] <= attempt["accepted_at"] <= attempt["finished_at"]


def test_attempts_tell_how_often_a_running_task_was_polled(genq: Installation) -> None:
    number = genq.add("patient", "--prompt", "x")
    genq.until(number, "generating")
    assert until(lambda: genq.show(number)["attempts"][0]["polls"] >= 2)
    genq.ask("cancel", str(number))


def test_status_has_the_shape_of_the_contract(genq: Installation) -> None:
    status = genq.ask("status", "--json").value
    assert set(status) == {"counts", "uncollected", "providers", "daemon"}
    assert list(status["counts"]) == STATES
    assert sum(status["counts"].values()) == len(genq.ask("ls", "--json").value)
    assert set(status["daemon"]) >= {
        "version",
        "pid",
        "socket",
        "started_at",
        "config",
        "journal_bytes",
        "problems",
    }
    assert status["daemon"]["pid"] == genq.process.pid  # type: ignore[union-attr]
    assert status["daemon"]["config"] == str(genq.config)
    assert status["daemon"]["problems"] == []


def test_providers_have_the_shape_of_the_contract(genq: Installation) -> None:
    providers = genq.ask("providers", "--json").value
    assert [one["name"] for one in providers] == ["mock", "patient"]
    assert set(providers[0]) == {
        "name",
        "engine",
        "enabled",
        "gate",
        "errors_consecutive",
        "quota_consecutive",
        "running",
        "concurrency",
        "queued",
        "latency",
    }
    assert providers[0]["gate"] == {
        "state": "open",
        "until_at": None,
        "reason": None,
        "source": None,
        "causes": [],
    }
    for figures in providers[0]["latency"].values():
        assert set(figures) == {"p50_s", "p95_s", "n"}


def test_a_stage_is_measured_once(genq: Installation) -> None:
    done = len(genq.ask("ls", "--filter", "provider:mock state:succeeded", "--json").value)
    latency = genq.ask("providers", "--json").value[0]["latency"]
    assert {stage: one["n"] for stage, one in latency.items()} == dict.fromkeys(latency, done)


def test_why_and_ping_have_the_shape_of_the_contract(genq: Installation) -> None:
    why = genq.ask("why", "1", "--json").value
    assert set(why) == {"id", "state", "sentence", "next_at"}
    assert (why["id"], why["state"], why["next_at"]) == (1, "succeeded", None)
    assert "1 file" in why["sentence"]
    ping = genq.ask("ping", "--json").value
    assert set(ping) == {"ok", "latency_s"}
    assert 0 < ping["latency_s"] < 5


def test_wait_tells_who_came_how_far_and_its_exit_code_too(genq: Installation) -> None:
    done = genq.ask("wait", "1", "--json")
    empty: dict[str, list[int]] = {
        "succeeded": [],
        "failed": [],
        "cancelled": [],
        "stuck": [],
        "unfinished": [],
    }
    assert (done.code, done.value) == (0, {**empty, "succeeded": [1]})
    held = genq.ask("wait", "1", "2", "--json")
    assert (held.code, held.value) == (1, {**empty, "succeeded": [1], "stuck": [2]})
    number = genq.add("patient", "--prompt", "x")
    late = genq.ask("wait", str(number), "--timeout", "0.05", "--json")
    assert (late.code, late.value) == (4, {**empty, "unfinished": [number]})
    genq.ask("cancel", str(number))
    cancelled = genq.ask("wait", str(number), "--json")
    assert (cancelled.code, cancelled.value) == (1, {**empty, "cancelled": [number]})


def test_a_child_of_a_cancelled_job_is_stuck(genq: Installation) -> None:
    parent = genq.add("mock", "--prompt", "x", "--hold")
    child = genq.add("mock", "--prompt", "y", "--after", str(parent))
    genq.ask("cancel", str(parent))
    answer = genq.ask("wait", str(child), "--json")
    assert (answer.code, answer.value["stuck"]) == (1, [child])
    shown = genq.show(child)
    assert (shown["state"], shown["reason"], shown["next_at"]) == ("queued", "dependency", None)
    assert str(parent) in genq.ask("why", str(child)).out
    assert genq.ask("requeue", str(parent)).code == 0
    genq.until(child, "succeeded")


# ---- events ----


def test_events_fold_to_what_ls_shows(genq: Installation) -> None:
    before = genq.ask("ls", "--json").value
    lines = genq.ask("events", "--json").out.splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    folded = fold(list(events))
    for job in before:
        if folded[job["id"]]["rev"] == job["rev"]:
            assert without_derived(folded[job["id"]]) == without_derived(job)
    for event in events:
        if "job" in event and event["type"] != "added":
            assert {"state", "attempt", "rev", "provider", "at"} <= set(event)


def test_events_are_chosen_by_number_tail_and_job(genq: Installation) -> None:
    def seqs(*words: str) -> list[int]:
        out = genq.ask("events", "--json", *words).out
        return [json.loads(line)["seq"] for line in out.splitlines()]

    everything = seqs()
    assert seqs("--after", "3")[:2] == [4, 5]
    assert seqs("--tail", "2") == everything[-2:]
    assert seqs("--after", str(everything[-1])) == []
    of_one = [
        json.loads(line)
        for line in genq.ask("events", "--json", "--job", "1").out.split("\n")
        if line
    ]
    assert {event["job"] for event in of_one} == {1}
    assert of_one[0]["type"] == "added"
    assert of_one[-1]["type"] == "succeeded"
    assert seqs("--job", "1", "--tail", "1") == [of_one[-1]["seq"]]


def test_a_number_that_the_journal_has_not_is_said_and_not_passed_over(genq: Installation) -> None:
    (event,) = genq.ask("events", "--json", "--after", "99999999").out.splitlines()
    assert json.loads(event)["type"] == "snapshot"


def test_events_of_an_unknown_job_leave_with_1(genq: Installation) -> None:
    assert genq.ask("events", "--job", "9999").code == 1


def test_a_job_that_was_billed_is_not_requeued_in_a_pipe_without_yes(genq: Installation) -> None:
    number = genq.add("mock", "--prompt", "again")
    genq.until(number, "succeeded")
    refused = genq.ask("requeue", str(number), "--json")
    assert (refused.code, refused.value["changed"]) == (1, [])
    agreed = genq.ask("requeue", str(number), "--yes", "--json")
    assert (agreed.code, agreed.value["changed"]) == (0, [number])
    shown = genq.until(number, "succeeded")
    assert shown["attempt"] == 2
    assert len({row["key"] for row in genq.ledger() if row["job"] == number}) == 2
