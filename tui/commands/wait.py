"""`genq wait`: until none of the jobs can go on by itself."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from daemon.wire.messages import Wait
from tui.console import Console
from tui.options import Parser, UsageError, job_id, seconds
from tui.session import connect
from tui.text import age, cut

TIMED_OUT = 4
BAR_CELLS = 24
IDS_NAMED_MAX = 10
OUTCOMES = ("succeeded", "failed", "cancelled", "stuck", "unfinished")
_SHOWN = {"succeeded": "done"}


def arguments(parser: Parser) -> None:
    """What `wait` takes."""
    parser.add_argument("ids", metavar="ID", nargs="*", type=job_id, help="the jobs; else all")
    add = parser.options.add_argument
    add("--batch", metavar="B", help="the jobs of this batch")
    add("--timeout", metavar="S", type=seconds, help="leave with 4 after so many seconds")
    parser.epilog = "example: genq wait --batch episode-1 --timeout 3600 && make film"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Wait: 0 if all succeeded, 4 if the time was up, else 1. A bar moves on a terminal."""
    if asked.ids and asked.batch is not None:
        raise UsageError("name jobs by ID, or a batch with --batch, not both")
    request = Wait(
        jobs=tuple(dict.fromkeys(asked.ids)) or None,
        batch=asked.batch,
        timeout_s=asked.timeout,
    )
    started_at = console.clock.monotonic()
    cells = console.bar_cells

    def progress(counts: Mapping[str, int]) -> None:
        if cells is not None:
            waited_s = console.clock.monotonic() - started_at
            console.bar(cut(bar(counts, waited_s), cells))

    with connect(asked, console) as session:
        try:
            value = session.wait(request, progress)
        finally:
            if cells is not None:
                console.bar("")
    timed_out = value["timed_out"]
    ids = {name: value[name] for name in OUTCOMES}
    all_done = not timed_out and not any(ids[name] for name in OUTCOMES[1:])
    if console.json:
        console.value(ids)
    elif console.is_terminal:
        console.line(summary(ids))
    elif not all_done:
        console.note(summary(ids))
    if timed_out:
        return TIMED_OUT
    return 0 if all_done else 1


def bar(counts: Mapping[str, int], waited_s: float) -> str:
    """How far it is, on one line.

    >>> bar({"total": 4, "succeeded": 2, "failed": 1, "unfinished": 1}, 63.0)
    '██████████████████░░░░░░  3 of 4  2 done, 1 failed  1:03'
    """
    total = counts["total"]
    over = total - counts["unfinished"]
    full = BAR_CELLS * over // total if total else BAR_CELLS
    parts = [
        f"{counts[name]} {_SHOWN.get(name, name)}" for name in OUTCOMES[:-1] if counts.get(name)
    ]
    told = f"  {', '.join(parts)}" if parts else ""
    blocks = "█" * full + "░" * (BAR_CELLS - full)
    return f"{blocks}  {over} of {total}{told}  {age(waited_s)}"


def summary(ids: Mapping[str, Sequence[Any]]) -> str:
    """How it ended, with the ids of those that didn't succeed.

    >>> summary({"succeeded": [1, 2], "failed": [3], "cancelled": [], "stuck": []})
    '2 done, 1 failed (3)'
    """
    parts = []
    for name, jobs in ids.items():
        if not jobs:
            continue
        text = f"{len(jobs):,} {_SHOWN.get(name, name)}"
        if name != "succeeded":
            more = ", …" if len(jobs) > IDS_NAMED_MAX else ""
            text += f" ({', '.join(map(str, jobs[:IDS_NAMED_MAX]))}{more})"
        parts.append(text)
    return ", ".join(parts) or "no jobs to wait for"
