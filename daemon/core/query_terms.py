"""The terms of a query, and whether they hold for a job (query.py reads them)."""

from typing import Final, Literal

from msgspec import Struct

from daemon.core.job import STATES, Job, State

StateWord = State | Literal["waiting"]
"""A state, or what the screen calls *waiting*: queued, and not for want of a free slot only."""
STATE_WORDS: Final[dict[str, StateWord]] = {
    **{state: state for state in STATES},
    "waiting": "waiting",
    "prepare": "preparing",
    "submit": "submitting",
    "generate": "generating",
    "download": "downloading",
    "in doubt": "in_doubt",
    "done": "succeeded",
}
"""Every word for a state, of the JSON and of the screen, and what it means."""

NameField = Literal["provider", "batch", "label", "name"]
NumberField = Literal["id", "err", "attempt", "age"]
Pattern = tuple[str, ...]
"""Folded pieces that stand in this order, with anything between them."""


class Span(Struct, frozen=True):
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float


class InState(Struct, frozen=True):
    """The job is in one of these states."""

    words: frozenset[StateWord]


class Named(Struct, frozen=True):
    """One of the patterns fits the field."""

    field: NameField
    patterns: tuple[Pattern, ...]


class Within(Struct, frozen=True):
    """The number of the field lies in one of the spans; ages are in seconds."""

    field: NumberField
    spans: tuple[Span, ...]


class Mentions(Struct, frozen=True):
    """The text, folded, occurs in the name, the prompt, or the last error's message."""

    text: str


Test = InState | Named | Within | Mentions


class Term(Struct, frozen=True):
    """A test, or its opposite."""

    test: Test
    negated: bool = False


class Query(Struct, frozen=True):
    """What must hold of a job: every term."""

    terms: tuple[Term, ...] = ()


def matches(query: Query, job: Job, now: float) -> bool:
    """Whether every term of `query` holds for `job` as it is shown (explain.py) at `now`.

    >>> job = Job(id=7, provider="veo", state="failed", created_at=0.0, updated_at=0.0)
    >>> failed = Term(InState(frozenset({"failed"})))
    >>> matches(Query((failed, Term(Within("id", (Span(3, 9),))))), job, now=60.0)
    True
    >>> matches(Query((failed, Term(Mentions("quota")))), job, now=60.0)
    False
    """
    return all(_holds(term.test, job, now) != term.negated for term in query.terms)


def _holds(test: Test, job: Job, now: float) -> bool:
    match test:
        case InState(words=words):
            waits = job.state == "queued" and job.reason is not None and "waiting" in words
            return waits or job.state in words
        case Named(field="label", patterns=patterns):
            return any(_fits(one, label) for one in patterns for label in job.labels)
        case Named(field=field, patterns=patterns):
            text: str | None = getattr(job, field)
            return text is not None and any(_fits(one, text) for one in patterns)
        case Within(field=field, spans=spans):
            number = _number(job, field, now)
            return any(span.low <= number <= span.high for span in spans)
        case _:
            return _mentions(job, test.text)


def _fits(pattern: Pattern, text: str) -> bool:
    """Whether the pieces make up `text`. A search from piece to piece: never quadratic."""
    text = text.casefold()
    if len(pattern) == 1:
        return text == pattern[0]
    first, *middle, last = pattern
    if not text.startswith(first):
        return False
    at = len(first)
    for piece in middle:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return text.endswith(last) and len(text) - at >= len(last)


def _number(job: Job, field: NumberField, now: float) -> float:
    match field:
        case "id":
            return job.id
        case "err":
            return job.errors_consecutive
        case "attempt":
            return job.attempt
        case _:
            return now - job.created_at


def _mentions(job: Job, text: str) -> bool:
    return (
        text in job.prompt.casefold()
        or (job.name is not None and text in job.name.casefold())
        or (job.error is not None and text in job.error.message.casefold())
    )
