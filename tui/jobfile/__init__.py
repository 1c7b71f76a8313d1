"""Job files: many jobs from one TOML, CSV or JSON lines text (interfaces.md 4; docs/jobs.md).

All or nothing: either every row may stand, or there are problems, all of them at once, each with
its line and field, and no rows.
"""

import errno
import re
import sys
from collections.abc import Callable
from pathlib import Path

from daemon.core.limits import ADD_BYTES_MAX
from tui.jobfile.csv_rows import read_csv
from tui.jobfile.json_lines import read_json_lines
from tui.jobfile.row import Finding, Format, Parsed, Problem, Reading, Row
from tui.jobfile.toml_rows import read_toml

__all__ = [
    "FORMATS",
    "Format",
    "Parsed",
    "Problem",
    "Row",
    "content",
    "guess_format",
    "parse",
    "read",
]

_READERS: dict[Format, Callable[[str, Reading], None]] = {
    "toml": read_toml,
    "csv": read_csv,
    "jsonl": read_json_lines,
}
FORMATS: tuple[Format, ...] = tuple(_READERS)
STDIN = "-"
_HEAD_BYTES = 4_096
"""So much of a file is looked at to guess its format."""
_BY_SUFFIX: dict[str, Format] = {
    ".toml": "toml",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
_TOML_STARTS = re.compile(r"\#|\[|[\w.-]+[ \t]*=", re.ASCII)


def read(path: str, *, format: Format | None = None, provider: str | None = None) -> Parsed:  # noqa: A002
    """The rows of the job file at `path`, or of standard input for `-`.

    Blocks while it reads. What can't be read or is too large is a problem, not an exception.
    """
    source = "standard input" if path == STDIN else path
    try:
        text = content(path, ADD_BYTES_MAX)
    except OSError as error:
        return Parsed(problems=[Problem(source, 0, "", f"can't be read: {error.strerror}")])
    if len(text) > ADD_BYTES_MAX:
        problem = f"is larger than {ADD_BYTES_MAX:,} bytes, the limit of one add"
        return Parsed(problems=[Problem(source, 0, "", problem)])
    known = format or guess_format(path, text[:_HEAD_BYTES])
    return parse(text, known, source=source, provider=provider)


def content(path: str, bytes_max: int) -> bytes:
    """What the file at `path`, or standard input for `-`, holds: one byte more at most.

    Raises OSError, also where standard input was closed.
    """
    if path != STDIN:
        with Path(path).open("rb") as file:
            return file.read(bytes_max + 1)
    if sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed")
    return sys.stdin.buffer.read(bytes_max + 1)


def guess_format(name: str, head: bytes) -> Format:
    """The format of a file, by its name's ending or else by how its text begins.

    >>> guess_format("jobs.csv", b""), guess_format("-", b'{"provider": "mock"}')
    ('csv', 'jsonl')
    >>> guess_format("-", b"# shots\\n[[jobs]]"), guess_format("-", b"provider,prompt")
    ('toml', 'csv')
    """
    by_suffix = _BY_SUFFIX.get(Path(name).suffix.lower())
    if by_suffix is not None:
        return by_suffix
    start = head.decode(errors="replace").lstrip("\ufeff \t\r\n")
    if re.match(r"\{|\[\s*\{", start):
        return "jsonl"
    return "toml" if _TOML_STARTS.match(start) else "csv"


def parse(
    text: bytes,
    format: Format,  # noqa: A002
    *,
    source: str,
    provider: str | None = None,
) -> Parsed:
    """The rows of a job file, or else its problems in the order of their lines.

    `source` is the name that problems begin with. `provider` stands in for rows that name none.
    Pictures are neither opened nor looked for; names and ids in `after` are taken as they are.
    """
    reading = Reading(provider)
    try:
        _READERS[format](text.decode("utf-8-sig"), reading)
    except UnicodeDecodeError as error:
        reading.find(*_not_utf8(error))
    except RecursionError:
        reading.find(0, "", "values are nested too deeply")
    if not reading.rows and not reading.findings:
        reading.find(0, "", "holds no jobs")
    if reading.findings:
        findings = sorted(reading.findings, key=lambda finding: finding.line)
        problems = [Problem(source, *finding) for finding in findings]
        return Parsed(problems=problems, readable=reading.rows)
    return Parsed(rows=reading.rows)


def _not_utf8(error: UnicodeDecodeError) -> Finding:
    read = error.object[: error.start]
    # UTF-16 begins with a byte order mark that UTF-8 can't hold.
    hint = "; it looks like UTF-16" if error.object[:2] in {b"\xff\xfe", b"\xfe\xff"} else ""
    line = read.count(b"\n") + 1
    return Finding(line, "", f"not UTF-8: byte 0x{error.object[error.start]:02x}{hint}")
