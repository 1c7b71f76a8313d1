"""`genq add`: a job from the command line, or many from a file; all of them or none."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from daemon.core.limits import check_batch
from daemon.core.suggest import did_you_mean, shown
from daemon.core.times import parse_time
from daemon.wire.messages import ErrorBody, RowProblem
from daemon.wire.messages import Row as Sent
from tui.clock import Clock
from tui.console import Console
from tui.jobfile import FORMATS, STDIN, Problem, Row, read
from tui.jobfile.row import Reading
from tui.jobfile.toml_values import parse_value
from tui.options import Parser, UsageError, integer, whole_number
from tui.pictures import PictureError, Pictures
from tui.session import ServerError, connect
from tui.text import clean, counted

PROMPT_BYTES_MAX = 1_048_576
"""More than the longest prompt has in UTF-8."""
SINGLE = "genq add"
"""What problems of a job from the command line begin with, in place of a file's name."""
_OPTIONS = {
    "provider": "PROVIDER",
    "images": "--image",
    "labels": "--label",
    "not_before": "--not-before",
    "params": "--set",
}
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
    rows, source, folder = _rows(asked)
    pictures = Pictures()
    sent = list(_sent(rows, source, folder, pictures, console.clock))
    with connect(asked, console) as session:
        try:
            value = session.add(sent, pictures.files, dry_run=asked.dry_run)
        except ServerError as error:
            if error.body.code == "bad_jobs":
                raise BadJobsError(_placed(error.body, rows, source)) from None
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


# ---- what was asked for ----


def _rows(asked: argparse.Namespace) -> tuple[list[Row], str, Path]:
    """The checked rows, the name that their problems begin with, and the folder of pictures."""
    if asked.file is not None:
        return _of_file(asked)
    if asked.provider is None:
        raise UsageError("name a provider, or a file of jobs with --file")
    if asked.format is not None:
        raise UsageError("--format goes with --file")
    return _single(asked), SINGLE, Path.cwd()


def _of_file(asked: argparse.Namespace) -> tuple[list[Row], str, Path]:
    for name, option in _OF_ONE_JOB:
        if getattr(asked, name) is not None:
            raise UsageError(f"{option} is for one job; in a file each job has its own")
    if asked.format is not None and asked.format not in FORMATS:
        near = did_you_mean(asked.format, FORMATS) or f"; it is one of {', '.join(FORMATS)}"
        raise UsageError(f"--format: unknown format {shown(asked.format)}{near}")
    if asked.batch is not None and (problem := check_batch(asked.batch)):
        raise UsageError(f"--batch: {problem}")
    parsed = read(asked.file, format=asked.format, provider=asked.provider)
    if parsed.problems:
        raise BadJobsError(parsed.problems)
    rows = parsed.rows
    if asked.batch is not None:
        rows = [msgspec.structs.replace(row, batch=asked.batch) for row in rows]
    if asked.file == STDIN:
        return rows, "standard input", Path.cwd()
    return rows, asked.file, Path.cwd() / Path(asked.file).parent


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
        raise BadJobsError([_of_single(field, text) for _, field, text in reading.findings])
    return reading.rows


def _prompt(asked: argparse.Namespace) -> str | None:
    if asked.prompt_file is None:
        text: str | None = asked.prompt
        return text
    if asked.prompt is not None:
        raise UsageError("give --prompt or --prompt-file, not both")
    try:
        if asked.prompt_file == STDIN:
            content = sys.stdin.buffer.read(PROMPT_BYTES_MAX + 1)
        else:
            with Path(asked.prompt_file).open("rb") as file:
                content = file.read(PROMPT_BYTES_MAX + 1)
        if len(content) <= PROMPT_BYTES_MAX:
            return content.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
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


# ---- what the daemon is sent, and what it says about it ----


def _sent(
    rows: Sequence[Row], source: str, folder: Path, pictures: Pictures, clock: Clock
) -> Iterator[Sent]:
    """The rows as the daemon takes them. Raises BadJobsError for pictures that can't be read."""
    problems = []
    now = clock.now()
    utc_offset_s = clock.local(now).tm_gmtoff
    for row in rows:
        images = []
        not_before_at = None
        for place, image in enumerate(row.images):
            try:
                images.append(pictures.image(image, folder))
            except PictureError as error:
                problems.append(_problem(row, source, f"images[{place}]", str(error)))
        if row.not_before is not None:
            try:
                not_before_at = parse_time(row.not_before, now=now, utc_offset_s=utc_offset_s)
            except ValueError as error:
                problems.append(_problem(row, source, "not_before", str(error)))
        yield Sent(
            provider=row.provider,
            prompt=row.prompt,
            images=tuple(images),
            name=row.name,
            batch=row.batch,
            labels=tuple(row.labels),
            priority=row.priority,
            not_before_at=not_before_at,
            after=tuple(row.after),
            hold=row.hold,
            count=row.count,
            params=_absolute(row.params, folder),
        )
    if problems:
        raise BadJobsError(problems)


def _absolute(params: dict[str, Any], folder: Path) -> dict[str, Any]:
    """`params` with the path of a ComfyUI workflow made absolute, as the daemon is elsewhere."""
    workflow = params.get("workflow")
    if not isinstance(workflow, str) or not workflow:
        return params
    return {**params, "workflow": str(folder / workflow)}


def _placed(body: ErrorBody, rows: Sequence[Row], source: str) -> list[Problem]:
    """The daemon's problems, each where its row stands in the file."""

    def placed(problem: RowProblem) -> Problem:
        if problem.row is None or not 0 <= problem.row < len(rows):
            return Problem(source, 0, problem.field or "", problem.message)
        return _problem(rows[problem.row], source, problem.field or "", problem.message)

    return [placed(problem) for problem in body.problems] or [Problem(source, 0, "", body.message)]


def _problem(row: Row, source: str, field: str, message: str) -> Problem:
    if source == SINGLE:
        return _of_single(field, message)
    return Problem(source, row.line, field, message)


def _of_single(field: str, message: str) -> Problem:
    """A problem of a job from the command line, under the name of its option."""
    name = field.partition("[")[0].partition(".")[0]
    option = _OPTIONS.get(name, f"--{name}" if name else "")
    key = field.removeprefix("params.") if name == "params" and "." in field else ""
    return Problem(SINGLE, 0, f"{option} {key}".rstrip(), message)
