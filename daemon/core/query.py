"""QUERY: which jobs are meant, in the words of `genq ls --filter` and the monitor's `/`.

Terms are separated by blanks and all must hold; `!` before a term negates it; in a field's term a
comma means any of. The grammar for people is interfaces.md 1, "Words", and docs/commands.md.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, get_args

from msgspec import Struct

from daemon.core.job import STATES, Job
from daemon.core.query_terms import (
    STATE_WORDS,
    InState,
    Mentions,
    Named,
    NameField,
    NumberField,
    Pattern,
    Query,
    Span,
    StateWord,
    Term,
    Test,
    Within,
    matches,
)
from daemon.core.suggest import did_you_mean, shown
from daemon.core.times import ACCEPTED_DURATIONS, parse_duration

__all__ = [
    "SORT_KEYS",
    "STATE_WORDS",
    "Query",
    "QueryError",
    "StateWord",
    "matches",
    "parse_query",
    "sort_key",
    "state_word",
]

QUERY_CHARS_MAX = 4_096

FIELDS: Final = ("state", *get_args(NameField), *get_args(NumberField))

_BLANKS = re.compile(r"\s*")
_FIELD = re.compile(r"([A-Za-z_]+):")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_WORD = re.compile(r"\S+")
_VALUE = re.compile(r"[^\s,]*")
_NUMBER = re.compile(r"\d{1,15}", re.ASCII)


class QueryError(ValueError):
    """A query that means nothing. `at` is the offset of the bad place, from 0."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


class Value(Struct, frozen=True):
    """A word of a query, and where it stands. A quoted one is taken as it is."""

    text: str
    at: int


# ---- reading ----


def parse_query(text: str) -> Query:
    """The query that `text` says; an empty text holds for every job.

    Raises QueryError with the place and the nearest right word.

    >>> len(parse_query('state:failed,held !batch:pilot err:>2 "red kite"').terms)
    4
    >>> parse_query("state:faild")
    Traceback (most recent call last):
    daemon.core.query.QueryError: unknown state 'faild'; did you mean 'failed'?
    """
    if len(text) > QUERY_CHARS_MAX:
        raise QueryError(f"has {len(text):,} characters; the limit is {QUERY_CHARS_MAX:,}", 0)
    if (at := text.find("\0")) >= 0:
        raise QueryError("must not contain a NUL character", at)
    terms = []
    at = _skip_blanks(text, 0)
    while at < len(text):
        term, at = _term(text, at)
        terms.append(term)
        at = _skip_blanks(text, at)
    return Query(tuple(terms))


def state_word(text: str, at: int = 0) -> StateWord:
    """What a word for a state means, whether the JSON's or the screen's.

    Raises QueryError, which points at `at` and tells the nearest word.

    >>> state_word("done"), state_word("IN DOUBT"), state_word("held")
    ('succeeded', 'in_doubt', 'held')
    """
    known = STATE_WORDS.get(" ".join(text.casefold().split()))
    if known is None:
        near = did_you_mean(text, STATE_WORDS) or f"; the states are {', '.join(STATES)}"
        raise QueryError(f"unknown state {shown(text)}{near}", at)
    return known


def _skip_blanks(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at


def _term(text: str, at: int) -> tuple[Term, int]:
    negated = text.startswith("!", at)
    at += negated
    if field := _FIELD.match(text, at):
        values, end = _values(text, field.end())
        return Term(_test(field[1], values, at), negated), end
    if text.startswith('"', at):
        value, end = _quoted(text, at)
    elif word := _WORD.match(text, at):
        value, end = Value(word[0], at), word.end()
    else:
        raise QueryError("'!' stands before a term, without a blank", at - 1)
    return Term(Mentions(value.text.casefold()), negated), end


def _values(text: str, at: int) -> tuple[list[Value], int]:
    """The words behind a field, separated by commas."""
    values = []
    while True:
        if text.startswith('"', at):
            value, end = _quoted(text, at)
        else:
            plain = _VALUE.match(text, at)
            value = Value(plain[0] if plain else "", at)
            end = at + len(value.text)
        if not value.text.strip():
            raise QueryError(f"a word is missing behind {text[at - 1]!r}", at)
        values.append(value)
        if not text.startswith(",", end):
            return values, end
        at = end + 1


def _quoted(text: str, at: int) -> tuple[Value, int]:
    match = _QUOTED.match(text, at)
    if match is None:
        raise QueryError("this quotation mark is never closed", at)
    end = match.end()
    if end < len(text) and not text[end].isspace() and text[end] != ",":
        raise QueryError("a blank must follow a closing quotation mark", end)
    return Value(re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL), at), end


def _test(field: str, values: Sequence[Value], at: int) -> Test:
    match field.casefold():
        case "state":
            return InState(frozenset(state_word(value.text, value.at) for value in values))
        case "provider" | "batch" | "label" | "name" as name:
            return Named(name, tuple(_pattern(value.text, name) for value in values))
        case "id" | "err" | "attempt" as name:
            return Within(name, tuple(_span(value, _whole) for value in values))
        case "age":
            return Within("age", tuple(_age(value) for value in values))
        case _:
            near = did_you_mean(field, FIELDS) or f"; the fields are {', '.join(FIELDS)}"
            quote = "; text with a colon is searched for in quotation marks"
            raise QueryError(f"unknown field {shown(field)}{near}{quote}", at)


def _pattern(text: str, field: NameField) -> Pattern:
    """`*` stands for anything; a name is searched for, a provider, batch or label is compared."""
    pieces = text.casefold().split("*")
    return ("", *pieces, "") if field == "name" else tuple(pieces)


def _span(value: Value, read: Callable[[Value, str], float]) -> Span:
    """`>2`, `>=2`, `<2`, `<=2`, `=2`, `2`, `3-9`, `3-` or `-9`, with numbers that `read` takes."""
    text = value.text.strip()
    for sign in (">=", "<=", ">", "<", "="):
        if text.startswith(sign):
            number = read(value, text.removeprefix(sign).strip())
            low = {">": math.nextafter(number, math.inf), ">=": number, "=": number}
            high = {"<": math.nextafter(number, -math.inf), "<=": number, "=": number}
            return Span(low.get(sign, -math.inf), high.get(sign, math.inf))
    first, dash, last = (part.strip() for part in text.partition("-"))
    if dash and (first or last):
        span = Span(
            read(value, first) if first else -math.inf, read(value, last) if last else math.inf
        )
        if span.low > span.high:
            raise QueryError(f"{shown(text)} ends before it begins", value.at)
        return span
    number = read(value, text)
    return Span(number, number)


def _whole(value: Value, text: str) -> float:
    if not _NUMBER.fullmatch(text):
        expected = "a whole number, a range such as 3-9, or >2, >=2, <2, <=2"
        raise QueryError(f"expected {expected}, got {shown(value.text)}", value.at)
    return int(text)


def _age(value: Value) -> Span:
    span = _span(value, _seconds)
    if span.low == span.high:
        age = value.text.strip().lstrip("=")
        raise QueryError(f"write age:>{age} for older, age:<{age} for younger", value.at)
    return span


def _seconds(value: Value, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        message = f"expected > or < and {ACCEPTED_DURATIONS}, got {shown(value.text)}"
        raise QueryError(message, value.at) from None


# ---- sorting ----


def _text_key(text: str | None) -> tuple[bool, str]:
    return text is None, (text or "").casefold()


_SORT_KEYS: Final[dict[str, Callable[[Job], Any]]] = {
    "id": lambda job: job.id,
    "state": lambda job: STATES.index(job.state),
    "provider": lambda job: job.provider,
    "age": lambda job: -job.created_at,
    "errors": lambda job: (job.errors_consecutive, job.errors_total),
    "attempt": lambda job: job.attempt,
    "priority": lambda job: job.priority,
    "name": lambda job: _text_key(job.name),
    "batch": lambda job: _text_key(job.batch),
    "updated": lambda job: job.updated_at,
}
SORT_KEYS: Final = tuple(_SORT_KEYS)


def sort_key(name: str) -> Callable[[Job], Any]:
    """The key function for a column: states in the order of a job's life, the youngest first by
    age, those without a name or batch last.

    Raises QueryError for an unknown column, with the nearest one.

    >>> old, new = (Job(id=n, provider="m", created_at=n, updated_at=n) for n in (1, 2))
    >>> [job.id for job in sorted([old, new], key=sort_key("age"))]
    [2, 1]
    """
    if name not in _SORT_KEYS:
        near = did_you_mean(name, SORT_KEYS) or f"; the keys are {', '.join(SORT_KEYS)}"
        raise QueryError(f"unknown sort key {shown(name)}{near}", 0)
    return _SORT_KEYS[name]
