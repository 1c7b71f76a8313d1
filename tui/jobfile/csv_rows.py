"""Job files in CSV: a header line, then a row a job."""

import csv
import io
import re
from collections.abc import Iterator
from functools import partial

from daemon.core.limits import ADD_BYTES_MAX
from daemon.core.suggest import did_you_mean, shown
from tui.jobfile.row import FIELDS, Reading
from tui.jobfile.toml_values import parse_value

PARAMS = "params."
"""A column that starts so holds one of the job's params; its name is all that follows."""
_COLUMNS = tuple(field for field in FIELDS if field != "params")
_LISTS = frozenset({"images", "labels", "after"})
_NUMBERS = frozenset({"priority", "count"})
_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


def read_csv(text: str, reading: Reading) -> None:
    """Add the jobs of a CSV text to `reading`; empty lines are skipped, empty cells are absent."""
    records = _records(text, reading)
    line, header = next(records, (1, []))
    header = [column.strip() for column in header]
    if len(header) == 1 and (separator := re.search(r"[;\t]", header[0])):
        message = f"the columns are separated by {shown(separator[0])}; write commas"
        reading.find(line, "", message)
        return
    _check_header(header, line, reading)
    for line, cells in records:
        if len(cells) == len(header):
            table, lines = _table(header, cells, line)
            reading.add_table(table, line, partial(_line_of, lines, line))
        else:
            message = f"expected {len(header)} cells, as in the header, got {len(cells)}"
            reading.find(line, "", message)


def _records(text: str, reading: Reading) -> Iterator[tuple[int, list[str]]]:
    """The records that aren't empty, each with the line where it starts."""
    csv.field_size_limit(ADD_BYTES_MAX)  # its default is less than params may have
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "end of data" in str(error):
                reading.find(line, "", "bad CSV: a quoted cell of this row is never closed")
            else:
                message = "bad CSV: text after a closing quote; a quote within quotes is doubled"
                reading.find(reader.line_num, "", message)
            continue
        if any(map(str.strip, cells)):
            yield line, cells


def _check_header(header: list[str], line: int, reading: Reading) -> None:
    seen: set[str] = set()
    for place, column in enumerate(header, 1):
        if not column:
            reading.find(line, "", f"column {place} has no name")
        elif column in seen:
            reading.find(line, column, "a second column of this name")
        elif column == "params":
            reading.find(line, column, "each param is a column of its own, such as params.seed")
        elif column not in _COLUMNS and not _is_param(column):
            suggestion = did_you_mean(column, _COLUMNS) or (
                f"; the columns are {', '.join(_COLUMNS)} and params.NAME"
            )
            reading.find(line, column, f"unknown column{suggestion}")
        seen.add(column)


def _is_param(column: str) -> bool:
    return column.startswith(PARAMS) and column != PARAMS


def _table(
    header: list[str], cells: list[str], line: int
) -> tuple[dict[str, object], dict[str, int]]:
    """The keys of a row, and the line of each: a cell before it may span several."""
    table: dict[str, object] = {}
    params: dict[str, object] = {}
    lines: dict[str, int] = {}
    for column, cell in zip(header, cells, strict=True):
        lines[column] = line
        line += cell.count("\n")
        if not cell.strip():
            continue
        if _is_param(column):
            params[column.removeprefix(PARAMS)] = parse_value(cell.strip())
        elif column in _COLUMNS:
            table[column] = _value(column, cell)
    if params:
        table["params"] = params
    return table, lines


def _value(column: str, cell: str) -> object:
    """What a cell stands for; one that isn't what its column wants stays text, and is refused."""
    if column == "prompt":
        return cell
    text = cell.strip()
    if column in _LISTS:
        return _list(text, numbers=column == "after")
    if column in _NUMBERS:
        return int(text) if _WHOLE.fullmatch(text) else text
    if column == "hold":
        return _BOOLS.get(text.lower(), text)
    return text


def _list(text: str, *, numbers: bool) -> object:
    """The parts between semicolons; a cell that is a TOML array is one, for parts that hold `;`."""
    if text.startswith("[") and isinstance(array := parse_value(text), list):
        return array
    parts = [part.strip() for part in text.split(";")]
    return [int(part) if numbers and _WHOLE.fullmatch(part) else part for part in parts if part]


def _line_of(lines: dict[str, int], line: int, field: str) -> int:
    """The line of a field; of `labels[2]` that of its cell."""
    return lines.get(field) or lines.get(field.partition("[")[0], line)
