"""`genq export`: jobs as a job file that `genq add --file` takes back. There are no ids in it."""

import argparse
import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from daemon.core.job import Job
from daemon.core.limits import JOB_IMAGE
from daemon.wire.messages import Ls
from tui.console import Console
from tui.jobfile import FORMATS
from tui.jobfile.toml_values import parse_value
from tui.options import Parser, UsageError
from tui.selection import checked_query
from tui.session import connect

LISTS = ("images", "labels", "after")


def arguments(parser: Parser) -> None:
    """What `export` takes."""
    add = parser.options.add_argument
    add("--state", metavar="S,..", action="append", default=[], help="only in these states")
    add("--filter", metavar="QUERY", help="only what the query holds for")
    add("--format", choices=FORMATS, default="toml", help="toml (the default), jsonl or csv")
    parser.epilog = "example: genq export --state failed > again.toml"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Print the jobs as a job file, oldest first; what can't go along is said on stderr."""
    request = Ls(filter=checked_query(asked.filter, asked.state))
    with connect(asked, console) as session:
        jobs = session.jobs(request, Job)
        parents = session.jobs(Ls(ids=_parents(jobs)), Job)
    rows, notes = exported(jobs, parents, now=console.clock.now())
    for note in notes:
        console.note(note)
    if console.json:
        console.value(rows)
        return 0
    writers = {"toml": _toml, "jsonl": _jsonl, "csv": _csv}
    console.text(writers[asked.format](rows))
    return 0


def _parents(jobs: Sequence[Job]) -> tuple[int, ...]:
    return tuple(sorted({parent for job in jobs for parent in job.after}))


def exported(
    jobs: Sequence[Job], parents: Sequence[Job], *, now: float
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of `jobs`, and what had to be left out of them.

    A dependency on a job that is exported too, under a name of its own, stays; a picture that was
    another job's becomes that job's file where there is one.
    """
    names = Counter(job.name for job in jobs if job.name is not None)
    own_name = {job.id: job.name for job in jobs if job.name is not None and names[job.name] == 1}
    files = {job.id: job.outputs[0].path for job in parents if job.outputs}
    notes: list[str] = []
    rows = []
    for job in jobs:
        images = [_image(image.source, own_name, files) for image in job.images]
        if None in images:
            notes.append(f"job {job.id}: a picture of another job was left out: it has no file yet")
        after = [own_name[parent] for parent in job.after if parent in own_name]
        if len(after) < len(job.after):
            notes.append(f"job {job.id}: a dependency on a job that isn't exported was left out")
        row = {
            "provider": job.provider,
            "prompt": job.prompt,
            "images": [image for image in images if image is not None],
            "name": job.name,
            "batch": job.batch,
            "labels": list(job.labels),
            "priority": job.priority,
            "not_before": _iso(job.not_before_at, now),
            "after": after,
            "hold": (job.state == "held" and job.reason == "approval") or None,
            "params": dict(job.params),
        }
        rows.append({key: value for key, value in row.items() if value not in (None, [], {}, "")})
        if row["priority"] == 0:
            del rows[-1]["priority"]
    return rows, notes


def _image(source: str, names: Mapping[int, str], files: Mapping[int, str]) -> str | None:
    if not source.startswith(JOB_IMAGE):
        return source
    parent = int(source.removeprefix(JOB_IMAGE))
    return f"{JOB_IMAGE}{names[parent]}" if parent in names else files.get(parent)


def _iso(at: float | None, now: float) -> str | None:
    """A time that is still to come, as job files have it."""
    if at is None or at <= now:
        return None
    return datetime.fromtimestamp(at, tz=UTC).isoformat()


def _toml(rows: Sequence[Mapping[str, Any]]) -> str:
    """`[[jobs]]` tables, written out: tomli-w would put short ones into one line as an array."""
    return "\n".join("[[jobs]]\n" + _document(row) for row in rows)


def _document(table: Mapping[str, Any]) -> str:
    """The keys of `table`, nested tables in braces. Raises UsageError for a null."""
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in table.items())


def _key(name: str) -> str:
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else _value(name)


def _jsonl(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(msgspec.json.encode(row).decode() + "\n" for row in rows)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(key for row in flat for key in row)) or ["provider"]
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return out.getvalue()


def _flat(row: Mapping[str, Any]) -> dict[str, str]:
    cells = {}
    for key, value in row.items():
        if key == "params":
            for name, param in value.items():
                cells[f"params.{name}"] = _cell(param)
        elif key in LISTS:
            plain = not any(";" in one or one != one.strip() for one in value)
            cells[key] = ";".join(value) if plain else _value(value)
        else:
            cells[key] = str(value)
    return cells


def _cell(value: Any) -> str:
    """A param's cell: text as it is, unless it would be read as something else."""
    if isinstance(value, str) and parse_value(value) == value:
        return value
    return _value(value)


def _value(value: Any) -> str:
    """A TOML value on one line. Raises UsageError for a null, which TOML doesn't have."""
    match value:
        case None:
            raise UsageError("params hold a null, which only JSON has: --format jsonl")
        case dict():
            inner = ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items())
            return f"{{ {inner} }}" if inner else "{}"
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case str():
            return _text(value)
        case _:
            return msgspec.json.encode(value).decode()


def _text(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's too, but for the slash and for DEL."""
    return msgspec.json.encode(text).decode().replace("\x7f", "\\u007f")
