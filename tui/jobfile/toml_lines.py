"""Where the keys of a TOML text stand: the standard library's parser doesn't tell."""

import re
import tomllib
from collections.abc import Iterator

_PARTS_MAX = 4
"""Deeper keys count as their ancestor: `jobs[0].params.seed` is as deep as problems go."""
_TOKEN = re.compile(
    r"""
    (?: [ \t\r]+ | \#[^\n]* )*
    (
        \n
      | [\[\]{},=.]
      | [^\s\[\]{},=."'\#]+
      | \"{3} [^"\\]* (?: (?: \\. | "(?!"") ) [^"\\]* )* \"{3,5}
      | '{3} [^']* (?: '(?!'') [^']* )* '{3,5}
      | " [^"\\\n]* (?: \\. [^"\\\n]* )* "
      | ' [^'\n]* '
    )
    """,
    re.VERBOSE | re.DOTALL,
)

Path = tuple[str | int, ...]


def locate(text: str) -> dict[str, int]:
    """The line, from 1, of every table, key and element, such as `jobs[0].labels[2]`.

    `text` must be TOML that `tomllib` accepts; what this says of other text is undefined. Raises
    RecursionError for values nested too deeply.

    >>> locate('[[jobs]]\\nlabels = [\\n  "night",\\n]\\n')
    {'jobs': 1, 'jobs[0]': 1, 'jobs[0].labels': 2, 'jobs[0].labels[0]': 3}
    """
    return {_spell(path): line for path, line in _Walk(text).lines().items()}


class _Walk:
    """One pass over the tokens. A token is known by its text; at the end that is empty."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Path, int] = {}
        self._lengths: dict[Path, int] = {}
        self._tokens = _tokens(text)
        self._next()

    def lines(self) -> dict[Path, int]:
        table: Path = ()
        while self._text:
            if self._text == "\n":
                self._next()
            elif self._text == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _next(self) -> None:
        self._text, self._line = next(self._tokens, ("", 0))

    def _header(self) -> Path:
        line = self._line
        self._next()
        is_array = self._text == "["
        if is_array:
            self._next()
        *outer, last = self._key()
        path: Path = ()
        for part in outer:
            path = self._note((*path, part), line)
            if path in self._lengths:
                path = (*path, self._lengths[path] - 1)
        path = self._note((*path, last), line)
        if is_array:
            place = self._lengths.get(path, 0)
            self._lengths[path] = place + 1
            path = self._note((*path, place), line)
        while self._text == "]":
            self._next()
        return path

    def _pair(self, path: Path) -> None:
        line = self._line
        for part in self._key():
            path = self._note((*path, part), line)
        self._next()  # the equals sign
        self._value(path)

    def _key(self) -> list[str]:
        parts = [self._name()]
        while self._text == ".":
            self._next()
            parts.append(self._name())
        return parts

    def _name(self) -> str:
        name = self._text
        self._next()
        return next(iter(tomllib.loads(f"{name}=0"))) if name[:1] in {'"', "'"} else name

    def _value(self, path: Path) -> None:
        if self._text == "[":
            self._next()
            self._elements(path)
        elif self._text == "{":
            self._next()
            while self._text not in {"}", ""}:
                self._pair(path)
                self._skip(",")
            self._next()
        else:
            while self._text not in {"\n", ",", "]", "}", ""}:
                self._next()

    def _elements(self, path: Path) -> None:
        place = 0
        self._skip("\n")
        while self._text not in {"]", ""}:
            self._value(self._note((*path, place), self._line))
            place += 1
            self._skip("\n")
            self._skip(",")
            self._skip("\n")
        self._next()

    def _skip(self, text: str) -> None:
        while self._text == text:
            self._next()

    def _note(self, path: Path, line: int) -> Path:
        if len(path) > _PARTS_MAX:
            path = path[:_PARTS_MAX]
        self._lines.setdefault(path, line)
        return path


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    line = 1
    for match in _TOKEN.finditer(text):
        token = match[1]
        yield token, line
        if "\n" in token:
            line += token.count("\n")


def _spell(path: Path) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")
