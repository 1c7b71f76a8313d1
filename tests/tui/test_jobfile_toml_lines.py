"""Where the keys of a TOML text stand, however hostile the text around them."""

import re
import tomllib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.jobfile.toml_lines import locate


def test_text_in_strings_and_comments_is_never_taken_for_a_table() -> None:
    text = '''\
# [[jobs]] in a comment, and an odd " quote
[[jobs]]  # "
prompt = """
[[jobs]]
name = "not a key"
\\""" still inside "" and "
"""""
name = \'\'\'
[[jobs]]
it's ''fine\'\'\'\'\'
batch = '[[jobs]] # "'
labels = [  # [[jobs]] ]
  "a]", # ]
  "b\\"]",

  'c',
]
params = { text = "}", "odd = key" = ["]", 2] }

  [[  jobs  ]]
"na\\u006de" = 1.5
\tprovider\t=\t"x"
'''
    assert tomllib.loads(text)["jobs"][1] == {"name": 1.5, "provider": "x"}
    assert locate(text) == {
        "jobs": 2,
        "jobs[0]": 2,
        "jobs[0].prompt": 3,
        "jobs[0].name": 8,
        "jobs[0].batch": 11,
        "jobs[0].labels": 12,
        "jobs[0].labels[0]": 13,
        "jobs[0].labels[1]": 14,
        "jobs[0].labels[2]": 16,
        "jobs[0].params": 18,
        "jobs[0].params.text": 18,
        "jobs[0].params.odd = key": 18,
        "jobs[1]": 20,
        "jobs[1].name": 21,
        "jobs[1].provider": 22,
    }


def test_tables_below_a_job_belong_to_the_job_before_them() -> None:
    text = """\
[[jobs]]
[jobs.params]
seed = 1
[[jobs]]
params.seed = 2
[jobs.params.deep]
er.still = 3
[[jobs.after]]
[[jobs.after]]
[jobs.after.x]
[other]
seed = 4
"""
    assert locate(text) == {
        "jobs": 1,
        "jobs[0]": 1,
        "jobs[0].params": 2,
        "jobs[0].params.seed": 3,
        "jobs[1]": 4,
        "jobs[1].params": 5,
        "jobs[1].params.seed": 5,
        "jobs[1].params.deep": 6,
        "jobs[1].after": 8,
        "jobs[1].after[0]": 8,
        "jobs[1].after[1]": 9,
        "other": 11,
        "other.seed": 12,
    }


def test_inline_jobs_are_found_one_by_one() -> None:
    text = 'jobs = [ # list\n{ a = 1 }, { a = [\n2, 3,\n] },\n\n# more\n{ b.c = "," } ]\nz = 1'
    assert locate(text) == {
        "jobs": 1,
        "jobs[0]": 2,
        "jobs[0].a": 2,
        "jobs[1]": 2,
        "jobs[1].a": 2,
        "jobs[1].a[0]": 3,
        "jobs[1].a[1]": 3,
        "jobs[2]": 7,
        "jobs[2].b": 7,
        "jobs[2].b.c": 7,
        "z": 8,
    }


def test_dates_numbers_and_windows_line_ends_are_stepped_over() -> None:
    text = (
        "a = 1979-05-27 07:32:00.5-07:00\r\nb = -1.5e+3\r\n\r\nc = '''\r\nx\r\n'''\r\nd = inf\r\n"
    )
    assert tomllib.loads(text).keys() == {"a", "b", "c", "d"}
    assert locate(text) == {"a": 1, "b": 2, "c": 4, "d": 7}


def test_a_very_deep_key_takes_no_more_room_than_a_shallow_one() -> None:
    located = locate("a." * 5_000 + "b = 1")
    assert list(located) == ["a", "a.a", "a.a.a", "a.a.a.a"]


STYLES: dict[str, Callable[[str], str]] = {
    "basic": lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"),
    "basic lines": lambda text: '"""\n' + text.replace("\\", "\\\\").replace('"', '""\\"'),
    "literal": lambda text: "'" + text.replace("'", "").replace("\n", " "),
    "literal lines": lambda text: "'''\n" + re.sub("'{3,}", "''", text),
}
ENDS = {"basic": '"', "basic lines": '"""', "literal": "'", "literal lines": "'''"}
HOSTILE = st.lists(
    st.sampled_from(
        [
            "[[jobs]]",
            "[jobs.params]",
            "name = 1",
            '"',
            "'",
            "''",
            "\\",
            "#",
            "\n",
            "]",
            "}",
            ",",
            "é",
        ]
    ),
    max_size=12,
).map("".join)


@given(st.lists(st.tuples(HOSTILE, st.sampled_from(sorted(STYLES))), min_size=1, max_size=6))
def test_lines_are_right_after_any_string_in_any_style(values: list[tuple[str, str]]) -> None:
    text = ""
    expected = {}
    for place, (value, style) in enumerate(values):
        job = f"jobs[{place}]"
        expected[job] = text.count("\n") + 1
        expected[f"{job}.prompt"] = expected[job] + 1
        text += f"[[jobs]]\nprompt = {STYLES[style](value)}{ENDS[style]} # {value!r}\n"
        expected[f"{job}.name"] = text.count("\n") + 1
        text += 'name = "a"\n'
    assert len(tomllib.loads(text)["jobs"]) == len(values)
    assert locate(text) == {"jobs": 1} | expected


@pytest.mark.parametrize("text", ["[", "[[", "a", "a =", "a = [", "a = {", "a = [1", '"', "]", "}"])
def test_a_text_cut_anywhere_comes_to_an_end(text: str) -> None:
    assert isinstance(locate(text), dict)
