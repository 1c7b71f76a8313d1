"""What a job may hold: each limit at its last allowed and its first refused value."""

from typing import Any

import pytest

from daemon.core import limits
from daemon.core.limits import (
    check_after,
    check_batch,
    check_count,
    check_image,
    check_job,
    check_label,
    check_labels,
    check_name,
    check_params,
    check_priority,
    check_prompt,
    check_provider,
    check_total,
)

GOOD: dict[str, Any] = {
    "provider": "mock",
    "prompt": "a fox",
    "images": ["refs/fox.png", "https://example.com/a.png", "job:shot-01", "job:7"],
    "name": "镜头 03",
    "batch": "episode-1",
    "labels": ["night", "keyframe"],
    "priority": 0,
    "after": [3, "shot-01"],
    "count": 1,
    "params_json": b"{}",
}


def test_a_good_job_has_no_problems_and_needs_only_a_provider() -> None:
    assert check_job(**GOOD) == []
    bare = GOOD | {"prompt": "", "images": [], "name": None, "batch": None, "labels": []}
    assert check_job(**bare) == []


@pytest.mark.parametrize(
    ("problem", "fragment"),
    [
        (check_provider(""), "missing"),
        (check_provider("mo\x1bck"), "control characters"),
        (check_prompt("x" * 100_001), "has 100,001 characters; the limit is 100,000"),
        (check_prompt("a\0b"), "NUL"),
        (check_name(""), "empty"),
        (check_name("x" * 201), "has 201 characters; the limit is 200"),
        (check_name("a\nb"), "control characters"),
        (check_name("a\x7fb"), "control characters"),
        (check_name("a\x9bb"), "control characters"),
        (check_name("a\0b"), "NUL"),
        (check_batch(""), "empty"),
        (check_batch("é" * 51), "has 102 bytes in UTF-8; the limit is 100"),
        (check_batch("a/b"), "must not contain '/'"),
        (check_batch(".."), "must not start with '.'"),
        (check_batch("-rf"), "must not start with '-'"),
        (check_batch("a\tb"), "control characters"),
        (check_batch("a\0"), "NUL"),
        (check_labels(["x"] * 33), "has 33 labels; the limit is 32"),
        (check_label("x" * 65), "has 65 characters; the limit is 64"),
        (check_label(""), "empty"),
        (check_label("a\rb"), "control characters"),
        (check_image(""), "empty"),
        (check_image("job:"), "names no job"),
        (check_image("job:a\nb"), "control characters"),
        (check_image("a\0.png"), "NUL"),
        (check_after(0), "no job's id"),
        (check_after(-3), "no job's id"),
        (check_after(2**63), "no job's id"),
        (check_after(""), "empty"),
        (check_priority(1_001), "from -1000 to 1000, got 1001"),
        (check_priority(-1_001), "from -1000 to 1000, got -1001"),
        (check_priority(10**30), "got a huge number"),
        (check_count(0), "from 1 to 200000, got 0"),
        (check_count(200_001), "from 1 to 200000, got 200001"),
        (check_params(b" " * (512 * 1024 + 1)), "has 524,289 bytes as JSON; the limit is 524,288"),
        (check_params(rb'{"a":"\u0000"}'), "NUL"),
        (check_params(rb'{"\u0000":1}'), "NUL"),
        (check_params(rb'{"a":"\\\u0000"}'), "NUL"),
        (check_total(jobs=200_001, total_bytes=1), "200,001 jobs; the limit of one add is 200,000"),
        (check_total(jobs=1, total_bytes=limits.ADD_BYTES_MAX + 1), "268,435,457 bytes"),
    ],
)
def test_what_passes_a_limit_is_refused_with_the_limit_named(
    problem: str | None, fragment: str
) -> None:
    assert problem is not None
    assert fragment in problem
    assert problem.isprintable()


@pytest.mark.parametrize(
    "problem",
    [
        check_prompt("x" * 100_000),
        check_prompt("two\nlines, \x1b[31m and a tab\t"),
        check_name("x" * 200),
        check_name("👩‍👩‍👧 在\u3000海边"),
        check_batch("é" * 50),
        check_batch("a.b-c d"),
        check_labels(["x"] * 32),
        check_label("x" * 64),
        check_image("a\nb.png"),
        check_after(2**63 - 1),
        check_priority(1_000),
        check_priority(-1_000),
        check_count(1),
        check_count(200_000),
        check_params(b" " * (512 * 1024)),
        check_params(rb'{"a":"\\u0000"}'),
        check_total(jobs=200_000, total_bytes=limits.ADD_BYTES_MAX),
    ],
)
def test_what_just_keeps_a_limit_may_stand(problem: str | None) -> None:
    assert problem is None


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("provider", "", "provider"),
        ("prompt", "\0", "prompt"),
        ("images", ["a.png", ""], "images[1]"),
        ("name", "", "name"),
        ("batch", "", "batch"),
        ("labels", ["a"] * 33, "labels"),
        ("labels", ["a", "b", "\t"], "labels[2]"),
        ("priority", 2_000, "priority"),
        ("after", [0], "after[0]"),
        ("count", 0, "count"),
        ("params_json", b" " * (512 * 1024 + 1), "params"),
    ],
)
def test_a_problem_is_found_under_the_name_of_its_field(
    field: str, value: object, named: str
) -> None:
    assert [found for found, _ in check_job(**GOOD | {field: value})] == [named]


def test_all_problems_of_a_job_are_told_at_once() -> None:
    bad = GOOD | {"name": "", "labels": ["", "\0"], "after": [-1, "a"], "images": ["x", ""]}
    assert {field for field, _ in check_job(**bad)} == {
        "name",
        "labels[0]",
        "labels[1]",
        "after[0]",
        "images[1]",
    }
