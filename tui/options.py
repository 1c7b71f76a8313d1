"""Command lines: argparse, with errors that name the nearest right word and leave with 2."""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import NoReturn

from daemon.core.limits import ID_MAX
from daemon.core.suggest import did_you_mean, shown
from daemon.core.times import parse_time
from tui.clock import Clock

HELP_CELLS = 80
"""Given, because asking the terminal costs an import as long as the command's own work."""
SECONDS_MAX = 10 * 365 * 86_400.0
"""Ten years: a wait of more is a slip of the finger, and sockets take no endless timeouts."""


class UsageError(Exception):
    """A command line that means nothing; nothing was done. The message says the way out."""


class Parser(argparse.ArgumentParser):
    """A verb's parser: options and words in any order, values that begin with a dash."""

    def __init__(self, verb: str, summary: str) -> None:
        super().__init__(
            prog=f"genq {verb}",
            description=summary,
            formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=HELP_CELLS),
            allow_abbrev=False,
            add_help=False,
        )
        self.options = self.add_argument_group("options")
        everywhere = self.add_argument_group("options of every command")
        everywhere.add_argument("--socket", metavar="PATH", help="the daemon's socket")
        everywhere.add_argument("--config", metavar="FILE", help="where to learn of its socket")
        everywhere.add_argument("--json", action="store_true", help="answer with JSON")
        everywhere.add_argument("-h", "--help", action="store_true", help="show this")

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """What `argv` says. Raises UsageError."""
        asked, left = self.parse_known_intermixed_args(self._joined(argv))
        if left:
            raise UsageError(f"{shown(left[0])} is one word too many")
        return asked

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found as a UsageError."""
        raise UsageError(message)

    def _joined(self, argv: Sequence[str]) -> list[str]:
        """`argv` with options and their values in one word: `--sort -id` is `--sort=-id`.

        A value may begin with a dash, as descending sort keys and many prompts do, as long as it
        isn't the name of an option itself.
        """
        words: list[str] = []
        rest = iter(argv)
        for word in rest:
            if word == "--":
                return [*words, word, *rest]
            name, equals, _ = word.partition("=")
            action = self._option_string_actions.get(name)
            if action is None and _is_option(word):
                near = did_you_mean(name, self._option_string_actions)
                raise UsageError(f"unknown option {shown(name)}{near}")
            if action is None or action.nargs == 0 or equals:
                words.append(word)
                continue
            value = next(rest, None)
            if value is None or value.partition("=")[0] in self._option_string_actions:
                raise UsageError(f"{name} needs a value: {name} {action.metavar}")
            words.append(f"{name}={value}")
        return words


def _is_option(word: str) -> bool:
    """Whether `word` is meant as one: not a negative number, nor `-` for standard input."""
    return word.startswith("-") and not word[1:].isdigit() and word != "-"


def job_id(text: str) -> int:
    """An id as people type it. Raises ArgumentTypeError."""
    if text.isascii() and text.isdigit() and len(text) <= 19 and 1 <= int(text) <= ID_MAX:
        return int(text)
    hint = "; --filter name:… finds jobs by name" if not text[:1].isdigit() else ""
    raise argparse.ArgumentTypeError(f"{shown(text)} is no job's id{hint}")


def whole_number(text: str) -> int:
    """A whole number that isn't negative. Raises ArgumentTypeError."""
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a whole number, got {shown(text)}")


def integer(text: str) -> int:
    """A whole number, negative too. Raises ArgumentTypeError."""
    sign = -1 if text[:1] == "-" else 1
    return sign * whole_number(text.removeprefix("-").removeprefix("+"))


def seconds(text: str) -> float:
    """A number of seconds, fractions too. Raises ArgumentTypeError."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"expected a number of seconds, got {shown(text)}")
    return number


def moment(text: str | None, option: str, clock: Clock) -> float | None:
    """The time that a TIME means now, here; None for none. Raises UsageError."""
    if text is None:
        return None
    now = clock.now()
    try:
        return parse_time(text, now=now, utc_offset_s=clock.local(now).tm_gmtoff)
    except ValueError as error:
        raise UsageError(f"{option}: {error}, got {shown(text)}") from None
