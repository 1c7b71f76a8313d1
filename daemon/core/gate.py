"""A provider's gate: a set of causes that stop submits, a probe, a ramp (architecture.md 2).

Polls and downloads go on behind a closed gate: that work is paid for.
"""

from typing import Literal

from msgspec import Struct

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
    return tuple(sorted(held, key=lambda one: -(one.until_at or float("inf"))))


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


def admits(gate: Gate, now: float, *, on_the_way: int) -> int | None:
    """How many more jobs may start towards the provider; None: as many as there are slots.

    `on_the_way` counts jobs that are preparing or submitting.

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
            return max(0, 1 - on_the_way)
        case "ramping":
            return max(0, (gate.ramp or 1) - on_the_way)


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


def reopens_at(gate: Gate, now: float) -> float | None:
    """When the last of the timed causes runs out; None if open, or if somebody must act.

    >>> reopens_at(Gate((Closure("quota", 10.0, "429"),)), now=9.0)
    10.0
    """
    shut = blocking(gate, now)
    if not shut or shut[0].until_at is None:
        return None
    return shut[0].until_at
