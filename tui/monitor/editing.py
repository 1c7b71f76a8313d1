"""A job in the operator's editor: `genq edit`, while the terminal is lent to it."""

import asyncio
import os
import sys
from pathlib import Path

from tui.text import clean


async def edit(number: int, socket: Path) -> tuple[bool, str]:
    """Whether the command succeeded, and what it said that an operator should know.

    It takes as long as the person does: nothing here waits less.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tui.cli", "edit", str(number), "--socket", str(socket)),
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "EDITOR": os.environ.get("EDITOR") or "vi"},
        )
    except OSError as error:
        return False, clean(f"not edited: {error}")
    _, said = await process.communicate()
    lines = said.decode(errors="replace").strip().splitlines()
    return process.returncode == 0, clean("; ".join(lines))
