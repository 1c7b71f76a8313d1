"""A terminal, or a pipe, that tests read: what a command wrote, and what it was answered."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.fakes.daemon import NOW
from tui.cli import run
from tui.console import Console


class FakeClock:
    """A blocking clock: time stands still but for who sleeps. UTC."""

    def __init__(self, now: float = NOW) -> None:
        self.at = now
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds

    def local(self, at: float) -> time.struct_time:
        return time.gmtime(at)


class Stream(io.StringIO):
    """Text, from or to a terminal or a pipe."""

    def __init__(self, text: str = "", *, terminal: bool) -> None:
        super().__init__(text)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


class FakeConsole(Console):
    """A console whose two outputs can be read back; `typed` is what a person answers."""

    def __init__(self, *, terminal: bool = False, typed: str = "", **environ: str) -> None:
        self.fake_clock = FakeClock()
        super().__init__(
            out=Stream(terminal=terminal),
            err=Stream(terminal=terminal),
            source=Stream(typed, terminal=terminal),
            environ={"COLUMNS": "80", **environ},
            clock=self.fake_clock,
        )

    @property
    def told(self) -> str:
        """Everything on standard output."""
        text: Any = self.out
        return str(text.getvalue())

    @property
    def noted(self) -> str:
        """Everything on standard error."""
        text: Any = self.err
        return str(text.getvalue())


class Ran(NamedTuple):
    """What came of a command line."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """The one JSON value on standard output."""
        assert self.out.count("\n") == 1
        return json.loads(self.out)


def genq(socket: Path, *words: str, console: FakeConsole | None = None) -> Ran:
    """Run `genq WORDS...` against the daemon at `socket`; in a pipe, unless there is a console."""
    console = console or FakeConsole()
    code = run(["--socket", str(socket), *words], console)
    return Ran(code, console.told, console.noted)
