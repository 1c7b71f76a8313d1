"""`genq providers`: gates, counters, latencies."""

import argparse

from daemon.wire.messages import Providers
from tui.console import Console
from tui.options import Parser
from tui.provider_view import provider_lines
from tui.session import connect


def arguments(parser: Parser) -> None:
    """It takes none of its own."""
    parser.epilog = "example: genq providers --json"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Print every provider."""
    with connect(asked, console) as session:
        rows = session.request(Providers())
    if console.json:
        console.value(rows)
    else:
        now = console.clock.now()
        console.lines(provider_lines(rows, now=now, cells=console.cells, colour=console.colour))
    return 0
