"""export, stats, completion and edit against a real daemon."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.installation import Installation

WEATHER = """
submit_s = 0
generate_s = 0.05
poll_interval_s = 0.05
concurrency = 8
script = "weather.toml"
"""
SCRIPT = """
[[outcome]]
match = "bad"
phase = "poll"
kind = "provider.failed"
message = "the picture was refused"
times = 1000
"""
SMALL = {"width": 64, "height": 48}
ROWS: list[dict[str, object]] = [
    {
        "prompt": "good; one\ntwo",
        "name": "a",
        "batch": "b",
        "labels": ["x;y", "z"],
        "params": SMALL,
    },
    {"prompt": "bad", "name": "c", "params": {**SMALL, "kind": "image"}},
    {
        "prompt": "child",
        "name": "d",
        "after": ["a"],
        "images": ["job:a"],
        "hold": True,
        "priority": 3,
    },
]
JOBS = "".join(json.dumps({"provider": "mock", **row}) + "\n" for row in ROWS)


@pytest.fixture(scope="module")
def genq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("r")
    (folder / "weather.toml").write_text(SCRIPT)
    installation = Installation(folder, WEATHER)
    installation.start()
    installation.genq("add", "--file", "-", "--format", "jsonl", stdin=JOBS)
    installation.genq("wait", "--timeout", "20", check=False)
    yield installation
    installation.kill()


@pytest.mark.parametrize("form", ["toml", "csv", "jsonl"])
def test_what_is_exported_can_be_added_again_and_is_the_same(genq: Installation, form: str) -> None:
    text = genq.genq("export", "--format", form).stdout
    assert '"id"' not in text
    done = genq.genq("add", "--file", "-", "--format", form, "--dry-run", stdin=text)
    assert "3 jobs" in done.stdout + done.stderr


def test_an_export_has_names_for_ids(genq: Installation) -> None:
    rows = genq.json("export")
    assert rows[2]["after"] == ["a"]
    assert rows[2]["images"] == ["job:a"]
    assert rows[0]["labels"] == ["x;y", "z"]
    assert "hold" not in rows[0]
    assert rows[2]["hold"] is True


def test_a_picture_of_a_job_that_stays_behind_becomes_its_file(genq: Installation) -> None:
    done = genq.genq("export", "--state", "held", "--json")
    (row,) = json.loads(done.stdout)
    assert Path(row["images"][0]).is_file()
    assert "after" not in row
    assert "dependency" in done.stderr


def test_stats_count_by_provider_stage_fault_and_day(genq: Installation) -> None:
    (provider,) = genq.json("stats")["rows"]
    assert (provider["jobs"], provider["succeeded"], provider["failed"]) == (3, 1, 1)
    stages = {row["stage"]: row for row in genq.json("stats", "--by", "stage")["rows"]}
    assert stages["submit"]["ok"] == 2
    (fault,) = genq.json("stats", "--by", "fault")["rows"]
    assert (fault["kind"], fault["ids"]) == ("provider.failed", [2])
    (day,) = genq.json("stats", "--by", "day", "--since", "1d")["rows"]
    assert day["added"] == 3
    assert "PROVIDER" in genq.genq("stats").stdout


def test_a_bad_since_ends_with_2(genq: Installation) -> None:
    done = genq.genq("stats", "--since", "soon", check=False)
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_names_verbs_and_options(genq: Installation, shell: str) -> None:
    script = genq.genq("completion", shell).stdout
    assert "requeue" in script
    assert "all-failed" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def edit(
    genq: Installation, old: str, new: str, *, job: int = 3
) -> "subprocess.CompletedProcess[str]":
    """Edit a job with an editor that replaces `old` by `new`."""
    genq.environ["EDITOR"] = f"sed -i 's/{old}/{new}/'"
    return genq.genq("edit", str(job), "--json", check=False)


def test_an_edited_job_has_what_was_written(genq: Installation) -> None:
    assert json.loads(edit(genq, "priority = 3", "priority = 7").stdout)["changed"] == [3]
    assert genq.json("show", "3")["priority"] == 7
    assert json.loads(edit(genq, "nothing", "such").stdout)["changed"] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("priority", "priorty"),
        ("^priority = .*", "priority = 70000"),
        ('"child"', "5"),
        ("prompt", "["),
    ],
)
def test_a_refused_edit_is_kept_and_its_path_told(genq: Installation, old: str, new: str) -> None:
    before = genq.json("show", "3")
    done = edit(genq, old, new)
    assert done.returncode == 1
    path = Path(done.stderr.strip().rpartition(" ")[2])
    assert path.read_text()
    path.unlink()
    assert genq.json("show", "3")["rev"] == before["rev"]


def test_an_edit_that_the_daemon_does_not_understand_is_kept_too(genq: Installation) -> None:
    done = edit(genq, "^labels = .*", "labels = [5]")
    assert (done.returncode, done.stdout) == (2, "")
    _check_kept(done.stderr, "labels = [5]")


def test_an_edit_is_kept_when_the_daemon_has_gone_meanwhile(
    genq: Installation, tmp_path: Path
) -> None:
    link = tmp_path / "s"
    link.symlink_to(genq.socket)
    genq.environ["EDITOR"] = f"sh -c 'rm {link}; sed -i s/^priority.*/priority=9/ $1' editor"
    done = genq.genq("edit", "3", "--socket", str(link), check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert str(link) in done.stderr
    _check_kept(done.stderr, "priority=9")


def _check_kept(said: str, text: str) -> None:
    """Whether the file that `said` names has `text`."""
    path = Path(said.partition("is kept in ")[2].splitlines()[0])
    assert text in path.read_text()
    path.unlink()


def test_ctrl_c_in_the_editor_is_the_editors(genq: Installation) -> None:
    interrupt = "kill -INT $PPID; sleep 0.1; sed -i s/^priority.*/priority=8/ $1"
    genq.environ["EDITOR"] = f"sh -c '{interrupt}' editor"
    done = genq.genq("edit", "3")
    assert "edited priority" in done.stdout
    assert genq.json("show", "3")["priority"] == 8


def test_an_editor_that_leaves_no_file_is_told(genq: Installation) -> None:
    genq.environ["EDITOR"] = "rm"
    done = genq.genq("edit", "3", check=False)
    assert done.returncode == 1
    assert done.stderr == "refused: the editor left no file: No such file or directory\n"


def test_in_json_an_edit_tells_what_was_refused(genq: Installation) -> None:
    done = edit(genq, "a", "b", job=99)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "changed": [],
        "refused": [{"id": 99, "why": "there is no job 99"}],
    }


def test_without_a_terminal_and_an_editor_edit_ends_with_2(genq: Installation) -> None:
    genq.environ.pop("EDITOR", None)
    done = genq.genq("edit", "3", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "$EDITOR" in done.stderr


def test_a_finished_job_is_not_edited(genq: Installation) -> None:
    assert edit(genq, "a", "b", job=1).returncode == 1
