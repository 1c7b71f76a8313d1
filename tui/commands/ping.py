"""`genq ping`: whether the daemon answers, and how fast."""

import argparse

from daemon.wire.messages import Ping
from tui.console import Console
from tui.options import Parser, seconds
from tui.session import NoSocketError, UnreachableError, connect
from tui.text import clean

RETRY_EVERY_S = 0.1


def arguments(parser: Parser) -> None:
    """What `ping` takes."""
    wait = "try so many seconds until it answers"
    parser.options.add_argument("--wait", metavar="S", type=seconds, default=0.0, help=wait)
    parser.epilog = "example: genqd & genq ping --wait 10"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Say that it answers; raises UnreachableError if it doesn't, or not in time."""
    clock = console.clock
    give_up_at = clock.monotonic() + asked.wait
    while True:
        try:
            return _ping(asked, console)
        except (UnreachableError, NoSocketError):
            left_s = give_up_at - clock.monotonic()
            if left_s <= 0:
                raise
            clock.sleep(min(RETRY_EVERY_S, left_s))


def _ping(asked: argparse.Namespace, console: Console) -> int:
    with connect(asked, console) as session:
        started_at = console.clock.monotonic()
        session.request(Ping())
        latency_s = console.clock.monotonic() - started_at
    if console.json:
        console.value({"ok": True, "latency_s": latency_s})
    else:
        path = clean(str(session.path))
        console.line(f"genqd answers in {latency_s * 1_000:.1f} ms at {path}")
    return 0
