"""`genq add`: a job from the command line, or many from a file; all of them or none."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from daemon.core.limits import check_batch
from daemon.core.suggest import did_you_mean, shown
from daemon.wire.messages import Row as Sent
from tui.console import Console
from tui.jobfile import FORMATS, STDIN, Problem, Row, content, read
from tui.jobfile.row import Reading
from tui.jobfile.toml_values import parse_value
from tui.options import Parser, UsageError, integer, whole_number
from tui.pictures import Pictures
from tui.sending import SINGLE, all_placed, of_single, placed, sent_rows
from tui.session import (
    NoSocketError,
    ProtocolMismatchError,
    ServerError,
    UnreachableError,
    connect,
)
from tui.text import clean, counted

PROMPT_BYTES_MAX = 1_048_576
"""More than the longest prompt has in UTF-8."""
_OF_ONE_JOB = (
    ("prompt", "--prompt"),
    ("prompt_file", "--prompt-file"),
    ("image", "--image"),
    ("set", "--set"),
    ("name", "--name"),
    ("label", "--label"),
    ("priority", "--priority"),
    ("not_before", "--not-before"),
    ("after", "--after"),
    ("count", "--count"),
    ("hold", "--hold"),
)


class BadJobsError(Exception):
    """Nothing was queued; every problem, with its place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


def arguments(parser: Parser) -> None:
    """What `add` takes."""
    parser.add_argument("provider", metavar="PROVIDER", nargs="?", help="who makes it")
    add = parser.options.add_argument
    add("--prompt", metavar="TEXT", help="what to make")
    add("--prompt-file", metavar="F", help="the same, from a file or - for standard input")
    add("--image", metavar="FILE|URL", action="append", help="a reference picture, or job:NAME")
    add("--set", metavar="KEY=VALUE", action="append", help="one of the provider's own params")
    add("--name", metavar="N", help="what to call the job")
    add("--batch", metavar="B", help="the batch, a folder of outputs; with --file: of all its jobs")
    add("--label", metavar="L", action="append", help="a label to find it by")
    add("--priority", metavar="N", type=integer, help="-1000 to 1000, higher first")
    add("--not-before", metavar="TIME", help="ISO 8601, HH:MM, +90s, +10m, +2h, +1d")
    add("--after", metavar="ID|NAME", action="append", help="only when this job has succeeded")
    add("--count", metavar="N", type=whole_number, help="so many equal jobs")
    add("--hold", action="store_true", default=None, help="held until it is approved")
    add("--file", metavar="F", help="jobs from a TOML, CSV or JSON lines file; - standard input")
    add("--format", metavar="F", help=f"{', '.join(FORMATS)}; else by the file's name or beginning")
    add("--dry-run", action="store_true", help="check everything, add nothing")
    parser.epilog = (
        'example: genq add veo --prompt "a red kite" --image ref.png --set duration=8\n'
        "         genq add --file jobs.toml --dry-run"
    )


def run(asked: argparse.Namespace, console: Console) -> int:
    """Add, and print the ids; or print every problem, and queue nothing."""
    try:
        return _add(asked, console)
    except BadJobsError as error:
        for problem in error.problems:
            console.note(clean(str(problem)))
        console.note(f"{counted(len(error.problems), 'problem')}; nothing was added")
        return 2


def _add(asked: argparse.Namespace, console: Console) -> int:
    rows, source, folder, problems = _rows(asked)
    pictures = Pictures()
    sent = list(sent_rows(rows, source, folder, pictures, console.clock, problems))
    if problems:
        problems += _more(asked, console, rows, source, sent)
        raise BadJobsError(sorted(problems, key=lambda problem: problem.line))
    with connect(asked, console) as session:
        try:
            value = session.add(sent, pictures.files, dry_run=asked.dry_run)
        except ServerError as error:
            if error.body.code == "bad_jobs":
                raise BadJobsError(all_placed(error.body, rows, source)) from None
            raise
    count, first = value["count"], value["first"]
    warnings = [str(warning) for warning in value["warnings"]]
    if console.json:
        ids = [] if first is None else list(range(first, first + count))
        console.value({"ids": ids, "warnings": warnings})
        return 0
    for warning in warnings:
        console.note(clean(f"warning: {warning}"))
    if first is None:
        console.line(f"{counted(count, 'job')} could be added; nothing was")
    elif count == 1:
        console.line(f"added job {first}")
    else:
        console.line(f"added {counted(count, 'job')}: {first} to {first + count - 1}")
    return 0


def _more(
    asked: argparse.Namespace,
    console: Console,
    rows: Sequence[Row],
    source: str,
    sent: Sequence[Sent],
) -> list[Problem]:
    """What the daemon, if it can be asked, has against the rows that can be read.

    Not what they refer to: that may be in a row that can't.
    """
    if not sent or source == SINGLE:
        return []
    try:
        with connect(asked, console) as session:
            session.add(sent, {}, dry_run=True)
    except ServerError as error:
        refused = error.body.problems
    except (UnreachableError, NoSocketError, ProtocolMismatchError):
        return []
    else:
        return []
    own = [one for one in refused if not (one.field or "").startswith(("after", "images"))]
    return [placed(one, rows, source) for one in own]


# ---- what was asked for ----


Asked = tuple[list[Row], str, Path, list[Problem]]
"""Rows, the name that their problems begin with, the folder of pictures, and the problems."""


def _rows(asked: argparse.Namespace) -> Asked:
    """What is asked for; where there are problems, the rows that can be read all the same."""
    if asked.file is not None:
        return _of_file(asked)
    if asked.provider is None:
        raise UsageError("name a provider, or a file of jobs with --file")
    if asked.format is not None:
        raise UsageError("--format goes with --file")
    return _single(asked), SINGLE, Path.cwd(), []


def _of_file(asked: argparse.Namespace) -> Asked:
    for name, option in _OF_ONE_JOB:
        if getattr(asked, name) is not None:
            raise UsageError(f"{option} is for one job; in a file each job has its own")
    if asked.format is not None and asked.format not in FORMATS:
        near = did_you_mean(asked.format, FORMATS) or f"; it is one of {', '.join(FORMATS)}"
        raise UsageError(f"--format: unknown format {shown(asked.format)}{near}")
    if asked.batch is not None and (problem := check_batch(asked.batch)):
        raise UsageError(f"--batch: {problem}")
    parsed = read(asked.file, format=asked.format, provider=asked.provider)
    rows, problems = parsed.rows or parsed.readable, list(parsed.problems)
    if asked.batch is not None:
        rows = [msgspec.structs.replace(row, batch=asked.batch) for row in rows]
    if asked.file == STDIN:
        return rows, "standard input", Path.cwd(), problems
    return rows, asked.file, Path.cwd() / Path(asked.file).parent, problems


def _single(asked: argparse.Namespace) -> list[Row]:
    """The one row of a command line, checked as a file's row is."""
    table = {
        "provider": asked.provider,
        "prompt": _prompt(asked),
        "images": asked.image,
        "name": asked.name,
        "batch": asked.batch,
        "labels": asked.label,
        "priority": asked.priority,
        "not_before": asked.not_before,
        "after": _after(asked.after),
        "hold": asked.hold,
        "count": asked.count,
        "params": dict(map(_param, asked.set or ())) or None,
    }
    reading = Reading()
    given = {field: value for field, value in table.items() if value is not None}
    reading.add_table(given, 0, lambda _: 0)
    if reading.findings:
        raise BadJobsError([of_single(field, text) for _, field, text in reading.findings])
    return reading.rows


def _prompt(asked: argparse.Namespace) -> str | None:
    if asked.prompt_file is None:
        prompt: str | None = asked.prompt
        return prompt
    if asked.prompt is not None:
        raise UsageError("give --prompt or --prompt-file, not both")
    try:
        text = content(asked.prompt_file, PROMPT_BYTES_MAX)
        if len(text) <= PROMPT_BYTES_MAX:
            return text.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
        problem = f"{shown(asked.prompt_file)} is no prompt: more than {PROMPT_BYTES_MAX:,} bytes"
    except OSError as error:
        problem = f"{shown(asked.prompt_file)} can't be read: {error.strerror}"
    except UnicodeDecodeError as error:
        problem = f"{shown(asked.prompt_file)} is not UTF-8 at byte {error.start}"
    raise UsageError(f"--prompt-file: {problem}")


def _after(words: Sequence[str] | None) -> list[int | str] | None:
    if words is None:
        return None
    return [int(word) if word.isascii() and word.isdigit() else word for word in words]


def _param(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set: expected KEY=VALUE, got {shown(text)}")
    return key.strip(), parse_value(value)
