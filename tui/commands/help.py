"""`genq help [COMMAND]`: what there is, and what one of them takes."""

import argparse

from daemon.core.suggest import did_you_mean, shown
from tui.cli import VERBS, parser_of
from tui.console import Console
from tui.options import Parser, UsageError
from tui.text import pad

_HEAD = """usage: genq COMMAND [ARGUMENT...]

The queue for paid AI image and video jobs. Without a command: the monitor on
a terminal, else the status. --socket PATH, --config FILE and --json may stand
before or after the command; --version tells the version.
"""
_FOOT = """
`genq help COMMAND` tells what a command takes.

exit codes: 0 done; 1 the thing asked about failed or was refused; 2 a bad
command line, query or job file; 3 the daemon can't be reached; 4 timed out"""


def arguments(parser: Parser) -> None:
    """What `help` takes."""
    parser.add_argument("command", metavar="COMMAND", nargs="?", help="one of them")
    parser.epilog = "example: genq help add"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Print the list of commands, or the help of one."""
    if asked.command is None:
        console.lines(_HEAD.splitlines())
        cells = max(map(len, VERBS)) + 2
        console.lines(f"  {pad(name, cells)}{verb.summary}" for name, verb in VERBS.items())
        console.lines(_FOOT.splitlines())
        return 0
    if asked.command not in VERBS:
        near = did_you_mean(asked.command, VERBS) or "; `genq help` lists them"
        raise UsageError(f"unknown command {shown(asked.command)}{near}")
    console.lines(parser_of(asked.command).format_help().splitlines())
    return 0
