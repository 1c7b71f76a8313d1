"""`genq resolve ID attach REMOTE_ID | pay-again | write-off`: a person ends a doubt."""

import argparse
from collections.abc import Sequence
from typing import Any, Literal, get_args

import msgspec

from daemon.core.job import Job
from daemon.core.suggest import did_you_mean, shown
from daemon.wire.messages import Act, Ls
from tui.commands.act import Outcome, Refused
from tui.console import Console
from tui.options import Parser, UsageError, job_id
from tui.session import connect
from tui.text import clean
from tui.wording import change_shown, job_called

How = Literal["attach", "pay-again", "write-off"]
WAYS: Sequence[How] = get_args(How)


def arguments(parser: Parser) -> None:
    """What `resolve` takes."""
    parser.add_argument("id", metavar="ID", type=job_id, help="a job in doubt")
    ways = "attach (its task was found), pay-again (the same key is sent once more), or write-off"
    parser.add_argument("how", metavar="WAY", help=ways)
    parser.add_argument("remote_id", metavar="REMOTE_ID", nargs="?", help="the task, for attach")
    parser.options.add_argument("--yes", action="store_true", help="don't ask before pay-again")
    reason = "why, for whoever looks at the events later"
    parser.options.add_argument("--reason", metavar="TEXT", default="", help=reason)
    parser.epilog = "example: genq resolve 12 attach 8c1f-remote-task"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Resolve the doubt; what may be paid for twice only with a person's yes."""
    how = _way(asked)
    with connect(asked, console) as session:
        outcome = Outcome(console, lambda job: change_shown(how, job))
        for job in session.jobs(Ls(ids=(asked.id,)), Job):
            if how == "pay-again" and job.state == "in_doubt" and not _agreed(asked, console, job):
                outcome.refuse([Refused(job.id, f"{_doubt(job)}: --yes agrees to that")])
                return outcome.exit_code()
        value: dict[str, Any] = session.request(
            Act(
                verb="resolve",
                jobs=(asked.id,),
                how=how,
                remote_id=asked.remote_id or "",
                reason=asked.reason,
            )
        )
        outcome.change(msgspec.convert(value["jobs"], list[Job]))
        outcome.refuse(msgspec.convert(value["refused"], list[Refused]))
    return outcome.exit_code()


def _way(asked: argparse.Namespace) -> How:
    for way in WAYS:
        if asked.how == way:
            break
    else:
        near = did_you_mean(asked.how, WAYS) or f"; the ways are {', '.join(WAYS)}"
        raise UsageError(f"unknown way {shown(asked.how)}{near}")
    if way == "attach" and not (asked.remote_id or "").strip():
        raise UsageError("attach needs the REMOTE_ID that was found")
    if way != "attach" and asked.remote_id is not None:
        raise UsageError(f"{way} takes no REMOTE_ID")
    return way


def _agreed(asked: argparse.Namespace, console: Console, job: Job) -> bool:
    return asked.yes or (console.can_ask and console.ask(clean(f"{_doubt(job)}. Send it?")))


def _doubt(job: Job) -> str:
    return f"{job_called(job.id, job.name)} may be paid for twice"
