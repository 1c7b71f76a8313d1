"""Every promise of night/invariants.py bites: a bug planted against it is caught, and by it.

A planted bug is a part of the night that is broken in one way (`Parts`): what the core decided is
changed on its way into the book, or a class of the shell is wrong. The product stays as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from daemon.book import Book
from daemon.core.changes import ended, to_failed, to_queue
from daemon.core.commands import Cancel
from daemon.core.effects import Effect, Lookup, Poll, Submit
from daemon.core.events import Event
from daemon.core.explain import Scene, Why
from daemon.core.gate import Gate
from daemon.core.job import Failure, Finished, Held, Job, Queued, Submitting, live_remote
from daemon.core.outcomes import Absent, Outcome, Picked
from daemon.core.schedule import Backlog
from daemon.store.port import Batch, Loaded, Paid
from tests.core.night import invariants
from tests.core.night.journal import Journal
from tests.core.night.performer import NightPerformer
from tests.core.night.report import Failed
from tests.core.night.simulation import NightBook, NightSupervisor, Parts
from tests.core.simulation import Plan, simulate, stormy
from tests.core.world import FakeVendor

replace = msgspec.structs.replace
NIGHTS_MAX = 40
NEVER = 1e12
Change = Callable[[Job, Event], Event]


def each(change: Change) -> Parts:
    """A core that decides something else: `change` is given the job before, and the event."""

    def facts(book: Book, events: Sequence[Event]) -> Sequence[Event]:
        return [
            event
            if not isinstance(event.job, int) or event.type == "added"
            else change(book.jobs[event.job], event)
            for event in events
        ]

    return Parts(facts=facts)


def each_gate(change: Callable[[Gate, Gate], Gate]) -> Callable[..., Sequence[Event]]:
    """A judge that judges otherwise: `change` is given the gate before, and after."""

    def facts(book: Book, events: Sequence[Event]) -> Sequence[Event]:
        return [
            replace(event, gate=change(book.gate(event.provider), event.gate))
            if isinstance(event.gate, Gate) and isinstance(event.provider, str)
            else event
            for event in events
        ]

    return facts


def of(*kinds: str, **fields: Any) -> Change:
    """Events of these kinds carry something else."""

    def change(job: Job, event: Event) -> Event:
        return replace(event, **fields) if event.type in kinds else event

    return change


# ---- paid twice ----


class RetryingClient(NightPerformer):
    """An HTTP client that sends a POST again when it gets no answer, as vendors' SDKs do."""

    async def _submit(self, job: Job, vendor: FakeVendor, effect: Submit) -> Outcome:
        vendor.submit(effect.intent, self.night.true_now())
        return await super()._submit(job, vendor, effect)


class ShortSighted(NightPerformer):
    """A lookup that looks in the wrong place: it never finds the task."""

    async def perform(self, job: Job, effect: Effect) -> Outcome:
        outcome = await super().perform(job, effect)
        return Absent() if isinstance(effect, Lookup) else outcome


def _sent_once_more(job: Job, event: Event) -> Event:
    """A lost answer is taken for a refusal that lets the same request leave again."""
    if event.type != "doubted" or event.state != "in_doubt":
        return event
    counted = {
        name: value
        for name in ("error", "errors_total", "errors_consecutive")
        if (value := getattr(event, name)) is not UNSET
    }
    resend = job.work.intent if isinstance(job.work, Submitting) else None
    closed = {} if resend else ended(job, event.at, "refused")
    queued = Queued("backoff", event.at, resend)
    return to_queue(job, "submit_failed", event.at, queued, "retry", **counted, **closed)


class HastyBook(NightBook):
    """Effects start before what they follow from is on disk."""

    async def durable(self) -> None:
        return


class SlowToLeave(NightPerformer):
    """A request that lingers in a queue of its own, where no cancel reaches it."""

    async def _submit(self, job: Job, vendor: FakeVendor, effect: Submit) -> Outcome:
        await self.night.clock.sleep(20.0)
        if happened(job, self):
            self.night.act(self.night.jobs[job.id], Cancel())
        await self.night.clock.sleep(20.0)
        return await super()._submit(job, vendor, effect)


def happened(job: Job, performer: NightPerformer) -> bool:
    return performer.night.jobs[job.id].state == "submitting"


# ---- lost ----


def _held_empty_handed(job: Job, event: Event) -> Event:
    return replace(event, work=Held()) if event.type == "held" and live_remote(job) else event


def _succeeded_with_a_task(job: Job, event: Event) -> Event:
    remote = live_remote(job)
    if event.type != "succeeded" or remote is None:
        return event
    return replace(event, work=Finished(replace(remote, results=())))


class ForgetfulStart(NightSupervisor):
    """A start that doesn't look into paid.jsonl."""

    def recover(self, unrecorded: Sequence[Paid] = ()) -> None:
        super().recover()


def _taken_for_refused(job: Job, event: Event) -> Event:
    if event.type != "doubted" or not isinstance(job.work, Submitting):
        return event
    error = Failure("submit", "http", message="no answer", rule="none")
    return to_failed(job, event.at, {"error": error}, billed="unknown")


# ---- limits and gates ----


class BlindBook(NightBook):
    """Sees no slot that is taken."""

    def slots_taken(self, provider: str) -> int:
        return 0


class FlatBacklog(Backlog):
    """Knows no priorities."""

    def put(self, job: Job, missing: Any, now: float) -> None:
        super().put(replace(job, priority=0), missing, now)


class FlatBook(NightBook):
    def __init__(self, night: Any) -> None:
        super().__init__(night)
        self.backlog = FlatBacklog()


class OpenBook(NightBook):
    """Holds every gate for open."""

    def gate(self, provider: str) -> Gate:
        return replace(super().gate(provider), causes=())


class CrowdedBook(NightBook):
    """Doesn't count who is on the way."""

    def on_the_way(self, provider: str) -> int:
        return 0


def _unnamed_probe(before: Gate, after: Gate) -> Gate:
    return replace(after, probe=None)


def _errors_stay(before: Gate, after: Gate) -> Gate:
    most = max(before.errors_consecutive, after.errors_consecutive)
    return replace(after, errors_consecutive=most)


def _probe_stays(before: Gate, after: Gate) -> Gate:
    return replace(after, probe=before.probe) if after.probe is None else after


class Impatient(NightPerformer):
    """Waits for nothing."""

    async def _until(self, at: float) -> None:
        return


# ---- counters ----


def _quota_is_an_error(job: Job, event: Event) -> Event:
    error = event.error
    if event.type != "submit_failed" or not isinstance(error, Failure) or error.http != 429:
        return event
    return replace(event, retries=job.retries + 1)


def _retries_by_two(job: Job, event: Event) -> Event:
    raised = event.type == "submit_failed" and isinstance(event.retries, int)
    return replace(event, retries=job.retries + 2) if raised else event


# ---- the record ----


def _never_sent(book: Book, events: Sequence[Event]) -> Sequence[Event]:
    """Jobs that are ready are sent back to the queue, always."""
    job = book.jobs.get(events[0].job) if events and isinstance(events[0].job, int) else None
    if job is None or not any(event.type == "submitting" for event in events):
        return events
    queued = Queued("interrupted")
    return [to_queue(job, "interrupted", events[0].at, queued, "interrupted")]


def _by_another_name(job: Job, event: Event) -> Event:
    return replace(event, type="released") if event.type == "poll_failed" else event


def _next_but_one(job: Job, event: Event) -> Event:
    return replace(event, rev=job.rev + 2) if event.type == "submitted" else event


class MisnumberingJournal(Journal):
    """Says after a crash that it holds more than it does."""

    def loaded(self, *, unclean: bool) -> Loaded:
        found = super().loaded(unclean=unclean)
        return replace(found, seq=found.seq + 3) if found.seq else found


class WornJournal(Journal):
    """Stores rows that aren't what the events say."""

    def _keep(self, batch: Batch) -> None:
        super()._keep(replace(batch, jobs=tuple(replace(job, by="?") for job in batch.jobs)))


class LossyBook(NightBook):
    """Keeps less in memory than it gives to the journal."""

    def record(self, events: Sequence[Event]) -> asyncio.Future[int]:
        stored = super().record(events)
        for job in [self.jobs[event.job] for event in events if isinstance(event.job, int)]:
            if job.state == "succeeded":
                self.jobs[job.id] = replace(job, outputs=())
        return stored


class Confused(NightPerformer):
    """Answers a poll with what no poll can come to."""

    async def perform(self, job: Job, effect: Effect) -> Outcome:
        outcome = await super().perform(job, effect)
        return Picked() if isinstance(effect, Poll) else outcome


def _wordless(job: Job, scene: Scene) -> Why:
    return Why(job.id, job.state, "", None)


def _never_looked_for(job: Job, event: Event) -> Event:
    if event.type == "doubted" and isinstance(event.work, Submitting):
        return replace(event, work=replace(event.work, reconcile_at=NEVER))
    return event


PLANTED: dict[str, Parts] = {
    "a_key_is_accepted_once": Parts(performer=RetryingClient),
    "a_job_is_paid_for_once": Parts(performer=ShortSighted),
    "a_request_is_sent_again_only_if_refused": each(_sent_once_more),
    "an_intent_is_on_disk_before_its_request": Parts(book=HastyBook),
    "a_cancelled_job_is_not_sent": Parts(performer=SlowToLeave),
    "a_paid_task_is_let_go_only_for_a_reason": each(_held_empty_handed),
    "a_task_without_verdict_is_watched": each(_succeeded_with_a_task),
    "an_accepted_id_is_kept": each(of("submitted", attempt_record=UNSET)),
    "what_is_in_paid_jsonl_is_adopted": Parts(supervisor=ForgetfulStart),
    "every_payment_is_known": each(_taken_for_refused),
    "money_is_told_truthfully": each(of("cancelled", billed="no")),
    "a_slot_is_never_given_twice": Parts(book=BlindBook),
    "the_highest_priority_starts_first": Parts(book=FlatBook),
    "a_shut_gate_starts_nothing": Parts(book=OpenBook),
    "a_probe_goes_alone": Parts(book=CrowdedBook, facts=each_gate(_unnamed_probe)),
    "a_good_answer_clears_the_providers_counters": Parts(facts=each_gate(_errors_stay)),
    "no_gate_waits_for_ever": Parts(facts=each_gate(_probe_stays)),
    "polls_keep_their_distance": Parts(performer=Impatient),
    "counters_count_and_are_reset": each(of("ready", "polled", errors_consecutive=UNSET)),
    "quota_burns_nothing": each(_quota_is_an_error),
    "retries_stay_within_their_limit": each(_retries_by_two),
    "nobody_is_picked_for_nothing": Parts(facts=_never_sent),
    "every_change_is_in_the_table": each(_by_another_name),
    "revisions_have_no_hole": each(_next_but_one),
    "the_stream_has_no_hole": Parts(journal=MisnumberingJournal),
    "the_stream_tells_what_is_stored": Parts(journal=WornJournal),
    "memory_is_what_is_stored": Parts(book=LossyBook),
    "no_runner_gives_up": Parts(performer=Confused),
    "an_end_says_why_and_what_it_cost": each(of("cancelled", billed=UNSET)),
    "what_waits_says_for_what": each(of("held", reason=UNSET)),
    "the_timeline_is_whole": each(of("submitted", stages=UNSET)),
    "everything_comes_to_an_end": each(_never_looked_for),
    "everything_says_why": Parts(why=_wordless),
}


def _nights(plan: Plan, parts: Parts) -> None:
    for seed in range(NIGHTS_MAX):
        simulate(seed, plan, parts)


@pytest.mark.parametrize("promise", PLANTED)
def test_a_bug_planted_against_a_promise_is_caught_by_it(promise: str) -> None:
    plan = replace(stormy(), commands=60, crashes=8, jumps=0.0)
    with pytest.raises(Failed) as caught:
        _nights(plan, PLANTED[promise])
    assert caught.value.invariant == promise, caught.value.story


def test_every_promise_has_a_bug_planted_against_it() -> None:
    assert {promise.__name__ for promise in invariants.EVERY_PROMISE} == set(PLANTED)
    assert all(promise.__doc__ for promise in invariants.EVERY_PROMISE)
