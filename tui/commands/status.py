"""`genq status`: everything that matters, on one screen."""

import argparse

from daemon.wire.messages import Status
from tui.console import Console
from tui.options import Parser
from tui.provider_view import status_lines
from tui.session import connect


def arguments(parser: Parser) -> None:
    """It takes none of its own."""
    parser.epilog = "example: genq status"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Print counts by state, providers, problems, and where the daemon is."""
    with connect(asked, console) as session:
        status = session.request(Status())
    if console.json:
        console.value(status)
    else:
        now = console.clock.now()
        console.lines(status_lines(status, now=now, cells=console.cells, colour=console.colour))
    return 0
