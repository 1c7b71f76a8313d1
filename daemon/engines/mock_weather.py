"""Weather by script: which faults a job meets, in which order, written down in TOML."""

import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from daemon.core.job import Phase
from daemon.core.kinds import FOREIGN, KINDS
from daemon.core.outcomes import Effect, Fault
from daemon.core.suggest import did_you_mean, shown
from daemon.core.toml_lines import locate, spell
from daemon.engines.engine import Problem

SCRIPT_CHARS_MAX = 256 * 1024
OUTCOMES_MAX = 1_000
TIMES_MAX = 1_000_000
TEXT_CHARS_MAX = 2_000
"""Of a message, for a job's error keeps no more (interfaces.md 2), and of every other text."""
RETRY_AFTER_S_MAX = 7 * 86_400
"""Longer than any quota that a provider tells."""

PLAYED = tuple(kind for kind in KINDS if kind not in ("internal", FOREIGN))
"""What a fault can be, but for our own bugs and tasks of others."""
_ANSWER_LOST = (
    "transport.reset",
    "transport.timeout.read",
    "transport.timeout.total",
    "protocol",
)
"""Kinds of fault that come after the request may have been read (resilience.md 1.3)."""
_EFFECTS: Mapping[str, tuple[Effect, ...]] = {
    "prepare": ("none",),
    "submit": ("none", "unknown"),
    "poll": ("accepted",),
    "download": ("accepted",),
}
"""By phase: what a failed call can have done. A table may choose where there are two."""

_TABLE = "outcome"
_Finding = tuple[tuple[str | int, ...], str]
"""The place in the document, and what is wrong there."""
_TOML_PLACE = re.compile(r" \(at line (\d+), column (\d+)\)$")


class Outcome(Struct, frozen=True):
    """One table of a script: a job with `match` in its prompt meets the fault, `times` times."""

    fault: Fault
    match: str = ""
    times: int = 1


class Script(Struct, frozen=True):
    """What goes wrong, in order, before everything goes as it normally does."""

    outcomes: tuple[Outcome, ...] = ()

    def of(self, prompt: str) -> "Script":
        """The part that a job with this prompt meets."""
        met = tuple(one for one in self.outcomes if one.match in prompt)
        return Script(met) if met else CLEAR

    def fault(self, phases: tuple[Phase, ...], call: int) -> Fault | None:
        """What the job's `call`-th call (from 0) of `phases` meets; None if it goes normally."""
        for one in self.outcomes:
            if one.fault.phase in phases:
                if call < one.times:
                    return one.fault
                call -= one.times
        return None

    def has(self, *phases: Phase) -> bool:
        """Whether anything is scripted for one of `phases`."""
        return any(one.fault.phase in phases for one in self.outcomes)


CLEAR = Script()


def load_script(text: str, source: str) -> Script | list[Problem]:
    """The script in a TOML text, or every problem in it; `source` is the file's name for those.

    The field of a problem is its place: `weather.toml:12: outcome[1].http`.
    """
    if len(text) > SCRIPT_CHARS_MAX:
        limit = f"the limit of a script is {SCRIPT_CHARS_MAX:,}"
        return [Problem(source, f"has {len(text):,} characters; {limit}")]
    try:
        document = tomllib.loads(text)
    except ValueError as error:
        return [_syntax_problem(str(error), source)]
    if findings := list(_findings(document)):
        return list(_located(findings, text, source))
    return Script(tuple(map(_outcome, document.get(_TABLE, []))))


def _syntax_problem(message: str, source: str) -> Problem:
    place = _TOML_PLACE.search(message)
    if place is None:
        return Problem(source, f"not TOML: {message}")
    what = f"not TOML: {message[: place.start()]} (column {place[2]})"
    return Problem(f"{source}:{place[1]}", what)


def _findings(document: Mapping[str, Any]) -> Iterator[_Finding]:
    for key in document:
        if key in _FIELDS:
            yield (key,), f"belongs to an outcome: put it below an [[{_TABLE}]] line"
        elif key != _TABLE:
            yield (key,), f"unknown key{did_you_mean(key, [_TABLE])}"
    tables = document.get(_TABLE, [])
    if not (isinstance(tables, list) and all(isinstance(one, dict) for one in tables)):
        yield (_TABLE,), f"expected [[{_TABLE}]] tables, got {shown(tables)}"
        return
    if len(tables) > OUTCOMES_MAX:
        yield (_TABLE,), f"{len(tables):,} tables; the limit is {OUTCOMES_MAX:,}"
    for number, table in enumerate(tables):
        problems = {key: _problem(key, value) for key, value in table.items()}
        right = {key: value for key, value in table.items() if problems[key] is None}
        for key, problem in problems.items():
            if problem is not None:
                yield (_TABLE, number, key), problem
        for keys, problem in _contradictions(table, right):
            yield (_TABLE, number, *keys), problem


def _problem(key: str, value: object) -> str | None:
    if key not in _FIELDS:
        return "unknown key" + (did_you_mean(key, _FIELDS) or f"; there are {', '.join(_FIELDS)}")
    expected, wanted = _FIELDS[key]
    try:
        msgspec.convert(value, wanted, strict=True)
    except msgspec.ValidationError:
        hint = did_you_mean(value, _CHOICES.get(key, ())) if isinstance(value, str) else ""
        return f"expected {expected}, got {shown(value)}{hint}"
    return None


def _contradictions(table: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[_Finding]:
    """What is missing from `table`, or wrong between those of its keys that are `right`."""
    if "phase" not in table:
        yield (), f"phase is missing: {_one_of(_EFFECTS)}"
    if "http" not in table and "kind" not in table:
        yield (), "http and kind are missing: one of them says what goes wrong"
    if "http" not in table and right.get("kind") == "http":
        yield ("kind",), 'kind "http" needs a status: http = 503'
    possible = _EFFECTS.get(right.get("phase", ""), ())
    if possible and right.get("effect", possible[0]) not in possible:
        yield ("effect",), f"after a failed {right['phase']} it is {_one_of(possible)}"


def _located(findings: Iterable[_Finding], text: str, source: str) -> Iterator[Problem]:
    lines = locate(text)
    for path, message in findings:
        yield Problem(f"{source}:{lines[path]}: {spell(path)}", message)


def _outcome(table: Mapping[str, Any]) -> Outcome:
    phase, http = table["phase"], table.get("http")
    kind = table.get("kind", "http")
    code = table.get("code")
    fault = Fault(
        phase,
        kind,
        http=http,
        code=None if code is None else str(code),
        message=table.get("message", "rehearsed by the weather script"),
        retry_after_s=table.get("retry_after_s"),
        effect=table.get("effect") or _usual_effect(phase, kind, http),
    )
    return Outcome(fault, table.get("match", ""), table.get("times", 1))


def _usual_effect(phase: Phase, kind: str, http: int | None) -> Effect:
    """What such a fault has done at a real provider, as far as anybody can know."""
    if phase == "submit":
        in_doubt = kind in _ANSWER_LOST or http == 408 or (http is not None and http >= 500)
        return "unknown" if in_doubt else "none"
    return _EFFECTS[phase][0]


def _one_of(choices: Collection[str]) -> str:
    return "one of " * (len(choices) > 1) + ", ".join(choices)


_Text = Annotated[str, Meta(max_length=TEXT_CHARS_MAX)]
_Code = _Text | Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_TEXT = f"text of at most {TEXT_CHARS_MAX:,} characters"
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "phase": get_args(Phase),
    "kind": PLAYED,
    "effect": get_args(Effect),
}
_FIELDS: Mapping[str, tuple[str, Any]] = {
    "match": (_TEXT, _Text),
    "phase": (_one_of(_CHOICES["phase"]), Phase),
    "kind": (_one_of(PLAYED), Literal[PLAYED]),
    "http": ("a status from 100 to 599", Annotated[int, Meta(ge=100, le=599)]),
    "code": ("text or a whole number", _Code),
    "message": (_TEXT, _Text),
    "retry_after_s": (
        f"seconds from 0 to {RETRY_AFTER_S_MAX:,}",
        Annotated[float, Meta(ge=0, le=RETRY_AFTER_S_MAX)],
    ),
    "times": (
        f"a whole number from 1 to {TIMES_MAX:,}",
        Annotated[int, Meta(ge=1, le=TIMES_MAX)],
    ),
    "effect": (_one_of(_CHOICES["effect"]), Effect),
}
