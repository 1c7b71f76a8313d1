"""A provider's gate: a set of causes that stop submits, a probe, a ramp (architecture.md 2).

Polls and downloads go on behind a closed gate: that work is paid for.
"""

from typing import Literal, assert_never

import msgspec
from msgspec import Struct

from daemon.core.job import Cancelling, Intent, Job, Preparing, Submitting

GateCause = Literal["operator", "quota", "auth", "space", "health"]
GateState = Literal["open", "paused", "probing", "ramping", "closed"]
GateSource = Literal["provider", "operator", "config"]
PROBED: frozenset[GateCause] = frozenset({"quota", "health"})
"""After these causes have run out, one job goes first."""


class Closure(Struct, frozen=True):
    """One reason why the gate is shut; `until_at` None: until somebody, or something, opens it."""

    cause: GateCause
    until_at: float | None
    reason: str
    source: GateSource = "provider"


class Gate(Struct, frozen=True):
    """Open when `causes` is empty. Stored as a row, so that a pause survives a restart.

    `epoch` counts pauses; an intent remembers it. `probe` is the job that goes first. `ramp` is
    how many may be on their way to the provider at once while it recovers. `unreached` counts
    submits in a row that surely reached nobody; `paused_at` is when quota closed the gate last.
    """

    causes: tuple[Closure, ...] = ()
    epoch: int = 0
    probe: int | None = None
    ramp: int | None = None
    errors_consecutive: int = 0
    quota_consecutive: int = 0
    unreached: int = 0
    paused_at: float | None = None
    polls_spaced_until: float | None = None


def blocking(gate: Gate, now: float) -> tuple[Closure, ...]:
    """The causes that still hold at `now`, longest first; those run out only ask for a probe.

    >>> blocking(Gate((Closure("quota", 10.0, "429"),)), now=11.0)
    ()
    """
    held = [one for one in gate.causes if one.until_at is None or one.until_at > now]
    forever = float("inf")
    return tuple(sorted(held, key=lambda one: -(forever if one.until_at is None else one.until_at)))


def state(gate: Gate, now: float) -> GateState:
    """The word for `gate` at `now`.

    >>> state(Gate((Closure("quota", 10.0, "429"),)), now=9.0)
    'paused'
    >>> state(Gate((Closure("auth", None, "401"),)), now=9.0)
    'closed'
    """
    shut = blocking(gate, now)
    if any(one.until_at is None and one.cause != "operator" for one in shut):
        return "closed"
    if shut:
        return "paused"
    if any(one.cause in PROBED for one in gate.causes):
        return "probing"
    return "ramping" if gate.ramp is not None else "open"


def on_the_way(job: Job) -> bool:
    """Whether `job` may yet bring news of the gate: it prepares, or its paid request is out.

    One whose answer was lost, and is looked for, is not: it may be looked for all day.

    >>> on_the_way(Job(id=1, provider="m", created_at=0.0, updated_at=0.0, work=Preparing()))
    True
    """
    match job.work:
        case Preparing():
            return True
        case Submitting(reconcile_at=None) | Cancelling(intent=Intent(), reconcile_at=None):
            return True
        case _:
            return False


def admits(gate: Gate, now: float, *, on_the_way: int) -> int | None:
    """How many more jobs may start towards the provider; None: as many as there are slots.

    `on_the_way` counts the jobs that are (see there). While a probe is out, nobody else is.

    >>> admits(Gate(), 0.0, on_the_way=3) is None
    True
    >>> admits(Gate((Closure("quota", 10.0, "429"),)), now=11.0, on_the_way=0)
    1
    """
    match state(gate, now):
        case "open":
            return None
        case "paused" | "closed":
            return 0
        case "probing":
            return 0 if gate.probe is not None else max(0, 1 - on_the_way)
        case "ramping":
            return max(0, (gate.ramp or 1) - on_the_way)
        case never:
            assert_never(never)


def passes(gate: Gate, now: float, job: int) -> bool:
    """Whether `job` may write its intent at `now`: the check in the intent's own transaction.

    >>> passes(Gate((Closure("quota", 10.0, "429"),), probe=4), now=11.0, job=5)
    False
    """
    match state(gate, now):
        case "open" | "ramping":
            return True
        case "paused" | "closed":
            return False
        case "probing":
            return gate.probe is None or gate.probe == job
        case never:
            assert_never(never)


def lapsed(gate: Gate, now: float) -> Gate:
    """`gate` without the causes that have run out and ask for no probe.

    >>> lapsed(Gate((Closure("operator", 10.0, "lunch"),)), now=11.0).causes
    ()
    """
    kept = tuple(
        one
        for one in gate.causes
        if one.cause in PROBED or one.until_at is None or one.until_at > now
    )
    return gate if kept == gate.causes else msgspec.structs.replace(gate, causes=kept)


def reopens_at(gate: Gate, now: float) -> float | None:
    """When the last of the timed causes runs out; None if open, or if somebody must act.

    >>> reopens_at(Gate((Closure("quota", 10.0, "429"),)), now=9.0)
    10.0
    """
    shut = blocking(gate, now)
    if not shut or shut[0].until_at is None:
        return None
    return shut[0].until_at
