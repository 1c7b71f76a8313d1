"""Job files: what is read, and what every sort of bad one is told, with its line and field."""

import doctest
import importlib
import io
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core import limits
from tui.jobfile import FORMATS, Format, Parsed, Problem, Row, guess_format, parse, read

FULL = Row(
    provider="mock",
    prompt="a fox, folded",
    images=["refs/fox.png", "job:shot-01"],
    name="shot-02",
    batch="episode-1",
    labels=["night", "keyframe"],
    priority=-5,
    not_before="+10m",
    after=[7, "shot-01"],
    hold=True,
    count=3,
    params={"duration": 5, "kind": "video", "loop": False},
    line=2,
)
FULL_TOML = """
[[jobs]]
provider = "mock"
prompt = "a fox, folded"
images = ["refs/fox.png", "job:shot-01"]
name = "shot-02"
batch = "episode-1"
labels = ["night", "keyframe"]
priority = -5
not_before = "+10m"
after = [7, "shot-01"]
hold = true
count = 3
[jobs.params]
duration = 5
kind = "video"
loop = false
"""
FULL_CSV = """\
provider,prompt,images,name,batch,labels,priority,not_before,after,hold,count,params.duration,\
params.kind,params.loop
mock,"a fox, folded",refs/fox.png;job:shot-01,shot-02,episode-1,night; keyframe,-5,+10m,\
7;shot-01,TRUE,3,5,video,false
"""
FULL_JSONL = "\n" + json.dumps({**msgspec.to_builtins(FULL), "line": 0}).replace(', "line": 0', "")
FULLS: dict[Format, str] = {"toml": FULL_TOML, "csv": FULL_CSV, "jsonl": FULL_JSONL}


def parsed(text: str | bytes, form: Format, provider: str | None = None) -> Parsed:
    encoded = text.encode() if isinstance(text, str) else text
    return parse(encoded, form, source=f"jobs.{form}", provider=provider)


def rows(text: str | bytes, form: Format, provider: str | None = None) -> list[Row]:
    result = parsed(text, form, provider)
    assert [str(problem) for problem in result.problems] == []
    return result.rows


def told(text: str | bytes, form: Format) -> list[str]:
    result = parsed(text, form)
    assert result.rows == []
    return [str(problem) for problem in result.problems]


# --- what is read ---


@pytest.mark.parametrize("form", FORMATS)
def test_every_key_is_read_in_every_format(form: Format) -> None:
    assert rows(FULLS[form], form) == [FULL]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("toml", '[[jobs]]\nprovider = "mock"'),
        ("csv", "provider\nmock"),
        ("jsonl", '{"provider": "mock"}'),
    ],
)
def test_a_row_needs_no_more_than_a_provider(form: Format, text: str) -> None:
    (row,) = rows(text, form)
    assert row == Row(provider="mock", line=row.line)
    assert row.line == (2 if form == "csv" else 1)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("toml", '[[jobs]]\n[[jobs]]\nprovider = "veo"'),
        ("csv", "provider,prompt\n,a\nveo,b"),
        ("jsonl", '{"prompt": "a"}\n{"provider": "veo"}'),
    ],
)
def test_a_default_provider_stands_in_where_none_is_named(form: Format, text: str) -> None:
    assert [row.provider for row in rows(text, form, provider="mock")] == ["mock", "veo"]


@pytest.mark.parametrize("form", FORMATS)
def test_a_byte_order_mark_and_windows_line_ends_are_accepted(form: Format) -> None:
    text = b"\xef\xbb\xbf" + FULLS[form].replace("\n", "\r\n").encode()
    assert rows(text, form) == [FULL]


def test_chinese_prompts_survive_in_every_format() -> None:
    prompt = "日出前的山顶 老松树下"
    assert [
        rows(f'[[jobs]]\nprovider = "mock"\nprompt = "{prompt}"', "toml")[0].prompt,
        rows(f"provider,prompt\nmock,{prompt}", "csv")[0].prompt,
        rows(f'{{"provider": "mock", "prompt": "{prompt}"}}', "jsonl")[0].prompt,
    ] == [prompt] * 3


def test_toml_jobs_may_be_one_inline_array() -> None:
    text = 'jobs = [\n  { provider = "mock" },\n\n  { provider = "veo", params = { a.b = 1 } },\n]'
    first, second = rows(text, "toml")
    assert (first.line, second.line) == (2, 4)
    assert second.params == {"a": {"b": 1}}


def test_toml_dates_and_times_become_text() -> None:
    text = """
        [[jobs]]
        provider = "mock"
        not_before = 2026-12-01T08:30:00Z
        params = { on = 2026-12-01, at = [08:30:00] }
        [[jobs]]
        provider = "mock"
        not_before = 18:30:00
    """
    first, second = rows(text, "toml")
    assert (first.not_before, second.not_before) == ("2026-12-01T08:30:00+00:00", "18:30:00")
    assert first.params == {"on": "2026-12-01", "at": ["08:30:00"]}


def test_json_lines_may_be_blank_and_hold_null_for_what_is_absent() -> None:
    text = '\n{"provider": "mock", "name": null}\n  \n\t\r\n{"provider": "veo"}\n\n'
    assert [(row.provider, row.line) for row in rows(text, "jsonl")] == [("mock", 2), ("veo", 5)]


def test_csv_cells_over_several_lines_keep_the_lines_right() -> None:
    text = 'provider,prompt,name\nmock,"one\r\ntwo\nthree",a\n\n,,\nmock,"say ""hi"" twice",b\n'
    first, second = rows(text, "csv")
    assert (first.prompt, first.line) == ("one\r\ntwo\nthree", 2)
    assert (second.prompt, second.line) == ('say "hi" twice', 7)


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("5", 5),
        ("2.5", 2.5),
        ("true", True),
        ("16:9", "16:9"),
        ("hello world", "hello world"),
        ("007", "007"),
        ("2026-12-01", "2026-12-01"),
        ('"""5"""', "5"),
        ('"[1, ""two""]"', [1, "two"]),
        ('"{ a = 1 }"', {"a": 1}),
        ('"1, 2"', "1, 2"),
        ('"1, b = 2"', "1, b = 2"),
        ("5 # five", "5 # five"),
        ('"5\n"', 5),
        ('"5\nw = 6"', "5\nw = 6"),
        ("[" * 20_000, "[" * 20_000),
        ("9" * 5_000, "9" * 5_000),
    ],
)
def test_a_params_cell_is_toml_if_it_parses_as_it_and_else_text(cell: str, value: object) -> None:
    assert rows(f"provider,params.x\nmock,{cell}", "csv")[0].params == {"x": value}


def test_a_params_column_is_named_by_all_that_follows_the_first_dot() -> None:
    (row,) = rows("provider,params.3.steps,params.loop\nmock,4,\n", "csv")
    assert row.params == {"3.steps": 4}


def test_a_csv_list_that_is_a_toml_array_may_hold_semicolons() -> None:
    text = 'provider,labels,after,images\nmock,"[""a;b"", ""c""]","[""7""]",[x].png;;b.png;\n'
    (row,) = rows(text, "csv")
    assert row.labels == ["a;b", "c"]
    assert row.after == ["7"]
    assert row.images == ["[x].png", "b.png"]


@pytest.mark.parametrize(
    ("cell", "hold"), [("true", True), ("Yes", True), ("1", True), ("FALSE", False), ("no", False)]
)
def test_a_csv_truth_may_be_written_as_spreadsheets_do(cell: str, hold: bool) -> None:
    assert rows(f"provider,hold\nmock,{cell}", "csv")[0].hold is hold


def test_a_large_csv_cell_is_no_problem_of_its_own() -> None:
    graph = json.dumps({str(n): "x" * 50 for n in range(5_000)}).replace(":", " =")
    cell = graph.replace('"', '""')
    (row,) = rows(f'provider,params.workflow\nmock,"{cell}"', "csv")
    assert len(row.params["workflow"]) == 5_000


# --- what is told of a bad file ---

Fault = tuple[str, int, str, str]
"""A text, and the line, the field and a fragment of the one problem that it has."""
MANY = "x" * 100_001

TOML_FAULTS: list[Fault] = [
    ('provider = "mock"\nconcurency = 3', 3, "concurency", "unknown key; the keys are provider,"),
    ('provider = "mock"\nprompts = "x"', 3, "prompts", "unknown key; did you mean 'prompt'?"),
    (
        'provider = "mock"\npriority = "high"',
        3,
        "priority",
        "expected a whole number from -1000 to 1000, got 'high'",
    ),
    ('provider = "mock"\npriority = 1001', 3, "priority", "from -1000 to 1000, got 1001"),
    ('provider = "mock"\npriority = true', 3, "priority", "got true"),
    ('provider = "mock"\npriority = 1.0', 3, "priority", "got 1.0"),
    (
        'provider = "mock"\nimages = "a.png"',
        3,
        "images",
        "expected a list of texts, got 'a.png'",
    ),
    ('provider = "mock"\nimages = [\n"a",\n7,\n]', 5, "images[1]", "expected text, got 7"),
    ('provider = "mock"\nlabels = ["", "b"]', 3, "labels[0]", "must not be empty"),
    (f'provider = "mock"\nlabels = {["x"] * 33}', 3, "labels", "has 33 labels; the limit is 32"),
    (f'provider = "mock"\nprompt = "{MANY}"', 3, "prompt", "100,001 characters; the limit is 100,"),
    ('provider = "mock"\nprompt = "a\\u0000b"', 3, "prompt", "NUL"),
    ('provider = "mock"\nname = "a\\nb"', 3, "name", "control characters"),
    ('provider = "mock"\nname = ""', 3, "name", "leave the key out"),
    ('provider = "mock"\nbatch = "../x"', 3, "batch", "must not start with '.'"),
    ('provider = "mock"\nbatch = "a/b"', 3, "batch", "must not contain '/'"),
    ('provider = "mock"\nhold = "true"', 3, "hold", "expected true or false, got 'true'"),
    ('provider = "mock"\ncount = 0', 3, "count", "from 1 to 200000, got 0"),
    ('provider = "mock"\nafter = [3, 1.5]', 3, "after[1]", "expected an id or a name, got 1.5"),
    ('provider = "mock"\nafter = [0]', 3, "after[0]", "ids are whole numbers from 1"),
    ('provider = "mock"\nafter = [0x' + "f" * 9_000 + "]", 3, "after[0]", "no job's id"),
    ('provider = "mock"\nnot_before = "soon"', 3, "not_before", "HH:MM (the next one), or +90s"),
    ('provider = "mock"\nnot_before = 1234', 3, "not_before", "expected text: ISO 8601"),
    ('provider = "mock"\nparams = "x"', 3, "params", "expected a table, got 'x'"),
    ('provider = "mock"\nparams.a = 1\nparams.b = nan', 4, "params.b", "can't be written as JSON"),
    ('provider = "mock"\n[jobs.params]\na = [[inf]]', 4, "params.a", "can't be written as JSON"),
    ('provider = "mock"\nparams.a.b = {c=-inf}', 3, "params.a", "can't be written as JSON"),
    ('provider = "mock"\nparams.a = 0x' + "f" * 9_000, 3, "params.a", "can't be written as JSON"),
    ('provider = "mock"\nparams.a = "\\u0000"', 3, "params", "NUL"),
    (f'provider = "mock"\nparams.a = "{"x" * 600_000}"', 3, "params", "as JSON; the limit is 524,"),
    ("provider = 7", 2, "provider", "expected text, got 7"),
    ('provider = ""', 2, "provider", "missing; every job needs one"),
    ('prompt = "x"', 1, "provider", "missing; every job needs one"),
    ('provider = "mock"\nimages = ["job:"]', 3, "images[0]", "names no job after 'job:'"),
    ('provider = "mock"\nimages = ["file:///a.png"]', 3, "images[0]", "'file:///a.png' is no http"),
]

CSV_FAULTS: list[Fault] = [
    ("provider,promt\nmock,x", 1, "promt", "unknown column; did you mean 'prompt'?"),
    ("provider,seed\nmock,x", 1, "seed", "and params.NAME"),
    ("provider,params.\nmock,x", 1, "params.", "unknown column"),
    ("provider,params\nmock,x", 1, "params", "a column of its own, such as params.seed"),
    ("provider,name,name\nmock,a,b", 1, "name", "a second column of this name"),
    ("provider,,name\nmock,a,b", 1, "", "column 2 has no name"),
    ("provider;prompt\nmock;x", 1, "", "separated by ';'; write commas"),
    ("provider\tprompt\nmock\tx", 1, "", "separated by '\\t'; write commas"),
    ("provider,prompt\nmock", 2, "", "expected 2 cells, as in the header, got 1"),
    ("provider,prompt\nmock,a\nmock,a,b,c", 3, "", "expected 2 cells, as in the header, got 4"),
    ('provider,prompt\nmock,"a\nb"\nmock,"a', 4, "", "a quoted cell of this row is never closed"),
    ('provider,prompt\nmock,"a\nb"c', 3, "", "text after a closing quote"),
    ("provider,priority\nmock,1\nmock,high", 3, "priority", "from -1000 to 1000, got 'high'"),
    ("provider,priority\nmock,1e3", 2, "priority", "got '1e3'"),
    ("provider,count\nmock,-1", 2, "count", "from 1 to 200000, got -1"),
    ("provider,hold\nmock,maybe", 2, "hold", "expected true or false, got 'maybe'"),
    ("provider,after\nmock,a;0", 2, "after[1]", "ids are whole numbers from 1"),
    ('provider,prompt,batch\nmock,"a\nb\nc",a/b', 4, "batch", "must not contain '/'"),
    ('provider,prompt,labels\nmock,"a\nb","c;d\te"', 3, "labels[1]", "control characters"),
    ("provider,prompt\nmock,a\0b", 2, "prompt", "NUL"),
    ("provider,prompt\n,a", 2, "provider", "missing"),
    ("prompt\na", 2, "provider", "missing"),
    ("provider,params.a\nmock,nan", 2, "params.a", "can't be written as JSON"),
    ("provider,not_before\nmock,tomorrow", 2, "not_before", "got 'tomorrow'"),
]

JSONL_FAULTS: list[Fault] = [
    ('{"provider": "mock", "prompts": "x"}', 1, "prompts", "did you mean 'prompt'?"),
    ('\n\n{"provider": "mock", "line": 3}', 3, "line", "unknown key"),
    ('{"provider": "mock", "priority": "high"}', 1, "priority", "got 'high'"),
    ('{"provider": "mock", "priority": 5000}', 1, "priority", "from -1000 to 1000, got 5000"),
    ('{"provider": "mock", "images": null}', 1, "images", "expected a list of texts, got null"),
    ('{"provider": "mock", "images": [1]}', 1, "images[0]", "expected text, got 1"),
    ('{"provider": "mock", "params": [1]}', 1, "params", "expected a table, got a list"),
    ('{"provider": "mock", "name": {"a": 1}}', 1, "name", "expected text, got a table"),
    ('{"provider": "mock", "params": {"a": "\\u0000"}}', 1, "params", "NUL"),
    ('{"provider": "mock", "count": 200001}', 1, "count", "from 1 to 200000, got 200001"),
    ('{"provider": null}', 1, "provider", "expected text, got null"),
    ('{"prompt": "a"}', 1, "provider", "missing"),
    ('{"provider": "mock"}\n{"provider": "mock",}', 2, "", "bad JSON at column 21: trailing comma"),
    ('{"provider": "mock" "a": 1}', 1, "", "bad JSON at column 21: expected ',' or '}'"),
    ('{"prompt": "中文" "a": 1}', 1, "", "bad JSON at column 17: expected ','"),
    ('{"provider": "mock"', 1, "", "bad JSON: Input data was truncated"),
    ('{"provider": "a", "prompt": "x", "prompt": "y"}', 1, "prompt", "stands twice"),
    ('{"provider": "a", "prompt" \t: "x", "prom\\u0070t": ""}', 1, "prompt", "stands twice"),
    ('{"provider": "a", "prompt": 3, "prompt": "y"}', 1, "prompt", "stands twice"),
    ('{"provider": "a", "params": {"n": {"s": 1, "s": 1}}}', 1, "params", "'s' stands twice"),
    ('{"provider": "a", "params": {"n": [{"s": 1}, {"s": 1, "s": 2}]}}', 1, "params", "'s' stands"),
    ('{"provider": NaN}', 1, "", "bad JSON at column 14: invalid character"),
    ('{"provider": "mock"} {"provider": "mock"}', 1, "", "trailing characters"),
    ('{"prompt": "\\ud800"}', 1, "", "bad JSON"),
    ('{"params": {"a": 1e999}}', 1, "", "bad JSON: Number out of range"),
    ('[{"provider": "mock"}]', 1, "", "expected an object {…}, got a list"),
    ('"provider"', 1, "", "expected an object {…}, got 'provider'"),
    ("provider,prompt", 1, "", "bad JSON at column 1: invalid character"),
    ('{"params": ' + "[" * 90_000 + "]" * 90_000 + "}", 1, "", "nested too deeply"),
]

TOML_FILE_FAULTS: list[Fault] = [
    ("[[job]]\nprovider = 'mock'", 1, "job", "unknown key; did you mean 'jobs'?"),
    ("[[jobs]]\nprovider = 'mock'\n[defaults]\na = 1", 3, "defaults", "outside of jobs"),
    (
        "provider = 'mock'\njobs = [{provider = 'mock'}]",
        1,
        "provider",
        "put it below a [[jobs]] line",
    ),
    ("[jobs]\nprovider = 'mock'", 1, "jobs", "expected [[jobs]] tables, got a table"),
    ("# x\njobs = 'mock'", 2, "jobs", "expected [[jobs]] tables, got 'mock'"),
    ("jobs = [\n{provider='mock'},\n3]", 3, "jobs[1]", "expected a table, got 3"),
    ("[[jobs]]\nprovider = mock", 2, "", "not TOML: Invalid value (column 12)"),
    ("[[jobs]]\nname = 'a'\nname = 'b'\n# end", 3, "", "not TOML: Cannot overwrite a value"),
    ('[[jobs]]\nprompt = """a\n\n', 2, "", "not TOML: Unterminated string at the end of the file"),
    ("[[jobs]]\nparams.a = " + "9" * 5_000, 0, "", "not TOML: Exceeds the limit (4300 digits)"),
    ("[[jobs]]\nparams.a = " + "[" * 9_000 + "]" * 9_000, 0, "", "nested too deeply"),
]

EMPTY_FILES: list[tuple[Format, str, int, str, str]] = [
    ("toml", "", 0, "", "holds no jobs"),
    ("toml", "# only a comment\njobs = []", 0, "", "holds no jobs"),
    ("csv", "", 0, "", "holds no jobs"),
    ("csv", "provider,prompt\n\n , ,\n", 0, "", "holds no jobs"),
    ("jsonl", "\n \n", 0, "", "holds no jobs"),
]

FAULTS: list[tuple[Format, str, int, str, str]] = [
    *(("toml", f"[[jobs]]\n{text}", line, field, what) for text, line, field, what in TOML_FAULTS),
    *(("toml", text, line, field, what) for text, line, field, what in TOML_FILE_FAULTS),
    *(("csv", text, line, field, what) for text, line, field, what in CSV_FAULTS),
    *(("jsonl", text, line, field, what) for text, line, field, what in JSONL_FAULTS),
    *EMPTY_FILES,
]


@pytest.mark.parametrize(
    ("form", "text", "line", "field", "fragment"),
    FAULTS,
    ids=[f"{fault[0]}-{fault[3] or 'text'}-{number}" for number, fault in enumerate(FAULTS)],
)
def test_a_fault_is_told_with_its_line_and_field(
    form: Format,
    text: str,
    line: int,
    field: str,
    fragment: str,
) -> None:
    result = parsed(text, form)
    assert result.rows == []
    (problem,) = result.problems
    assert (problem.line, problem.field) == (line, field)
    assert fragment in problem.message
    assert str(problem).isprintable()
    assert len(str(problem)) < 300


def test_a_problem_is_one_line_that_begins_with_file_and_line() -> None:
    assert told('[[jobs]]\nprovider = "mock"\nprioriti = 1', "toml") == [
        "jobs.toml:3: prioriti: unknown key; did you mean 'priority'?"
    ]
    assert told("", "csv") == ["jobs.csv: holds no jobs"]


def test_a_problem_never_brings_control_codes_to_the_terminal() -> None:
    problem = Problem("jobs\x1b[2J.toml", 3, "na\u202eme\n", "is wrong")
    assert str(problem) == r"jobs\x1b[2J.toml:3: na\u202eme\n: is wrong"
    (line,) = told('{"provider": "mock", "\\u001b[31m": 1}', "jsonl")
    assert line.isprintable()


def test_all_problems_of_a_file_are_told_at_once_in_the_order_of_its_lines() -> None:
    text = """\
default = 1
[[jobs]]
provider = "mock"
[[jobs]]
promt = "x"
priority = "high"
labels = ["ok", 3, ""]
[[jobs]]
provider = "mock"
count = 0
"""
    problems = parsed(text, "toml").problems
    assert [(problem.line, problem.field) for problem in problems] == [
        (1, "default"),
        (4, "provider"),
        (5, "promt"),
        (6, "priority"),
        (7, "labels[1]"),
        (10, "count"),
    ]


def test_what_only_looks_like_a_key_that_stands_twice_is_none() -> None:
    line = {"provider": "a", "prompt": '"prompt": "prompt" :', "params": {"prompt": 9**99}}
    (row,) = rows(json.dumps(line), "jsonl")
    assert row.prompt == line["prompt"]


def test_all_bad_lines_of_a_json_lines_file_are_told() -> None:
    text = '{"provider": 1, "x": 2}\n{\n{"provider": "mock"}\n{"name": "", "batch": "/"}'
    lines = [(problem.line, problem.field) for problem in parsed(text, "jsonl").problems]
    assert lines == [(1, "provider"), (1, "x"), (2, ""), (4, "provider"), (4, "name"), (4, "batch")]


def test_a_csv_file_with_a_bad_header_still_has_its_rows_checked() -> None:
    text = "provider,promt,priority\nmock,x,1\nmock,y,high\nmock\n"
    lines = [(problem.line, problem.field) for problem in parsed(text, "csv").problems]
    assert lines == [(1, "promt"), (3, "priority"), (4, "")]


def test_json_over_several_lines_is_told_once_and_not_line_by_line() -> None:
    text = json.dumps([{"provider": "mock"}] * 3, indent=2)
    assert told(text, "jsonl") == [
        "jobs.jsonl:1: is one JSON value over several lines; write a job a line"
    ]


def test_the_first_line_being_bad_json_alone_does_not_hide_the_others() -> None:
    assert len(told('{"a"\n{"provider": "mock"}\n{"b"', "jsonl")) == 2


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("text", "line", "fragment"),
    [
        (b"\n\nprovider\xff", 3, "not UTF-8: byte 0xff"),
        (b"\xef\xbb\xbf\n\xe4\xb8", 2, "not UTF-8: byte 0xe4"),
        ("provider\nmock".encode("utf-16"), 1, "not UTF-8: byte 0xff; it looks like UTF-16"),
        ("提示".encode("gbk"), 1, "not UTF-8: byte 0xcc"),
    ],
)
def test_a_text_that_is_not_utf8_names_the_line_of_its_first_bad_byte(
    form: Format,
    text: bytes,
    line: int,
    fragment: str,
) -> None:
    (problem,) = parsed(text, form).problems
    assert problem.line == line
    assert fragment in problem.message


# --- limits over the whole file ---


def test_counts_are_multiplied_out_before_the_limit_of_jobs() -> None:
    most = '{"provider": "mock", "count": 199999}\n{"provider": "mock"}\n'
    assert sum(row.count for row in rows(most, "jsonl")) == limits.ADD_JOBS_MAX
    over = parsed(most + '{"provider": "mock"}\n' * 5, "jsonl")
    assert [(problem.line, problem.field) for problem in over.problems] == [(3, "")]
    assert "200,001 jobs; the limit of one add is 200,000" in over.problems[0].message


def test_a_small_file_can_not_blow_up_to_more_bytes_than_one_add_takes() -> None:
    text = json.dumps({"provider": "mock", "prompt": "x" * 90_000, "count": 3_000})
    (problem,) = parsed(text, "jsonl").problems
    assert "bytes; the limit of one add is 268,435,456" in problem.message


# --- files ---


@pytest.mark.parametrize(
    ("name", "head", "form"),
    [
        ("jobs.toml", b"{", "toml"),
        ("JOBS.CSV", b"[[jobs]]", "csv"),
        ("a.jsonl", b"", "jsonl"),
        ("a.ndjson", b"", "jsonl"),
        ("a.json", b"", "jsonl"),
        ("-", b"[[jobs]]\n", "toml"),
        ("-", b"\n# shots\n\n[[jobs]]\n", "toml"),
        ("-", b"\xef\xbb\xbfjobs = [", "toml"),
        ("-", b'\n {"provider": "mock"}', "jsonl"),
        ("-", b'[\n  {"provider"', "jsonl"),
        ("-", b"provider,prompt\n", "csv"),
        ("jobs.txt", b"provider,prompt\nmock,a=b\n", "csv"),
        ("-", "\ufeffprovider,提示".encode()[:-1], "csv"),
        ("-", b"", "csv"),
    ],
)
def test_a_format_is_guessed_by_the_name_and_else_by_the_text(
    name: str,
    head: bytes,
    form: Format,
) -> None:
    assert guess_format(name, head) == form


def test_a_file_is_read_by_its_path_and_named_in_its_problems(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text("provider,prompt\nmock,a\n")
    assert [row.prompt for row in read(str(path)).rows] == ["a"]
    assert read(str(path), provider="veo").rows[0].provider == "mock"
    path.write_text('{"prompt": "a"}')
    assert read(str(path), format="jsonl", provider="veo").rows[0].provider == "veo"
    assert str(read(str(path), format="jsonl").problems[0]).startswith(f"{path}:1: provider: miss")


def test_a_file_that_can_not_be_read_is_a_problem_and_not_a_crash(tmp_path: Path) -> None:
    missing, folder = tmp_path / "none.toml", tmp_path
    assert [str(problem) for problem in read(str(missing)).problems] == [
        f"{missing}: can't be read: No such file or directory"
    ]
    assert "can't be read: Is a directory" in str(read(str(folder)).problems[0])


def test_a_file_larger_than_one_add_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "huge.jsonl"
    with path.open("wb") as file:
        file.truncate(limits.ADD_BYTES_MAX + 1)  # sparse: no such bytes are written
    (problem,) = read(str(path)).problems
    assert "larger than 268,435,456 bytes" in problem.message


def test_standard_input_is_read_for_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b'{"provider": "mock"}\n{"provider": 1}'))
    monkeypatch.setattr("sys.stdin", stdin)
    assert [str(problem) for problem in read("-").problems] == [
        "standard input:2: provider: expected text, got 1"
    ]


# --- properties ---

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
tables = st.dictionaries(
    st.sampled_from([*Row.__struct_fields__, "promt"]) | st.text(max_size=5), json_values
)


@given(st.lists(tables, max_size=4))
def test_whatever_json_a_line_holds_its_problems_lie_on_its_line(lines: list[object]) -> None:
    text = "\n".join(json.dumps(line) for line in lines)
    result = parsed(text, "jsonl")
    assert not (result.rows and result.problems)
    assert bool(result.rows or result.problems)
    for problem in result.problems:
        assert 0 <= problem.line <= len(lines)
        assert str(problem).isprintable()


@given(st.binary(max_size=200), st.sampled_from(FORMATS))
def test_no_bytes_at_all_make_the_parser_fail(text: bytes, form: Format) -> None:
    result = parsed(text, form)
    assert bool(result.rows) != bool(result.problems)


@given(st.text(alphabet="provide,jobs[]{}=.\"\n;\t#'3", max_size=80), st.sampled_from(FORMATS))
def test_no_text_like_a_job_file_makes_the_parser_fail(text: str, form: Format) -> None:
    result = parsed(text, form)
    assert bool(result.rows) != bool(result.problems)
    assert all(str(problem).isprintable() for problem in result.problems)


@pytest.mark.parametrize("module", ["", ".toml_lines", ".toml_values"])
def test_the_examples_in_the_docstrings_hold(module: str) -> None:
    outcome = doctest.testmod(importlib.import_module(f"tui.jobfile{module}"))
    assert outcome.attempted > 0
    assert outcome.failed == 0
