"""Where a value of the configuration came from, and what is wrong with it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from daemon.core import toml_lines
from daemon.core.toml_lines import spell


class Origin(Struct, frozen=True):
    """Where a value came from: `name` is the file, the variable or the flag."""

    kind: Literal["default", "file", "env", "flag"]
    name: str = ""
    line: int | None = None

    def __str__(self) -> str:
        match self.kind:
            case "default":
                return f"default ({self.name})" if self.name else "default"
            case "file":
                return self.place
            case _:
                return f"{self.kind} {self.name}"

    @property
    def place(self) -> str:
        """The beginning of a message about the value."""
        return self.name if self.line is None else f"{self.name}:{self.line}"


DEFAULT = Origin("default")


class Problem(Struct, frozen=True):
    """One thing that is wrong. `key` is empty where it is the whole file; `line` counts from 1."""

    origin: Origin
    key: str
    message: str

    @property
    def line(self) -> int | None:
        """The line in the file, if it is a matter of one."""
        return self.origin.line

    def __str__(self) -> str:
        parts = (self.origin.place, self.key, self.message)
        return ": ".join(part for part in parts if part)


class ConfigError(Exception):
    """A configuration that can't be used, with every problem in it: `genqd` ends with 78."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class Ground(Struct, frozen=True):
    """What a text's values stand on.

    `file` is None for the built-in defaults. `folder` is what relative paths in the text are
    relative to; `cwd` the same for flags and variables. `state` is the state folder of a text
    whose own is relative, where the system has a place for it.
    """

    file: Path | None = None
    folder: Path = Path("/")
    cwd: Path = Path("/")
    state: Path | None = None


class Reading:
    """One reading of a configuration: the lines of its text, what lies over it, its problems."""

    def __init__(self, ground: Ground, lines: Mapping[toml_lines.Path, int] | None = None) -> None:
        self.ground = ground
        self.problems: list[Problem] = []
        self._lines = lines or {}
        self._laid_over: dict[toml_lines.Path, Origin] = {}

    def lay_over(self, path: toml_lines.Path, origin: Origin) -> None:
        """Note that the value at `path` doesn't come from the text."""
        self._laid_over[path] = origin

    def origin(self, path: toml_lines.Path) -> Origin:
        """Where the value at `path`, or else the nearest thing around it, came from."""
        line = None
        for length in range(len(path), 0, -1):
            if origin := self._laid_over.get(path[:length]):
                return origin
            if line := self._lines.get(path[:length]):
                break
        if self.ground.file is None:
            return DEFAULT
        return Origin("file", str(self.ground.file), line)


class Place:
    """A value's place in a reading: it may be refused here."""

    def __init__(self, reading: Reading, path: toml_lines.Path = ()) -> None:
        self.reading = reading
        self.path = path

    def below(self, *parts: str | int) -> "Place":
        """The place of something inside this value."""
        return Place(self.reading, (*self.path, *parts))

    def refuse(self, message: str) -> None:
        """Note what is wrong with the value. What a check returns then is never used."""
        self.reading.problems.append(Problem(self.origin, spell(self.path), message))

    @property
    def origin(self) -> Origin:
        """Where the value came from."""
        return self.reading.origin(self.path)

    def resolve(self, path: str) -> Path:
        """`path` made absolute: relative to the file, or for flags and variables to the cwd."""
        ground = self.reading.ground
        return (ground.cwd if self.origin.kind in ("env", "flag") else ground.folder) / path
