"""A pseudo-terminal with a program in it: what it writes, and when."""

import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time

from bench.rig import Rig

COLUMNS, LINES = 160, 48
SEEN_S_MAX = 60.0
READ_BYTES = 262_144
_SEQUENCES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_SYNCHRONISED = b"\x1b[?2026$p"
"""Asks whether frames can be shown whole; a terminal that can answers so."""
_IT_IS = b"\x1b[?2026;2$y"


class Terminal:
    """A terminal with `python ARGUMENTS` in it; it is ended with the `with`."""

    def __init__(self, rig: Rig, *arguments: str) -> None:
        self._master, slave = os.openpty()
        size = struct.pack("HHHH", LINES, COLUMNS, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
        self._came = threading.Condition()
        self._output = bytearray()
        self._last_at = 0.0

        def own_terminal() -> None:
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=rig.folder,
            env={**rig.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=own_terminal,  # noqa: PLW1509  before this process has threads of its own
        )
        os.close(slave)
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    def monitor(cls, rig: Rig) -> "Terminal":
        """One with the monitor of the rig's daemon in it."""
        return cls(rig, "-m", "tui.cli", "monitor", "--socket", str(rig.socket))

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(SEEN_S_MAX)
        os.close(self._master)

    def _read(self) -> None:
        while True:
            try:
                ready, _, _ = select.select([self._master], [], [], 1.0)
                content = os.read(self._master, READ_BYTES) if ready else b""
            except OSError:
                return  # the program has ended
            now = time.perf_counter()
            if _SYNCHRONISED in content:
                self.type(_IT_IS)
            if content:
                with self._came:
                    self._output += content
                    self._last_at = now
                    self._came.notify_all()

    # ---- what it sees ----

    @property
    def written(self) -> int:
        """Bytes so far."""
        return len(self._output)

    def text(self, start: int = 0) -> str:
        """What was written since the byte `start`, without sequences."""
        return _SEQUENCES.sub(b"", bytes(self._output[start:])).decode(errors="replace")

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def sees(self, what: bytes, start: int = 0) -> float:
        """The time (perf_counter) at which `what` had been written, behind the byte `start`.

        With an empty `what`: any text at all. Raises TimeoutError with the end of the output.
        """
        end = time.perf_counter() + SEEN_S_MAX
        with self._came:
            while not (what in self._output[start:] if what else self.text(start).strip()):
                if self._process.poll() is not None or not self._came.wait(
                    end - time.perf_counter()
                ):
                    raise TimeoutError(f"{what!r} was not seen: {self.text()[-300:]}")
            return self._last_at

    def more(self, start: int) -> float:
        """The time at which more than `start` bytes had been written."""
        with self._came:
            self._came.wait_for(lambda: self.written > start, SEEN_S_MAX)
            return self._last_at

    def quiet(self, seconds: float) -> None:
        """Return when nothing was written for so long."""
        with self._came:
            while self._came.wait(seconds):
                pass
