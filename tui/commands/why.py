"""`genq why ID`: one sentence."""

import argparse

from daemon.wire.messages import Why
from tui.console import Console
from tui.options import Parser, job_id
from tui.session import connect
from tui.text import clean


def arguments(parser: Parser) -> None:
    """What `why` takes."""
    parser.add_argument("id", metavar="ID", type=job_id, help="the job")
    parser.epilog = "example: genq why 12"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Print what the job waits for, or why it ended, what happens next, and when."""
    with connect(asked, console) as session:
        why = session.request(Why(job=asked.id))
    if console.json:
        console.value(why)
    else:
        console.line(clean(why["sentence"]))
    return 0
