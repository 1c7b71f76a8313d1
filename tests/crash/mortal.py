"""A genq that is killed: by the places of `daemon.failpoints`, or from outside."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from daemon.engines.mock_fate import fate_of
from daemon.failpoints import TRACE_VARIABLE, VARIABLE
from tests.crash.audit import Paid
from tests.fakes.installation import CLOCK, CONFIG, READY_S_MAX, ROOT, Installation

DIES_S_MAX = 20.0
SETTLES_S_MAX = 20.0
LOOK_EVERY_S = 0.005
ALARM_CHARS_MAX = 300


class Mortal(Installation):
    """`program` are the words behind `python -m` that run the daemon."""

    def __init__(
        self,
        folder: Path,
        mock: str = "",
        *,
        config: str = CONFIG,
        program: Sequence[str] = ("daemon.cli",),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, mock, config=config)
        self._before = config
        self.program = program
        self.under: Sequence[str] = ()
        """Words before the daemon's own: a tracer and its options."""

    def weather(self, mock: str) -> None:
        """From the next start on, the configuration ends in this."""
        self.config.write_text(self._before + mock)

    def launch(self, point: str = "", *, trace: Path | None = None) -> bool:
        """Start it, to die at `point`; whether it answers. Raises RuntimeError with its output
        if it ends in another way than by SIGKILL.
        """
        self.spawn(point, trace=trace)
        assert self.process is not None
        end = CLOCK.monotonic() + READY_S_MAX
        while self.ask("ping").code != 0:
            if self.process.poll() is not None:
                return not self.died()
            if CLOCK.monotonic() > end:
                raise RuntimeError((self.folder / "genqd.out").read_text())
            CLOCK.sleep(LOOK_EVERY_S)
        return True

    def spawn(self, point: str = "", *, trace: Path | None = None) -> None:
        """Start it, and wait for nothing."""
        armed = {VARIABLE: point, TRACE_VARIABLE: str(trace or "")}
        words = [sys.executable, "-m", *self.program]
        with (self.folder / "genqd.out").open("ab") as out:
            self.process = subprocess.Popen(
                [*self.under, *words, "run", "--config", str(self.config)],
                cwd=ROOT,
                env={**self.environ, **{name: text for name, text in armed.items() if text}},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def died(self) -> bool:
        """Whether it was killed, once it has ended or all that goes on by itself is over.

        Raises RuntimeError with its output if it ended in another way.
        """
        assert self.process is not None
        end = CLOCK.monotonic() + DIES_S_MAX
        while self.process.poll() is None:
            if CLOCK.monotonic() > end or self.idle():
                return False
            CLOCK.sleep(LOOK_EVERY_S)
        code, self.process = self.process.returncode, None
        if code != -signal.SIGKILL:
            raise RuntimeError(f"exit {code}\n{(self.folder / 'genqd.out').read_text()}")
        return True

    def idle(self) -> bool:
        """Whether there are jobs, and none goes on by itself."""
        answer = self.ask("wait", "--timeout", "0.05", "--json")
        jobs = self.ask("ls", "--json")
        return answer.code in (0, 1) and jobs.code == 0 and bool(jobs.value)

    def settle(self) -> list[dict[str, Any]]:
        """Every job, with its attempts, once none goes on by itself, or the time for it is up."""
        self.ask("wait", "--timeout", f"{SETTLES_S_MAX:g}", "--json")
        return self.shown()

    def shown(self) -> list[dict[str, Any]]:
        """Every job with its attempts, oldest first."""
        return [self.show(job["id"]) for job in self.ask("ls", "--json").value]

    def stream(self) -> list[dict[str, Any]]:
        """Every kept event."""
        answer = self.ask("events", "--json")
        assert answer.code == 0, answer
        return [json.loads(line) for line in answer.out.splitlines()]

    def ledger(self) -> list[dict[str, Any]]:
        """What the mock accepted. A last line that a kill cut short was never answered."""
        return [row for row in self._ledger() if row["type"] == "accepted"]

    def paid(self) -> list[Paid]:
        """The same, with the fate that each id carries."""
        stopped = {row["remote_id"] for row in self._ledger() if row["type"] == "cancelled"}
        return [
            Paid(row["job"], row["key"], remote, fails=remote in stopped or _fails(remote))
            for row in self.ledger()
            for remote in [row["remote_id"]]
        ]

    def _ledger(self) -> list[dict[str, Any]]:
        path = self.state / "mock-ledger.jsonl"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def alarms(self) -> list[str]:
        """Lines of the log that tell of a mistake of the daemon's own."""
        return [
            line[:ALARM_CHARS_MAX]
            for path in sorted((self.folder / "logs").glob("genqd.jsonl*"))
            for line in path.read_text(errors="replace").splitlines()
            if '"level":"error"' in line.replace('": "', '":"') or "Traceback" in line
        ]


def _fails(remote_id: str) -> bool:
    fate = fate_of(remote_id)
    return fate is not None and fate.fails
