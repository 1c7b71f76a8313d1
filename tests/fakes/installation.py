"""A real genq in a folder of its own: configuration, daemon process, commands. For system tests."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tui.cli import run
from tui.clock import SystemClock
from tui.console import Console

READY_S_MAX = 20.0
COMMAND_S_MAX = 60.0
WAIT_S_MAX = 20.0
"""More than anything takes that a test waits for, on a machine that is busy."""
LOOK_EVERY_S = 0.01
CLOCK = SystemClock()
ROOT = Path(__file__).parent.parent.parent

CONFIG = """
[daemon]
stop_grace_s = 5

[pictures]
image_workers = 1

[providers.mock]
engine = "mock"
"""

T = TypeVar("T")


def until(look: Callable[[], T], limit_s: float = WAIT_S_MAX) -> T:
    """The first true value that `look` gives. Fails when there is none in time."""
    end = CLOCK.monotonic() + limit_s
    while not (seen := look()):
        assert CLOCK.monotonic() < end, f"still {seen!r} after {limit_s:g} s"
        CLOCK.sleep(LOOK_EVERY_S)
    return seen


class Answer(NamedTuple):
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def value(self) -> Any:
        """The one JSON value on standard output."""
        assert self.out.count("\n") == 1, self
        return json.loads(self.out)


class Installation:
    """`genqd` and `genq` in `folder`, away from whatever else this machine runs."""

    def __init__(self, folder: Path, mock: str = "", *, config: str = CONFIG) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        self.config.write_text(config + mock)
        self.state = folder / "state"
        self.socket = self.state / "genq.sock"
        self.process: subprocess.Popen[bytes] | None = None
        kept = {
            "PATH",
            "HOME",
            "LANG",
            "TMPDIR",
            "COVERAGE_PROCESS_START",
            "COVERAGE_PROCESS_CONFIG",
        }
        self.environ = {name: text for name, text in os.environ.items() if name in kept}

    def start(self, *args: str) -> None:
        """Start the daemon and wait until it answers. Raises RuntimeError with its output."""
        with (self.folder / "genqd.out").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "daemon.cli", "run", "--config", str(self.config), *args],
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        end = CLOCK.monotonic() + READY_S_MAX
        while self.ask("ping").code != 0:
            if self.process.poll() is not None or CLOCK.monotonic() > end:
                raise RuntimeError((self.folder / "genqd.out").read_text())
            CLOCK.sleep(LOOK_EVERY_S)

    def kill(self) -> None:
        """SIGKILL, and reap."""
        self._signal(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code. Does nothing if it isn't running."""
        return self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(READY_S_MAX)
        self.process = None
        return code

    def genq(
        self, *args: str, check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; raises CalledProcessError on a non-zero exit if `check`."""
        done = subprocess.run(
            [sys.executable, "-m", "tui.cli", *args],
            cwd=self.folder,
            env={**self.environ, "GENQ_SOCKET": str(self.socket), "PYTHONPATH": str(ROOT)},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"genq {args}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def genqd(self, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the daemon's own command to its end; never raises for an exit code."""
        return subprocess.run(
            [sys.executable, "-m", "daemon.cli", *args],
            cwd=self.folder,
            env={**self.environ, "PYTHONPATH": str(ROOT), **environ},
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
            check=False,
        )

    def reload(self, config: str) -> dict[str, Any]:
        """Write another configuration, have the daemon read it; the event that says what came."""
        seen = len(self.ask("events", "--json").out.splitlines())
        self.config.write_text(config)
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

        def told() -> dict[str, Any]:
            lines = self.ask("events", "--json").out.splitlines()[seen:]
            events = (json.loads(line) for line in lines)
            return next((one for one in events if "config_" in one["type"]), {})

        return until(told)

    def ask(self, *words: str) -> Answer:
        """Run a command in this process, into a pipe: ten times as fast as `genq`."""
        out, err = io.StringIO(), io.StringIO()
        console = Console(
            out=out,
            err=err,
            source=io.StringIO(),
            environ={**self.environ, "GENQ_SOCKET": str(self.socket)},
            clock=CLOCK,
        )
        code = run(words, console)
        return Answer(code, out.getvalue(), err.getvalue())

    def add(self, *words: str) -> int:
        """Add one job; its id."""
        answer = self.ask("add", *words, "--json")
        assert answer.code == 0, answer
        (number,) = answer.value["ids"]
        return int(number)

    def show(self, number: int) -> dict[str, Any]:
        """One job with its attempts, as `genq show --json` prints it."""
        found: dict[str, Any] = self.ask("show", str(number), "--json").value
        return found

    def until(self, number: int, *states: str) -> dict[str, Any]:
        """The job, once it is in one of `states`. Fails if that takes too long."""

        def look() -> dict[str, Any]:
            job = self.show(number)
            return job if job["state"] in states else {}

        return until(look)

    def json(self, *args: str) -> Any:
        """The value that a command prints with --json."""
        return json.loads(self.genq(*args, "--json", check=False).stdout)

    def jobs(self) -> list[dict[str, Any]]:
        """Every job, oldest first."""
        found: list[dict[str, Any]] = self.json("ls")
        return found

    def events(self) -> list[dict[str, Any]]:
        """Every stored event."""
        lines = self.genq("events", "--json").stdout.splitlines()
        return [json.loads(line) for line in lines]

    def ledger(self) -> list[dict[str, Any]]:
        """What the mock provider accepted: outside the daemon's memory."""
        path = self.state / "mock-ledger.jsonl"
        if not path.exists():
            return []
        lines = path.read_text().splitlines()
        return [row for line in lines if "key" in (row := json.loads(line))]


def fold(events: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """What a program that knows only docs/protocol.md makes of the stream: job by id."""
    jobs: dict[int, dict[str, Any]] = {}
    for event in events:
        if event["type"] == "added":
            jobs[event["job"]] = dict(event["value"])
        elif event.get("job") in jobs:
            job = jobs[event["job"]]
            job.update({key: value for key, value in event.items() if key in job})
    return jobs


def without_derived(job: dict[str, Any]) -> dict[str, Any]:
    """`job` without what is derived when it is read."""
    derived = {"next_at"} | ({"reason"} if job["state"] in ("queued", "submitting") else set())
    return {key: value for key, value in job.items() if key not in derived}
