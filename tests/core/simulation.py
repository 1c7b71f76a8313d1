"""Hours of the daemon's life in a fraction of a second: the pure core, on a clock that is a number.

A small model of the shell (slots, runners, the journal) drives the core against providers with
weather: storms of faults, outages, quotas, operators who act at random, crashes that forget what
was not stored. The auditor checks every fact. One seed is one history:

    python -m tests.core.simulation 100000          that many seeds from 0 on
    python -m tests.core.simulation 1 --from 4711   the one that failed
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import sys
from collections import Counter
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from daemon.core import effects
from daemon.core.commands import (
    Cancel,
    Command,
    Edit,
    Hold,
    RefusedError,
    Release,
    Requeue,
    Resolve,
    command,
)
from daemon.core.decisions import settle, waited
from daemon.core.events import Event
from daemon.core.faults import Rule
from daemon.core.gate import Gate, admits, on_the_way, reopens_at
from daemon.core.job import Held, InDoubt, Job, Queued, Stage
from daemon.core.judge import Moment, close, reopen
from daemon.core.machine import evolve, next_effect
from daemon.core.outcomes import Outcome, Picked
from daemon.core.policy import Abilities, Limits, Policy
from daemon.core.recovery import recover, recover_gate, rested
from daemon.core.schedule import Backlog, Slots
from tests.core.auditor import Auditor, ViolationError, must
from tests.core.world import CALM, Chance, Dice, FakeVendor, Weather, between, happens, one_of

HOUR = 3_600.0
ENDED = frozenset({"succeeded", "failed", "cancelled", "held", "in_doubt"})
STEPS_MAX = 200_000
"""Far more than any history needs: one that goes on is a loop."""


class Plan(Struct, frozen=True, kw_only=True):
    """What a history is made of."""

    policies: dict[str, Policy]
    jobs: int = 30
    hours: float = 8.0
    commands: int = 40
    crashes: int = 5
    storms: int = 30
    pauses: int = 2


def veo() -> Policy:
    """Quotas are its trouble; no lookup, no cancel, no progress."""
    return Policy(
        rules=(
            Rule(name="veo.1", phase="submit", http="400", do="hold"),
            Rule(
                name="veo.2", phase="submit", http="429", message="day", do="pause", until="daily"
            ),
        ),
        limits=Limits(submit_retries=3),
    )


def comfyui() -> Policy:
    """Short intervals, lookup and cancel; its tasks vanish with its server."""
    return Policy(
        rules=(
            Rule(name="comfyui.1", phase="download", http="404", do="resubmit", limit=1),
            Rule(name="comfyui.2", phase="poll", http="403", do="resubmit", limit=1),
            Rule(name="comfyui.3", phase="prepare", kind="internal", do="hold"),
        ),
        limits=Limits(
            concurrency=2,
            poll_interval_s=5.0,
            generate_timeout_s=600.0,
            submit_timeout_s=60.0,
            errors_consecutive_max=10,
            on_limit="fail",
        ),
        abilities=Abilities(lookup=True, cancel=True, progress=True, retention_s=6 * HOUR),
    )


def jiekou() -> Policy:
    """Synchronous and cheap: what is in doubt is sent again, once."""
    return Policy(
        limits=Limits(concurrency=4, submit_timeout_s=180.0, on_unknown="resubmit"),
        abilities=Abilities(synchronous=True, retention_s=2 * HOUR),
    )


def stormy() -> Plan:
    """Eight hours of everything, with three providers."""
    return Plan(policies={"veo": veo(), "comfyui": comfyui(), "jiekou": jiekou()})


class _Flight(Struct):
    """An effect that is out for a job. A submit is never dropped, whatever becomes of the job."""

    effect: effects.Effect
    token: int
    begun: bool = False


class Simulation:
    """One history. `run` raises ViolationError, or what the core raises, at the first bad step."""

    def __init__(self, plan: Plan, chance: Chance) -> None:
        self.plan = plan
        self.now = 1_000_000.0
        self.auditor = Auditor()
        self.gates: dict[str, Gate] = {name: Gate() for name in plan.policies}
        self.jobs: dict[int, Job] = {}
        self.stored: dict[int, Job] = {}
        self.vendors = {n: FakeVendor(n, p, chance) for n, p in plan.policies.items()}
        self.commanded: Counter[str] = Counter()
        self._worst_crashes = 0
        self._chance = chance
        self._order = itertools.count()
        self._keys = itertools.count(1)
        self._agenda: list[tuple[float, int, str, tuple[object, ...]]] = []
        self._flights: dict[int, _Flight] = {}
        self._backlog = Backlog()
        self._slots = {name: Slots() for name in plan.policies}
        self._passes: set[float] = set()

    # ---- a history ----

    def run(self) -> None:
        """The hours planned, then a calm in which everything that can end must end."""
        plan, chance = self.plan, self._chance
        end = self.now + plan.hours * HOUR
        names = list(plan.policies)
        for number in range(1, plan.jobs + 1):
            self._at(between(chance, self.now, end), "add", number, one_of(chance, names))
        for _ in range(plan.commands):
            self._at(between(chance, self.now, end), "command")
        for _ in range(plan.crashes):
            self._at(between(chance, self.now, end), "crash")
        for _ in range(plan.storms):
            self._at(between(chance, self.now, end), "storm", one_of(chance, names))
        for _ in range(plan.pauses):
            self._at(between(chance, self.now, end), "pause", one_of(chance, names))
        self._at(end, "calm")
        self._at(end + HOUR / 4, "calm")  # answers that were out brought news of the storm
        self._run_until(end)
        self._run_until(end + 3 * HOUR)
        self._check_the_end()

    def _at(self, at: float, kind: str, *what: object) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), kind, what))

    def _run_until(self, end: float) -> None:
        for _ in range(STEPS_MAX):
            if not self._agenda or self._agenda[0][0] > end:
                self.now = end
                return
            at, _, kind, what = heapq.heappop(self._agenda)
            self.now = max(self.now, at)
            getattr(self, f"_on_{kind}")(*what)
        raise ViolationError(f"no end after {STEPS_MAX} steps")

    def _moment(self) -> Moment:
        return Moment(self.now, self._chance.random(), self.now + 5 * HOUR)

    # ---- what happens ----

    def _on_add(self, number: int, provider: str) -> None:
        limits = self.plan.policies[provider].limits
        held = happens(self._chance, 0.1)
        job = Job(
            id=number,
            provider=provider,
            state="held" if held else "queued",
            reason="approval" if held else None,
            priority=int(between(self._chance, 0, 3)),
            batch=one_of(self._chance, ("a", "b", None)),
            retries_max=limits.submit_retries,
            errors_consecutive_max=limits.errors_consecutive_max,
            created_at=self.now,
            updated_at=self.now,
            stages=() if held else (Stage("queue", 0, self.now),),
            attempts=(),
            work=Held() if held else Queued(),
        )
        self.jobs[number] = self.stored[number] = job
        self.auditor.added(job)
        self._derive(job)
        self._pass()

    def _on_storm(self, name: str) -> None:
        chance = self._chance
        self.vendors[name].weather = Weather(
            faults=one_of(chance, (0.0, 0.3, 0.9)),
            lost=one_of(chance, (0.0, 0.3, 0.8)),
            refused=one_of(chance, (0.0, 0.3, 0.6)),
            failing=one_of(chance, (0.0, 0.3)),
            vanishing=one_of(chance, (0.0, 0.05)),
            down=happens(chance, 0.2),
            quota=happens(chance, 0.2),
            quota_hint_s=one_of(chance, (None, None, 0.0, 30.0, 5_000.0)),
        )
        self._at(self.now + between(chance, 60.0, HOUR), "clear", name)

    def _on_clear(self, name: str) -> None:
        self.vendors[name].weather = CALM

    def _on_calm(self) -> None:
        """No weather from here on; somebody puts the keys right and resumes what was closed."""
        for name, vendor in self.vendors.items():
            vendor.weather = CALM
            self.gates[name] = reopen(self.gates[name], self.now)
        self._pass()

    def _on_pause(self, name: str) -> None:
        until = one_of(self._chance, (None, self.now + 600.0))
        self.gates[name] = close(self.gates[name], "operator", until, "lunch", source="operator")
        self._at(self.now + between(self._chance, 60.0, HOUR), "resume", name)

    def _on_resume(self, name: str) -> None:
        self.gates[name] = reopen(self.gates[name], self.now)
        self._pass()

    def _on_crash(self) -> None:
        """What was in memory only is gone: effects that were out, looks that changed nothing."""
        self._flights.clear()
        self.jobs = dict(self.stored)
        for name, gate in self.gates.items():
            self._record_gate(recover_gate(name, gate, self.now))
        for job in list(self.jobs.values()):
            policy = self.plan.policies[job.provider]
            self._record(recover(job, policy, self._moment()), policy, None)
        for job in list(self.jobs.values()):
            policy = self.plan.policies[job.provider]
            self.jobs[job.id] = rested(job, policy, self._moment())
            self._ensure(self.jobs[job.id])
        self._pass()

    def _on_command(self) -> None:
        live = [number for number, job in self.jobs.items() if job.state not in ENDED]
        numbers = live if live and happens(self._chance, 0.6) else list(self.jobs)
        if not numbers:
            return
        job = self.jobs[one_of(self._chance, numbers)]
        self.act(job, self._some_command(job))

    def _some_command(self, job: Job) -> Command:
        fitting: Sequence[Command] = (Cancel(), Hold(), Edit(priority=3))
        if job.state == "in_doubt":
            task = f"{job.provider}-1"
            fitting = (Resolve("pay-again"), Resolve("write-off"), Resolve("attach", task))
        elif job.state in ENDED:
            fitting = (Requeue(), Requeue(fresh=True), Release(), Cancel())
        return one_of(self._chance, fitting)

    def act(self, job: Job, asked: Command) -> None:
        """Have an operator do something to `job`; a refusal is an answer too."""
        if isinstance(asked, Resolve) and asked.how == "attach":
            if not isinstance(job.work, InDoubt):
                return
            found = self.vendors[job.provider].tasks({job.work.intent.key})
            asked = Resolve("attach", found[-1].remote_id if found else "")
        policy = self.plan.policies[job.provider]
        try:
            events = command(job, asked, policy, self._moment(), by="ana")
        except RefusedError:
            return
        self.commanded[type(asked).__name__] += 1
        self.auditor.commanded(job, asked)
        self._record(events, policy, asked)

    # ---- the shell ----

    def _record(self, events: Sequence[Event], policy: Policy, because: object) -> None:
        """Facts enter: audited, folded, stored; what they call for is set in motion."""
        self.auditor.recorded(events, policy, because)  # type: ignore[arg-type]
        for event in events:
            if isinstance(event.job, int):
                job = evolve(self.jobs[event.job], event)
                self.jobs[job.id] = self.stored[job.id] = job
                if event.type == "doubted":
                    self.auditor.resent_by_policy(job)
        self._record_gate(events)
        for number in {event.job for event in events if isinstance(event.job, int)}:
            self._derive(self.jobs[number])
            self._ensure(self.jobs[number])
        self._pass()

    def _record_gate(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event.gate, Gate) and isinstance(event.provider, str):
                self.gates[event.provider] = event.gate

    def _derive(self, job: Job) -> None:
        grace_s = self.plan.policies[job.provider].limits.cancel_grace_s
        self._slots[job.provider].put(job, grace_s)
        if job.state == "queued":
            self._backlog.put(job, (), self.now)
        else:
            self._backlog.remove(job.id)

    def _pass(self) -> None:
        """Give out slots, and come back when the next thing may start by itself."""
        for name, policy in self.plan.policies.items():
            self._pick(name, policy)
        times = [self._backlog.next_wakeup()]
        for name, gate in self.gates.items():
            times += [reopens_at(gate, self.now), self._slots[name].next_free_at()]
        for at in times:
            if at is not None and at > self.now and at not in self._passes:
                self._passes.add(at)
                self._at(at, "wake", at)

    def _on_wake(self, at: float) -> None:
        self._passes.discard(at)
        self._pass()

    def _pick(self, name: str, policy: Policy) -> None:
        gate = self.gates[name]
        room = policy.limits.concurrency - self._slots[name].taken(self.now)
        mine = [job for job in self.jobs.values() if job.provider == name]
        admitted = admits(gate, self.now, on_the_way=sum(on_the_way(job) for job in mine))
        room = room if admitted is None else min(room, admitted)
        if room <= 0:
            return
        for number in self._backlog.pick(name, room, self.now):
            job = self.jobs[number]
            must(job.state == "queued", f"{job.state} was picked")
            events = settle(job, gate, Picked(), policy, self._moment())
            self._record(events, policy, Picked())
        working = sum(
            job.state in ("preparing", "submitting", "generating") and job.by is None
            for job in mine
        )
        must(working <= policy.limits.concurrency, f"{working} at work at {name}")

    def _ensure(self, job: Job) -> None:
        """A runner for what the state calls for. A submit that is out is left alone."""
        flight = self._flights.get(job.id)
        if flight is not None and flight.begun and isinstance(flight.effect, effects.Submit):
            return
        effect = next_effect(job)
        if effect is None:
            self._flights.pop(job.id, None)
            return
        due = getattr(effect, "at", self.now)
        if isinstance(effect, effects.Poll):
            due = max(due, self.gates[job.provider].polls_spaced_until or 0.0)
        token = next(self._order)
        self._flights[job.id] = _Flight(effect, token)
        self._at(max(self.now, due), "begin", job.id, token)

    def _on_begin(self, number: int, token: int) -> None:
        flight = self._flights.get(number)
        if flight is None or flight.token != token:
            return
        flight.begun = True
        job = self.jobs[number]
        self.auditor.effect_begins(job, type(flight.effect).__name__, self.now)
        outcome, latency_s = self._perform(job, flight.effect)
        self._at(self.now + latency_s, "outcome", number, token, outcome)

    def _perform(self, job: Job, effect: effects.Effect) -> tuple[Outcome, float]:
        vendor, limits = self.vendors[job.provider], self.plan.policies[job.provider].limits
        quick = between(self._chance, 0.01, 2.0)
        match effect:
            case effects.Prepare():
                return vendor.prepare(f"key-{next(self._keys)}"), quick
            case effects.Submit(intent=intent):
                self.auditor.submitted(job, effect, self.gates[job.provider], self.now)
                latency_s = between(self._chance, 0.1, limits.submit_timeout_s)
                latency_s **= between(self._chance, 0.2, 1.0)
                self._perhaps_crash(job, latency_s)
                return vendor.submit(intent, self.now), latency_s
            case effects.Lookup(intent=intent):
                return vendor.lookup(intent, self.now), quick
            case effects.Poll(remote=remote):
                self.auditor.polled(remote, self.now, limits.poll_interval_s)
                return vendor.poll(remote, self.now), quick
            case effects.Fetch(remote=remote):
                return vendor.fetch(job.id, remote), quick * 10
            case effects.Stop(remote=remote):
                return vendor.stop(remote, self.now), quick

    def _perhaps_crash(self, job: Job, within_s: float) -> None:
        """The worst moment to die is while a paid request is out, and the probe's above all."""
        probing = self.gates[job.provider].probe == job.id
        if self._worst_crashes < self.plan.crashes and happens(
            self._chance, 0.3 if probing else 0.03
        ):
            self._worst_crashes += 1
            self._at(self.now + within_s / 2, "crash")

    def _on_outcome(self, number: int, token: int, outcome: Outcome) -> None:
        flight = self._flights.get(number)
        if flight is None or flight.token != token:
            return
        del self._flights[number]
        job = self.jobs[number]
        policy = self.plan.policies[job.provider]
        if isinstance(flight.effect, effects.Submit):
            self.auditor.answered(flight.effect.intent, outcome)
        gate, moment = self.gates[job.provider], self._moment()
        events = settle(job, gate, outcome, policy, moment)
        if not any(isinstance(event.job, int) for event in events):
            self.jobs[number] = waited(job, self.now, policy)
            self._ensure(self.jobs[number])
        self._record(events, policy, outcome)

    # ---- the end ----

    def _check_the_end(self) -> None:
        """After hours of calm nothing is on its way, and the books agree with the truth."""
        for job in self.jobs.values():
            must(job.state in ENDED, f"job {job.id} is still {job.state}: {job.work}")
            must(job == self._as_stored(job), f"stored and in memory differ: {job}")
            self._check_money(job)
        for name, gate in self.gates.items():
            must(gate.probe is None, f"{name} still waits for its probe {gate.probe}")
        for vendor in self.vendors.values():
            resent = vendor.policy.limits.on_unknown == "resubmit"
            for key, accepted in vendor.accepted_of_key.items():
                most = 1 + self.auditor.allowed_again[key]
                must(accepted <= most, f"{key} was accepted {accepted} times")
                must(resent or most == 1 or self.commanded["Resolve"] > 0, f"{key} was resent")

    def _as_stored(self, job: Job) -> Job:
        """The stored job, with what a look that changes nothing leaves unstored."""
        stored = self.stored[job.id]
        must(type(stored.work) is type(job.work), f"{stored.work} but {job.work}")
        return msgspec.structs.replace(stored, work=job.work)

    def _check_money(self, job: Job) -> None:
        """What the job says of money is what the ledger says, or `unknown`."""
        tasks = self.vendors[job.provider].tasks(self.auditor.keys[job.id])
        paid = [task for task in tasks if task.billed]
        if job.billed == "no":
            must(not paid, f"said to be unbilled, but the ledger has {len(paid)}: {job}")
        if job.billed in ("yes", "kept"):
            must(bool(paid), f"said to be billed, but the ledger has nothing: {job}")
        must(len(job.outputs) <= len(tasks), f"more outputs than tasks: {job}")


def simulate(seed: int, plan: Plan | None = None) -> Simulation:
    """The history of `seed`, checked. Raises what went wrong, with the seed in its notes."""
    simulation = Simulation(plan or stormy(), Dice(seed))
    try:
        simulation.run()
    except Exception as error:
        error.add_note(f"python -m tests.core.simulation 1 --from {seed}")
        raise
    return simulation


def main() -> int:
    """Run many seeds; the first that fails is printed with its number and raised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--from", dest="first", type=int, default=0)
    asked = parser.parse_args()
    for seed in range(asked.first, asked.first + asked.count):
        simulate(seed)
    sys.stdout.write(f"{asked.count} seeds from {asked.first} on: no violation\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
