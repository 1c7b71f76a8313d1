"""Providers as the monitor keeps them: the daemon's rows, and what events tell afterwards. Pure."""

import msgspec
from msgspec import Struct

from daemon.core.gate import (
    Closure,
    Gate,
    GateCause,
    GateSource,
    GateState,
    blocking,
    reopens_at,
    state,
)
from daemon.core.times import describe_when
from tui.text import Cell, Style, clean

_STYLES: dict[GateState, Style] = {"open": "green", "closed": "red"}
_SIGNS: dict[GateState, str] = {
    "open": "●",
    "paused": "‖",
    "probing": "◐",
    "ramping": "◐",
    "closed": "■",
}


class CauseRow(Struct, frozen=True):
    """One cause of a closed gate, as interfaces.md 2 tells it."""

    cause: GateCause
    until_at: float | None
    reason: str


class GateRow(Struct, frozen=True):
    """A gate, as interfaces.md 2 tells it."""

    state: GateState = "open"
    until_at: float | None = None
    reason: str | None = None
    source: GateSource | None = None
    causes: tuple[CauseRow, ...] = ()


class Latency(Struct, frozen=True):
    """How long a stage takes, in seconds, over the last `n`."""

    p50_s: float | None = None
    p95_s: float | None = None
    n: int = 0


class ProviderRow(Struct, frozen=True, kw_only=True):
    """A provider, as interfaces.md 2 tells it."""

    name: str
    engine: str = ""
    enabled: bool = True
    gate: GateRow = GateRow()
    errors_consecutive: int = 0
    quota_consecutive: int = 0
    running: int = 0
    concurrency: int = 0
    queued: int = 0
    latency: dict[str, Latency] = {}


class Provider(Struct, frozen=True):
    """A provider as it is now: the row that came last, and the gate that came last."""

    row: ProviderRow
    gate: Gate


def provider(row: ProviderRow) -> Provider:
    """A provider from its row, every foreign text cleaned."""
    row = msgspec.structs.replace(row, name=clean(row.name), engine=clean(row.engine))
    return Provider(row, _gate(row))


def _gate(row: ProviderRow) -> Gate:
    """The gate that a row tells of. Causes that ran out aren't in it: its word stands for them."""
    source = row.gate.source or "provider"
    causes = tuple(
        Closure(one.cause, one.until_at, clean(one.reason), source) for one in row.gate.causes
    )
    if row.gate.state == "probing" and not causes:
        causes = (Closure("quota", 0.0, "", source),)
    return Gate(
        causes=causes,
        ramp=1 if row.gate.state == "ramping" else None,
        errors_consecutive=row.errors_consecutive,
        quota_consecutive=row.quota_consecutive,
    )


def moved(known: Provider | None, name: str, gate: Gate) -> Provider:
    """The provider after an event of its gate; one that is not known yet begins here."""
    causes = tuple(msgspec.structs.replace(one, reason=clean(one.reason)) for one in gate.causes)
    row = ProviderRow(name=clean(name)) if known is None else known.row
    return Provider(row, msgspec.structs.replace(gate, causes=causes))


def shut(one: Provider, now: float) -> bool:
    """Whether its gate stops submits at `now`.

    >>> shut(Provider(ProviderRow(name="veo"), Gate((Closure("quota", 9.0, "429"),))), now=5.0)
    True
    """
    return bool(blocking(one.gate, now))


def gate_cell(one: Provider, now: float) -> Cell:
    """The gate's sign, word and causes.

    >>> gate = Gate((Closure("quota", 401.0, "429"),))
    >>> gate_cell(Provider(ProviderRow(name="veo"), gate), now=0.0).text
    '‖ paused: quota, in 6:41'
    """
    if not one.row.enabled:
        return Cell("· off", "dim")
    word = state(one.gate, now)
    text = f"{_SIGNS[word]} {word}"
    causes = blocking(one.gate, now)
    if causes:
        text += ": " + " + ".join(closure.cause for closure in causes)
    until = reopens_at(one.gate, now)
    if until is not None:
        text += f", {describe_when(until, now)}"
    return Cell(text, _STYLES.get(word, "yellow"))


def pause_line(one: Provider, now: float) -> str:
    """What the top line says of a shut gate: `veo quota: paused, resumes in 6:41 (3rd in a row)`.

    >>> gate = Gate((Closure("quota", 401.0, "429"),), quota_consecutive=3)
    >>> pause_line(Provider(ProviderRow(name="veo"), gate), now=0.0)
    'veo quota: paused, resumes in 6:41 (3 in a row)'
    """
    first = blocking(one.gate, now)[0]
    until = reopens_at(one.gate, now)
    when = f"resumes {describe_when(until, now)}" if until else "until an operator resumes it"
    if first.source == "config":
        when = first.reason
    streak = one.gate.quota_consecutive if first.cause == "quota" else 0
    again = f" ({streak} in a row)" if streak > 1 else ""
    return f"{one.row.name} {first.cause}: {state(one.gate, now)}, {when}{again}"
