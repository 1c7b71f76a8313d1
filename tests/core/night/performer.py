"""Effects become outcomes: the providers' ledger in the place of engines, pictures and files."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemon.core.effects import Effect, Fetch, Lookup, Poll, Prepare, Stop, Submit
from daemon.core.job import Job
from daemon.core.outcomes import Accepted, Fault, Outcome, Ready
from tests.core.world import FakeVendor, between, happens

if TYPE_CHECKING:
    from tests.core.night.simulation import Simulation


class NightPerformer:
    """Waits until an effect is due, has it done at the vendor, and lets the daemon die between."""

    def __init__(self, night: Simulation) -> None:
        self.night = night
        self.alive = True

    async def perform(self, job: Job, effect: Effect) -> Outcome:
        """What came of `effect`. Anything that goes wrong here ends the history."""
        try:
            outcome = await self._perform(job, effect)
        except Exception as error:
            self.night.fail(error)
            raise
        if not self.alive:
            await asyncio.get_running_loop().create_future()  # the process is gone
        self._count(job, effect, outcome)
        self.night.give_reason(job.id, outcome)
        return outcome

    async def _perform(self, job: Job, effect: Effect) -> Outcome:
        night = self.night
        vendor = night.vendors[job.provider]
        quick_s = between(night.chance, 0.01, 2.0)
        match effect:
            case Prepare():
                await night.clock.sleep(quick_s)
                return vendor.prepare(night.clock.key())
            case Submit():
                return await self._submit(job, vendor, effect)
            case Lookup(intent=intent, at=at):
                await self._until(at)
                await night.clock.sleep(quick_s)
                return vendor.lookup(intent, night.true_now())
            case Poll():
                return await self._poll(job, vendor, effect)
            case Fetch(remote=remote, at=at):
                await self._until(at)
                await night.clock.sleep(quick_s)
                outcome = vendor.fetch(job.id, remote, night.true_now())
                night.passing("a result is on disk, not in the journal")
                return outcome
            case Stop(remote=remote, at=at):
                await self._until(at)
                await night.clock.sleep(quick_s)
                return vendor.stop(remote, night.true_now())

    async def _until(self, at: float) -> None:
        await self.night.clock.sleep(at - self.night.clock.now())

    async def _submit(self, job: Job, vendor: FakeVendor, effect: Submit) -> Outcome:
        """A request is out for seconds or minutes; it is accepted somewhere in between."""
        night, intent = self.night, effect.intent
        night.auditor.submitted(job, effect, night.journal.rows.get(job.id), night.clock.now())
        probing = night.gate(job.provider).probe == job.id
        limit_s = vendor.policy.limits.submit_timeout_s
        latency_s = between(night.chance, 0.1, limit_s) ** between(night.chance, 0.2, 1.0)
        share = night.chance.random()
        night.passing("a request is on its way", often=probing)
        await night.clock.sleep(latency_s * share)
        outcome = vendor.submit(intent, night.true_now())
        night.passing("a request was answered, the answer is on its way", often=probing)
        await night.clock.sleep(latency_s * (1.0 - share))
        night.auditor.answered(intent, outcome)
        return outcome

    async def _poll(self, job: Job, vendor: FakeVendor, effect: Poll) -> Outcome:
        """As daemon/performer.py: not before it is due, and later while polls are spaced out."""
        night = self.night
        await self._until(effect.at)
        spaced = night.gate(job.provider).polls_spaced_until or 0.0
        if spaced > night.clock.now():
            interval_s = night.providers[job.provider].policy.limits.poll_interval_s
            await self._until(spaced + interval_s * night.clock.jitter())
        least_s = night.least_interval_s[job.provider]
        night.auditor.polled(job.id, effect.remote, night.clock.now(), least_s)
        await night.clock.sleep(between(night.chance, 0.01, 2.0))
        if happens(night.chance, 0.01):
            night.passing("a task was asked about")
        return vendor.poll(effect.remote, night.true_now())

    def _count(self, job: Job, effect: Effect, outcome: Outcome) -> None:
        """One more of the situations that were reached."""
        tally = self.night.auditor.tally
        tally[f"effect: {type(effect).__name__.lower()}"] += 1
        if isinstance(effect, Submit):
            tally[f"answer: {_answer(outcome)}"] += 1
            return
        match effect, outcome:
            case Lookup(), Accepted():
                tally["lookup: adopted"] += 1
            case Lookup(), Fault():
                tally["lookup: failed"] += 1
            case Lookup(), _:
                tally["lookup: absent"] += 1
            case ((Poll() | Fetch()), Fault(kind=kind, http=status)):
                name = type(effect).__name__.lower()
                tally[f"{name}: {status or kind}"] += 1
            case _:
                pass


def _answer(outcome: Outcome) -> str:
    """What kind of answer a paid request got."""
    match outcome:
        case Fault(effect="unknown"):
            return "lost (504, cut, timed out)"
        case Fault(effect="accepted"):
            return "accepted, id unreadable or failed at once"
        case Fault(http=429, message=words):
            return "429 for the day" if "per_day" in words else "429"
        case Fault(http=int(status)):
            return f"refused {status}"
        case Fault(kind=kind):
            return "nobody reached" if kind.startswith("transport") else kind
        case Ready():
            return "the result itself"
        case _:
            return "accepted"
