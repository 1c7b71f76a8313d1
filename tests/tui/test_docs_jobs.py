"""docs/jobs.md: its examples are read by the parser, and its tables are held against the code."""

import re
from pathlib import Path

import pytest

from daemon.core import limits
from tui.jobfile import FORMATS, Parsed, Row, guess_format, parse
from tui.jobfile.row import FIELDS

PAGE = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```([^\n]+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
EXAMPLES = {kind: text for kind, text in BLOCKS if kind in FORMATS}


def parsed(kind: str) -> Parsed:
    form = next(form for form in FORMATS if form == kind)
    return parse(EXAMPLES[kind].encode(), form, source=f"jobs.{form}")


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def first_cells(table: str) -> list[str]:
    return re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[1:]


def test_there_is_one_good_example_for_each_format() -> None:
    kinds = [kind for kind, _ in BLOCKS]
    assert sorted(kinds) == sorted([*FORMATS, "toml wrong", "text"])


@pytest.mark.parametrize("kind", FORMATS)
def test_every_example_is_read_without_a_problem(kind: str) -> None:
    result = parsed(kind)
    assert [str(problem) for problem in result.problems] == []
    assert len(result.rows) == {"toml": 2, "csv": 3, "jsonl": 3}[kind]


@pytest.mark.parametrize("kind", FORMATS)
def test_the_format_of_every_example_can_be_guessed_from_its_text(kind: str) -> None:
    assert guess_format("-", EXAMPLES[kind].encode()) == kind


def test_the_toml_example_holds_what_the_page_says_of_it() -> None:
    frame, clip = parsed("toml").rows
    assert frame.prompt.startswith("A small harbour at night, three moored boats,\na lighthouse")
    assert clip.params == {"kind": "video", "duration": 5}
    assert (clip.images, clip.not_before, clip.priority) == (["job:frame"], "22:00", 10)


def test_the_csv_example_holds_what_the_page_says_of_it() -> None:
    first, second, third = parsed("csv").rows
    assert first.images == ["refs/harbour.png", "refs/fox.png"]
    assert (second.prompt, second.hold) == ('She said "look",\nand the fox was gone.', True)
    assert (second.params, third.params) == ({"kind": "video", "duration": 5}, {})
    assert third.after == ["shot-01", "shot-02", 12]


def test_the_problems_of_the_wrong_example_are_the_ones_that_are_shown() -> None:
    blocks = dict(BLOCKS)
    result = parse(blocks["toml wrong"].encode(), "toml", source="jobs.toml")
    assert [str(problem) for problem in result.problems] == blocks["text"].splitlines()


def test_every_key_stands_in_the_table_of_keys_and_no_other() -> None:
    assert first_cells(section("Keys")) == [f"`{field}`" for field in FIELDS]
    assert set(FIELDS) < set(Row.__struct_fields__)


@pytest.mark.parametrize(
    "limit",
    [
        f"| prompt | {limits.PROMPT_CHARS_MAX:,} characters |",
        f"| {limits.PARAMS_BYTES_MAX:,} bytes |",
        f"| name | {limits.NAME_CHARS_MAX} characters |",
        f"| batch | {limits.BATCH_BYTES_MAX} bytes in UTF-8",
        f"| label | {limits.LABEL_CHARS_MAX} characters, {limits.LABELS_MAX} labels |",
        f"| {limits.IMAGE_BYTES_MAX:,} bytes |",
        f"| {limits.ADD_JOBS_MAX:,} jobs, {limits.ADD_BYTES_MAX:,} bytes |",
    ],
)
def test_every_limit_on_the_page_is_the_one_that_is_checked(limit: str) -> None:
    assert limit in section("Limits")


def test_the_range_of_priorities_is_the_one_that_is_checked() -> None:
    assert f"from {limits.PRIORITY_MIN} to {limits.PRIORITY_MAX}" in section("Keys")
