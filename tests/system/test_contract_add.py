"""The outward contract of adding: job files, pictures, limits; all of them or none."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.fakes.installation import Answer, Installation

WEATHER = """
submit_s = 0.01
generate_s = 0.05
poll_interval_s = 0.05
concurrency = 20
"""
KEYLESS = """
[providers.cogvideox]
engine = "cogvideox"
base_url = "https://example.invalid/api/paas/v4"
api_key = { env = "NO_SUCH_KEY" }
"""


@pytest.fixture(scope="module")
def genq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = Installation(tmp_path_factory.mktemp("t"), WEATHER + KEYLESS)
    installation.start()
    yield installation
    installation.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a picture in it."""
    Image.new("RGB", (64, 48), "red").save(tmp_path / "ref.png")
    return tmp_path


def _add(genq: Installation, path: Path, text: str | bytes, *more: str) -> Answer:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return genq.ask("add", "--file", str(path), "--json", *more)


def _jobs(genq: Installation, answer: Answer) -> list[dict[str, Any]]:
    assert answer.code == 0, answer
    return [genq.show(number) for number in answer.value["ids"]]


def _refused(genq: Installation, path: Path, text: str | bytes) -> list[str]:
    """The lines of the refusal, when nothing was added and nothing stands on stdout."""
    before = genq.ask("ls", "--json").value
    answer = _add(genq, path, text)
    assert (answer.code, answer.out) == (2, "")
    assert len(genq.ask("ls", "--json").value) == len(before)
    return answer.err.splitlines()


def test_a_toml_file_is_added_with_pictures_beside_it(genq: Installation, folder: Path) -> None:
    text = """
[[jobs]]
provider = "mock"
prompt = "one"
name = "one"
batch = "ep 1"
images = ["ref.png", "https://example.com/x.png"]
labels = ["a", "b"]
priority = 7
params = { width = 64, height = 48 }

[[jobs]]
provider = "mock"
prompt = "two"
images = ["job:one"]
"""
    one, two = _jobs(genq, _add(genq, folder / "a.toml", text))
    assert one["images"][0]["source"] == str(folder / "ref.png")
    assert len(one["images"][0]["sha256"]) == 64
    assert one["images"][1] == {"source": "https://example.com/x.png", "sha256": None}
    assert (one["batch"], one["labels"], one["priority"]) == ("ep 1", ["a", "b"], 7)
    assert one["params"] == {"width": 64, "height": 48}
    assert two["after"] == [one["id"]]
    done = genq.until(two["id"], "succeeded")
    assert done["started_at"] >= genq.show(one["id"])["finished_at"]
    output = Path(genq.show(one["id"])["outputs"][0]["path"])
    assert output.parent.name == "ep 1"
    assert output.name == f"{one['id']}-one.png"


def test_a_relative_file_means_the_working_folder(genq: Installation) -> None:
    (genq.folder / "sub").mkdir()
    Image.new("RGB", (8, 8)).save(genq.folder / "sub" / "p.png")
    row = '{"provider": "mock", "prompt": "x", "images": ["p.png"]}\n'
    (genq.folder / "sub" / "a.jsonl").write_text(row)
    done = genq.genq("add", "--file", "sub/a.jsonl", "--json")
    (number,) = json.loads(done.stdout)["ids"]
    assert genq.show(number)["images"][0]["source"] == str(genq.folder / "sub" / "p.png")


def test_csv_comes_with_bom_crlf_and_several_values_a_cell(
    genq: Installation, folder: Path
) -> None:
    text = (
        "\ufeffprovider,prompt,name,images,labels,priority,params.width,after\r\n"
        'mock,"a, ""b""",first,ref.png;ref.png,x;y,5,64,\r\n'
        "mock,zwei,second,,,,64,first\r\n"
    )
    first, second = _jobs(genq, _add(genq, folder / "a.csv", text))
    assert first["prompt"] == 'a, "b"'
    assert len(first["images"]) == 2
    assert (first["labels"], first["priority"]) == (["x", "y"], 5)
    assert first["params"] == {"width": 64}
    assert second["after"] == [first["id"]]


def test_json_lines_come_from_standard_input(genq: Installation) -> None:
    rows = '{"provider":"mock","prompt":"j1"}\n\n{"provider":"mock","prompt":"j2","count":3}\n'
    done = genq.genq("add", "--file", "-", "--format", "jsonl", "--json", stdin=rows)
    ids = json.loads(done.stdout)["ids"]
    assert len(ids) == 4
    assert [genq.show(number)["prompt"] for number in ids] == ["j1", "j2", "j2", "j2"]


def test_a_dry_run_checks_and_adds_nothing(genq: Installation, folder: Path) -> None:
    before = genq.ask("status", "--json").value["counts"]
    row = '{"provider":"mock","prompt":"x","images":["ref.png"]}\n'
    answer = _add(genq, folder / "a.jsonl", row, "--dry-run")
    assert (answer.code, answer.value) == (0, {"ids": [], "warnings": []})
    assert sum(genq.ask("status", "--json").value["counts"].values()) == sum(before.values())
    bad = _add(genq, folder / "b.jsonl", '{"provider":"mok","prompt":"x"}\n', "--dry-run")
    assert (bad.code, bad.out) == (2, "")


def test_every_option_of_a_single_job_arrives(genq: Installation) -> None:
    parent = genq.add("mock", "--prompt", "p", "--name", "the parent")
    words = ["--prompt", "x", "--name", "n", "--batch", "b", "--label", "l", "--label", "m"]
    more = ["--priority", "-3", "--not-before", "+1d", "--after", "the parent", "--set", "width=64"]
    number = genq.add("mock", *words, *more, "--set", "kind=video")
    job = genq.show(number)
    assert (job["name"], job["batch"], job["labels"]) == ("n", "b", ["l", "m"])
    assert (job["priority"], job["after"]) == (-3, [parent])
    assert job["params"] == {"width": 64, "kind": "video"}
    genq.until(parent, "succeeded")
    job = genq.show(number)
    assert (job["state"], job["reason"]) == ("queued", "schedule")
    assert 86_000 < job["next_at"] - job["created_at"] <= 86_401
    genq.ask("cancel", str(number))


def test_held_jobs_wait_for_approval(genq: Installation) -> None:
    number = genq.add("mock", "--prompt", "x", "--hold")
    job = genq.show(number)
    assert (job["state"], job["reason"]) == ("held", "approval")
    assert "approve" in genq.ask("why", str(number)).out
    assert genq.ask("approve", str(number)).code == 0
    genq.until(number, "succeeded")
    assert genq.ask("approve", str(number)).code == 1


def test_count_makes_equal_jobs_with_ids_in_a_row(genq: Installation) -> None:
    answer = genq.ask("add", "mock", "--prompt", "x", "--count", "3", "--json")
    first = answer.value["ids"][0]
    assert answer.value["ids"] == [first, first + 1, first + 2]


def test_every_bad_row_is_named_with_its_line_and_field(genq: Installation, folder: Path) -> None:
    text = """[[jobs]]
provider = "mok"
prompt = "one"

[[jobs]]
provider = "mock"
prompt = "two"
params = { widht = 5 }

[[jobs]]
provider = "mock"
prompt = "three"
after = ["nobody"]
"""
    first, second, third, last = _refused(genq, folder / "bad.toml", text)
    assert first.startswith(f"{folder}/bad.toml:1: provider: ")
    assert "did you mean 'mock'?" in first
    assert second.startswith(f"{folder}/bad.toml:5: params.widht: ")
    assert "did you mean 'width'?" in second
    assert third.startswith(f"{folder}/bad.toml:10: after")
    assert "3 problems" in last


def test_rows_that_are_wrong_in_form_are_named_too(genq: Installation, folder: Path) -> None:
    text = (
        '{"provider":"mock","promt":"x"}\n{"provider":"mock",\n{"provider":"mock","prompt":5}\n[1]'
    )
    told = _refused(genq, folder / "bad.jsonl", text)
    assert [line.split(": ")[0] for line in told[:4]] == [
        f"{folder}/bad.jsonl:{number}" for number in (1, 2, 3, 4)
    ]
    assert "did you mean 'prompt'?" in told[0]
    told = _refused(genq, folder / "bad.csv", "provider,promt\nmock,x\n")
    assert told[0].startswith(f"{folder}/bad.csv:1: promt: unknown column")
    told = _refused(genq, folder / "worse.csv", "provider,prompt,priority\nmock,x,abc\nmock,y\n")
    assert told[0].startswith(f"{folder}/worse.csv:2: priority: ")
    assert told[1].startswith(f"{folder}/worse.csv:3: ")
    told = _refused(genq, folder / "latin.csv", b"provider,prompt\nmock,caf\xe9\n")
    assert told[0].startswith(f"{folder}/latin.csv:2: ")
    told = _refused(genq, folder / "syntax.toml", "[[jobs]\n")
    assert told[0].startswith(f"{folder}/syntax.toml:1: ")


def test_problems_of_every_kind_are_told_at_once(genq: Installation, folder: Path) -> None:
    text = """[[jobs]]
provider = "mok"
prompt = "an unknown provider"

[[jobs]]
provider = "mock"
promt = "an unknown key"

[[jobs]]
provider = "mock"
prompt = "a picture that isn't there"
images = ["nobody.png"]
"""
    told = _refused(genq, folder / "bad.toml", text)
    assert [line.split(": ")[1] for line in told[:3]] == ["provider", "promt", "images[0]"]


def test_a_cycle_is_refused_with_all_its_rows(genq: Installation, folder: Path) -> None:
    text = """[[jobs]]
provider = "mock"
name = "a"
after = ["b"]
[[jobs]]
provider = "mock"
name = "fine"
[[jobs]]
provider = "mock"
name = "b"
images = ["job:c"]
[[jobs]]
provider = "mock"
name = "c"
after = ["a"]
"""
    told = _refused(genq, folder / "ring.toml", text)
    assert [line.split(":")[1] for line in told[:3]] == ["1", "8", "12"]
    assert all("waits for itself: a -> b -> c -> a" in line for line in told[:3])
    alone = "[[jobs]]\nprovider = 'mock'\nname = 'me'\nafter = ['me']\n"
    assert "waits for itself" in _refused(genq, folder / "self.toml", alone)[0]


def test_a_name_used_twice_is_an_error_only_where_it_is_meant(
    genq: Installation, folder: Path
) -> None:
    row = '{"provider":"mock","name":"twin"}\n'
    assert _add(genq, folder / "a.jsonl", row * 2).code == 0
    told = _refused(genq, folder / "b.jsonl", row * 2 + '{"provider":"mock","after":["twin"]}\n')
    assert told[0].startswith(f"{folder}/b.jsonl:3: after")


@pytest.mark.parametrize(
    ("row", "field", "told"),
    [
        ({"prompt": "x" * 100_001}, "prompt", "100,000"),
        ({"name": "x" * 201}, "name", "200"),
        ({"batch": "é" * 51}, "batch", "100"),
        ({"batch": "a/b"}, "batch", "/"),
        ({"batch": "-b"}, "batch", "-"),
        ({"batch": "a\tb"}, "batch", "control"),
        ({"labels": ["x" * 65]}, "labels", "64"),
        ({"labels": [str(n) for n in range(33)]}, "labels", "32"),
        ({"name": "a\nb"}, "name", "control"),
        ({"prompt": "a\0b"}, "prompt", "NUL"),
        ({"params": {"x": "y" * 524_289}}, "params", "512"),
        ({"priority": 1001}, "priority", "1000"),
        ({"count": 200_001}, "count", "200"),
    ],
)
def test_a_limit_is_named_where_it_is_passed(
    genq: Installation, folder: Path, row: dict[str, Any], field: str, told: str
) -> None:
    text = json.dumps({"provider": "mock", **row}) + "\n"
    line = _refused(genq, folder / "a.jsonl", text)[0]
    assert line.startswith(f"{folder}/a.jsonl:1: {field}"), line
    assert told in line.replace("524,288", "512"), line


def test_control_characters_of_a_prompt_are_kept_and_shown_cleaned(genq: Installation) -> None:
    number = genq.add("mock", "--prompt", "red\x1b[31m")
    assert genq.show(number)["prompt"] == "red\x1b[31m"
    for words in (["ls"], ["show", str(number)], ["events", "--tail", "20"]):
        assert "\x1b" not in genq.ask(*words).out


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nobody.png", "can't be read"),
        ("text.png", "no picture"),
        ("empty.png", "empty"),
        (".", "no file"),
        ("large.png", "67,108,864"),
    ],
)
def test_what_is_no_picture_is_refused_by_line_and_field(
    genq: Installation, folder: Path, name: str, told: str
) -> None:
    (folder / "text.png").write_text("this is no picture")
    (folder / "empty.png").touch()
    with (folder / "large.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(64 * 1024 * 1024 + 1)
    row = json.dumps({"provider": "mock", "images": ["ref.png", name]}) + "\n"
    line = _refused(genq, folder / "a.jsonl", row)[0]
    assert line.startswith(f"{folder}/a.jsonl:1: images[1]: ")
    assert told in line


def test_a_damaged_picture_is_refused_by_line_and_field(genq: Installation, folder: Path) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nxxxxxxxxxxxx")
    row = '{"provider": "mock", "images": ["broken.png"]}\n'
    line = _refused(genq, folder / "a.jsonl", row)[0]
    assert line.startswith(f"{folder}/a.jsonl:1: images[0]: ")


def test_jobs_queue_with_a_warning_for_a_provider_whose_key_is_missing(
    genq: Installation,
) -> None:
    (row,) = (one for one in genq.ask("providers", "--json").value if one["name"] == "cogvideox")
    assert (row["gate"]["state"], row["gate"]["source"]) == ("closed", "config")
    assert "NO_SUCH_KEY" in row["gate"]["reason"]
    answer = genq.ask("add", "cogvideox", "--prompt", "x", "--json")
    assert answer.code == 0, answer
    assert "NO_SUCH_KEY" in answer.value["warnings"][0]
    job = genq.show(answer.value["ids"][0])
    assert (job["state"], job["reason"], job["next_at"]) == ("queued", "provider", None)


def test_an_add_beyond_200_000_jobs_is_refused(genq: Installation, folder: Path) -> None:
    rows = '{"provider":"mock","count":100001}\n' * 2
    answer = _add(genq, folder / "a.jsonl", rows)
    assert (answer.code, answer.out) == (2, "")
    assert "200,000" in answer.err


@pytest.mark.parametrize("form", ["jsonl", "csv", "toml"])
def test_what_is_exported_can_be_added_again(genq: Installation, folder: Path, form: str) -> None:
    rows: list[dict[str, Any]] = [
        {"name": f"out {form}", "prompt": 'a "q", b', "labels": ["l", "m"], "batch": f"out-{form}"},
        {"prompt": "two\nlines", "params": {"width": 64}, "batch": f"out-{form}"},
        {"prompt": "plain", "batch": f"out-{form}", "priority": 3},
    ]
    text = "".join(json.dumps({"provider": "mock", **row}) + "\n" for row in rows)
    before = _jobs(genq, _add(genq, folder / "a.jsonl", text))
    exported = genq.ask("export", "--filter", f"batch:out-{form}", "--format", form)
    assert exported.code == 0
    after = _jobs(genq, _add(genq, folder / f"b.{form}", exported.out))
    kept = ("prompt", "name", "labels", "batch", "params", "priority", "images")
    assert [[job[key] for key in kept] for job in after] == [
        [job[key] for key in kept] for job in before
    ]
