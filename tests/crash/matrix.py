"""The crash matrix: every cell is played on an installation of its own, and audited twice.

First when all has come to rest and no operator did anything; then after an operator did what is
left: attached or paid again for what is in doubt, released what is held, requeued what failed.
"""

from __future__ import annotations

import contextlib
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.crash.audit import Paid, Row, Seen, violations
from tests.crash.cells import Cell
from tests.crash.scenes import SCENES, Stage, vendor_for
from tests.crash.vendors import Serving
from tests.fakes.installation import until

OVER_HTTP = ("http", "inline")


class Result(NamedTuple):
    """A line of the table."""

    cell: Cell
    state: str = ""
    accepted: str = ""
    on_disk: str = ""
    wrong: Sequence[str] = ()


def play(cell: Cell, folder: Path) -> Result:
    """Play `cell` in `folder`. Never raises: what goes wrong is in the result."""
    with contextlib.ExitStack() as stack:
        serving = (
            stack.enter_context(Serving(vendor_for(cell))) if cell.scene in OVER_HTTP else None
        )
        stage = Stage(cell, folder, serving)
        stack.callback(stage.genq.kill)
        try:
            SCENES[cell.scene](stage)
            return judged(stage)
        except Exception:  # noqa: BLE001  a cell that breaks is a finding, and the others go on
            return Result(cell, "?", wrong=[traceback.format_exc()])


def judged(stage: Stage) -> Result:
    """What came of it, before and after an operator."""
    cell, genq = stage.cell, stage.genq
    jobs = genq.settle()
    seen = _seen(stage, jobs)
    wrong = violations(seen, stage.asked)
    state = _state(stage, jobs)
    if not _fits(state, cell.state):
        wrong.append(f"expected {cell.state}, found {state}")
    if cell.accepted is not None and len(seen.paid) != cell.accepted:
        wrong.append(f"expected {cell.accepted} accepted, found {len(seen.paid)}")
    if serving := stage.serving:
        wrong += serving.vendor.complaints
    written = sum(len(job["outputs"]) for job in jobs)
    result = Result(cell, state, str(len(seen.paid)), str(written), wrong)
    if wrong or {job["state"] for job in jobs} == {"succeeded"}:
        return result
    return result._replace(wrong=_operated(stage, jobs, seen.paid))


def _state(stage: Stage, jobs: Sequence[Row]) -> str:
    if stage.cell.scene in ("pause", "resume"):
        (row,) = stage.genq.ask("providers", "--json").value
        return str(row["gate"]["state"])
    return " ".join(job["state"] for job in jobs) or "gone"


def _fits(state: str, expected: str) -> bool:
    words, wanted = state.split(), expected.split()
    pairs = zip(words, wanted, strict=False)
    return len(words) == len(wanted) and all(word in want.split("/") for word, want in pairs)


def _seen(stage: Stage, jobs: Sequence[Row]) -> Seen:
    paid = stage.paid(list(jobs))
    if stage.cell.scene == "prune":  # they are gone, as they should be; their files aren't
        assert list(stage.genq.folder.glob("outputs/*/1.png"))
        paid = []
    return Seen(jobs, stage.genq.stream(), paid, stage.genq.alarms())


# ---- the operator ----


def _operated(stage: Stage, jobs: Sequence[Row], paid: Sequence[Paid]) -> list[str]:
    """What doesn't hold once an operator has done what was left to do."""
    genq = stage.genq
    expected = Counter(one.job for one in paid)
    if genq.stop() != 0:
        return ["it doesn't stop in order"]
    stage.weather()
    genq.launch()
    genq.ask("resume")
    wrong: list[str] = []
    for job in jobs:
        wrong += _settled(stage, job, paid, expected)
    if stage.cell.scene == "prune":
        return wrong

    def over() -> bool:
        return all(job["state"] == "succeeded" for job in genq.settle())

    until(over)
    after = genq.shown()
    seen = _seen(stage, after)
    counts = Counter(one.job for one in seen.paid)
    if counts != expected:
        wrong.append(f"accepted by job {dict(counts)}, asked for {dict(expected)}")
    return wrong + violations(seen, stage.asked)


def _settled(stage: Stage, job: Row, paid: Sequence[Paid], expected: Counter[int]) -> list[str]:
    """Do what an operator can do for `job`; note in `expected` what is paid for by that."""
    genq, number = stage.genq, str(job["id"])
    match job["state"]:
        case "in_doubt":
            if genq.ask("requeue", number, "--yes").code != 1:
                return [f"job {number} is in doubt, and was requeued"]
            key = job["attempts"][-1]["key"]
            found = next((one.remote_id for one in paid if one.key == key), None)
            if found == "":  # nobody can find it, so nobody can attach it
                genq.ask("resolve", number, "write-off")
                return _settled(stage, {**job, "state": "failed"}, paid, expected)
            if found is not None:
                done = genq.ask("resolve", number, "attach", found)
            else:
                expected[job["id"]] += 1
                done = genq.ask("resolve", number, "pay-again", "--yes")
        case "held":
            done = genq.ask("release", number)
        case "failed" | "cancelled":
            stage.asked[job["id"]] += 1
            done = genq.ask("requeue", number, "--yes")
            told = [one for one in genq.stream() if one["type"] == "requeued"]
            # Where the old task may live it is gone back to, and nothing is paid for.
            expected[job["id"]] += bool(told) and told[-1]["state"] == "queued"
        case _:
            return []
    return [] if done.code == 0 else [f"job {number}, {job['state']}: {done.out}{done.err}"]
