"""A real genq in a folder of its own, on the checkout's disk: configuration, daemon, commands."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec

from daemon.wire.client import Client, UnreachableError
from daemon.wire.messages import Row
from daemon.wire.upload import add_all

ROOT = Path(__file__).resolve().parent.parent
READY_S_MAX = 60.0
STOP_S_MAX = 60.0
LOOK_S = 0.002
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TERM")
"""Of the environment: nothing of it may configure genq."""
FAST = "submit_s = 0\ngenerate_s = 0\noutputs = 0\npoll_interval_s = 0.001\nconcurrency = 100\n"
"""A mock that keeps nobody waiting, and makes nothing."""


@contextmanager
def folder() -> Iterator[Path]:
    """A folder on the file system of the checkout, removed afterwards."""
    made = Path(tempfile.mkdtemp(prefix=".bench-", dir=ROOT))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


class Rig:
    """`genqd` with the mock, as the lines `mock` say, and its own state. Use it in a `with`.

    `more` is what else its configuration holds; `environ` what its processes see.
    """

    def __init__(self, mock: str, *, more: str = "") -> None:
        self._mock = mock
        self._more = more
        self.pid = 0

    def __enter__(self) -> "Rig":
        self.folder = Path(tempfile.mkdtemp(prefix=".bench-", dir=ROOT))
        # A socket's path is short, and where the checkout is may not be.
        self._short = Path(tempfile.mkdtemp(prefix="genq-"))
        self.socket = self._short / "s"
        self.config = self.folder / "config.toml"
        text = (
            f'[daemon]\nsocket = "{self.socket}"\n'
            f'[providers.mock]\nengine = "mock"\n{self._mock}\n{self._more}'
        )
        self.config.write_text(text)
        self.environ = {name: os.environ[name] for name in KEPT if name in os.environ}
        self.environ["PYTHONPATH"] = str(ROOT)
        self._process: subprocess.Popen[bytes] | None = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            shutil.rmtree(self._short, ignore_errors=True)

    # ---- the daemon ----

    def start(self, *, module: tuple[str, ...] = ("daemon.cli",)) -> float:
        """Start the daemon; seconds until it answered. Raises RuntimeError with what it said.

        `module` is what runs it: its name, and arguments that stand before the daemon's own.
        """
        command = [sys.executable, "-m", *module, "run", "--config", str(self.config)]
        output = (self.folder / "genqd.out").open("ab")
        with output:
            began = time.perf_counter()
            self._process = self._run(command, output)
        self.pid = self._process.pid
        while True:
            try:
                Client.connect(self.socket).close()
            except UnreachableError:
                if self._process.poll() is not None or time.perf_counter() > began + READY_S_MAX:
                    self.stop()
                    raise RuntimeError((self.folder / "genqd.out").read_text()) from None
                time.sleep(LOOK_S)
            else:
                return time.perf_counter() - began

    def _run(self, command: list[str], output: IO[bytes]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )

    def stop(self) -> None:
        """End the daemon in order, or by force if it doesn't. Does nothing if it isn't there."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S_MAX)

    # ---- its clients ----

    def client(self) -> Client:
        """A connection; close it."""
        return Client.connect(self.socket)

    def genq(self, *arguments: str) -> float:
        """Run a command; seconds from its start to its end. Raises RuntimeError if it failed."""
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "tui.cli", *arguments],
            cwd=self.folder,
            env={**self.environ, "GENQ_SOCKET": str(self.socket)},
            capture_output=True,
            text=True,
            check=False,
            timeout=READY_S_MAX,
        )
        took = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"genq {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return took

    def write_jobs(self, count: int) -> Path:
        """A file of `count` jobs in JSON lines."""
        path = self.folder / f"{count}.jsonl"
        encode = msgspec.json.encode
        path.write_bytes(b"\n".join(encode(row) for row in rows(count)) + b"\n")
        return path

    def add(self, count: int, provider: str = "mock") -> None:
        """Add so many jobs, as `genq add --file` does."""
        with self.client() as client:
            add_all(client, rows(count, provider), {})


def rows(count: int, provider: str = "mock") -> list[Row]:
    """Jobs as people write them: a name, a prompt, a batch, a few params for the mock."""
    params = {"width": 640, "height": 360} if provider == "mock" else {}
    return [
        Row(
            provider=provider,
            prompt=f"a red kite over the harbour at dawn, wide shot, take {number}",
            name=f"shot-{number:05}",
            batch=f"episode-{number % 10}",
            params=params,
        )
        for number in range(count)
    ]
