"""Job files in JSON lines: one object a line."""

import itertools
import json
import re
from collections import Counter

import msgspec

from daemon.core.suggest import shown
from tui.jobfile.row import Entry, Reading

_BYTE = re.compile(r" \(byte (\d+)\)$")
_KEYS = re.compile(r'"\s*:')
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
            entry = decode(line)
            # A key that stands twice is one that the value doesn't have; or it is in a text.
            keys = _count_keys(msgspec.json.decode(line))
            if len(_KEYS.findall(line)) == keys or not _find_repeated(line, number, reading):
                reading.add_entry(entry, number)
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
            _find_repeated(line, number, reading)
            reading.add_table(table, number, lambda _: number)
        else:
            reading.find(number, "", f"expected an object {{…}}, got {shown(table)}")
    except msgspec.DecodeError as error:
        reading.find(number, "", _bad_json(line, str(error)))
    except RecursionError:
        reading.find(number, "", "bad JSON: nested too deeply")


def _count_keys(value: object) -> int:
    """How many keys the objects in `value` have."""
    count = 0
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            count += len(one)
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
    return count


def _find_repeated(line: str, number: int, reading: Reading) -> bool:
    """Whether a key stands twice in an object of `line`; each is a finding. It is JSON."""
    objects: list[list[str]] = []

    def gather(pairs: list[tuple[str, object]]) -> None:
        counts = Counter(key for key, _ in pairs)
        objects.append([key for key, count in counts.items() if count > 1])

    # Numbers stay text: they may have more digits than Python reads.
    json.loads(line, object_pairs_hook=gather, parse_int=str, parse_float=str)
    *inner, outer = objects
    for key in outer:
        reading.find(number, key, "stands twice; give it once")
    for key in itertools.chain(*inner):
        reading.find(number, "params", f"{shown(key)} stands twice in it; give it once")
    return bool(outer or any(inner))


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
