"""The daemon under cProfile: `python -m bench.profiled FILE run --config CONFIG`.

Times in it are those of the event loop's thread, and longer than without it; the counts are true.
"""

import cProfile
import sys
from importlib import import_module


def main() -> int:
    """Run `genqd` with what follows FILE; leave the profile there for `python -m pstats`."""
    path, sys.argv = sys.argv[1], ["genqd", *sys.argv[2:]]
    run = import_module("daemon.cli").main
    profile = cProfile.Profile()
    try:
        code: int = profile.runcall(run)
    finally:
        profile.dump_stats(path)
    return code


if __name__ == "__main__":
    sys.exit(main())
