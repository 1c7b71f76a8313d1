"""`genq monitor`: the live view. What it needs is loaded when there is a terminal to show it on."""

import argparse
import gc
import sys
from importlib import import_module
from pathlib import Path

from daemon.wire.sockets import candidates
from tui.console import Console
from tui.options import Parser, UsageError
from tui.whereabouts import NoConfigError, state_folder


def arguments(parser: Parser) -> None:
    """What `monitor` takes."""
    add = parser.options.add_argument
    add("--read-only", action="store_true", help="leave out every action that changes something")
    add("--slow-link", action="store_true", help="four frames a second: fewer bytes")
    add("--ascii", action="store_true", help="plain signs, where others look wrong")
    parser.epilog = "example: genq monitor --read-only"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Show the monitor until it is left: 0. Raises UsageError where there is no terminal."""
    streams = (sys.stdin, sys.stdout, sys.stderr)  # None where the caller closed one
    if not all(stream is not None and stream.isatty() for stream in streams):
        raise UsageError("it needs a terminal; without one: genq status, or genq events --follow")
    try:
        state_dir = state_folder(asked.config, console.environ, Path.cwd())
    except NoConfigError as error:
        raise UsageError(str(error)) from None
    paths = candidates(asked.socket, console.environ, state_dir)
    gc.disable()  # nothing that is loaded now is garbage; the app lets it go on
    show = import_module("tui.monitor.show").show
    code: int = show(paths, asked, console)
    if code == 0:  # else a signal ended it, or there is no terminal any more to say it on
        console.note("the daemon goes on; `genq` shows it again")
    return code
