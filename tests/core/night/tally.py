"""What a night came to: how often each situation was reached, so that calm can't pass for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from daemon.core.events import Event
from daemon.core.gate import Closure, Gate

WORDS: Mapping[tuple[str, str], str] = {
    ("submitted", "generating"): "job: accepted",
    ("doubted", "in_doubt"): "job: in doubt",
    ("doubted", "submitting"): "job: answer lost, looked for",
    ("doubted", "queued"): "job: sent again by policy",
    ("doubted", "cancelling"): "job: cancelled, answer lost, looked for",
    ("submitted", "cancelling"): "job: accepted after its cancel",
    ("ready", "cancelling"): "job: accepted after its cancel",
    ("rescued", "downloading"): "job: late result rescued",
    ("rescued", "cancelled"): "job: result kept after its cancel",
    ("download_failed", "generating"): "job: fresh link asked for",
    ("recovered", "generating"): "job: polled on after a crash",
    ("recovered", "downloading"): "job: fetched on after a crash",
    ("interrupted", "queued"): "job: sent back before its intent",
    ("succeeded", "succeeded"): "job: succeeded",
    ("failed", "failed"): "job: failed",
    ("cancelled", "cancelled"): "job: cancelled",
}


def situations(
    events: Sequence[Event],
    before: Mapping[str, Gate],
    after: Mapping[str, Gate],
    because: Mapping[int, Any],
) -> Iterator[str]:
    """The names of what these facts are an instance of."""
    for event in events:
        if isinstance(event.job, int):
            word = WORDS.get((event.type, str(event.state)))
            if word is not None:
                yield word
            if event.type == "held":
                yield f"job: held ({event.reason})"
            if event.type == "requeued":
                answer = type(because.get(event.job)).__name__
                if answer in ("Fault", "Absent"):
                    yield f"job: submitted anew ({'rule' if answer == 'Fault' else 'vanished'})"
        elif isinstance(event.gate, Gate) and isinstance(event.provider, str):
            yield from _of_a_gate(before.get(event.provider) or Gate(), event.gate)


def _of_a_gate(before: Gate, gate: Gate) -> Iterator[str]:
    known = {one.cause: one for one in before.causes}
    for one in gate.causes:
        if known.get(one.cause) != one:
            yield f"gate: shut for {one.cause}{_how(one)}"
    if gate.probe is not None and before.probe is None:
        yield "gate: probe sent"
    if gate.ramp is not None and before.ramp is None:
        yield "gate: probe accepted, ramping"
    if gate.quota_consecutive >= 3 and before.quota_consecutive < 3:
        yield "gate: third quota refusal in a row"
    if (gate.polls_spaced_until or 0.0) > (before.polls_spaced_until or 0.0):
        yield "gate: polls spaced out"


def _how(one: Closure) -> str:
    if one.cause == "quota" and "per_day" in one.reason:
        return " (until the daily reset)"
    return ""
