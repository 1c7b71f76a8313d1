"""From the command line to the monitor, and back."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tui.console import Console
from tui.monitor.app import Monitor
from tui.monitor.driver import GuardedDriver


def show(paths: Sequence[Path], asked: argparse.Namespace, console: Console) -> int:
    """Run the monitor until it is left; its exit code.

    Over SSH the mouse stays with the operator's own terminal until `M` asks for it.
    """
    app = Monitor(
        paths,
        clock=console.clock,
        read_only=asked.read_only,
        slow_link=asked.slow_link,
        plain=asked.ascii or _is_plain(console.environ),
    )
    code = app.run(mouse="SSH_CONNECTION" not in console.environ)
    ended = app.return_code or 0 if code is None else code
    if not GuardedDriver.all_taken or _is_gone():
        os._exit(ended)  # flushing at exit would wait for ever, or turn the code into another
    return ended


def _is_plain(environ: Mapping[str, str]) -> bool:
    """Whether the locale says that the terminal has no UTF-8. Python itself may set LC_CTYPE.

    >>> _is_plain({"LANG": "C"}), _is_plain({"LANG": "zh_CN.UTF-8"}), _is_plain({})
    (True, False, False)
    """
    locale = environ.get("LC_ALL") or environ.get("LANG") or ""
    return bool(locale) and "utf" not in locale.casefold()


def _is_gone() -> bool:
    """Whether the terminal takes nothing any more because it isn't there."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return True
    return False
