"""`genq cancel`, `requeue`, `hold`, `release`, `approve` and `priority`: what is done to jobs."""

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import msgspec

from daemon.core.job import Job
from daemon.core.limits import check_priority
from daemon.wire.messages import Act, Ls
from tui.console import Console
from tui.options import Parser, UsageError, integer, job_id
from tui.selection import checked_query
from tui.session import Session, connect
from tui.text import clean, counted
from tui.wording import change_shown, job_called

Verb = Literal["cancel", "requeue", "hold", "release", "approve", "resolve", "edit"]
JOBS_PER_REQUEST = 50
"""The answer tells of each changed job, and has to fit into one frame."""
NAMED_MAX = 5
"""A question names so many jobs; more are only counted."""


class Numbered(msgspec.Struct, frozen=True):
    """All of a job that a bulk needs to know."""

    id: int


class Refused(msgspec.Struct, frozen=True):
    """A job that was left as it is, and the sentence that says why."""

    id: int
    why: str


class Outcome:
    """What came of an action, told as it comes in, or as one value at the end."""

    def __init__(self, console: Console, tell: Callable[[Job], str]) -> None:
        """`tell` is the line for a changed job, not cleaned yet."""
        self._console = console
        self._tell = tell
        self._changed: list[int] = []
        self._refused: list[Refused] = []

    def change(self, jobs: Iterable[Job]) -> None:
        """These jobs were changed; they are shown as they are after it."""
        for job in jobs:
            self._changed.append(job.id)
            if not self._console.json:
                self._console.line(clean(self._tell(job)))

    def refuse(self, refused: Iterable[Refused]) -> None:
        """These weren't."""
        for one in refused:
            self._refused.append(one)
            self._console.note(clean(f"refused: {one.why}"))

    def decline(self, jobs: Iterable[int]) -> int:
        """A person said no to all of it; the exit code of that."""
        self._console.note("nothing was done")
        self._refused += [Refused(job, "it was not agreed to") for job in jobs]
        return self.exit_code()

    def exit_code(self) -> int:
        """Print the value, if values are asked for: 0 only if nothing was refused."""
        if self._console.json:
            self._console.value({"changed": self._changed, "refused": self._refused})
        return 1 if self._refused else 0


def arguments(parser: Parser) -> None:
    """What `cancel`, `hold` and `release` take."""
    parser.add_argument("ids", metavar="ID", nargs="*", type=job_id, help="the jobs")
    add = parser.options.add_argument
    add("--all-failed", action="store_true", help="all failed jobs")
    add("--filter", metavar="QUERY", help="all jobs that the query holds for")
    add("--yes", action="store_true", help="don't ask")
    add("--reason", metavar="TEXT", default="", help="why, for whoever looks at the events later")
    parser.epilog = f'example: {parser.prog} 12 13 --reason "wrong lens"'


def requeue_arguments(parser: Parser) -> None:
    """What `requeue` takes."""
    arguments(parser)
    fresh = "a new paid submit, even if the old task may still live"
    parser.options.add_argument("--fresh", action="store_true", help=fresh)
    parser.epilog = "example: genq requeue --filter 'state:failed batch:episode-1'"


def approve_arguments(parser: Parser) -> None:
    """What `approve` takes."""
    parser.add_argument("ids", metavar="ID", nargs="+", type=job_id, help="jobs held for approval")
    parser.epilog = "example: genq approve 12 13"


def priority_arguments(parser: Parser) -> None:
    """What `priority` takes."""
    parser.add_argument("ids", metavar="ID", nargs="+", type=job_id, help="queued or held jobs")
    parser.add_argument("number", metavar="N", type=integer, help="-1000 to 1000, higher first")
    parser.epilog = "example: genq priority 12 13 100"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Cancel, hold or release, by ids or in bulk."""
    _check_choice(asked, console)
    outcome = Outcome(console, lambda job: change_shown(asked.verb, job))
    with connect(asked, console) as session:
        jobs = _ids(asked, session)
        if _is_bulk(asked) and not _agreed(asked, console, jobs, ""):
            return outcome.decline(jobs)
        _act(session, outcome, asked.verb, jobs, reason=asked.reason)
    return outcome.exit_code()


def requeue(asked: argparse.Namespace, console: Console) -> int:
    """Requeue; what would be paid for once more only with a person's yes."""
    _check_choice(asked, console)
    outcome = Outcome(console, lambda job: change_shown("requeue", job))
    with connect(asked, console) as session:
        jobs = _ids(asked, session)
        seen = [] if asked.yes or not jobs else list(session.jobs(Ls(ids=tuple(jobs)), Job))
        costly = [job for job in seen if _pays_again(job, fresh=asked.fresh)]
        if _is_bulk(asked):
            again = f"; {_named(costly)} may be paid for once more" if costly else ""
            if not _agreed(asked, console, jobs, again):
                return outcome.decline(jobs)
        elif costly and not _agreed_to_pay(console, costly):
            outcome.refuse(Refused(job.id, _costs(job)) for job in costly)
            jobs = [job for job in jobs if job not in {one.id for one in costly}]
        # One whose result came meanwhile would be paid for again, and nobody agreed to that.
        states = tuple({job.state: None for job in seen if job.id in jobs})
        _act(
            session,
            outcome,
            "requeue",
            jobs,
            reason=asked.reason,
            fresh=asked.fresh,
            states=states,
        )
    return outcome.exit_code()


def approve(asked: argparse.Namespace, console: Console) -> int:
    """Release jobs that were held for approval."""
    outcome = Outcome(console, lambda job: change_shown("approve", job))
    with connect(asked, console) as session:
        _act(session, outcome, "approve", asked.ids)
    return outcome.exit_code()


def priority(asked: argparse.Namespace, console: Console) -> int:
    """Move queued or held jobs forward or back."""
    if problem := check_priority(asked.number):
        raise UsageError(f"N: {problem}")
    outcome = Outcome(console, lambda job: change_shown("priority", job))
    with connect(asked, console) as session:
        _act(session, outcome, "edit", asked.ids, changes={"priority": asked.number})
    return outcome.exit_code()


# ---- which jobs, and whether to ask ----


def _is_bulk(asked: argparse.Namespace) -> bool:
    return asked.all_failed or asked.filter is not None


def _check_choice(asked: argparse.Namespace, console: Console) -> None:
    """Raise UsageError unless the jobs are named in one way, and a bulk can be agreed to."""
    ways = bool(asked.ids) + asked.all_failed + (asked.filter is not None)
    if ways != 1:
        problem = "which jobs?" if ways == 0 else "only one of these:"
        raise UsageError(f"{problem} ID..., --all-failed or --filter QUERY")
    checked_query(asked.filter)
    if _is_bulk(asked) and not asked.yes and not console.can_ask:
        raise UsageError("nobody can be asked here: --yes agrees to all jobs that match")


def _ids(asked: argparse.Namespace, session: Session) -> list[int]:
    if not _is_bulk(asked):
        return list(dict.fromkeys(asked.ids))
    query = "state:failed" if asked.all_failed else asked.filter
    return [job.id for job in session.jobs(Ls(filter=query), Numbered)]


def _agreed(asked: argparse.Namespace, console: Console, jobs: Sequence[int], more: str) -> bool:
    if asked.yes or not jobs:
        return True
    return console.ask(clean(f"{asked.verb} {counted(len(jobs), 'job')}{more}?"))


def _pays_again(job: Job, *, fresh: bool) -> bool:
    """Whether it has a paid result, or with `fresh` a task that may still bring one."""
    if job.state == "succeeded" or job.billed == "kept":
        return True
    may_live = job.remote_id is not None and job.state in ("held", "failed", "cancelled")
    return fresh and may_live


def _agreed_to_pay(console: Console, costly: Sequence[Job]) -> bool:
    if not console.can_ask:
        return False
    return console.ask(clean(f"{_named(costly)}: requeue, and perhaps pay once more?"))


def _costs(job: Job) -> str:
    paid = "has its result" if job.state == "succeeded" else "may have been paid for"
    return f"{job_called(job.id, job.name)} {paid}; a new attempt costs again: --yes agrees"


def _named(jobs: Sequence[Job]) -> str:
    if len(jobs) > NAMED_MAX:
        return counted(len(jobs), "job")
    return ", ".join(job_called(job.id, job.name) for job in jobs)


def _act(
    session: Session, outcome: Outcome, verb: Verb, jobs: Sequence[int], **fields: Any
) -> None:
    """Do it, some jobs at a time; what is changed is told at once."""
    for start in range(0, len(jobs), JOBS_PER_REQUEST):
        some = tuple(jobs[start : start + JOBS_PER_REQUEST])
        value = session.request(Act(verb=verb, jobs=some, **fields))
        outcome.change(msgspec.convert(value["jobs"], list[Job]))
        outcome.refuse(msgspec.convert(value["refused"], list[Refused]))
