"""One row of a job file, whatever the format: its fields, their types, what is wrong with it."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args, get_origin

import msgspec
from msgspec import Struct

from daemon.core import limits
from daemon.core.suggest import did_you_mean, shown
from daemon.core.times import ACCEPTED_TIMES, parse_time

Format = Literal["toml", "csv", "jsonl"]
_BITS_MAX = 14_000
"""Of a whole number in params: Python writes out no more than 4,300 digits."""


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys that a file may give a job, with what holds when one is left out."""

    provider: str = ""
    prompt: str = ""
    images: list[str] = []
    name: str | None = None
    batch: str | None = None
    labels: list[str] = []
    priority: int = 0
    not_before: str | None = None
    after: list[int | str] = []
    hold: bool = False
    count: int = 1
    params: dict[str, Any] = {}


class Row(Entry, frozen=True, kw_only=True):
    """A checked row: one job, or `count` equal ones. `line` is where it starts, from 1.

    `not_before` is still the text of the file (it has passed `parse_time`), and pictures are as
    they were written: relative paths are relative to the file.
    """

    line: int


class Problem(Struct, frozen=True):
    """What is wrong and where. `line` is 0, and `field` empty, where there is none to name."""

    source: str
    line: int
    field: str
    message: str

    def __str__(self) -> str:
        """One line for a terminal, without control codes: `jobs.toml:12: priority: expected …`."""
        place = f"{_clean(self.source)}:{self.line}" if self.line else _clean(self.source)
        field = f" {_clean(self.field)}:" if self.field else ""
        return f"{place}:{field} {self.message}"


class Parsed(Struct, frozen=True):
    """A whole file: its rows, or else what is wrong with it, and the rows that are right.

    `readable` rows are never added: they are only looked at for more that is wrong.
    """

    rows: list[Row] = []
    problems: list[Problem] = []
    readable: list[Row] = []


class Finding(NamedTuple):
    """A problem whose source is still to be named."""

    line: int
    field: str
    message: str


FIELDS: tuple[str, ...] = Entry.__struct_fields__
_TYPES: dict[str, Any] = {field.name: field.type for field in msgspec.structs.fields(Entry)}
_EXPECTED = {
    "provider": "text",
    "prompt": "text",
    "images": "a list of texts",
    "name": "text",
    "batch": "text",
    "labels": "a list of texts",
    "priority": f"a whole number from {limits.PRIORITY_MIN} to {limits.PRIORITY_MAX}",
    "not_before": f"text: {ACCEPTED_TIMES}",
    "after": "a list of ids and names",
    "hold": "true or false",
    "count": f"a whole number from 1 to {limits.ADD_JOBS_MAX}",
    "params": "a table",
}
_EXPECTED_ELEMENT = {"images": "text", "labels": "text", "after": "an id or a name"}


class Reading:
    """The rows and findings of one file, gathered while it is read."""

    def __init__(self, provider: str | None = None) -> None:
        """`provider` stands in for rows that name none."""
        self.rows: list[Row] = []
        self.findings: list[Finding] = []
        self._provider = provider or ""
        self._encode = msgspec.json.Encoder().encode
        self._jobs = 0
        self._bytes = 0
        self._is_over = False

    def find(self, line: int, field: str, message: str) -> None:
        """Note a problem."""
        self.findings.append(Finding(line, field, message))

    def add_table(
        self, table: Mapping[str, object], line: int, line_of: Callable[[str], int]
    ) -> None:
        """Take a row whose keys and types are still to be checked, or note all its problems.

        `line_of` tells the line of a field such as `labels[2]` or `params.seed`.
        """
        try:
            entry = msgspec.convert(table, Entry, strict=True)
            problems: dict[str, str] = {}
        except msgspec.ValidationError:
            entry, problems = _salvage(table)
        if unsendable := [key for key, value in entry.params.items() if not _is_sendable(value)]:
            for key in unsendable:
                problems[f"params.{key}"] = "can't be written as JSON: nan, inf or a huge number"
            entry = msgspec.structs.replace(entry, params={})
        for field, message in self._problems(entry):
            # A provider of the wrong type isn't missing as well.
            problems.setdefault(field, message)
        if problems:
            self.findings += [
                Finding(line_of(field), field, message) for field, message in problems.items()
            ]
        else:
            self._keep(entry, line)

    def add_entry(self, entry: Entry, line: int) -> None:
        """Take a row whose types are right, or note what passes a limit."""
        problems = [Finding(line, *problem) for problem in self._problems(entry)]
        if problems:
            self.findings += problems
        else:
            self._keep(entry, line)

    def _problems(self, entry: Entry) -> Iterator[tuple[str, str]]:
        yield from limits.check_job(
            provider=entry.provider or self._provider,
            prompt=entry.prompt,
            images=entry.images,
            name=entry.name,
            batch=entry.batch,
            labels=entry.labels,
            priority=entry.priority,
            after=entry.after,
            count=entry.count,
            params_json=self._encode(entry.params),
        )
        if entry.not_before is not None:
            try:
                # Only the grammar counts here: when "now" is gets decided when the job is added.
                parse_time(entry.not_before, now=0.0, utc_offset_s=0)
            except ValueError as error:
                yield "not_before", f"{error}, got {shown(entry.not_before)}"

    def _keep(self, entry: Entry, line: int) -> None:
        self._jobs += entry.count
        self._bytes += entry.count * len(self._encode(entry))
        over = limits.check_total(jobs=self._jobs, total_bytes=self._bytes)
        if over is not None and not self._is_over:
            self._is_over = True
            self.find(line, "", f"with this row the file {over}")
        self.rows.append(
            Row(
                provider=entry.provider or self._provider,
                prompt=entry.prompt,
                images=entry.images,
                name=entry.name,
                batch=entry.batch,
                labels=entry.labels,
                priority=entry.priority,
                not_before=entry.not_before,
                after=entry.after,
                hold=entry.hold,
                count=entry.count,
                params=entry.params,
                line=line,
            )
        )


def _salvage(table: Mapping[str, object]) -> tuple[Entry, dict[str, str]]:
    """What fits of a row that doesn't as a whole, and what is wrong with each other field."""
    fitting: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for field, value in table.items():
        if field not in _TYPES:
            problems[field] = _unknown(field)
        elif mismatches := dict(_mismatches(field, value)):
            problems |= mismatches
        else:
            fitting[field] = value
    return Entry(**fitting), problems


@lru_cache  # every row may hold the same wrong key
def _unknown(field: str) -> str:
    return "unknown key" + (did_you_mean(field, FIELDS) or f"; the keys are {', '.join(FIELDS)}")


def _mismatches(field: str, value: object) -> Iterator[tuple[str, str]]:
    """Where a value isn't of its field's type; nothing when it fits."""
    wanted = _TYPES[field]
    if _fits(value, wanted):
        return
    if get_origin(wanted) is list and isinstance(value, list):
        (element,) = get_args(wanted)
        expected = _EXPECTED_ELEMENT[field]
        for place, item in enumerate(value):
            if not _fits(item, element):
                yield f"{field}[{place}]", f"expected {expected}, got {shown(item)}"
    else:
        yield field, f"expected {_EXPECTED[field]}, got {shown(value)}"


def _fits(value: object, wanted: Any) -> bool:
    try:
        msgspec.convert(value, wanted, strict=True)
    except msgspec.ValidationError:
        return False
    return True


def _is_sendable(value: object) -> bool:
    """Whether JSON has a form for a number, or for all in a list or table."""
    match value:
        case float():
            return math.isfinite(value)
        case int():
            return value.bit_length() <= _BITS_MAX
        case list():
            return all(map(_is_sendable, value))
        case dict():
            return all(map(_is_sendable, value.values()))
        case _:
            return True


def _clean(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]
