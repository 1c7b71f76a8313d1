"""What the monitor loads before its first frame: nothing that only the daemon needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = {"aiohttp", "PIL", "structlog", "sqlite3", "tomli_w", "markdown_it", "pygments"}
LATER = {f"tui.monitor.screens.{name}" for name in ("help", "palette", "providers", "resolve")}


def loaded(statement: str) -> set[str]:
    # What was there before, as when coverage is measured, isn't the statement's.
    code = f"import sys\nold = set(sys.modules)\n{statement}\nprint(*(set(sys.modules) - old))"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(ran.stdout.split())


def test_the_monitor_loads_nothing_heavy_and_no_screen_that_is_not_shown() -> None:
    assert loaded("import tui.monitor.show") & (HEAVY | LATER) == set()


def test_the_command_loads_textual_only_when_there_is_a_terminal() -> None:
    assert "textual" not in loaded("import tui.commands.monitor")
