"""`./dev crash [--kills N] [--seed N]`: the crash matrix, then random kills; README.md explains."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tests.crash.cells import Cell, cells
from tests.crash.matrix import Result, play
from tests.crash.night import Night, Tally
from tests.fakes.installation import CLOCK

KILLS = 100
WORKERS = max(2, os.cpu_count() or 1)
COLUMNS = "{:12}  {:18}  {:6}  {:6}  {:31}  {:>8}  {:>7}  {}"
LEGEND = """
lookup: whether the provider finds a request by its key; a "-": it makes no difference
answer: of the first paid request; cut: accepted, and the answer lost; lost: it never arrived
state after: of each job, or of the gate, when all is at rest and before an operator did anything
accepted: paid requests at the provider; on disk: results; then an operator settles what is left,
and all must be as often accepted as was asked for, and on disk
"""


def main() -> int:
    """0 if every promise held, else 1."""
    parser = argparse.ArgumentParser(prog="./dev crash", description=__doc__)
    parser.add_argument(
        "--kills", type=int, default=KILLS, metavar="N", help=f"random ones: {KILLS}"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the random kills: 1")
    parser.add_argument("--point", metavar="NAME", help="only this place, and no random kills")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="genq-crash-"))
    print(COLUMNS.format("scene", "killed at", "lookup", "answer", "state after", *_HEADS))
    wanted = [cell for cell in cells() if asked.point in (None, cell.place)]
    if not wanted:
        parser.error(f"no cell is killed at {asked.point!r}; see daemon/failpoints.py")
    broken = _matrix(wanted, folder)
    if asked.kills > 0 and asked.point is None:
        broken += _nights(asked.kills, asked.seed, folder)
    if broken:
        print(f"\n{broken} VIOLATIONS; the installations are kept in {folder}")
        return 1
    shutil.rmtree(folder)
    print("\nno violation")
    return 0


_HEADS = ("accepted", "on disk", "verdict")


def _matrix(wanted: Sequence[Cell], folder: Path) -> int:
    """Play all cells and print the table, in order; how many don't hold."""
    began = CLOCK.monotonic()
    broken = 0
    with ProcessPoolExecutor(WORKERS) as pool:
        places = [folder / f"{number:03}" for number, _ in enumerate(wanted)]
        for result, place in zip(pool.map(play, wanted, places), places, strict=True):
            print(_line(result), flush=True)
            for what in result.wrong:
                print(f"    {what.strip()}", flush=True)
            if result.wrong:
                print(f"    look at {place}", flush=True)
            else:
                shutil.rmtree(place)
            broken += bool(result.wrong)
    took = CLOCK.monotonic() - began
    print(f"{LEGEND}\n{len(wanted)} cells in {took:.0f} s, {broken} violated")
    return broken


def _line(result: Result) -> str:
    cell = result.cell
    known = "-" if cell.indifferent else "yes" if cell.lookup else "none"
    counts = (result.accepted, result.on_disk, "VIOLATED" if result.wrong else "ok")
    return COLUMNS.format(cell.scene, cell.point, known, cell.answer, result.state, *counts)


def _nights(kills: int, seed: int, folder: Path) -> int:
    """Random kills, on as many installations as there are cores; how many violations."""
    began = CLOCK.monotonic()
    shares = [kills // WORKERS + (place < kills % WORKERS) for place in range(WORKERS)]
    with ProcessPoolExecutor(WORKERS) as pool:
        runs = [
            pool.submit(_night, folder / f"night-{seed + place}", seed + place, share)
            for place, share in enumerate(shares)
            if share
        ]
        tallies = [run.result() for run in as_completed(runs)]
    wrong = [what for tally in tallies for what in tally.wrong]
    print(f"\n{kills} random kills in {CLOCK.monotonic() - began:.0f} s, seed {seed}:")
    print("\n".join(_summary(tallies)))
    for what in wrong:
        print(f"    VIOLATED: {what}")
    return len(wrong)


def _night(folder: Path, seed: int, kills: int) -> Tally:
    return Night(folder, seed).pass_by(kills, lambda line: print(line, flush=True))


def _summary(tallies: Sequence[Tally]) -> Iterator[str]:
    states: Counter[str] = sum((one.states for one in tallies), Counter())
    acts: Counter[str] = sum((one.acts for one in tallies), Counter())
    yield f"    {sum(one.early for one in tallies)} of them while it started"
    yield f"    jobs: {sum(one.jobs for one in tallies)} ({_counted(states)})"
    yield f"    accepted: {sum(one.accepted for one in tallies)}"
    yield f"    operators: {_counted(acts)}"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


if __name__ == "__main__":
    sys.exit(main())
