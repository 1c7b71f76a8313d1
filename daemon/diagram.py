"""`python -m daemon.diagram`: print the state diagram, or put it into a Markdown file."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from daemon.core.diagram import MarkersMissingError, mermaid, replaced
from daemon.core.machine import TABLE


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0 when the diagram was printed or the file holds it; 1 if the file has no place."""
    parser = argparse.ArgumentParser(prog="python -m daemon.diagram", description=__doc__)
    parser.add_argument("--update", metavar="FILE", type=Path, help="replace it in this file")
    asked = parser.parse_args(arguments)
    diagram = mermaid(TABLE)
    if asked.update is None:
        sys.stdout.write(f"{diagram}\n")
        return 0
    try:
        text = replaced(asked.update.read_text(encoding="utf-8"), diagram)
        asked.update.write_text(text, encoding="utf-8")
    except (OSError, UnicodeDecodeError, MarkersMissingError) as error:
        sys.stderr.write(f"{asked.update}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
