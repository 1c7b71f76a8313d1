import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.toml_lines import DEPTH_MAX, Path, locate, spell


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1", ("a",), 1),
        ("\n# note\n\na = 1", ("a",), 4),
        ("[t]\n\nk = 1", ("t",), 1),
        ("[t]\n\nk = 1", ("t", "k"), 3),
        ("[t.u]\nk = 1", ("t",), 1),
        ("a.b.c = 1", ("a", "b", "c"), 1),
        ("[[r]]\na=1\n[[r]]\na=1", ("r", 1, "a"), 4),
        ("[[p.x.rules]]\n[[p.x.rules]]\ndo = 1", ("p", "x", "rules", 1, "do"), 3),
        ("[[r]]\n[r.sub]\nk = 1", ("r", 0, "sub", "k"), 3),
        ("a = [\n  1,\n  2, # two\n  3\n]\nb = 1", ("a", 2), 4),
        ("a = [\n  1,\n  2, # two\n  3\n]\nb = 1", ("b",), 6),
        ("a = { b = 1, c = [1,\n2] }\nd = 1", ("a", "c", 1), 2),
        ('a = """\n[not]\na = "1"\n"""\nb = 1', ("b",), 5),
        ('a = """x""\\"""y"""""\nb = 1', ("b",), 2),
        ("a = '''\n'' ' x'''''\nb = 1", ("b",), 3),
        ('"a.b" = 1\n"c\\"d" = 1', ('c"d',), 2),
        ("'a # b' = 1", ("a # b",), 1),
        ('a = "x # y" # z\nb = "]"\nc = 1', ("c",), 3),
        ("a = 1979-05-27 07:32:00\nb = 1.5e3\nc = 1", ("c",), 3),
        ("a = 1\r\nb = 2\r\n", ("b",), 2),
        ("a = [[1], [2,\n [3]]]\nb = 1", ("a", 1, 1), 2),
        ('"\\U0001F600" = 1', ("😀",), 1),
    ],
)
def test_everything_is_found_on_the_line_it_is_first_named(
    text: str, path: Path, line: int
) -> None:
    tomllib.loads(text)
    assert locate(text)[path] == line


def test_what_lies_too_deep_stands_where_its_ancestor_does() -> None:
    deep = "[" * 300 + "]" * 300
    lines = locate(f"a = {deep}\nb = {{ c = 1 }}\nd = 1")
    assert max(map(len, lines)) == DEPTH_MAX
    assert lines["b", "c"] == 2
    assert lines["d",] == 3


KEYS = st.text(min_size=1, max_size=4)
VALUES = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def paths(value: Any, path: Path = ()) -> set[Path]:
    inside: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    found = {path} - {()}
    return found.union(*(paths(one, (*path, part)) for part, one in inside))


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.booleans())
def test_every_key_of_a_document_is_found_and_nothing_else(
    document: dict[str, Any], multiline: bool
) -> None:
    import tomli_w

    text = tomli_w.dumps(document, multiline_strings=multiline)
    parsed = tomllib.loads(text)
    assert set(locate(text)) == {path[:DEPTH_MAX] for path in paths(parsed)}


def test_a_path_is_spelled_as_people_write_it() -> None:
    assert spell(("providers", "veo", "rules", 0, "do")) == "providers.veo.rules[0].do"
    assert spell(("a b", "c")) == "'a b'.c"
