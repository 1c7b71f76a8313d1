"""A night of kills: one installation, a mixed load, an operator at work, SIGKILL at any moment."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.crash.audit import Seen, violations
from tests.crash.mortal import Mortal
from tests.fakes.installation import CLOCK, ROOT, until

CONFIG = """
[daemon]
stop_grace_s = 5

[pictures]
image_workers = 1
"""
SECTION = """
[providers.{name}]
engine = "mock"
lookup = {lookup}
concurrency = 6
submit_timeout_s = 0.4
reconcile_grace_s = 0.2
register_s = 0.2
poll_interval_s = 0.08
backoff_base_s = 0.05
backoff_max_s = 0.2
cancel_grace_s = 0.2
quota_pause_s = 0.3
quota_reset_s = 0.3
errors_consecutive_max = 1000
download_retries = 50
"""
ROUGH = """
seed = {seed}
submit_s = 0.06
generate_s = [0.05, 0.6]
download_s = 0.08
lost_answers = 0.15
polls_504 = 0.1
submit_refused = 0.05
failures = 0.1
quota_every = 25
quota_for_s = 0.2
"""
CLEAR = "submit_s = 0.01\ngenerate_s = 0.05\n"
PROVIDERS = {"finder": True, "mute": False}
UNFINISHED_MAX = 25
WORK_S_MAX = 0.8
"""Of every other life, after it answers. The others end at any moment of their start."""
PAUSE_S = 0.005
AUDIT_EVERY = 100
CALM_ROUNDS_MAX = 60
MARK = "GENQ_CRASH_NIGHT"


class Tally(NamedTuple):
    """What a night came to."""

    kills: int
    early: int
    jobs: int
    accepted: int
    states: Counter[str]
    acts: Counter[str]
    wrong: Sequence[str]


class Night:
    """`seed` decides everything but how fast the machine is."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.genq = Mortal(folder, config=CONFIG)
        self.genq.environ[MARK] = str(folder)
        self._draw = random.Random(seed)
        self._seed = seed
        self._requeued: Counter[int] = Counter()
        self._acts: Counter[str] = Counter()
        self._early = 0
        self._start_s = 0.0
        self._weather(ROUGH)

    def pass_by(self, kills: int, tell: Callable[[str], None]) -> Tally:
        """Kill so often, then let the work end; what came of it."""
        began = CLOCK.monotonic()
        self.genq.launch()
        self._start_s = CLOCK.monotonic() - began
        follower = self._follow()
        wrong: list[str] = []
        try:
            until((self.genq.folder / "followed.jsonl").read_bytes)
            self.genq.kill()
            for number in range(1, kills + 1):
                self._live_and_die()
                if number % AUDIT_EVERY == 0:
                    wrong += self._paid_twice()
                    tell(f"seed {self._seed}: {number} kills")
                if wrong:
                    break
            return self._morning(kills, wrong, follower)
        finally:
            follower.kill()
            follower.wait()
            self.genq.kill()

    # ---- one life ----

    def _live_and_die(self) -> None:
        early, share = self._draw.random() < 0.5, self._draw.random()
        began = CLOCK.monotonic()
        if early:
            self.genq.spawn()
        else:
            self.genq.launch()
            self._start_s = CLOCK.monotonic() - began
        process = self.genq.process
        assert process is not None
        killer = threading.Timer(share * (self._start_s if early else WORK_S_MAX), process.kill)
        killer.start()
        while process.poll() is None:
            if not early:
                self._act()
            CLOCK.sleep(PAUSE_S)
        killer.join()
        self._early += early
        if not self.genq.died():
            raise RuntimeError("it wasn't killed")

    def _act(self) -> None:
        """One thing that an operator might do now."""
        act: Callable[[], bool] = self._draw.choice(
            (self._add, self._add, self._cancel, self._requeue, self._resolve, self._release)
        )
        if act():
            self._acts[act.__name__.strip("_")] += 1

    def _add(self) -> bool:
        status = self.genq.ask("status", "--json")
        if status.code != 0:
            return False
        counts = status.value["counts"]
        if sum(counts[one] for one in ("queued", "generating", "submitting")) > UNFINISHED_MAX:
            return False
        provider = self._draw.choice(sorted(PROVIDERS))
        count = str(self._draw.randint(1, 4))
        size = ("--set", "width=200", "--set", "height=120")
        return (
            self.genq.ask("add", provider, "--prompt", "a fox", "--count", count, *size).code == 0
        )

    def _cancel(self) -> bool:
        found = self._one_of("queued,submitting,generating,downloading")
        return found is not None and self.genq.ask("cancel", str(found["id"])).code == 0

    def _requeue(self) -> bool:
        found = self._one_of("failed,cancelled")
        if found is None:
            return False
        self._requeued[found["id"]] += 1  # it may be done even if it isn't acknowledged
        return self.genq.ask("requeue", str(found["id"]), "--yes").code == 0

    def _release(self) -> bool:
        found = self._one_of("held")
        return found is not None and self.genq.ask("release", str(found["id"])).code == 0

    def _resolve(self) -> bool:
        """As the vendor's console has it: what was accepted is attached, the rest sent again."""
        found = self._one_of("in_doubt")
        shown = None if found is None else self.genq.ask("show", str(found["id"]), "--json")
        if shown is None or shown.code != 0:
            return False
        job = shown.value
        key = job["attempts"][-1]["key"]
        paid = next((row["remote_id"] for row in self.genq.ledger() if row["key"] == key), None)
        how = ("pay-again", "--yes") if paid is None else ("attach", paid)
        return self.genq.ask("resolve", str(job["id"]), *how).code == 0

    def _one_of(self, states: str) -> Any:
        rows = self.genq.ask(
            "ls", "--state", states, "--sort", "-updated", "--limit", "8", "--json"
        )
        return self._draw.choice(rows.value) if rows.code == 0 and rows.value else None

    # ---- afterwards ----

    def _morning(self, kills: int, wrong: list[str], follower: subprocess.Popen[bytes]) -> Tally:
        """The weather clears, an operator settles what is left, and everything is looked at."""
        genq = self.genq
        self._weather(CLEAR)
        genq.launch()
        genq.ask("resume")
        for _ in range(CALM_ROUNDS_MAX):
            jobs = genq.settle()
            left = [job for job in jobs if job["state"] in ("in_doubt", "held")]
            if not left:
                break
            for job in left:
                self._settle(job)
        jobs, events, paid = genq.shown(), genq.stream(), genq.paid()
        asked = {job["id"]: 1 + self._requeued[job["id"]] for job in jobs}
        wrong += violations(Seen(jobs, events, paid, genq.alarms()), asked)
        wrong += [f"job {one['id']} can't be settled" for one in jobs if one["state"] == "in_doubt"]
        wrong += self._followed(events, follower)
        if genq.stop() != 0:
            wrong.append("it doesn't stop in order")
        wrong += self._orphans(follower.pid)
        states = Counter(job["state"] for job in jobs)
        return Tally(kills, self._early, len(jobs), len(paid), states, self._acts, wrong)

    def _settle(self, job: dict[str, Any]) -> None:
        if job["state"] == "held":
            self.genq.ask("release", str(job["id"]))
            return
        key = job["attempts"][-1]["key"]
        paid = next((one.remote_id for one in self.genq.paid() if one.key == key), None)
        how = ("pay-again", "--yes") if paid is None else ("attach", paid)
        self.genq.ask("resolve", str(job["id"]), *how)

    def _paid_twice(self) -> list[str]:
        keys = Counter(row["key"] for row in self.genq.ledger())
        return [f"key {key} was accepted {count} times" for key, count in keys.items() if count > 1]

    def _weather(self, more: str) -> None:
        sections = (
            SECTION.format(name=name, lookup=str(lookup).lower()) + more.format(seed=self._seed)
            for name, lookup in PROVIDERS.items()
        )
        self.genq.weather("".join(sections))

    # ---- who looks on ----

    def _follow(self) -> subprocess.Popen[bytes]:
        """A client that follows the stream all night, through every death."""
        with (self.genq.folder / "followed.jsonl").open("wb") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "tui.cli", "events", "--after", "0", "--follow", "--json"],
                cwd=ROOT,
                env={**self.genq.environ, "GENQ_SOCKET": str(self.genq.socket)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
            )

    def _followed(
        self, events: Sequence[dict[str, Any]], follower: subprocess.Popen[bytes]
    ) -> list[str]:
        """Whether that client saw exactly what is stored: nothing it was told is gone."""
        path = self.genq.folder / "followed.jsonl"
        stored = [event["seq"] for event in events]

        def told() -> list[bytes]:
            return path.read_bytes().split(b"\n")[:-1]

        try:
            until(lambda: follower.poll() is not None or len(told()) >= len(stored))
        except AssertionError:
            return [f"the follower was told {len(told())} of {len(stored)} events"]
        if follower.poll() is not None:
            return [f"the follower ended with {follower.returncode}"]
        seen = [int(line.split(b",", 1)[0].rpartition(b":")[2]) for line in told()]
        return [] if seen == stored else ["the follower was told something else than is stored"]

    def _orphans(self, follower: int) -> list[str]:
        """Processes of a daemon that is dead."""

        def left() -> list[str]:
            mark = f"{MARK}={self.genq.folder}".encode()
            return [
                entry.name
                for entry in Path("/proc").iterdir()
                if entry.name.isdigit()
                and int(entry.name) not in (follower, os.getpid())
                and mark in _environ(entry).split(b"\0")
            ]

        try:
            until(lambda: not left(), limit_s=5.0)
        except AssertionError:
            return [f"processes outlived their daemon: {', '.join(left())}"]
        return []


def _environ(entry: Path) -> bytes:
    try:
        return (entry / "environ").read_bytes()
    except OSError:
        return b""
