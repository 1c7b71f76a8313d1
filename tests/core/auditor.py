"""Follows every job from its `added` event on, by folds of its own, and holds it to the promises.

The auditor knows what was recorded, what was sent, and what is on disk; it asks the product for
nothing but the values themselves. What must hold is in invariants.py, a function a promise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec

import msgspec

from daemon.core.commands import Command, Requeue, Resolve
from daemon.core.effects import Submit
from daemon.core.events import Event, apply
from daemon.core.gate import Gate
from daemon.core.job import Intent, Job, Queued, Remote
from daemon.core.outcomes import Fault, Outcome
from daemon.core.policy import Policy
from tests.core.night import invariants
from tests.core.night.invariants import Step
from tests.core.night.tally import situations

P = ParamSpec("P")
Because = Outcome | Command | None
HISTORY_MAX = 100_000


class ViolationError(AssertionError):
    """An invariant doesn't hold: its name, what was seen, and the job it was seen on."""

    def __init__(self, invariant: str, statement: str, what: str, job: int | None = None) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant
        self.statement = statement
        self.what = what
        self.job = job


class Auditor:
    """The books of one history. Every method raises ViolationError at the first broken promise."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.gates: dict[str, Gate] = {}
        self.policies: Mapping[str, Policy] = {}
        self.seen: dict[int, dict[str, Any]] = {}
        self.keys: dict[int, set[str]] = {}
        self.owner: dict[str, int] = {}
        self.sent: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.allowed_again: Counter[str] = Counter()
        self.allowed_attempts: Counter[int] = Counter()
        self.cancelled: set[int] = set()
        self.doubted: set[str] = set()
        self.sent_back: Counter[int] = Counter()
        self.polled_at: dict[str, float] = {}
        self.edges: set[tuple[str, str, str]] = set()
        self.tally: Counter[str] = Counter()
        self.history: list[tuple[float, int | None, Event | str]] = []
        self.seq = 0
        self.compared: dict[int, int] = {}
        self.jumped_s = 0.0

    def _hold(
        self,
        promises: Sequence[Callable[Concatenate[Auditor, P], Iterator[str]]],
        job: int | None,
        *about: P.args,
        **more: P.kwargs,
    ) -> None:
        for promise in promises:
            for what in promise(self, *about, **more):
                statement = (promise.__doc__ or "").splitlines()[0]
                raise ViolationError(promise.__name__, statement, what, job)

    def note(self, at: float, job: int | None, what: Event | str) -> None:
        """One more line of the history that a failing seed prints."""
        if len(self.history) < HISTORY_MAX:
            self.history.append((at, job, what))

    # ---- facts, when they are decided ----

    def recorded(self, events: Sequence[Event], because: Mapping[int, Because], now: float) -> None:
        """Facts enter the book in one transaction; `because` tells what each job was answered."""
        gates = dict(self.gates)
        for event in events:
            self.note(now, event.job if isinstance(event.job, int) else None, event)
            if isinstance(event.gate, Gate) and isinstance(event.provider, str):
                self.gates[event.provider] = event.gate
            if isinstance(event.job, int):
                before = self.jobs[event.job]
                after = apply(before, event)
                gate = gates.get(before.provider) or Gate()
                why = because.get(before.id)
                step = Step(before, after, event, why, self.policies[before.provider], gate, now)
                self._stepped(step)
        for number in dict.fromkeys(one.job for one in events if isinstance(one.job, int)):
            job = self.jobs[number]
            self._hold(invariants.OF_A_JOB, number, job)
            answer = because.get(number)
            self._hold(invariants.OF_A_GATE, number, job, answer, self.gates.get(job.provider))
        self.tally.update(situations(events, gates, self.gates, because))

    def added(self, event: Event, value: Job) -> None:
        """A job was added; what clients see of it is the value of its event."""
        job = msgspec.structs.replace(value, work=event.work, attempts=())
        self.note(event.at, job.id, event)
        self.jobs[job.id] = job
        self.keys[job.id] = set()

    def _stepped(self, step: Step) -> None:
        self._hold(invariants.OF_A_STEP, step.after.id, step)
        before, after, event = step.before, step.after, step.event
        self.edges.add((before.state, event.type, after.state))
        self.sent_back[after.id] += event.type == "interrupted"
        self.jobs[after.id] = after
        work = after.work
        if event.type == "submitting":
            intent = getattr(work, "intent", None)
            assert isinstance(intent, Intent)
            self.sent_back[after.id] = 0
            self.keys[after.id].add(intent.key)
            self.owner[intent.key] = after.id
        if event.type == "doubted":
            waiting = getattr(before.work, "resend", None)  # and isn't sent again after all
            intent = waiting or getattr(before.work, "intent", None)
            assert isinstance(intent, Intent)
            self.doubted.add(intent.key)
            self.allowed_again[intent.key] -= waiting is not None
            if isinstance(work, Queued) and work.resend is not None and not work.resend.resent:
                self.allowed_again[intent.key] += 1
        if event.type in ("cancelling", "cancelled"):
            self.cancelled.add(after.id)
        if event.type in ("requeued", "released", "resolved"):
            self.cancelled.discard(after.id)
        if invariants.is_another_payment(step):
            self.allowed_attempts[after.id] += 1

    def commanded(self, job: Job, asked: Command) -> None:
        """Pay-again allows one more sending of the key in doubt."""
        intent = getattr(job.work, "intent", None)
        self.tally[f"operator: {type(asked).__name__.lower()}"] += 1
        if isinstance(asked, Resolve) and asked.how == "pay-again" and isinstance(intent, Intent):
            self.allowed_again[intent.key] += 1
        if isinstance(asked, Requeue) and asked.fresh:
            self.tally["operator: requeue --fresh"] += 1

    # ---- what leaves the machine ----

    def submitted(self, job: Job, submit: Submit, stored: Job | None, now: float) -> None:
        """A paid request leaves the machine; `stored` is what the journal has of its job."""
        self.note(now, job.id, f"  -> the paid request of {submit.intent.key} leaves")
        self.sent[submit.intent.key] += 1
        self._hold(invariants.OF_A_SUBMIT, job.id, job, submit, stored)

    def was_accepted(self, key: str, now: float) -> None:
        """The provider took a request, whatever it answers: the ledger's truth."""
        self.accepted[key] += 1
        job = self.owner.get(key)
        self.note(now, job, f"  (the provider accepts {key})")
        self._hold(invariants.OF_A_PAYMENT, job, key, job)

    def answered(self, intent: Intent, outcome: Outcome) -> None:
        """The answer to a paid request: a sure refusal settles that sending."""
        if isinstance(outcome, Fault) and outcome.effect == "none":
            self.refused[intent.key] += 1

    def polled(self, job: int, remote: Remote, now: float, interval_s: float) -> None:
        """A task is asked about; `interval_s` is the least distance that any policy allowed."""
        last = self.polled_at.get(remote.remote_id)
        self.polled_at[remote.remote_id] = now
        self._hold(invariants.OF_A_POLL, job, remote, last, now, interval_s)

    def clock_jumped(self, by_s: float) -> None:
        """Distances across a jump of the wall clock mean nothing."""
        self.polled_at.clear()
        self.jumped_s += abs(by_s)

    def runner_ended(self, job: int, gave_up: bool) -> None:
        """A job's runner is over."""
        self._hold(invariants.OF_A_RUNNER, job, job, gave_up)

    # ---- what is on disk ----

    def committed(self, events: Sequence[Event], texts: Sequence[bytes]) -> None:
        """Facts became durable, and are what any program sees of them: lines of JSON."""
        for event, text in zip(events, texts, strict=True):
            self._hold(invariants.OF_THE_STREAM, None, event)
            self.seq = event.seq
            told = msgspec.json.decode(text)
            if event.type == "added":
                self.seen[told["job"]] = told["value"]
            elif isinstance(event.job, int):
                seen = self.seen[event.job]
                seen.update((key, value) for key, value in told.items() if key in seen)

    def forgotten(self, rows: Mapping[int, Job], gates: Mapping[str, Gate]) -> None:
        """A crash: what was decided and not stored never happened; start again from the disk."""
        self._hold(invariants.OF_THE_DISK, None, rows)
        for number in set(self.jobs) - set(rows):
            del self.jobs[number]
        self.jobs.update(rows)
        self.gates = dict(gates)
        over = ("cancelling", "cancelled")
        self.cancelled = {job.id for job in rows.values() if job.state in over}

    def at_rest(self, jobs: Mapping[int, Job], rows: Mapping[int, Job]) -> None:
        """Everything decided is stored: memory, disk and stream say the same."""
        self._hold(invariants.OF_THE_DISK, None, rows)
        self._hold(invariants.OF_MEMORY, None, jobs, rows)

    def recovered(self, jobs: Mapping[int, Job], paid: Iterable[str]) -> None:
        """A start is over; `paid` are the keys that paid.jsonl knows."""
        self._hold(invariants.OF_A_START, None, jobs, frozenset(paid))

    # ---- the end ----

    def ended(self, end: invariants.End) -> None:
        """After a calm day nothing is on its way, and the books agree with the truth."""
        self._hold(invariants.OF_GATES_AT_THE_END, None, end)
        for job in end.jobs.values():
            self._hold(invariants.AT_THE_END, job.id, job, end)
