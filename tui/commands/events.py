"""`genq events`: what happened, and with `--follow` what happens."""

import argparse
from collections.abc import Mapping
from typing import Any

from daemon.wire.messages import Events, Why
from tui.console import Console
from tui.event_view import event_line
from tui.options import Parser, UsageError, job_id, whole_number
from tui.session import Session, connect, follow
from tui.text import clean


def arguments(parser: Parser) -> None:
    """What `events` takes."""
    add = parser.options.add_argument
    add("--after", metavar="SEQ", type=whole_number, help="only those after this number")
    add("--tail", metavar="N", type=whole_number, help="only the last so many")
    add("--follow", action="store_true", help="go on until ctrl+c; alone: from now on")
    add("--job", metavar="ID", type=job_id, help="only of this job")
    parser.epilog = "example: genq events --tail 20 --follow"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Print events, one a line, from the oldest kept to the newest, or on and on."""
    if asked.after is not None and asked.tail is not None:
        raise UsageError("--after and --tail exclude each other")
    last = asked.after
    with connect(asked, console) as session:
        if not asked.follow or asked.tail is not None:
            last = _tell_stored(asked, console, session)
        elif asked.job is not None:
            session.request(Why(job=asked.job))  # an unknown one would be followed for ever
    if not asked.follow:
        return 0
    console.flush()

    def away(error: Exception) -> None:
        console.note(clean(f"genq: {error}; connecting again …"))

    for event in follow(asked, console, after=last, job=asked.job, away=away):
        _tell(console, event)
        console.flush()
    return 0


def _tell_stored(asked: argparse.Namespace, console: Console, session: Session) -> int:
    """Print the stored events; the number up to which that was everything.

    Raises ServerError for a job that isn't known, and has left no events.
    """
    request = Events(after=asked.after, tail=asked.tail, job=asked.job)
    last, told = session.seq, False
    for event in session.events(request):
        _tell(console, event)
        last, told = max(last, event["seq"]), True
    if asked.job is not None and not told:
        session.request(Why(job=asked.job))
    return last


def _tell(console: Console, event: Mapping[str, Any]) -> None:
    if console.json:
        console.value(event)
    else:
        clock, cells = console.clock, console.cells
        console.line(event_line(event, clock=clock, cells=cells, colour=console.colour))
