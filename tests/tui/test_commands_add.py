"""`genq add`: from the command line, from files, with pictures; all of it or nothing."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from typing import TYPE_CHECKING

import pytest

from daemon.core.job import Image
from daemon.wire import messages
from daemon.wire.messages import ErrorBody, RowProblem
from tests.fakes.console import FakeConsole, genq
from tests.fakes.daemon import NOW, FakeDaemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PICTURE = b"\x89PNG picture" * 100_000


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    monkeypatch.chdir(tmp_path)
    fake = FakeDaemon(tmp_path / "s")
    fake.start()
    yield fake
    fake.stop()


def type_in(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


# ---- one job ----


def test_a_job_is_sent_as_the_options_say(daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_bytes(PICTURE)
    words = [
        "veo",
        "--prompt",
        "- a red\nkite",
        "--image",
        "fox.png",
        "--image",
        "https://x.test/a",
    ]
    words += ["--image", "job:shot-01", "--set", "duration=8", "--set", "style=paper cut"]
    words += ["--set", "3.steps=[1, 2]", "--set", "a=b=c", "--name", "shot-02", "--batch", "ep"]
    words += ["--label", "night", "--label", "x y", "--priority", "-5", "--not-before", "+2h"]
    words += ["--after", "12", "--after", "shot-00", "--count", "3", "--hold"]
    ran = genq(daemon.path, "add", *words, "--json")
    assert (ran.code, ran.value, ran.err) == (0, {"ids": [1, 2, 3], "warnings": []}, "")
    (row,) = daemon.rows
    sha256 = hashlib.sha256(PICTURE).hexdigest()
    assert row == messages.Row(
        provider="veo",
        prompt="- a red\nkite",
        images=(
            Image(str(tmp_path / "fox.png"), sha256),
            Image("https://x.test/a"),
            Image("job:shot-01"),
        ),
        name="shot-02",
        batch="ep",
        labels=("night", "x y"),
        priority=-5,
        not_before_at=NOW + 7_200,
        after=(12, "shot-00"),
        hold=True,
        count=3,
        params={"duration": 8, "style": "paper cut", "3.steps": [1, 2], "a": "b=c"},
    )
    assert daemon.pictures == {sha256: PICTURE}


def test_people_are_told_what_was_added_and_warned(daemon: FakeDaemon) -> None:
    daemon.warnings = ["veo: no key\x1b; 1 job waits for it"]
    ran = genq(daemon.path, "add", "veo", "--prompt", "x")
    assert (ran.code, ran.out) == (0, "added job 1\n")
    assert ran.err == "warning: veo: no key␛; 1 job waits for it\n"
    assert genq(daemon.path, "add", "veo", "--count", "40").out == "added 40 jobs: 2 to 41\n"


def test_a_dry_run_checks_all_and_adds_nothing(daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_bytes(PICTURE)
    words = ["add", "veo", "--image", "fox.png", "--count", "2", "--dry-run"]
    assert genq(daemon.path, *words).out == "2 jobs could be added; nothing was\n"
    assert genq(daemon.path, *words, "--json").value == {"ids": [], "warnings": []}
    assert daemon.asked(messages.AddBegin)[0].dry_run
    assert daemon.jobs == {}
    assert daemon.pictures == {}


def test_a_prompt_is_read_from_a_file_without_its_last_line_break(
    daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.txt").write_bytes("\ufeff红风筝\n\nover\n".encode())
    assert genq(daemon.path, "add", "veo", "--prompt-file", "p.txt").code == 0
    assert daemon.rows[0].prompt == "红风筝\n\nover"
    type_in(monkeypatch, b"typed\r\n")
    assert genq(daemon.path, "add", "veo", "--prompt-file", "-").code == 0
    assert daemon.rows[0].prompt == "typed"


def test_a_workflow_is_named_by_its_absolute_path(daemon: FakeDaemon, tmp_path: Path) -> None:
    genq(daemon.path, "add", "comfyui", "--set", "workflow=flows/a.json")
    assert daemon.rows[0].params == {"workflow": str(tmp_path / "flows/a.json")}
    genq(daemon.path, "add", "comfyui", "--set", 'workflow={a = "graph"}')
    assert daemon.rows[0].params == {"workflow": {"a": "graph"}}


BAD_JOBS: tuple[tuple[list[str], str], ...] = (
    (["veo", "--prompt", "x" * 100_001], "genq add: --prompt: has 100,001 characters"),
    (["veo", "--name", "a\tb"], "genq add: --name: must not contain control characters"),
    (["veo", "--name", "n" * 201], "--name: has 201 characters; the limit is 200"),
    (["veo", "--batch", "a/b"], "genq add: --batch: must not contain '/'"),
    (["veo", "--batch", ".x"], "--batch: must not start with '.'"),
    (["veo", "--label", "x" * 65], "genq add: --label: has 65 characters"),
    (["veo", *(["--label", "x"] * 33)], "genq add: --label: has 33 labels"),
    (["veo", "--priority", "1001"], "--priority: expected a whole number from -1000 to 1000"),
    (["veo", "--count", "0"], "--count: expected a whole number from 1 to 200000"),
    (["veo", "--count", "200001"], "--count: expected a whole number from 1 to 200000"),
    (["veo", "--not-before", "soon"], "--not-before: expected ISO 8601"),
    (["veo", "--not-before", "+9999999999d"], "--not-before: expected"),
    (["veo", "--not-before", "+2930000d"], "--not-before: expected a time between 1970"),
    (["veo", "--after", "0"], "--after: is no job's id"),
    (["veo", "--set", "seed=nan"], "genq add: --set seed: can't be written as JSON"),
    (["veo", "--set", "a=" + "x" * 600_000], "--set: has"),
    (["veo", "--image", "none.png"], "--image: "),
    (["veo", "--image", "."], "is no file"),
    (["veo", "--image", "job:"], "genq add: --image: names no job"),
    (["veo", "--image", "ftp://a.test/a.png"], "--image: 'ftp://a.test/a.png' is no http:// or"),
    (["veo", "--image", "data:image/png;base64,AA"], "--image: 'data:image/png;base64,AA' is no"),
    (["veo", "--prompt-file", "none.txt"], "--prompt-file: 'none.txt' can't be read"),
    (["veo", "--prompt", "x", "--prompt-file", "y"], "--prompt or --prompt-file, not both"),
    (["veo", "--set", "seed"], "--set: expected KEY=VALUE, got 'seed'"),
    (["veo", "--set", "=5"], "--set: expected KEY=VALUE"),
    ([""], "genq add: PROVIDER: missing"),
    ([], "name a provider, or a file of jobs with --file"),
    (["veo", "--format", "csv"], "--format goes with --file"),
    (["--file", "x.toml", "--prompt", "y"], "--prompt is for one job"),
    (["--file", "x.toml", "--hold"], "--hold is for one job"),
    (["--file", "x.toml", "--format", "jsn"], "unknown format 'jsn'; did you mean 'jsonl'?"),
    (["--file", "x.toml", "--batch", "a/b"], "--batch: must not contain '/'"),
    (["--file", "none.toml"], "none.toml: can't be read: No such file"),
)


@pytest.mark.parametrize(("words", "message"), BAD_JOBS)
def test_a_bad_job_is_refused_before_the_daemon_is_asked(
    daemon: FakeDaemon, words: list[str], message: str
) -> None:
    ran = genq(daemon.path, "add", *words, "--json")
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert daemon.requests == []


def test_prompts_that_are_no_text_are_refused(daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    (tmp_path / "nul").write_bytes(b"a\0b")
    (tmp_path / "huge").write_bytes(b"x" * 1_100_000)
    for name, message in (
        ("latin", "is not UTF-8 at byte 3"),
        ("nul", "--prompt: must not contain a NUL character"),
        ("huge", "is no prompt: more than 1,048,576 bytes"),
    ):
        ran = genq(daemon.path, "add", "veo", "--prompt-file", name)
        assert (ran.code, ran.out) == (2, "")
        assert message in ran.err


def test_pictures_that_are_none_are_refused_without_waiting_for_them(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("<html>")
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(64 * 1024 * 1024 + 1)
    for name, message in (
        ("empty", "is empty"),
        ("text", "is no picture: send a PNG, JPEG, WebP, GIF or BMP"),
        ("pipe", "is no file"),
        ("large", "has 67,108,865 bytes; the limit is 67,108,864"),
    ):
        ran = genq(daemon.path, "add", "veo", "--image", name)
        assert ran.code == 2
        assert message in ran.err


def test_the_daemons_problems_of_one_job_name_its_options(daemon: FakeDaemon) -> None:
    daemon.problems = (
        RowProblem(0, "provider", "unknown provider; did you mean 'veo'?"),
        RowProblem(0, "params.sed", "unknown param; did you mean 'seed'?"),
        RowProblem(0, "images[0]", "too many\x1b"),
        RowProblem(None, None, "in all too much"),
    )
    ran = genq(daemon.path, "add", "vio", "--json")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines() == [
        "genq add: PROVIDER: unknown provider; did you mean 'veo'?",
        "genq add: --set sed: unknown param; did you mean 'seed'?",
        "genq add: --image: too many␛",
        "genq add: in all too much",
        "4 problems; nothing was added",
    ]


# ---- files ----

TOML = """\
[[jobs]]
provider = "veo"
prompt = "one"
images = ["refs/fox.png"]
not_before = "+10m"
params = { workflow = "flow.json" }

[[jobs]]
provider = "mock"
name = "two"
count = 2
images = ["../shots/refs/fox.png", "job:one"]
"""


def test_a_file_is_sent_with_pictures_relative_to_it(daemon: FakeDaemon, tmp_path: Path) -> None:
    folder = tmp_path / "shots"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "fox.png").write_bytes(PICTURE)
    (folder / "jobs.toml").write_text(TOML)
    ran = genq(daemon.path, "add", "--file", "shots/jobs.toml", "--json")
    assert ran.value == {"ids": [1, 2, 3], "warnings": []}
    one, two = daemon.rows
    assert one.images[0].source == str(folder / "refs/fox.png")
    assert one.images[0].sha256 == two.images[0].sha256
    assert (one.not_before_at, one.batch) == (NOW + 600, None)
    assert one.params == {"workflow": str(folder / "flow.json")}
    assert (two.name, two.count, two.images[1].source) == ("two", 2, "job:one")
    assert list(daemon.pictures.values()) == [PICTURE]
    needs = daemon.asked(messages.AddNeed)
    assert len(needs[0].sha256) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'[[jobs]]\nprovider = "mock"\nprompt = "x"\n', []),
        (b'{"provider": "mock", "prompt": "x"}\n', []),
        (b"provider,prompt\nmock,x\n", []),
        (b"prompt\nx\n", ["mock"]),
        (b"provider,prompt\r\nmock,x\r\n", ["--format", "csv"]),
    ],
)
def test_every_format_is_read_from_standard_input(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, content: bytes, words: list[str]
) -> None:
    type_in(monkeypatch, content)
    ran = genq(daemon.path, "add", *words, "--file", "-", "--batch", "pilot", "--json")
    assert ran.value["ids"] == [1]
    (row,) = daemon.rows
    assert (row.provider, row.prompt, row.batch) == ("mock", "x", "pilot")


def only_checked(daemon: FakeDaemon) -> bool:
    """Whether nothing but dry runs reached the daemon."""
    begun = [one for one in daemon.requests if isinstance(one, messages.AddBegin)]
    return all(one.dry_run for one in begun)


def test_every_problem_of_a_file_is_told_with_its_line(daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("provider,prompt,priority\nveo,x,9999\nveo,y,1\n,z,high\n")
    ran = genq(daemon.path, "add", "--file", "jobs.csv", "--json")
    assert (ran.code, ran.out) == (2, "")
    lines = ran.err.splitlines()
    assert lines[0].startswith("jobs.csv:2: priority: expected")
    assert lines[1].startswith("jobs.csv:4: ")
    assert lines[-1] == "3 problems; nothing was added"
    assert only_checked(daemon)


def test_missing_pictures_and_the_daemons_problems_are_told_with_their_lines(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    (tmp_path / "jobs.toml").write_text(TOML)
    ran = genq(daemon.path, "add", "--file", "jobs.toml")
    assert ran.err.count("can't be read: No such file") == 2
    assert ran.err.startswith("jobs.toml:1: images[0]: ")
    assert "\njobs.toml:8: images[0]: " in ran.err
    assert only_checked(daemon)
    (tmp_path / "jobs.jsonl").write_text('\n{"provider": "veo"}\n{"provider": "vio"}\n')
    daemon.problems = (RowProblem(1, "provider", "unknown provider; did you mean 'veo'?"),)
    ran = genq(daemon.path, "add", "--file", "jobs.jsonl")
    assert ran.code == 2
    assert ran.err.startswith("jobs.jsonl:3: provider: unknown provider; did you mean 'veo'?\n")


def test_other_refusals_of_the_daemon_end_with_their_own_code(daemon: FakeDaemon) -> None:
    for code, expected in (("limit", 2), ("stopping", 3), ("internal", 1), ("newer", 1)):
        daemon.errors[messages.AddCommit] = ErrorBody(code, "no\x1broom")  # type: ignore[arg-type]
        ran = genq(daemon.path, "add", "veo", "--json", console=FakeConsole())
        assert (ran.code, ran.out, ran.err) == (expected, "", "genq: no␛room\n")


def test_an_upload_that_ends_for_another_reason_than_its_picture_says_why(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    (tmp_path / "fox.png").write_bytes(PICTURE)
    daemon.errors[messages.AddPicture] = ErrorBody("stopping", "the daemon stops")
    ran = genq(daemon.path, "add", "veo", "--image", "fox.png")
    assert (ran.code, ran.out, ran.err) == (3, "", "genq: the daemon stops\n")
    assert daemon.asked(messages.AddCommit) == []
