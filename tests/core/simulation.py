"""Nights by the thousand: eight hours of storms and a calm day each, on a clock that costs nothing.

The real book, runners and supervisor run on asyncio over virtual time, against providers with
weather, operators, edited configurations, a slow journal, and crashes at the worst moments
(tests/core/night/). Every fact is held to the promises of tests/core/night/invariants.py. A seed is
a history, the same on every machine:

    python -m tests.core.simulation 10000            seeds 0 to 9999, on every core
    python -m tests.core.simulation 1 --from 4711    the one that failed, and its story
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import msgspec
import structlog

from daemon.clock import SystemClock
from daemon.core.machine import TABLE
from tests.core.night.plan import HOUR, Plan, stormy
from tests.core.night.report import Failed, Night, story, table, unwalked
from tests.core.night.simulation import Parts, Simulation
from tests.core.world import Dice

__all__ = ["HOUR", "Parts", "Plan", "Simulation", "main", "night", "simulate", "stormy"]

SEEDS_PER_TURN = 25
EDGES = [
    (state, kind, target)
    for state, row in TABLE.items()
    for kind, targets in row.items()
    for target in sorted(targets)
]


def simulate(seed: int, plan: Plan | None = None, parts: Parts | None = None) -> Simulation:
    """The history of `seed`, checked to its end. Raises Failed with the whole story."""
    simulation = Simulation(plan or stormy(), Dice(seed), parts)
    try:
        simulation.run()
    except Exception as error:
        raise story(seed, error, simulation.auditor) from error
    return simulation


def night(seed: int, *, steady_clock: bool = False) -> Night | Failed:
    """What `seed` came to; a broken promise is an answer too."""
    plan = msgspec.structs.replace(stormy(), jumps=0.0) if steady_clock else stormy()
    try:
        simulation = simulate(seed, plan)
    except Failed as failed:
        return failed
    auditor = simulation.auditor
    return Night(seed, simulation.digest, dict(auditor.tally), frozenset(auditor.edges))


def main() -> int:
    """Run the nights asked for. Returns 1 if any broke a promise; its story is printed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("count", type=int, help="how many nights")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; default: all")
    parser.add_argument("--steady-clock", action="store_true", help="nobody sets the clock")
    asked = parser.parse_args()
    clock = SystemClock()
    began_at = clock.monotonic()
    tally: Counter[str] = Counter()
    edges: frozenset[tuple[str, str, str]] = frozenset()
    failures: list[Failed] = []
    seeds = range(asked.first, asked.first + asked.count)
    one = partial(night, steady_clock=asked.steady_clock)
    for done, came in enumerate(_nights(one, seeds, asked.jobs)):
        if isinstance(came, Failed):
            failures.append(came)
            _say(came.story)
        else:
            tally.update(came.tally)
            edges |= came.edges
        if (done + 1) % 1_000 == 0:
            _say(f"{done + 1:,} nights, {len(failures)} broke a promise")
    took_s = clock.monotonic() - began_at
    if asked.count > len(failures):
        _say(table(asked.count - len(failures), tally, len(edges & set(EDGES)), len(EDGES)))
        _say(unwalked(edges, EDGES))
    verdict = "no promise was broken" if not failures else f"{len(failures)} broke a promise"
    _say(f"{asked.count:,} nights (seeds from {asked.first} on) in {took_s:.0f} s: {verdict}")
    return 1 if failures else 0


def _nights(
    one: Callable[[int], Night | Failed], seeds: range, processes: int
) -> Iterator[Night | Failed]:
    """What each seed came to, in their order."""
    if processes <= 1 or len(seeds) == 1:
        _keep_quiet(logging.ERROR if len(seeds) == 1 else logging.CRITICAL)
        yield from map(one, seeds)
        return
    quiet = partial(_keep_quiet, logging.CRITICAL)
    with ProcessPoolExecutor(processes, initializer=quiet) as pool:
        yield from pool.map(one, seeds, chunksize=SEEDS_PER_TURN)


def _keep_quiet(level: int) -> None:
    """Log lines of a night that goes well are noise."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))


def _say(text: str) -> None:
    if text:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
