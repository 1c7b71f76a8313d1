"""The monitor in a real pseudo-terminal, as a process of its own."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

ROOT = Path(__file__).parents[3]
START = "import sys; from tui.cli import main; sys.exit(main())\n"
IGNORING_HANGUP = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
SEQUENCES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
USUAL = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
SEEN_S_MAX = 20.0


class Terminal:
    """A terminal of some size with a monitor in it. `output` is all that it was sent."""

    def __init__(self, size: tuple[int, int] = (80, 24)) -> None:
        self.output = bytearray()
        self.master, self._slave = os.openpty()
        self._size = size
        self.resize(*size)
        self._loop = asyncio.get_running_loop()
        self._came = asyncio.Event()
        self.process: subprocess.Popen[bytes] | None = None
        self.reading(True)

    def start(self, *words: str, code: str = START, **environ: str) -> None:
        """Run `genq WORDS` in it."""
        slave = self._slave

        def own_terminal() -> None:
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        unset = {"NO_COLOR", "COLUMNS", "LINES"}  # the last two would fix its size
        kept = {name: value for name, value in os.environ.items() if name not in unset}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=own_terminal,  # noqa: PLW1509  nothing else runs in this test's process
            env={**kept, **USUAL, **environ},
        )
        os.close(slave)

    # ---- what the terminal does ----

    def resize(self, columns: int, lines: int) -> None:
        """Have another size, and tell the program."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def reading(self, reads: bool) -> None:
        """Take what is written, or leave it."""
        if reads:
            self._loop.add_reader(self.master, self._read)
        else:
            self._loop.remove_reader(self.master)

    def _read(self) -> None:
        try:
            content = os.read(self.master, 65_536)
        except OSError:
            content = b""
        if not content:
            self.reading(False)
        self.output += content
        self._came.set()

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.master, text.encode())

    def signal(self, number: signal.Signals) -> None:
        """Send the monitor a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def hang_up(self) -> None:
        """Be gone."""
        self.reading(False)
        os.close(self.master)
        self.master = -1

    # ---- what a test sees ----

    @property
    def text(self) -> str:
        """What was written, without its sequences."""
        return SEQUENCES.sub(b"", bytes(self.output)).decode(errors="replace")

    async def sees(self, *texts: str) -> None:
        """Wait until all of these were written."""
        async with asyncio.timeout(SEEN_S_MAX):
            while not all(text in self.text for text in texts):
                self._came.clear()
                await self._came.wait()

    async def quiet(self, seconds: float = 0.4) -> None:
        """Wait until nothing was written for a while."""
        try:
            while True:
                self._came.clear()
                async with asyncio.timeout(seconds):
                    await self._came.wait()
        except TimeoutError:
            return

    async def ended(self) -> int:
        """Wait for the end; the exit code, negative for a signal's number."""
        assert self.process is not None
        async with asyncio.timeout(SEEN_S_MAX):
            while self.process.poll() is None:
                self._came.clear()
                try:
                    async with asyncio.timeout(0.05):
                        await self._came.wait()
                except TimeoutError:
                    continue
        await self.quiet(0.2)  # what is still in the terminal's buffer
        return self.process.returncode

    def close(self) -> None:
        """End what still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.master >= 0:
            self.hang_up()
