"""What is listed, as a file: NDJSON, or CSV where its name ends so."""

import csv
import io
from collections.abc import Iterable, Mapping
from errno import ENOENT
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from daemon.core.job import Job

_LEFT_OUT = frozenset({"params", "images", "stages", "outputs", "attempts", "work"})
"""What the monitor doesn't keep of all jobs; `genq ls --json` has it."""
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def job_row(job: Job) -> dict[str, Any]:
    """What a list knows of a job, by the names of the JSON.

    >>> row = job_row(Job(id=7, provider="veo", created_at=0.0, updated_at=0.0))
    >>> row["id"], row["state"], "params" in row
    (7, 'queued', False)
    """
    whole: dict[str, Any] = msgspec.to_builtins(job)
    return {name: value for name, value in whole.items() if name not in _LEFT_OUT}


def plain(value: Any) -> dict[str, Any]:
    """A record by the names of its fields, without those that aren't set."""
    fields: dict[str, Any] = msgspec.structs.asdict(value)
    return {name: one for name, one in fields.items() if one is not UNSET}


def ndjson(rows: Iterable[Mapping[str, Any]]) -> str:
    """A line of JSON a row.

    >>> ndjson([{"id": 7}, {"id": 8}])
    '{"id":7}\\n{"id":8}\\n'
    """
    return "".join(f"{msgspec.json.encode(row).decode()}\n" for row in rows)


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """A head and a line a row; what is no plain value is JSON.

    A spreadsheet runs a text that looks like a formula: an apostrophe stands before it.

    >>> as_csv([{"id": 7, "labels": ["night"]}, {"id": 8, "by": "ana"}])
    'id,labels,by\\r\\n7,"[""night""]",\\r\\n8,,ana\\r\\n'
    >>> as_csv([{"prompt": "=1+1"}])
    "prompt\\r\\n'=1+1\\r\\n"
    """
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_csv_value(row.get(name)) for name in names])
    return text.getvalue()


def _csv_value(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    if value is None or isinstance(value, str | int | float):
        return value
    return msgspec.json.encode(value).decode()


def save(rows: list[dict[str, Any]], name: str) -> Path:
    """Write them to a new file, whose name says how, and which is returned; `~` is a home.

    Raises OSError; FileExistsError is one.
    """
    try:
        path = Path(name).expanduser().absolute()
    except RuntimeError:  # expanduser's word for it
        raise FileNotFoundError(ENOENT, "there is no such home", name) from None
    text = as_csv(rows) if path.suffix.casefold() == ".csv" else ndjson(rows)
    with path.open("x", encoding="utf-8", newline="") as file:
        file.write(text)
    return path
