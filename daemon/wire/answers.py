"""Putting an answer together: the lists that came in parts, and the Ok or Error they belong to."""

from typing import Any

import msgspec
from msgspec import Raw

from daemon.wire.messages import ErrorBody, RowProblem


class Gathered:
    """The parts of one answer. What they hold is decoded once, at the end, as what it is."""

    def __init__(self) -> None:
        self._lists: dict[str, list[Raw]] = {}

    def add(self, part: Raw) -> None:
        """Take the next part. Raises msgspec.DecodeError for one that is no object of lists."""
        for name, items in msgspec.json.decode(part, type=dict[str, list[Raw]]).items():
            self._lists.setdefault(name, []).extend(items)

    def value(self, ok: Raw, kind: Any) -> Any:
        """The whole answer as `kind`. Raises msgspec.DecodeError if it is something else."""
        if not self._lists:
            return msgspec.json.decode(ok, type=kind)
        fields = msgspec.json.decode(ok, type=dict[str, Raw])
        for name in self._lists:
            fields[name] = Raw(self._joined(name))
        return msgspec.json.decode(msgspec.json.encode(fields), type=kind)

    def error(self, body: ErrorBody) -> ErrorBody:
        """`body` with the problems that came in parts."""
        if "problems" not in self._lists:
            return body
        problems = msgspec.json.decode(self._joined("problems"), type=tuple[RowProblem, ...])
        return msgspec.structs.replace(body, problems=problems)

    def _joined(self, name: str) -> bytes:
        return b"[" + b",".join(self._lists[name]) + b"]"
