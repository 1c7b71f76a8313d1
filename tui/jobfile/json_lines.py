"""Job files in JSON lines: one object a line."""

import re

import msgspec

from daemon.core.suggest import shown
from tui.jobfile.row import Entry, Reading

_BYTE = re.compile(r" \(byte (\d+)\)$")
_NOISE = re.compile(r"^JSON is malformed: | - at `.*$")


def read_json_lines(text: str, reading: Reading) -> None:
    """Add the jobs of a JSON lines text to `reading`; blank lines are skipped."""
    decode = msgspec.json.Decoder(Entry).decode
    is_first = True
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.isspace():
            continue
        try:
            # The fast path: text straight into a struct, which checks keys and types.
            reading.add_entry(decode(line), number)
        except (msgspec.DecodeError, RecursionError):
            if is_first and not _is_json(line) and _is_json(text):
                reading.find(number, "", "is one JSON value over several lines; write a job a line")
                return
            _explain(line, number, reading)
        is_first = False


def _explain(line: str, number: int, reading: Reading) -> None:
    """Find everything that is wrong with a line that isn't a job."""
    try:
        table = msgspec.json.decode(line)
        if isinstance(table, dict):
            reading.add_table(table, number, lambda _: number)
        else:
            reading.find(number, "", f"expected an object {{…}}, got {shown(table)}")
    except msgspec.DecodeError as error:
        reading.find(number, "", _bad_json(line, str(error)))
    except RecursionError:
        reading.find(number, "", "bad JSON: nested too deeply")


def _bad_json(line: str, message: str) -> str:
    place = _BYTE.search(message)
    if place is None:
        return f"bad JSON: {_NOISE.sub('', message)}"
    column = len(line.encode()[: int(place[1])].decode(errors="ignore")) + 1
    return f"bad JSON at column {column}: {_NOISE.sub('', message[: place.start()])}"


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
