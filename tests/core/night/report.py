"""What people read: the story of a job that broke a promise, and what the nights came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import UNSET

from daemon.core.events import Event
from daemon.core.gate import Gate
from tests.core.auditor import Auditor, ViolationError
from tests.core.night.clock import START_AT

LINES_MAX = 120
CHARS_MAX = 160
SHOWN = ("attempt", "retries", "errors_consecutive", "remote_id", "billed", "reason", "by")


class Failed(Exception):  # noqa: N818 - it is what happened to a seed, and crosses processes whole
    """A seed that broke a promise; its text says everything, in lines."""

    def __init__(self, seed: int, invariant: str, story: str) -> None:
        super().__init__(seed, invariant, story)
        self.seed = seed
        self.invariant = invariant
        self.story = story

    def __str__(self) -> str:
        return self.story


def story(seed: int, error: BaseException, auditor: Auditor) -> Failed:
    """The failure of `seed` as lines: the promise, the job's life, and how to see it again."""
    name = error.invariant if isinstance(error, ViolationError) else type(error).__name__
    lines = [f"seed {seed} breaks a promise: {name}"]
    number = None
    if isinstance(error, ViolationError):
        number = error.job
        lines += [f"  promised: {error.statement}", f"  but:      {error.what}"]
    else:
        lines.append(f"  {type(error).__name__}: {error}")
        number = getattr(getattr(error, "event", None), "job", None)
    provider = auditor.jobs[number].provider if number in auditor.jobs else None
    told = list(_told(auditor, number, provider))
    if len(told) > LINES_MAX:
        lines.append(f"  ... {len(told) - LINES_MAX} earlier lines")
    lines += told[-LINES_MAX:]
    lines.append(f"again: python -m tests.core.simulation 1 --from {seed}")
    return Failed(seed, name, "\n".join(lines))


def _told(auditor: Auditor, number: int | None, provider: str | None) -> Iterator[str]:
    """The job's events, its provider's gate, and what happened to everybody, in order."""
    for at, job, what in auditor.history:
        gate = isinstance(what, Event) and job is None and what.provider == provider
        if job == number or gate or (isinstance(what, str) and job is None):
            yield f"  {_clock(at)}  {_line(what)}"[:CHARS_MAX]


def _clock(at: float) -> str:
    seconds = at - START_AT
    sign, seconds = ("-", -seconds) if seconds < 0 else ("+", seconds)
    hours, rest = divmod(seconds, 3_600.0)
    return f"{sign}{int(hours):02}:{int(rest // 60):02}:{rest % 60:06.3f}"


def _line(what: Event | str) -> str:
    if isinstance(what, str):
        return what
    if isinstance(what.gate, Gate):
        causes = [f"{one.cause} until {one.until_at}" for one in what.gate.causes]
        return f"[{what.provider}] {what.type}: {', '.join(causes) or 'open'}, {_rest(what.gate)}"
    told = [
        f"{name}={value}" for name in SHOWN if (value := getattr(what, name)) not in (UNSET, None)
    ]
    error = what.error
    if error is not UNSET and error is not None:
        told.append(f"error={error.phase} {error.http or error.kind} (rule {error.rule})")
    return f"{what.type} -> {what.state or '(the daemon)'}  {' '.join(told)}"


def _rest(gate: Gate) -> str:
    shown = {
        "probe": gate.probe,
        "ramp": gate.ramp,
        "epoch": gate.epoch,
        "errors": gate.errors_consecutive,
        "quota": gate.quota_consecutive,
        "unreached": gate.unreached,
    }
    return " ".join(f"{name}={value}" for name, value in shown.items() if value is not None)


class Night(msgspec.Struct, frozen=True):
    """What one seed came to, small enough to travel between processes."""

    seed: int
    digest: str
    tally: dict[str, int]
    edges: frozenset[tuple[str, str, str]]


def table(nights: int, tally: Counter[str], edges: int, edges_all: int) -> str:
    """The situations reached, and how many of each, in sections."""
    lines = [f"{'situation':<52} {'times':>11} {'a night':>9}"]
    section = ""
    for name in sorted(tally):
        head, _, what = name.partition(": ")
        if head != section:
            section = head
            lines.append(head)
        lines.append(f"  {what:<50} {tally[name]:>11,} {tally[name] / nights:>9.2f}")
    lines.append(f"{edges} of the table's {edges_all} edges were walked")
    return "\n".join(lines)


def unwalked(edges: frozenset[tuple[str, str, str]], known: Sequence[tuple[str, str, str]]) -> str:
    """The edges of the table that no night walked, a line each."""
    missing = [edge for edge in known if edge not in edges]
    return "\n".join(f"  not walked: {a} --{kind}--> {b}" for a, kind, b in missing)
