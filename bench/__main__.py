"""`./dev bench [NAME...] [--quick]`: one JSON object a line; README.md tells how to read one."""

import argparse
import sys
import traceback
from collections.abc import Callable, Iterator
from importlib import import_module

from bench.lines import Line, encode, skipped

BENCHMARKS = {
    "disk": "bench.disk",
    "drain": "bench.throughput",
    "add": "bench.throughput",
    "waits": "bench.throughput",
    "start": "bench.latency",
    "status": "bench.latency",
    "idle": "bench.resting",
    "ready": "bench.resting",
    "polls": "bench.resting",
    "fanout": "bench.fanout",
    "paint": "bench.monitor",
    "frame": "bench.monitor",
    "seen": "bench.monitor",
    "crowd": "bench.monitor",
    "watch": "bench.monitor",
}


def main() -> int:
    """Run what was asked for: 0, or 1 if a benchmark could not be run to its end."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="smaller loads, fewer rounds")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in BENCHMARKS]:
        parser.error(f"unknown: {', '.join(unknown)} (there are: {', '.join(BENCHMARKS)})")
    failed = False
    for name in asked.names or BENCHMARKS:
        measure: Callable[[bool], Iterator[Line]] = getattr(import_module(BENCHMARKS[name]), name)
        try:
            for one in measure(asked.quick):
                print(encode(one), flush=True)
        except Exception as error:  # noqa: BLE001  the others are still worth measuring
            failed = True
            traceback.print_exc()
            print(encode(skipped(name, f"{type(error).__name__}: {error}"[:300])), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
