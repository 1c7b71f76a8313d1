"""Job files in TOML: `[[jobs]]` tables."""

import re
import tomllib
from functools import partial
from typing import Any

from daemon.core.suggest import did_you_mean, shown
from tui.jobfile.row import FIELDS, Reading
from tui.jobfile.toml_lines import locate
from tui.jobfile.toml_values import plain

_JOBS = "jobs"
_PLACE = re.compile(r" \((?:at line (\d+), column (\d+)|at end of document)\)$")


def read_toml(text: str, reading: Reading) -> None:
    """Add the jobs of a TOML text to `reading`. A syntax error is its only problem then."""
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        _find_syntax(error, text, reading)
        return
    lines = locate(text)
    for key in document.keys() - {_JOBS}:
        reading.find(lines[key], key, _unknown(key))
    jobs = document.get(_JOBS, [])
    if not isinstance(jobs, list):
        reading.find(lines[_JOBS], _JOBS, f"expected [[jobs]] tables, got {shown(jobs)}")
        return
    for place, job in enumerate(jobs):
        path = f"{_JOBS}[{place}]"
        if isinstance(job, dict):
            table: Any = plain(job)
            reading.add_table(table, lines[path], partial(_line_of, lines, path))
        else:
            reading.find(lines[path], path, f"expected a table, got {shown(job)}")


def _find_syntax(error: ValueError, text: str, reading: Reading) -> None:
    message = str(error)
    place = _PLACE.search(message)
    if place is None:
        # A number with more digits than Python takes; it is told without a place.
        reading.find(0, "", f"not TOML: {message}")
    elif place[1] is None:
        last = text.rstrip().count("\n") + 1
        reading.find(last, "", f"not TOML: {message[: place.start()]} at the end of the file")
    else:
        what = f"not TOML: {message[: place.start()]} (column {place[2]})"
        reading.find(int(place[1]), "", what)


def _unknown(key: str) -> str:
    if key in FIELDS:
        return "belongs to a job: put it below a [[jobs]] line"
    suggestion = did_you_mean(key, [_JOBS])
    return f"unknown key{suggestion or '; outside of jobs a job file has none'}"


def _line_of(lines: dict[str, int], job: str, field: str) -> int:
    """The line of a job's field, or of the nearest thing around it that stands in the text."""
    path = f"{job}.{field}"
    while path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["))]
    return lines[path]
