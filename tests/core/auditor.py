"""What must hold of every fact, whatever happened. Knows the jobs' histories and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from daemon.core.commands import Command, Requeue, Resolve
from daemon.core.effects import Submit
from daemon.core.events import Event, streamed
from daemon.core.gate import Gate, state
from daemon.core.job import (
    FINISHED,
    Intent,
    Job,
    Queued,
    Remote,
    Stage,
    live_remote,
    public,
)
from daemon.core.machine import evolve
from daemon.core.outcomes import Absent, Fault, Outcome, Saved, Stopped
from daemon.core.policy import Policy

HELD_REASONS = {
    "poll_limit",
    "deadline",
    "download",
    "link_expired",
    "lost",
    "space",
    "restored",
    "operator",
    "approval",
}
SENDS_AT_ONCE_MAX = 4
"""More effects of one job at one moment are a loop without a wait."""
SENT_BACK_MAX = 25
"""A job that prepares so often without being sent is picked for nothing."""


class ViolationError(AssertionError):
    """An invariant doesn't hold."""


def must(holds: bool, what: str) -> None:
    if not holds:
        raise ViolationError(what)


class Auditor:
    """Follows every job from its `added` event on, by two folds, and checks each step."""

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.seen: dict[int, dict[str, Any]] = {}
        self.keys: dict[int, set[str]] = {}
        self.sent: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.allowed_again: Counter[str] = Counter()
        self.edges: set[tuple[str, str, str]] = set()
        self._sent_back: Counter[int] = Counter()
        self._at_once: Counter[tuple[int, float]] = Counter()
        self._polled: dict[str, float] = {}

    # ---- facts ----

    def added(self, job: Job) -> None:
        """A job was added; what clients see of it is the value of its event."""
        self.jobs[job.id] = job
        self.seen[job.id] = msgspec.to_builtins(public(job))
        self.keys[job.id] = set()

    def recorded(
        self,
        events: Sequence[Event],
        policy: Policy,
        because: Outcome | Command | None,
    ) -> None:
        """Check and fold the job's events of one decision."""
        for event in events:
            if isinstance(event.job, int):
                before = self.jobs[event.job]
                after = evolve(before, event)
                self.edges.add((before.state, event.type, after.state))
                self._check_step(before, after, event)
                self._check_remote(before, after, policy, because, event)
                self.jobs[event.job] = after
                self._fold_naively(event)
        if events and isinstance(events[0].job, int):
            self.check(self.jobs[events[0].job])

    def _fold_naively(self, event: Event) -> None:
        """As a program of any language would: copy every key that is a key of the job."""
        seen = self.seen[event.job]  # type: ignore[index]
        for key, value in msgspec.to_builtins(streamed(event)).items():
            if key in seen:
                seen[key] = value

    def _check_step(self, before: Job, after: Job, event: Event) -> None:
        must(after.rev == before.rev + 1, f"rev {before.rev} -> {after.rev}")
        must(after.attempt >= before.attempt, f"attempt fell: {event}")
        must(after.errors_total >= before.errors_total, f"errors_total fell: {event}")
        self._sent_back[after.id] += event.type == "interrupted"
        must(self._sent_back[after.id] <= SENT_BACK_MAX, f"sent back again and again: {event}")
        must(event.at == after.updated_at, f"updated_at isn't when it happened: {event}")
        if event.type == "submitting":
            self._sent_back[after.id] = 0
            intent = getattr(after.work, "intent", None)
            if not isinstance(intent, Intent):
                raise ViolationError(f"no intent in {after}")
            must(intent.sent_at == event.at, "an intent is dated when it is written")
            self.keys[after.id].add(intent.key)

    def _check_remote(
        self,
        before: Job,
        after: Job,
        policy: Policy,
        because: Outcome | Command | None,
        event: Event,
    ) -> None:
        """A task that may live, or hold a paid result, is let go only for a reason."""
        was, now = live_remote(before), live_remote(after)
        if was is None or not was.remote_id or isinstance(now, Remote):
            return
        over = event.at >= was.accepted_at + policy.abilities.retention_s
        match because:
            case Saved() | Absent() | Fault(kind="provider.failed") | Requeue(fresh=True):
                pass
            case Stopped(billed="no") | Stopped(ended=True):
                must(not was.results, f"a known result was dropped: {event}")
            case Fault() if any(rule.do == "resubmit" for rule in policy.rules):
                pass
            case _:
                must(over, f"a paid task was dropped: {event} because {because}")

    # ---- what must hold of a job at any time ----

    def check(self, job: Job) -> None:
        must(self.seen[job.id] == msgspec.to_builtins(public(job)), f"folds differ: {job}")
        self._check_ends(job)
        self._check_words(job)
        self._check_stages(job)
        self._check_attempts(job)

    def _check_ends(self, job: Job) -> None:
        finished = job.state in FINISHED
        must((job.finished_at is not None) == finished, f"finished_at of {job}")
        must(not finished or job.billed is not None, f"an end without a word on money: {job}")
        if job.state == "succeeded":
            must(job.error is None and job.billed == "yes", f"succeeded, but {job}")
        if job.state == "failed":
            must(job.error is not None, f"failed, and doesn't say why: {job}")
        if job.state == "in_doubt":
            must(job.error is not None, f"in doubt, and doesn't say why: {job}")
            must(job.billed in ("unknown", "yes", "kept"), f"in doubt, but billed {job.billed}")

    def _check_words(self, job: Job) -> None:
        if job.state == "held":
            must(job.reason in HELD_REASONS, f"held for {job.reason}")
            faulty = job.reason not in ("operator", "approval")
            must(not faulty or job.error is not None, f"held, and doesn't say why: {job}")
        else:
            must(job.reason is None, f"{job.state} with a reason: {job.reason}")
        if job.state == "generating":
            must(job.deadline_at is not None, "generating without a deadline")
        must(job.errors_consecutive <= job.errors_total, f"counters of {job}")
        must(job.next_at is None, "next_at is derived, never stored")

    def _check_stages(self, job: Job) -> None:
        running = [stage for stage in job.stages if stage.result == "running"]
        must(all(_is_whole(stage) for stage in job.stages), f"stages of {job}")
        if job.state in FINISHED or job.state in ("held", "in_doubt"):
            must(not running, f"{job.state}, but a stage runs: {running}")
        elif job.state != "cancelling":  # which may come from held
            must(running == [job.stages[-1]], f"{job.state}, but running are {running}")
            stage = {
                "queued": "queue",
                "preparing": "prepare",
                "submitting": "submit",
                "generating": "generate",
                "downloading": "download",
            }[job.state]
            must(running[0].stage == stage, f"{job.state}, but {running[0].stage} runs")

    def _check_attempts(self, job: Job) -> None:
        records = job.attempts if isinstance(job.attempts, tuple) else ()
        numbers = [record.attempt for record in records]
        must(len(set(numbers)) == len(numbers), f"attempts {numbers}")
        must(max(numbers, default=0) <= job.attempt, f"attempts {numbers} of {job.attempt}")
        if job.state in FINISHED:
            must(all(one.finished_at is not None for one in records), f"open attempts: {records}")

    # ---- effects ----

    def effect_begins(self, job: Job, name: str, now: float) -> None:
        self._at_once[job.id, now] += 1
        must(self._at_once[job.id, now] <= SENDS_AT_ONCE_MAX, f"a loop without a wait: {name}")

    def submitted(self, job: Job, submit: Submit, gate: Gate, now: float) -> None:
        """A paid request leaves the machine."""
        key = submit.intent.key
        self.sent[key] += 1
        unsettled = self.sent[key] - self.refused[key]
        must(unsettled <= 1 + self.allowed_again[key], f"{key} was sent {self.sent[key]} times")
        must(gate.probe in (None, job.id), f"job {job.id} sent while {gate.probe} is the probe")
        must(state(gate, now) not in ("paused", "closed"), f"sent through a shut gate: {gate}")

    def answered(self, intent: Intent, outcome: Outcome) -> None:
        """The answer to a paid request: a sure refusal settles that sending."""
        if isinstance(outcome, Fault) and outcome.effect == "none":
            self.refused[intent.key] += 1

    def polled(self, remote: Remote, now: float, interval_s: float) -> None:
        last = self._polled.get(remote.remote_id)
        must(
            last is None or now >= last + interval_s - 1e-6,
            f"{remote.remote_id} polled at {last} and {now}",
        )
        self._polled[remote.remote_id] = now

    def commanded(self, job: Job, asked: Command) -> None:
        """Pay-again allows one more sending of the key in doubt."""
        intent = getattr(job.work, "intent", None)
        if isinstance(asked, Resolve) and asked.how == "pay-again" and isinstance(intent, Intent):
            self.allowed_again[intent.key] += 1

    def resent_by_policy(self, job: Job) -> None:
        """`on_unknown = resubmit` put a doubted intent back into the queue: one more sending."""
        work = job.work
        if isinstance(work, Queued) and work.resend is not None and not work.resend.resent:
            self.allowed_again[work.resend.key] += 1


def _is_whole(stage: Stage) -> bool:
    return (stage.duration_s is None) == (stage.result == "running") and (
        stage.duration_s is None or stage.duration_s >= 0
    )
