"""`genq ls`: the jobs, in a table or as JSON."""

import argparse
from typing import Any

from msgspec import Raw

from daemon.core.job import FINISHED, Job
from daemon.core.query import SORT_KEYS
from daemon.wire.messages import Ls, Providers
from tui.console import Console
from tui.job_view import job_table
from tui.options import Parser, whole_number
from tui.selection import check_provider, checked_query, checked_sort
from tui.session import connect
from tui.text import counted

RECENT = 50
"""So many finished jobs are enough for a screen; the unfinished ones are always all there."""


def arguments(parser: Parser) -> None:
    """What `ls` takes."""
    add = parser.options.add_argument
    add("--state", metavar="S,..", action="append", default=[], help="only in these states")
    add("--provider", metavar="P", help="only of this provider")
    add("--batch", metavar="B", help="only of this batch")
    add("--filter", metavar="QUERY", help="only what the query holds for; see docs/commands.md")
    add("--sort", metavar="KEY", help=f"{', '.join(SORT_KEYS)}; -KEY for descending")
    add("--limit", metavar="N", type=whole_number, help="at most so many")
    add("--all", action="store_true", help=f"on a terminal too: more than the last {RECENT}")
    parser.epilog = "example: genq ls --state failed,held --sort -errors --limit 10"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Print the jobs: on a terminal all unfinished and the last finished ones, else all."""
    brief = console.is_terminal and not (asked.all or console.json)
    request = Ls(
        provider=asked.provider,
        batch=asked.batch,
        filter=checked_query(asked.filter, asked.state),
        sort=checked_sort(asked.sort),
        limit=asked.limit,
        recent=RECENT if brief else None,
    )
    kind: Any = Raw if console.json else Job
    with connect(asked, console) as session:
        jobs = session.jobs(request, kind)
        if not jobs and asked.provider is not None:
            check_provider(asked.provider, session.request(Providers()))
    if console.json:
        console.value(jobs)
        return 0
    now = console.clock.now()
    if jobs:
        console.lines(job_table(jobs, now=now, cells=console.cells, colour=console.colour))
    else:
        console.note("no jobs")
    if brief and sum(job.state in FINISHED for job in jobs) == RECENT:
        console.note(f"of the finished ones the last {counted(RECENT, 'job')}; --all shows more")
    return 0
