"""TOML values outside a TOML file: cells of a CSV file, `--set` on the command line."""

import tomllib
from datetime import date, datetime, time


def parse_value(text: str) -> object:
    """`text` as TOML if it is one TOML value, else as it stands (interfaces.md 1, "Words").

    Dates and times become text, for they end in JSON.

    >>> parse_value("5"), parse_value("true"), parse_value("[1, 2]"), parse_value('"5"')
    (5, True, [1, 2], '5')
    >>> parse_value("a red kite"), parse_value("5 # five"), parse_value("5, b = 6")
    ('a red kite', '5 # five', '5, b = 6')
    """
    try:
        # Inside an inline table neither a comment nor a line break can hide what follows.
        table = tomllib.loads(f"t = {{ v = {text} }}")["t"]
    except (ValueError, RecursionError):
        return text
    return plain(table["v"]) if table.keys() == {"v"} else text


def plain(value: object) -> object:
    """`value` with dates and times as ISO 8601 text, at every depth.

    >>> plain({"on": date(2026, 11, 22), "at": [time(8, 30)]})
    {'on': '2026-11-22', 'at': ['08:30:00']}
    """
    match value:
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case datetime() | date() | time():
            return value.isoformat()
        case _:
            return value
