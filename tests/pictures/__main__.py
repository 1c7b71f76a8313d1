"""`./dev pictures`: the README's pictures, taken from the running program on the example batch.

A daemon with rough weather, the monitor on top of it, and a few keys; what is seen is saved as SVG.
"""

import asyncio
import re
import sys
import tempfile
from pathlib import Path

from tests.fakes.installation import ROOT, Installation
from tui.clock import SystemClock
from tui.monitor.app import Monitor

FOLDER = ROOT / "docs" / "pictures"
WEATHER = """
generate_s = [6, 14]
poll_interval_s = 1
concurrency = 4
polls_504 = 0.35
failures = 0.15
quota_every = 11
quota_for_s = 40
seed = 5

[providers.veo]
engine = "mock"
enabled = false
"""
SHOTS = (("jobs", ""), ("job", "enter"), ("providers", "escape 2"))
SETTLE_S = 12.0
FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


async def take(genq: Installation) -> None:
    """Save one picture for each of SHOTS."""
    app = Monitor([genq.socket], clock=SystemClock())
    async with app.run_test(size=(110, 30)) as pilot:
        await asyncio.sleep(SETTLE_S)
        for name, keys in SHOTS:
            if keys:
                await pilot.press(*keys.split())
                await asyncio.sleep(1.0)
            # The reader's own monospace font will do: the picture fetches nothing.
            svg = FONT.sub("", app.export_screenshot(title="genq"))
            (FOLDER / f"{name}.svg").write_text(svg, encoding="utf-8")
            print(f"docs/pictures/{name}.svg")
        await pilot.press("q")


def _batch() -> str:
    """The example batch without its reference pictures: their paths are those of this machine."""
    text = (ROOT / "examples" / "storyboard.toml").read_text(encoding="utf-8")
    return "".join(line for line in text.splitlines(True) if '"refs/' not in line)


def main() -> int:
    """Take all pictures; the exit code."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="genq-") as folder:
        genq = Installation(Path(folder), WEATHER)
        genq.start()
        try:
            genq.genq("add", "--file", "-", "--format", "toml", stdin=_batch())
            asyncio.run(take(genq))
        finally:
            genq.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
