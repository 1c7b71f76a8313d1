"""Where a command reads and writes: two streams out, one in, and what is known of the terminal."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

import msgspec

from tui.clock import Clock

COLUMNS_USUAL = 80
COLUMNS_MAX = 1_000
YES = frozenset({"y", "yes"})


class PipeClosedError(Exception):
    """Whoever read the output has seen enough: no fault of anybody."""


class Console:
    """Standard output for answers, standard error for people, standard input for their yes.

    `json` is what `--json` says: then standard output takes values only.
    """

    def __init__(
        self,
        *,
        out: TextIO,
        err: TextIO,
        source: TextIO,
        environ: Mapping[str, str],
        clock: Clock,
    ) -> None:
        self.out = out
        self.err = err
        self.source = source
        self.environ = environ
        self.clock = clock
        self.json = False

    # ---- the terminal ----

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads standard output."""
        return self.out.isatty()

    @property
    def can_ask(self) -> bool:
        """Whether a person sees a question and can answer it."""
        return self.source.isatty() and self.out.isatty() and self.err.isatty()

    @property
    def colour(self) -> bool:
        """Whether standard output takes colours: a terminal does, unless NO_COLOR is set."""
        return (
            self.is_terminal
            and not self.environ.get("NO_COLOR")
            and self.environ.get("TERM") != "dumb"
        )

    @property
    def cells(self) -> int | None:
        """The width of the terminal behind standard output; None where there is none."""
        return self._cells(self.out) if self.is_terminal else None

    def _cells(self, stream: TextIO) -> int:
        asked = self.environ.get("COLUMNS", "")
        if asked.isascii() and asked.isdigit() and 0 < int(asked[:6]) <= COLUMNS_MAX:
            return int(asked)
        try:
            return os.get_terminal_size(stream.fileno()).columns or COLUMNS_USUAL
        except (OSError, ValueError):
            return COLUMNS_USUAL

    # ---- writing; whatever is foreign in a text was cleaned before ----

    def line(self, text: str = "") -> None:
        """Write a line to standard output."""
        self._write(self.out, text + "\n")

    def lines(self, texts: Iterable[str]) -> None:
        """Write lines to standard output."""
        for text in texts:
            self.line(text)

    def text(self, text: str) -> None:
        """Write a text of many lines to standard output, as it is."""
        self._write(self.out, text)

    def value(self, value: Any) -> None:
        """Write a value to standard output, as one line of JSON."""
        self._write(self.out, msgspec.json.encode(value).decode() + "\n")

    def note(self, text: str) -> None:
        """Write a line to standard error."""
        self._write(self.err, text + "\n")

    def flush(self) -> None:
        """Hand what was written to the system."""
        try:
            self.out.flush()
            self.err.flush()
        except BrokenPipeError:
            raise PipeClosedError from None

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(text)
        except BrokenPipeError:
            raise PipeClosedError from None

    # ---- asking, and what passes by ----

    def ask(self, question: str) -> bool:
        """Whether the person in front of the terminal says yes; anything else is no."""
        self._write(self.err, f"{question} [y/N] ")
        self.err.flush()
        answer = self.source.readline()
        if not answer.endswith("\n"):
            self.note("")
        return answer.strip().lower() in YES

    @property
    def bar_cells(self) -> int | None:
        """The width that a progress bar may take; None where nobody would see it move."""
        can_erase = self.environ.get("TERM") != "dumb"
        return self._cells(self.err) - 1 if can_erase and self.err.isatty() else None

    def bar(self, text: str) -> None:
        """Show `text` in place of the last bar; an empty one leaves none."""
        self._write(self.err, f"\r{text}\x1b[K")
        self.err.flush()
