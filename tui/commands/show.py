"""`genq show ID`: all there is to know about a job."""

import argparse

import msgspec

from daemon.core.job import Job
from daemon.wire.messages import Show, Why
from tui.console import COLUMNS_MAX, Console
from tui.job_view import JobPage
from tui.options import Parser, job_id
from tui.session import connect


def arguments(parser: Parser) -> None:
    """What `show` takes."""
    parser.add_argument("id", metavar="ID", type=job_id, help="the job")
    parser.epilog = "example: genq show 12"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Print the job, its stages and attempts, its last error with the rule, its files."""
    with connect(asked, console) as session:
        value = session.request(Show(job=asked.id))
        why = session.request(Why(job=asked.id)) if not console.json else {}
    if console.json:
        console.value(value)
        return 0
    page = JobPage(
        msgspec.convert(value, Job),
        why["sentence"],
        clock=console.clock,
        cells=console.cells or COLUMNS_MAX,
        colour=console.colour,
    )
    console.lines(page.lines())
    return 0
