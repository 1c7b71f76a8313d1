from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from daemon.core.commands import Edit
from daemon.core.job import Image
from daemon.core.policy import Policy
from daemon.desk.admission import Admission, Known, admit
from daemon.desk.weighing import check_rows, edit_problem
from daemon.engines.engine import Problem
from daemon.media.pictures import PictureLimits
from daemon.providers import Provider, Shut
from daemon.wire.messages import Row


class Picky:
    """An engine that knows one param."""

    def check(self, prompt: str, params: Mapping[str, Any], images: int) -> list[Problem]:
        del prompt, images
        return [Problem(f"params.{name}", "unknown param") for name in params if name != "size"]


def provider(name: str, **fields: Any) -> Provider:
    given = {"engine": Picky(), "params": {}, **fields}
    return Provider(name, kind="mock", policy=Policy(), pictures=PictureLimits(), **given)


PROVIDERS = {
    "mock": provider("mock"),
    "veo": provider("veo", shut=Shut("auth", "no key is named")),
    "coze": provider("coze", engine=None, shut=Shut("operator", "this version has no engine")),
}
KNOWN = Known(PROVIDERS, {"old": 3}.get, {3, 4}.__contains__, 10, 500.0, "ana")


def weighed(*rows: Row) -> Admission:
    return admit(rows, check_rows(rows, PROVIDERS), KNOWN)


def refusals(*rows: Row) -> list[tuple[int | None, str | None, str]]:
    return [(one.row, one.field, one.message) for one in weighed(*rows).problems]


def admitted(*rows: Row) -> Admission:
    admission = weighed(*rows)
    assert admission.problems == ()
    return admission


def test_rows_become_jobs_with_ids_in_their_order() -> None:
    jobs = admitted(Row(provider="mock", prompt="a"), Row(provider="mock", count=2)).jobs
    assert [(job.id, job.prompt, job.state, job.by) for job in jobs] == [
        (10, "a", "queued", "ana"),
        (11, "", "queued", "ana"),
        (12, "", "queued", "ana"),
    ]


def test_a_job_added_on_hold_waits_for_approval() -> None:
    (job,) = admitted(Row(provider="mock", hold=True)).jobs
    assert (job.state, job.reason) == ("held", "approval")


def test_names_are_looked_for_in_the_add_first_and_then_among_older_jobs() -> None:
    rows = (Row(provider="mock", name="a"), Row(provider="mock", after=("a", "old", 4)))
    assert admitted(*rows).jobs[1].after == (10, 3, 4)


def test_a_picture_of_another_job_makes_a_dependency() -> None:
    rows = (
        Row(provider="mock", images=(Image("job:frame"),)),
        Row(provider="mock", name="frame"),
    )
    job = admitted(*rows).jobs[0]
    assert job.images == (Image("job:11"),)
    assert job.after == (11,)


def test_a_closed_provider_is_only_a_warning() -> None:
    admission = admitted(Row(provider="veo"), Row(provider="veo"))
    assert admission.warnings == ("veo is closed: no key is named; 2 jobs wait for it",)


@pytest.mark.parametrize(
    ("rows", "row", "field", "fragment"),
    [
        ((), None, None, "there are no jobs"),
        ((Row(provider="moc"),), 0, "provider", "did you mean 'mock'?"),
        ((Row(provider=""),), 0, "provider", "missing"),
        ((Row(provider="coze"),), 0, "provider", "no engine"),
        ((Row(provider="mock", name="a\nb"),), 0, "name", "control characters"),
        ((Row(provider="mock", batch="../x"),), 0, "batch", "must not start"),
        ((Row(provider="mock", prompt="\0"),), 0, "prompt", "NUL"),
        ((Row(provider="mock", priority=5_000),), 0, "priority", "1000"),
        ((Row(provider="mock", count=0),), 0, "count", "from 1"),
        ((Row(provider="mock", count=200_001),), None, None, "200,000"),
        ((Row(provider="mock", params={"hue": 1}),), 0, "params.hue", "unknown param"),
        ((Row(provider="mock", after=(99,)),), 0, "after[0]", "no job 99"),
        ((Row(provider="mock", after=("nobody",)),), 0, "after[0]", "no job is called"),
        ((Row(provider="mock", images=(Image("job:nobody"),)),), 0, "images[0]", "nobody"),
        ((Row(provider="mock", images=(Image("htps://a.test/b"),)),), 0, "images[0]", "'htps://a"),
        ((Row(provider="mock", name="a", after=("a",)),), 0, "after", "waits for itself"),
    ],
)
def test_a_bad_row_is_named_with_its_field(
    rows: tuple[Row, ...], row: int | None, field: str | None, fragment: str
) -> None:
    found = refusals(*rows)
    assert any((one, name) == (row, field) and fragment in text for one, name, text in found), found


def test_every_row_of_a_cycle_is_named() -> None:
    rows = (
        Row(provider="mock", name="a", after=("c",)),
        Row(provider="mock", name="b", after=("a",)),
        Row(provider="mock", name="c", after=("b",)),
        Row(provider="mock", name="d", after=("c",)),
    )
    assert {row for row, _, _ in refusals(*rows)} == {0, 1, 2}


def test_two_cycles_are_both_told() -> None:
    rows = (
        Row(provider="mock", name="a", after=("b",)),
        Row(provider="mock", name="b", after=("a",)),
        Row(provider="mock", name="c", after=("c",)),
    )
    assert {row for row, _, _ in refusals(*rows)} == {0, 1, 2}


def test_a_name_used_twice_is_an_error_only_where_it_is_referred_to() -> None:
    twice = (Row(provider="mock", name="a"), Row(provider="mock", name="a"))
    assert len(admitted(*twice).jobs) == 2
    assert [row for row, _, _ in refusals(*twice, Row(provider="mock", after=("a",)))] == [2]


def test_one_bad_row_keeps_all_others_out_and_every_problem_is_told() -> None:
    good = Row(provider="mock")
    bad = msgspec.structs.replace(good, provider="moc", priority=9_999)
    admission = weighed(good, bad, bad)
    assert admission.jobs == ()
    assert len(admission.problems) >= 4


def test_a_default_that_does_not_apply_is_left_out_with_a_warning() -> None:
    providers = {"mock": provider("mock", params={"hue": 7, "size": 1})}
    rows = (Row(provider="mock", count=2), Row(provider="mock"))
    known = msgspec.structs.replace(KNOWN, providers=providers)
    admission = admit(rows, check_rows(rows, providers), known)
    assert admission.problems == ()
    assert [job.params for job in admission.jobs] == [{}, {}, {}]
    told = "mock: its default params.hue is left out of 3 jobs: unknown param"
    assert admission.warnings == (told,)


def test_a_param_of_the_job_is_refused_although_there_is_a_default_for_it() -> None:
    providers = {"mock": provider("mock", params={"hue": 7})}
    rows = (Row(provider="mock", params={"hue": 8}),)
    known = msgspec.structs.replace(KNOWN, providers=providers)
    (problem,) = admit(rows, check_rows(rows, providers), known).problems
    assert (problem.field, problem.message) == ("params.hue", "unknown param")


def test_an_edit_is_weighed_with_the_defaults_that_apply() -> None:
    (job,) = admitted(Row(provider="mock")).jobs
    one = provider("mock", params={"hue": 7})
    assert edit_problem(job, Edit(prompt="b"), one) is None
    assert edit_problem(job, Edit(params={"hue": 8}), one) == "params.hue: unknown param"


def test_a_row_is_told_all_at_once_what_is_wrong_with_it_here_and_for_its_engine() -> None:
    row = Row(provider="mock", priority=9_999, params={"hue": 1})
    assert {field for _, field, _ in refusals(row)} == {"priority", "params.hue"}
