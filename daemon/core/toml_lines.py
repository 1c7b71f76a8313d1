"""Where the tables, keys and elements of a TOML text stand: `tomllib` doesn't tell.

A second, coarse reading of a text that `tomllib` has accepted: it follows keys and brackets and
skips over values.
"""

import re
from collections.abc import Iterator

Path = tuple[str | int, ...]
"""Keys, and the places of elements from 0: `("jobs", 0, "labels", 2)`."""

DEPTH_MAX = 6
"""What lies deeper stands where its ancestor of this depth does."""

_TOKEN = re.compile(
    r"""
      [ \t\r]+
    | \#[^\n]*
    | (
          \n
        | [\[\]{},=.]
        | \"{3} (?: [^"\\] | \\. | "(?!"") )* \"{3,5}
        | '{3} (?: [^'] | '(?!'') )* '{3,5}
        | " (?: [^"\\\n] | \\. )* "
        | ' [^'\n]* '
        | [^\s\[\]{},=."'\#]+
      )
    """,
    re.VERBOSE | re.DOTALL,
)
"""Blanks, comments and tokens. No possessive quantifiers: they lose matches in Python 3.11.2."""
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def locate(text: str) -> dict[Path, int]:
    r"""The line, from 1, of every table, key and element in `text`, where it is first named.

    `text` must be TOML that `tomllib` accepts; of other text the answer means nothing.

    >>> locate('[[jobs]]\nname = "a"\nlabels = [\n  "night",\n]\n')[("jobs", 0, "labels", 0)]
    4
    """
    return _Walk(text).lines()


def spell(path: Path) -> str:
    r"""A path as people write it; a part that is no plain word is quoted and made harmless.

    >>> spell(("jobs", 0, "labels", 2))
    'jobs[0].labels[2]'
    >>> spell(("providers", "a\x1bb", "engine"))
    "providers.'a\\x1bb'.engine"
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += "." * bool(text) + (part if _BARE.fullmatch(part) else repr(part[:40]))
    return text


class _Walk:
    """One pass over the tokens. `_next` is the one to be read next; it is empty at the end."""

    def __init__(self, text: str) -> None:
        self._found: dict[Path, int] = {}
        self._lengths: dict[Path, int] = {}
        self._tokens = _tokens(text)
        self._advance()

    def lines(self) -> dict[Path, int]:
        table: Path = ()
        while self._next:
            if self._next == "\n":
                self._advance()
            elif self._next == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._found

    def _advance(self) -> None:
        self._next, self._line = next(self._tokens, ("", 0))

    def _skip(self, *tokens: str) -> None:
        while self._next in tokens:
            self._advance()

    def _note(self, path: Path, line: int) -> Path:
        path = path[:DEPTH_MAX]
        self._found.setdefault(path, line)
        return path

    def _header(self) -> Path:
        line = self._line
        self._advance()
        is_array = self._next == "["
        self._skip("[")
        *outer, last = self._key()
        self._skip("]")
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
        return path

    def _pair(self, path: Path) -> None:
        line = self._line
        for part in self._key():
            path = self._note((*path, part), line)
        self._advance()  # the equals sign
        self._value(path)

    def _key(self) -> list[str]:
        parts = [self._name()]
        while self._next == ".":
            self._advance()
            parts.append(self._name())
        return parts

    def _name(self) -> str:
        token = self._next
        self._advance()
        return unquoted(token)

    def _value(self, path: Path) -> None:
        if len(path) >= DEPTH_MAX or self._next not in ("[", "{"):
            self._pass_over()
        elif self._next == "[":
            self._advance()
            self._elements(path)
        else:
            self._advance()
            self._skip("\n")
            while self._next not in ("}", ""):
                self._pair(path)
                self._skip(",", "\n")
            self._advance()

    def _elements(self, path: Path) -> None:
        place = 0
        self._skip("\n")
        while self._next not in ("]", ""):
            self._value(self._note((*path, place), self._line))
            place += 1
            self._skip(",", "\n")
        self._advance()

    def _pass_over(self) -> None:
        """To the end of a value whose inside doesn't matter."""
        depth = 0
        while self._next:
            if depth == 0 and self._next in (",", "\n", "]", "}"):
                return
            depth += (self._next in ("[", "{")) - (self._next in ("]", "}"))
            self._advance()


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    line = 1
    for match in _TOKEN.finditer(text):
        if token := match[1]:
            yield token, line
            line += token.count("\n")


def unquoted(key: str) -> str:
    r"""The key that a TOML key, bare or quoted, stands for.

    >>> unquoted("bare-1"), unquoted("'a.b'"), unquoted(r'"tab\t\u00e9"')
    ('bare-1', 'a.b', 'tab\té')
    """
    if key.startswith("'"):
        return key[1:-1]
    if key.startswith('"'):
        return _ESCAPE.sub(_unescaped, key[1:-1])
    return key


def _unescaped(escape: re.Match[str]) -> str:
    short, long, character = escape.groups()
    if character is None:
        return chr(int(short or long, 16))
    return _ESCAPED.get(character, character)
