"""The words of the screen for what the JSON says: states, gates, and what a command changed. Pure.

The commands and the monitor use the same ones (interfaces.md 2, "On screen").
"""

from collections.abc import Mapping
from typing import Any, Final

from daemon.core.job import Failure, Job, State
from daemon.core.times import describe_when
from tui.text import Cell, Style

STATE_SHOWN: Final[dict[State, Cell]] = {
    "queued": Cell("queued"),
    "preparing": Cell("prepare", "cyan"),
    "submitting": Cell("submit", "cyan"),
    "generating": Cell("generate", "cyan"),
    "downloading": Cell("download", "cyan"),
    "cancelling": Cell("cancelling", "yellow"),
    "in_doubt": Cell("IN DOUBT", "red"),
    "held": Cell("held", "yellow"),
    "succeeded": Cell("done", "green"),
    "failed": Cell("failed", "red"),
    "cancelled": Cell("cancelled", "dim"),
}
WAITING: Final = Cell("waiting", "dim")
_GATE_STYLE: Final[dict[str, Style]] = {"open": "green", "paused": "yellow", "closed": "red"}
_MONEY: Final = {
    "no": "it was not billed",
    "unknown": "whether it was billed is unknown",
    "yes": "it was billed",
    "kept": "its result was paid for, and is kept",
}


def job_called(number: int, name: str | None) -> str:
    """How messages call a job, its name not cleaned yet: `job 12 (shot-03)`.

    >>> job_called(12, "shot-03"), job_called(12, None)
    ('job 12 (shot-03)', 'job 12')
    """
    return f"job {number} ({name})" if name else f"job {number}"


def state_shown(job: Job) -> Cell:
    """The state of a job as `ls` got it, with how far it is.

    >>> job = Job(id=1, provider="mock", state="queued", created_at=0.0, updated_at=0.0)
    >>> state_shown(job).text
    'queued'
    """
    if job.state == "queued" and job.reason is not None:
        return WAITING
    shown = STATE_SHOWN[job.state]
    if job.state == "generating" and job.progress is not None:
        return Cell(f"{shown.text} {job.progress:.0%}", shown.style)
    return shown


def gate_shown(gate: Mapping[str, Any], now: float) -> Cell:
    """A provider's gate: its word, the causes, and the countdown where there is one.

    >>> quota = {"cause": "quota", "until_at": 401.0, "reason": "429"}
    >>> gate_shown({"state": "paused", "until_at": 401.0, "causes": [quota]}, now=0.0).text
    'paused: quota, in 6:41'
    """
    causes = " + ".join(str(one["cause"]) for one in gate["causes"])
    text = f"{gate['state']}: {causes}" if causes else str(gate["state"])
    until_at = gate["until_at"]
    if until_at is not None and until_at > now:
        text += f", {describe_when(until_at, now)}"
    return Cell(text, _GATE_STYLE.get(gate["state"], "yellow"))


def failure_shown(error: Failure) -> str:
    """What went wrong, on one line and not cleaned yet: `poll HTTP 504: Gateway Time-out`.

    >>> failure_shown(Failure("poll", "http", 504, "1302", "slow down"))
    'poll HTTP 504 1302: slow down'
    >>> failure_shown(Failure("submit", "timeout"))
    'submit timeout'
    """
    what = f"HTTP {error.http}" if error.http else error.kind
    code = f" {error.code}" if error.code else ""
    return f"{error.phase} {what}{code}" + (f": {error.message}" if error.message else "")


def money_shown(job: Job) -> str:
    """What became of the money, as half a sentence; empty as long as nobody asks."""
    return _MONEY.get(job.billed or "", "")


def change_shown(verb: str, job: Job) -> str:
    """What a command did to a job, which is shown as it is after it; not cleaned yet.

    >>> job = Job(id=12, provider="m", state="cancelled", billed="no", created_at=0, updated_at=0)
    >>> change_shown("cancel", job)
    'cancelled job 12: it was not billed'
    """
    called = job_called(job.id, job.name)
    match verb:
        case "cancel" if job.state == "cancelling":
            return f"cancelling {called}: the provider is being told"
        case "cancel" if job.state == "in_doubt":
            return f"{called} isn't sent again; whether its request arrived is in doubt as before"
        case "cancel":
            return f"cancelled {called}: {money_shown(job) or _MONEY['unknown']}"
        case "requeue" | "release" | "approve":
            done = {"requeue": "requeued", "release": "released", "approve": "approved"}[verb]
            return f"{done} {called}{_onwards(job)}"
        case "hold":
            return f"held {called}"
        case "attach":
            return f"attached {called} to {job.remote_id}{_onwards(job)}"
        case "pay-again":
            return f"{called} is sent once more, with the same key"
        case "priority":
            return f"{called} has priority {job.priority} now"
        case "write-off":
            return f"wrote off {called}: whether it was billed stays unknown"
        case _:
            return f"changed {called}"


def _onwards(job: Job) -> str:
    match job.state:
        case "generating":
            return ": its paid task goes on; nothing is paid anew"
        case "downloading":
            return ": its paid result is fetched; nothing is paid anew"
        case _:
            return ""
