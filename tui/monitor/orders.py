"""What operators ask of the daemon: which jobs an action means, what it may cost, what came of it.
Pure.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal

from msgspec import Struct

from daemon.core.job import FINISHED, Job, State
from daemon.wire.messages import Act
from tui.text import Cell, clean, counted
from tui.wording import change_shown, state_shown

Part = Callable[[Job], str | None]
"""What is copied of a job; None: it isn't there yet."""
Verb = Literal["cancel", "requeue", "hold", "release", "approve", "resolve", "edit"]
UNASKED_MAX = 20
"""More jobs than these need their number typed."""
JOBS_PER_REQUEST = 50
"""The answer tells of each changed job, and has to fit into one frame."""
SHOWN_MAX = 8
PRIORITY_STEP = 10
PRIORITY_MAX = 1_000

_SUBMITTED: Final[frozenset[State]] = frozenset(
    {"submitting", "generating", "downloading", "in_doubt", "cancelling"}
)


class Refused(Struct, frozen=True):
    """A job that was left as it is, and why."""

    id: int | str
    why: str


class Outcome(Struct, frozen=True):
    """What came of an action."""

    changed: list[int | str] = []
    refused: list[Refused] = []
    jobs: list[Job] = []


class Question(Struct, frozen=True):
    """What a dialog asks before an action: `jobs` by name, and `lines` about money.

    `number`: must be typed, where it isn't 0. `grave`: money may be lost, or paid again.
    """

    title: str
    yes: str
    lines: tuple[Cell, ...]
    jobs: tuple[Cell, ...] = ()
    number: int = 0
    grave: bool = False


def pays_again(job: Job, verb: Verb) -> bool:
    """Whether `verb` may pay once more for what was paid for, as far as is known.

    >>> done = Job(id=1, provider="m", state="succeeded", created_at=0.0, updated_at=0.0)
    >>> pays_again(done, "requeue"), pays_again(done, "cancel")
    (True, False)
    """
    if verb != "requeue" or job.state not in FINISHED:
        return False
    return job.state == "succeeded" or job.billed in ("yes", "kept", "unknown")


def _sent(job: Job) -> bool:
    """Whether something may have been paid for `job`; not every provider gives tasks an id."""
    paid = job.billed in ("yes", "kept", "unknown")
    return paid or job.state in _SUBMITTED or job.remote_id is not None


def _money(jobs: Sequence[Job], verb: Verb) -> Cell:
    if verb == "requeue":
        again = sum(pays_again(job, verb) for job in jobs)
        if again:
            which = "It" if len(jobs) == 1 else f"{again} of {len(jobs)}"
            return Cell(f"{which} may have been paid for: a new attempt costs again.", "yellow")
        return Cell("A task that still lives goes on; anything else is submitted, and costs.")
    if verb != "cancel":
        return Cell("What isn't submitted yet goes to its provider, and costs.", "yellow")
    sent = sum(map(_sent, jobs))
    if not sent:
        return Cell("Not submitted: nothing is paid for.")
    which = "It is" if len(jobs) == 1 else f"{sent} of {len(jobs)} are"
    return Cell(f"{which} submitted: what is paid may not come back.", "yellow")


def question(verb: Verb, jobs: Sequence[Job]) -> Question:
    """What is asked before `verb` is done to `jobs`.

    >>> job = Job(id=7, provider="veo", prompt="a kite", created_at=0.0, updated_at=0.0)
    >>> question("cancel", [job]).title
    'cancel 1 job?'
    """
    shown = [_job_line(job) for job in jobs[:SHOWN_MAX]]
    if len(jobs) > SHOWN_MAX:
        shown.append(Cell(f"… and {len(jobs) - SHOWN_MAX:,} more", "dim"))
    costly = sum(pays_again(job, verb) for job in jobs)
    typed = len(jobs) if len(jobs) > UNASKED_MAX or costly > 1 else 0
    name = counted(len(jobs), "job")
    grave = costly > 0 if verb == "requeue" else any(map(_sent, jobs))
    lines = (Cell(""), _money(jobs, verb))
    title, yes = f"{verb} {name}?", f"{verb.capitalize()} {name}"
    return Question(title, yes, lines, tuple(shown), typed, grave)


def _job_line(job: Job) -> Cell:
    shown = state_shown(job)
    name = f"{job.name}: " if job.name else ""
    return Cell(f"{job.id} {job.provider} {shown.text}  {name}{job.prompt}"[:300], shown.style)


def requests(act: Act) -> list[Act]:
    """`act` in pieces whose answers fit into frames."""
    ids = act.jobs
    pieces = [
        ids[start : start + JOBS_PER_REQUEST] for start in range(0, len(ids), JOBS_PER_REQUEST)
    ]
    return [
        Act(
            verb=act.verb,
            jobs=piece,
            reason=act.reason,
            fresh=act.fresh,
            how=act.how,
            remote_id=act.remote_id,
            changes=act.changes,
            states=act.states,
        )
        for piece in pieces
    ]


def told(act: Act, outcomes: Sequence[Outcome]) -> Cell:
    """One line of what came of it: the only job's own sentence, or how many, and the first refusal.

    >>> told(Act(verb="hold", jobs=(1, 2)), [Outcome([1], [Refused(2, "job 2 is done")])]).text
    'held 1 job; 1 refused: job 2 is done'
    """
    changed = [one for outcome in outcomes for one in outcome.changed]
    refused = [one for outcome in outcomes for one in outcome.refused]
    jobs = [job for outcome in outcomes for job in outcome.jobs]
    verb = act.how or act.verb
    if not refused and len(changed) == 1 and len(jobs) == 1:
        return Cell(clean(change_shown(verb, jobs[0])), "green")
    parts = []
    if changed:
        parts.append(f"{_PAST.get(verb, 'changed')} {counted(len(changed), 'job')}")
    if refused:
        one = clean(refused[0].why)
        parts.append(f"refused: {one}" if len(act.jobs) == 1 else f"{len(refused)} refused: {one}")
    return Cell("; ".join(parts) or "nothing changed", "yellow" if refused else "green")


_PAST: Final = {
    "cancel": "cancelled",
    "requeue": "requeued",
    "hold": "held",
    "release": "released",
    "approve": "approved",
}
