"""What leads to a kill: each scene brings a genq to a named place, where it dies."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from daemon.engines.mock_trouble import draw, happens
from daemon.failpoints import VARIABLE
from tests.crash.audit import Paid, Row
from tests.crash.cells import IN_FLIGHT, Answer, Cell
from tests.crash.mortal import Mortal
from tests.crash.vendors import ENVIRON, Finder, Inline, Mute, Serving
from tests.fakes.installation import ROOT, until

QUICK: Mapping[str, float] = {
    "submit_s": 0.02,
    "generate_s": 0.12,
    "poll_interval_s": 0.06,
    "submit_timeout_s": 0.4,
    "reconcile_grace_s": 0.2,
    "register_s": 0.2,
    "backoff_base_s": 0.05,
    "backoff_max_s": 0.1,
    "cancel_grace_s": 0.1,
}
UNREACHABLE = 3
"""What `genq` exits with when nobody answers, or nobody any more."""


class UnreachedError(Exception):
    """The daemon did not come by the place where it was to die."""


class Stage:
    """A genq in `folder`, the cell that is played there, and how often each job was asked for."""

    def __init__(self, cell: Cell, folder: Path, serving: Serving | None = None) -> None:
        self.cell = cell
        self.serving = serving
        self.asked: Counter[int] = Counter()
        if serving is None:
            self.genq = Mortal(folder)
        else:
            self.genq = Mortal(folder, config=serving.config())
        self.genq.environ.update(ENVIRON)
        self.weather()

    def weather(self, **more: float) -> None:
        """From the next start on; without `more` it is clear."""
        if self.serving is not None:
            self.serving.vendor.weather.clear()
            return
        keys = {**QUICK, "lookup": str(self.cell.lookup).lower(), **more}
        self.genq.weather("".join(f"{key} = {value}\n" for key, value in keys.items()))

    def paid(self, jobs: list[Row]) -> list[Paid]:
        """What the provider accepted."""
        if self.serving is not None:
            return self.serving.paid(jobs)
        return self.genq.paid()

    def add(self, count: int = 1) -> bool:
        """Ask for jobs; whether that was acknowledged."""
        known = max(self.asked, default=0)
        words = ("add", "mock", "--prompt", "a fox", "--count", str(count), "--json")
        answer = self.genq.ask(*words)
        assert answer.code in (0, UNREACHABLE), answer
        self.asked.update(range(known + 1, known + count + 1))
        return answer.code == 0

    def until(self, state: str, *numbers: int) -> None:
        """Wait until these jobs are in that state."""
        for number in numbers:
            self.genq.until(number, state)

    def die(self) -> None:
        """Wait for the end. Raises UnreachedError if it doesn't come."""
        if not self.genq.died():
            raise UnreachedError(self.cell.point)

    def again(self) -> None:
        """Start it with nothing to die of, and ask once more for what wasn't acknowledged."""
        self.genq.launch()
        missing = len(self.asked) - len(self.genq.ask("ls", "--json").value)
        if missing > 0:
            self.asked = Counter(range(1, len(self.asked) - missing + 1))
            assert self.add(missing)


def deliver(stage: Stage) -> None:
    """A job from its adding to its file."""
    stage.weather(**_lossy(stage.cell.answer))
    stage.genq.launch(stage.cell.point)
    stage.add()
    stage.die()
    stage.again()


def over_http(stage: Stage) -> None:
    """The same at a vendor over HTTP, which keeps count in another process."""
    serving, cell = stage.serving, stage.cell
    assert serving is not None
    serving.cut(cell.answer)
    if cell.point == IN_FLIGHT:
        stage.genq.launch()
        serving.vendor.at_acceptance = lambda: _end(stage.genq)
    else:
        stage.genq.launch(cell.point)
    stage.add()
    stage.die()
    serving.vendor.at_acceptance = lambda: None
    stage.again()


def refuse(stage: Stage) -> None:
    """Two jobs, the second of which meets a quota that is used up."""
    stage.weather(quota_every=2, quota_for_s=0.3, quota_pause_s=0.3, concurrency=1)
    stage.genq.launch(stage.cell.point)
    stage.add(2)
    stage.die()
    stage.weather()
    stage.again()


def verdict(stage: Stage) -> None:
    """A job that the provider can't make."""
    stage.weather(failures=1)
    deliver_as_it_is(stage)


def deliver_as_it_is(stage: Stage) -> None:
    stage.genq.launch(stage.cell.point)
    stage.add()
    stage.die()
    stage.again()


def cancel(stage: Stage) -> None:
    """A running job is cancelled."""
    stage.weather(generate_s=1.5)
    stage.genq.launch(stage.cell.point)
    stage.add()
    stage.until("generating", 1)
    stage.genq.ask("cancel", "1")
    stage.die()
    stage.again()


def cancel_early(stage: Stage) -> None:
    """A job is cancelled while its paid request is out."""
    stage.weather(generate_s=1.5, submit_s=0.6)
    stage.genq.launch(stage.cell.point)
    stage.add()
    stage.until("submitting", 1)
    stage.genq.ask("cancel", "1")
    stage.die()
    stage.again()


def pay_again(stage: Stage) -> None:
    """A request that never arrived is sent again, as an operator wants it."""
    stage.weather(**_lossy("lost"))
    stage.genq.launch()
    stage.add()
    stage.until("in_doubt", 1)
    stage.genq.stop()
    stage.weather()
    stage.genq.launch(stage.cell.point)
    stage.genq.ask("resolve", "1", "pay-again", "--yes")
    stage.die()
    stage.again()


def requeue(stage: Stage) -> None:
    """What failed is asked for once more."""
    stage.weather(failures=1)
    stage.genq.launch()
    stage.add()
    stage.until("failed", 1)
    stage.genq.stop()
    stage.weather()
    stage.genq.launch(stage.cell.point)
    stage.asked[1] += 1
    stage.genq.ask("requeue", "1", "--yes")
    stage.die()
    stage.again()


def pause(stage: Stage) -> None:
    """A provider is paused."""
    stage.genq.launch(stage.cell.point)
    stage.genq.ask("pause", "mock")
    stage.die()
    stage.again()


def resume(stage: Stage) -> None:
    """A provider that was paused is resumed."""
    stage.genq.launch()
    assert stage.genq.ask("pause", "mock").code == 0
    stage.genq.stop()
    stage.genq.launch(stage.cell.point)
    stage.genq.ask("resume", "mock")
    stage.die()
    stage.again()


def restart(stage: Stage) -> None:
    """A start that finds two tasks and a doubt dies too."""
    stage.weather(generate_s=1)
    stage.genq.launch("mock_accepted:3")
    stage.add(2)
    stage.until("generating", 1, 2)
    stage.add()
    stage.die()
    if stage.genq.launch(stage.cell.point):
        stage.die()
    stage.again()


def stop(stage: Stage) -> None:
    """It is told to stop while tasks run."""
    stage.weather(generate_s=1)
    stage.genq.launch(stage.cell.point)
    stage.add(3)
    stage.until("generating", 1, 2, 3)
    assert stage.genq.process is not None
    stage.genq.process.send_signal(signal.SIGTERM)
    stage.die()
    stage.again()


def backup(stage: Stage) -> None:
    """A backup dies beside a daemon that works."""
    stage.genq.launch()
    stage.add(2)
    stage.until("succeeded", 1, 2)
    to = stage.genq.folder / "backup.sqlite3"
    assert _command(stage, "backup", "--to", str(to)) == -signal.SIGKILL
    if to.exists():
        _check(to, 2)
    to.unlink(missing_ok=True)
    config = str(stage.genq.config)
    assert stage.genq.genqd("backup", "--config", config, "--to", str(to)).returncode == 0
    _check(to, 2)


def restore(stage: Stage) -> None:
    """An old backup is put back; since it was made, one job ended and one was accepted."""
    stage.weather(generate_s=1)
    to = stage.genq.folder / "backup.sqlite3"
    stage.genq.launch()
    stage.add()
    stage.until("succeeded", 1)
    stage.genq.genqd("backup", "--config", str(stage.genq.config), "--to", str(to))
    stage.add()
    stage.until("succeeded", 2)
    stage.add()
    stage.until("generating", 3)
    stage.genq.stop()
    assert _command(stage, "restore", str(to)) == -signal.SIGKILL
    stage.genq.launch()


def create(stage: Stage) -> None:
    """The first start of all dies while it makes the journal."""
    assert not stage.genq.launch(stage.cell.point)
    stage.genq.launch()
    stage.add()


def upgrade(stage: Stage) -> None:
    """A journal is brought up to date; then its copy is put back."""
    genq = stage.genq
    genq.launch()
    stage.add()
    stage.until("succeeded", 1)
    genq.stop()
    way = [sys.executable, "-m", "tests.crash.programs", "upgrade", str(genq.state)]
    armed = {**genq.environ, VARIABLE: stage.cell.point}
    died = subprocess.run(way, cwd=ROOT, env=armed, check=False)
    assert died.returncode == -signal.SIGKILL, "the upgrade didn't come by"
    subprocess.run(way, cwd=ROOT, env=genq.environ, check=True)
    with sqlite3.connect(genq.state / "journal.sqlite3") as link:
        assert link.execute("PRAGMA user_version").fetchone() == (3,)
        assert link.execute("SELECT count(*) FROM later").fetchone() == (1,)
    (copy, *_) = sorted(genq.state.glob("version-1-*.sqlite3"))
    _check(copy, 1)
    assert genq.genqd("restore", "--config", str(genq.config), str(copy)).returncode == 0
    genq.launch()


def prune(stage: Stage) -> None:
    """Housekeeping dies among what it drops."""
    genq = stage.genq
    genq.config.write_text(genq.config.read_text().replace("[daemon]", "[daemon]\nkeep_days = 0"))
    genq.launch()
    stage.add()
    stage.until("succeeded", 1)
    genq.stop()
    for point in (stage.cell.point, ""):
        genq.program = ("tests.crash.programs", "hurried")
        genq.launch(point)
        if point:
            until(lambda: genq.process is not None and genq.process.poll() is not None)
            stage.die()
        else:
            until(lambda: genq.ask("ls", "--json").out == "[]\n")
            genq.stop()
    genq.program = ("daemon.cli",)
    genq.launch()


SCENES: Mapping[str, Callable[[Stage], None]] = {
    "deliver": deliver,
    "http": over_http,
    "inline": over_http,
    "refuse": refuse,
    "cancel": cancel,
    "cancel early": cancel_early,
    "verdict": verdict,
    "pay again": pay_again,
    "requeue": requeue,
    "pause": pause,
    "resume": resume,
    "restart": restart,
    "stop": stop,
    "backup": backup,
    "restore": restore,
    "create": create,
    "upgrade": upgrade,
    "prune": prune,
}


def vendor_for(cell: Cell) -> Mute | Finder | Inline:
    """The vendor that the cell is played against."""
    if cell.scene == "inline":
        return Inline()
    return Finder() if cell.lookup else Mute()


def _end(genq: Mortal) -> None:
    """SIGKILL from outside, as the vendor answers."""
    process = genq.process
    assert process is not None
    process.kill()
    process.wait()


def _lossy(answer: Answer) -> Mapping[str, float]:
    """Weather in which the first answer to job 1 is cut, or its request lost."""
    return {} if answer == "kept" else {"lost_answers": 1, "seed": _seed(answer)}


@cache
def _seed(answer: Answer) -> int:
    """With it the mock accepts the second submit of job 1, and the first if that one is cut."""

    def arrives(seed: int, number: int) -> bool:
        return happens(0.5, draw(seed, 1, number) >> 32, "arrives")

    return next(
        seed for seed in range(1_000) if arrives(seed, 0) is (answer == "cut") and arrives(seed, 1)
    )


def _command(stage: Stage, *words: str) -> int:
    """Run `genqd`, to die where the cell says; its exit code."""
    verb, *rest = words
    armed = {VARIABLE: stage.cell.point}
    return stage.genq.genqd(verb, "--config", str(stage.genq.config), *rest, **armed).returncode


def _check(journal: Path, jobs: int) -> None:
    link: Any = sqlite3.connect(f"{journal.as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        assert link.execute("PRAGMA quick_check").fetchone() == ("ok",)
        assert link.execute("SELECT count(*) FROM jobs").fetchone() == (jobs,)
    finally:
        link.close()
