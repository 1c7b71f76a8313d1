"""All jobs: gives out slots, starts and reaps runners, recovers at the start, stops in order.

A pass looks at every provider and picks what may start; it runs whenever something was recorded
that may free a slot, and at the next moment that the backlog, a gate or a lingering slot names.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from daemon import failpoints
from daemon.alarm import Alarm
from daemon.book import Book
from daemon.clock import Clock
from daemon.core.commands import Command, command
from daemon.core.decisions import settle
from daemon.core.events import Event
from daemon.core.gate import Gate, admits, reopens_at
from daemon.core.job import Job
from daemon.core.judge import Moment
from daemon.core.machine import next_effect
from daemon.core.outcomes import Accepted, Outcome, Picked, Ready
from daemon.core.policy import Policy
from daemon.core.recovery import concerns, recover, recover_gate, rested
from daemon.core.schedule import FOREVER
from daemon.jumps import Jumps
from daemon.providers import Provider
from daemon.runner import Performer, Runner
from daemon.store.port import Paid

log = structlog.get_logger()
STARTS_PER_PASS_MAX = 50
"""So many start before others get a turn: the first are on their way while the last still wait."""
STOP_S_MAX = 4.0
"""Time for runners without a submit in flight to end."""


class Supervisor:
    """Keeps every job that can go forward going forward."""

    def __init__(
        self,
        *,
        book: Book,
        clock: Clock,
        performer: Performer,
        providers: Mapping[str, Provider],
        moment: Callable[[str], Moment],
        released: Callable[[int], None],
    ) -> None:
        self._book = book
        self._clock = clock
        self._performer = performer
        self._providers = providers
        self._at = moment
        self._jumps = Jumps(book, clock, self._clock_was_set)
        self._released = released
        self._runners: dict[int, Runner] = {}
        self._strangers: set[str] = set()
        self._unrecorded: Sequence[Paid] = ()
        self._alarm = Alarm(clock, self.kick)
        self._pass_due = False
        self._stopping = False
        book.watch(self._recorded)

    # ---- starting and stopping ----

    def recover(self, unrecorded: Sequence[Paid] = ()) -> None:
        """Record what the restart means for each job, and start what goes on.

        `unrecorded` are accepted ids that reached paid.jsonl and not the journal: the answers are
        settled now, as they would have been then.
        """
        self._jumps.start()
        self._strangers = {job.provider for job in self._book.jobs.values()} | set(self._book.gates)
        self._unrecorded = tuple(unrecorded)
        self.adopt()
        failpoints.at("recovery_recorded")

    def adopt(self) -> None:
        """Go on with the jobs of providers that are there only now: at a start, after a reload.

        Before the gatekeeper: what shuts a gate now is found out anew.

        None of them is worked on before all are recovered: a request that was out is no new one.
        """
        new = {name for name in self._strangers if self._workable(name)}
        for name in sorted(new):
            if events := recover_gate(name, self._book.gate(name), self._clock.now()):
                self._book.record(events)
        for paid in self._unrecorded:
            job = self._book.jobs.get(paid.job)
            if job is not None and job.provider in new:
                self._settle(job, _answer(paid))
        known = self._book.jobs.values()
        theirs = [job.id for job in known if job.provider in new and concerns(job)]
        for number in theirs:
            name = self._book.jobs[number].provider
            policy, moment = self._policy(name), self._moment(name)
            if events := recover(self._book.jobs[number], policy, moment):
                self._book.record(events)
            self._book.rest(rested(self._book.jobs[number], policy, moment))
        self._strangers -= new
        for number in theirs:
            self._ensure(self._book.jobs[number])
        self.kick()

    def _settle(self, job: Job, outcome: Outcome) -> None:
        gate, policy = self._book.gate(job.provider), self._policy(job.provider)
        self._book.record(settle(job, gate, outcome, policy, self._moment(job.provider)))

    async def stop(self, grace_s: float) -> None:
        """End every runner; wait up to `grace_s` for submits in flight, as they may be paid."""
        failpoints.at("stop_begun")
        self._stopping = True
        self._alarm.cancel()
        for runner in self._runners.values():
            runner.stopping = True
            runner.poke()
        tasks = [runner.task for runner in self._runners.values()]
        in_flight = any(runner.submitting for runner in self._runners.values())
        limit = max(grace_s, STOP_S_MAX) if in_flight else STOP_S_MAX
        if tasks:
            await self._bounded(tasks, limit)
        failpoints.at("runners_ended")

    async def _bounded(self, tasks: Sequence[asyncio.Task[None]], limit_s: float) -> None:
        """Wait for `tasks`, at most `limit_s`; cut those that are left."""
        alarm = asyncio.get_running_loop().create_task(self._clock.sleep(limit_s))
        pending = set(tasks)
        while pending and not alarm.done():
            done, _ = await asyncio.wait({alarm, *pending}, return_when=asyncio.FIRST_COMPLETED)
            pending -= done
        alarm.cancel()
        for runner in list(self._runners.values()):
            log.warning("call_cut", job=runner.job, submit=runner.submitting)
            runner.abandon()
        await asyncio.gather(*tasks, return_exceptions=True)

    def hurry(self) -> None:
        """Start nothing more, wait for no submit: what is cut is a doubt at the next start."""
        self._stopping = True
        for runner in list(self._runners.values()):
            runner.abandon()

    def look_at_clock(self) -> None:
        """Move what is noted along if the machine's clock was set. Decisions do so themselves."""
        self._jumps.notice()

    def _clock_was_set(self, by_s: float) -> None:
        for provider in self._providers.values():
            provider.submit_pace.next_at += by_s
            provider.poll_pace.next_at += by_s
        self._alarm.cancel()
        self.kick()

    @property
    def running(self) -> int:
        """How many jobs have a runner."""
        return len(self._runners)

    # ---- operators ----

    def command(self, job: Job, asked: Command, *, by: str | None) -> Job:
        """Do what `by` asked of `job`, at once in memory; the job after it.

        Raises RefusedError. The caller waits for `book.durable()` before it says that it is done.
        """
        known = self._providers.get(job.provider)
        policy = Policy() if known is None else known.policy
        moment = self._moment(job.provider)
        events = command(self._book.jobs[job.id], asked, policy, moment, by=by)
        self._book.record(events)
        return self._book.jobs[job.id]

    # ---- the schedule ----

    def kick(self) -> None:
        """Have a pass made, soon and once."""
        if not self._pass_due and not self._stopping:
            self._pass_due = True
            asyncio.get_running_loop().call_soon(self._pass)

    def _recorded(self, events: Sequence[Event]) -> None:
        """Facts entered the book: poke or start the runners they concern, and look for room."""
        for event in events:
            if not isinstance(event.job, int):
                continue
            job = self._book.jobs.get(event.job)
            if job is None:
                continue
            self._ensure(job)
        self.kick()

    def _ensure(self, job: Job) -> None:
        """A runner for `job` if its state calls for I/O; an idle wait is interrupted."""
        runner = self._runners.get(job.id)
        if runner is not None:
            runner.poke()
            return
        if self._stopping or job.provider in self._strangers:
            return
        if not self._workable(job.provider) or next_effect(job) is None:
            return
        runner = Runner(
            job.id,
            book=self._book,
            performer=self._performer,
            policy=self._policy,
            moment=self._moment,
        )
        self._runners[job.id] = runner
        runner.start(self._ended)

    def _ended(self, job: int) -> None:
        """A runner is over. A command that came while it ended may have given the job new work."""
        runner = self._runners.pop(job)
        self._released(job)
        known = self._book.jobs.get(job)
        if known is not None and not runner.gave_up:
            self._ensure(known)

    def _pass(self) -> None:
        self._pass_due = False
        if self._stopping:
            return
        self._jumps.notice()
        now = self._clock.now()  # the one time of this pass: what falls due in it is waited for
        picked: list[Event] = []
        for name in self._providers:
            picked += self._pick(name, now, STARTS_PER_PASS_MAX - len(picked))
        if picked:
            self._book.record(picked)
        if len(picked) >= STARTS_PER_PASS_MAX:
            self.kick()
        self._alarm.set(self._next_wakeup(now), now)

    def _pick(self, name: str, now: float, room_max: int) -> list[Event]:
        provider, book = self._providers[name], self._book
        moment = msgspec.structs.replace(self._at(name), now=now)
        limits = provider.policy.limits
        gate = book.gate(name)
        room = min(limits.concurrency - book.slots_taken(name), room_max)
        admitted = admits(gate, now, on_the_way=book.on_the_way(name))
        room = room if admitted is None else min(room, admitted)
        if room <= 0 or provider.submit_pace.ready_at(now) > now:
            return []
        if provider.submit_pace.per_minute:
            room = 1
        events: list[Event] = []
        for number in book.pick(name, room, now):
            provider.submit_pace.take(now)
            events += settle(book.jobs[number], gate, Picked(), provider.policy, moment)
            if isinstance(events[-1].gate, Gate):
                gate = events[-1].gate  # a pause that ran out is said to be over once
        return events

    def _next_wakeup(self, now: float) -> float:
        """The next moment at which something may start by itself."""
        book = self._book
        times = [book.backlog.next_wakeup(now), book.next_slot_at(now)]
        for name, provider in self._providers.items():
            if not book.backlog.queued(name):
                continue
            times.append(reopens_at(book.gate(name), now))
            paced = provider.submit_pace.ready_at(now)
            times.append(paced if paced > now else None)
        return min((at for at in times if at is not None), default=FOREVER)

    def _workable(self, provider: str) -> bool:
        """Whether there is anybody to work for `provider`: jobs of one that is gone just stay."""
        known = self._providers.get(provider)
        return known is not None and known.engine is not None

    def _moment(self, provider: str) -> Moment:
        """This moment; what was noted before it is in the same time."""
        self._jumps.notice()
        return self._at(provider)

    def _policy(self, provider: str) -> Policy:
        return self._providers[provider].policy


def _answer(paid: Paid) -> Outcome:
    """The answer to a paid request, as paid.jsonl has it."""
    if paid.results:
        return Ready(paid.results, paid.remote_id or None)
    return Accepted(paid.remote_id, paid.target)
