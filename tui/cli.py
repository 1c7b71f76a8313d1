"""`genq`: finds the verb, loads it, and turns what comes of it into an exit code.

A verb's modules are imported when it is used, and only then: a command answers in 0.15 s.
"""

import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

from msgspec import DecodeError

from daemon import __version__
from daemon.core.suggest import did_you_mean, shown
from tui.clock import SystemClock
from tui.console import Console, PipeClosedError
from tui.options import Parser, UsageError
from tui.session import NoSocketError, ProtocolMismatchError, ServerError, UnreachableError
from tui.text import clean

FAILED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130
STDOUT = 1


class Verb(NamedTuple):
    """Where a verb lives, and what it is for: its functions take its arguments, and run it."""

    module: str
    summary: str
    run: str = "run"
    arguments: str = "arguments"


VERBS: dict[str, Verb] = {
    "monitor": Verb("tui.commands.monitor", "Watch and steer the queue, full screen."),
    "tui": Verb("tui.commands.monitor", "The same as monitor."),
    "add": Verb("tui.commands.add", "Add a job, or the jobs of a file: all of them or none."),
    "status": Verb("tui.commands.status", "Counts, providers, problems, the daemon: one screen."),
    "ls": Verb("tui.commands.ls", "List jobs."),
    "show": Verb("tui.commands.show", "Show a job: stages, attempts, errors, files."),
    "why": Verb("tui.commands.why", "Tell in a sentence what a job waits for, or why it ended."),
    "cancel": Verb("tui.commands.act", "Cancel jobs, and say what it costs."),
    "requeue": Verb(
        "tui.commands.act", "Go on with held or finished jobs.", "requeue", "requeue_arguments"
    ),
    "hold": Verb("tui.commands.act", "Keep queued jobs from starting."),
    "release": Verb("tui.commands.act", "Let held jobs go on."),
    "approve": Verb(
        "tui.commands.act", "Release jobs held for approval.", "approve", "approve_arguments"
    ),
    "priority": Verb(
        "tui.commands.act", "Move waiting jobs forward or back.", "priority", "priority_arguments"
    ),
    "resolve": Verb("tui.commands.resolve", "Decide about a job that may have been paid for."),
    "providers": Verb("tui.commands.providers", "Gates, counters and latencies of providers."),
    "pause": Verb("tui.commands.gates", "Stop submits to providers.", "pause", "pause_arguments"),
    "resume": Verb(
        "tui.commands.gates", "Let submits to providers go on.", "resume", "resume_arguments"
    ),
    "edit": Verb("tui.commands.edit", "Change a waiting job in your editor."),
    "stats": Verb("tui.commands.stats", "What became of the jobs, in numbers."),
    "export": Verb("tui.commands.export", "Print jobs as a file that add takes back."),
    "completion": Verb("tui.commands.completion", "Print a completion script for a shell."),
    "events": Verb("tui.commands.events", "What happened; with --follow what happens."),
    "wait": Verb("tui.commands.wait", "Wait until jobs can't go on by themselves."),
    "ping": Verb("tui.commands.ping", "Ask whether the daemon answers."),
    "help": Verb("tui.commands.help", "Tell what a command takes."),
}


def parser_of(name: str) -> Parser:
    """The parser of a verb, with all it takes."""
    verb = VERBS[name]
    parser = Parser(name, verb.summary)
    add_arguments: Callable[[Parser], None] = getattr(import_module(verb.module), verb.arguments)
    add_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The console script: run a command line (default: the process's), return the exit code."""
    console = _console()
    try:
        try:
            return run(sys.argv[1:] if argv is None else argv, console)
        finally:
            console.flush()
    except PipeClosedError:
        _drop_output()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        _drop_output()
        console.note(clean(f"genq: {error.strerror or error}: {error.filename or ''}").rstrip(": "))
        return FAILED


def _drop_output() -> None:
    """Forget what can't be written: Python would try once more at exit, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)


def run(argv: Sequence[str], console: Console) -> int:
    """Do what `argv` says; whatever is wrong with it ends as a message and an exit code."""
    name = ""
    try:
        name, rest = _split(_text(argv), console)
        if name == "--version":
            console.line(f"genq {__version__}")
            return 0
        parser = parser_of(name)
        if "--help" in rest or "-h" in rest:
            console.lines(parser.format_help().splitlines())
            return 0
        asked = parser.read(rest)
        asked.verb = name
        console.json = asked.json
        command: Callable[..., int] = getattr(import_module(VERBS[name].module), VERBS[name].run)
        return command(asked, console)
    except UsageError as error:
        console.note(f"genq{' ' if name else ''}{name}: {error}")
        console.note(f"`genq help{' ' if name else ''}{name}` tells what it takes")
        return USAGE
    except (UnreachableError, NoSocketError, ProtocolMismatchError) as error:
        console.note(clean(f"genq: {error}"))
        return UNREACHABLE
    except DecodeError as error:
        console.note(
            clean(f"genq: an answer that it can't read, of another genqd perhaps: {error}")
        )
        return FAILED
    except ServerError as error:
        console.note(clean(f"genq: {error}"))
        return _CODES.get(error.body.code, FAILED)


_CODES = {
    "unknown_provider": USAGE,
    "bad_query": USAGE,
    "bad_jobs": USAGE,
    "bad_request": USAGE,
    "limit": USAGE,
    "too_large": USAGE,
    "stopping": UNREACHABLE,
}
"""Exit codes of the daemon's refusals; what isn't here failed for a reason of its own."""


def _split(argv: Sequence[str], console: Console) -> tuple[str, list[str]]:
    """The verb, and the words around it: options of every command may stand before it."""
    before: list[str] = []
    rest = list(argv)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word in ("-h", "--help"):
            return "help", rest
        if word == "--version":
            return word, rest
        if word.partition("=")[0] not in ("--json", "--socket", "--config"):
            near = did_you_mean(word, ("--json", "--socket", "--config", "--version", "--help"))
            raise UsageError(f"unknown option {shown(word)}{near}")
        before.append(word)
        if word in ("--socket", "--config") and rest:
            before.append(rest.pop(0))
    if not rest:
        return "monitor" if console.can_ask and "--json" not in before else "status", before
    name = rest.pop(0)
    if name not in VERBS:
        near = did_you_mean(name, VERBS) or "; `genq help` lists them"
        raise UsageError(f"unknown command {shown(name)}{near}")
    return name, before + rest


def _text(argv: Sequence[str]) -> Sequence[str]:
    """`argv`, if all of it is text. Raises UsageError for bytes that are no UTF-8."""
    for word in argv:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{shown(word)} is not UTF-8") from None
    return argv


def _console() -> Console:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # JSON is UTF-8 whatever the locale is, and no letter of a prompt may end a command.
            stream.reconfigure(encoding="utf-8", errors="replace")
    return Console(
        out=sys.stdout or io.StringIO(),  # None where the caller closed it
        err=sys.stderr or io.StringIO(),
        source=sys.stdin or io.StringIO(),
        environ=os.environ,
        clock=SystemClock(),
    )


if __name__ == "__main__":
    sys.exit(main())
