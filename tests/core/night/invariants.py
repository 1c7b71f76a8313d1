"""The promises: each a small function whose first line says what always holds.

A promise is given the auditor's books and what just happened, and yields what contradicts it. The
lists at the end say when each is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from daemon.core.commands import Command, Release, Requeue, Resolve
from daemon.core.effects import Submit
from daemon.core.events import Event
from daemon.core.explain import Scene, Why
from daemon.core.gate import Gate, state
from daemon.core.job import (
    FINISHED,
    Attempt,
    Cancelling,
    Intent,
    Job,
    Queued,
    Remote,
    Stage,
    Submitting,
    live_remote,
    public,
)
from daemon.core.machine import TABLE, next_effect
from daemon.core.outcomes import (
    Absent,
    Accepted,
    Fault,
    Outcome,
    Pending,
    Ready,
    Saved,
    Stopped,
)
from daemon.core.policy import Policy
from tests.core.world import Task

if TYPE_CHECKING:
    from tests.core.auditor import Auditor

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
WAITING_ON_SOMEBODY = FINISHED | {"held", "in_doubt"}
SENT_BACK_MAX = 25
"""A job that prepares so often without being sent is picked for nothing."""


class Step(Struct, frozen=True):
    """One event of a job: before, after, what it answers to, and the gate as it was."""

    before: Job
    after: Job
    event: Event
    because: Outcome | Command | None
    policy: Policy
    gate: Gate
    now: float


class End(Struct, frozen=True):
    """What there is when a calm day has gone by."""

    jobs: Mapping[int, Job]
    gates: Mapping[str, Gate]
    tasks: Mapping[str, list[Task]]
    blocked: Callable[[Job], tuple[tuple[int, str], ...]]
    now: float
    why: Callable[[Job, Scene], Why]


# ---- never pay twice ----


def a_key_is_accepted_once(books: Auditor, key: str, job: int | None) -> Iterator[str]:
    """A key is accepted once, and again only if an operator, or his policy, asked for it."""
    if books.accepted[key] > 1 + books.allowed_again[key]:
        yield f"{key} was accepted {books.accepted[key]} times"


def a_job_is_paid_for_once(books: Auditor, key: str, job: int | None) -> Iterator[str]:
    """A job is paid for once, and once more for each time that somebody, or a rule, said so."""
    if job is None:
        yield f"{key} belongs to no job"
        return
    times = sum(books.accepted[one] for one in books.keys[job])
    if times > 1 + books.allowed_attempts[job]:
        yield f"accepted {times} times, by {sorted(books.keys[job])}"


def is_another_payment(step: Step) -> bool:
    """Whether this step leads, by somebody's word, to one more paid request."""
    if step.after.state != "queued" or step.before.state == "queued":
        return False
    match step.because:
        case Requeue() | Release() | Resolve():
            return True
        case Absent():  # the provider lost the task, and made nothing
            return step.before.state == "generating"
        case Fault() if step.event.type in ("requeued", "submit_failed"):
            return _resubmits(step)
        case _:
            return step.event.type == "doubted"


def _resubmits(step: Step) -> bool:
    error = step.after.error
    rules = {rule.name for rule in step.policy.rules if rule.do == "resubmit"}
    return error is not None and error.rule in rules


def a_request_is_sent_again_only_if_refused(
    books: Auditor, job: Job, submit: Submit, stored: Job | None
) -> Iterator[str]:
    """A key leaves the machine again only after a sure refusal, or because somebody asked."""
    key = submit.intent.key
    unsettled = books.sent[key] - books.refused[key]
    if unsettled > 1 + books.allowed_again[key]:
        yield f"{key} was sent {books.sent[key]} times"


def an_intent_is_on_disk_before_its_request(
    books: Auditor, job: Job, submit: Submit, stored: Job | None
) -> Iterator[str]:
    """No paid request leaves before its intent is durable."""
    intent = getattr(stored.work, "intent", None) if stored is not None else None
    if intent != submit.intent:
        yield f"{submit.intent.key} is sent, but the journal has {stored and stored.work}"


def a_cancelled_job_is_not_sent(
    books: Auditor, job: Job, submit: Submit, stored: Job | None
) -> Iterator[str]:
    """After a cancel no paid request leaves, unless somebody requeued the job."""
    if job.id in books.cancelled:
        yield f"{submit.intent.key} is sent, but the job was cancelled"


# ---- never lose what was paid for ----


def a_paid_task_is_let_go_only_for_a_reason(books: Auditor, step: Step) -> Iterator[str]:
    """A task that lives, or holds a result, is dropped only on a verdict or an operator's word."""
    was, now = live_remote(step.before), live_remote(step.after)
    if was is None or not was.remote_id or isinstance(now, Remote):
        return
    retained_until = was.accepted_at + step.policy.abilities.retention_s
    match step.because:
        case Saved() | Absent() | Fault(kind="provider.failed") | Requeue(fresh=True):
            pass
        case Stopped(billed="no") | Stopped(ended=True):
            if was.results:
                yield f"a known result was dropped: {step.event}"
        case Fault() if _resubmits(step):
            pass
        case _ if step.event.at < retained_until - books.jumped_s:
            yield f"{was.remote_id} was dropped because of {step.because}"


def a_task_without_verdict_is_watched(books: Auditor, job: Job) -> Iterator[str]:
    """A job with a paid task and no verdict always has a next look at it."""
    remote = live_remote(job)
    if remote is None or not remote.remote_id or remote.results:
        return
    if next_effect(job) is None:
        yield f"nobody looks at {remote.remote_id} of a job that is {job.state}"


def an_accepted_id_is_kept(books: Auditor, job: Job) -> Iterator[str]:
    """The remote id of the task that a job works on stands in the record of its attempt."""
    remote = live_remote(job)
    if remote is not None and remote.remote_id:
        known = {record.remote_id for record in _records(job)}
        if remote.remote_id not in known:
            yield f"{remote.remote_id} isn't among {known}"


def what_is_in_paid_jsonl_is_adopted(
    books: Auditor, jobs: Mapping[int, Job], paid: Set[str]
) -> Iterator[str]:
    """After a start no job doubts a request whose accepted id is in paid.jsonl."""
    for job in jobs.values():
        intent = getattr(job.work, "intent", None)
        if isinstance(intent, Intent) and intent.key in paid and not intent.resent:
            yield f"job {job.id} is {job.state} over {intent.key}, which paid.jsonl knows"


def every_payment_is_known(books: Auditor, job: Job, end: End) -> Iterator[str]:
    """Whatever a provider accepted, the job has its answer, or it was said to be a doubt."""
    answered = {record.key for record in _records(job) if record.accepted_at is not None}
    for task in end.tasks[job.provider]:
        mine = task.key in books.keys[job.id] and task.billed and not task.fails
        if mine and task.key not in answered and task.key not in books.doubted:
            yield f"{task.remote_id} ({task.key}) was paid, and nobody knows"


def money_is_told_truthfully(books: Auditor, job: Job, end: End) -> Iterator[str]:
    """What a job says of money is what the provider's ledger says, or `unknown`."""
    tasks = [task for task in end.tasks[job.provider] if task.key in books.keys[job.id]]
    paid = [task for task in tasks if task.billed]
    if job.billed == "no" and paid:
        yield f"said to be unbilled, but the ledger has {len(paid)}"
    if job.billed in ("yes", "kept") and not paid:
        yield "said to be billed, but the ledger has nothing"
    if len(job.outputs) > len(tasks):
        yield f"{len(job.outputs)} outputs of {len(tasks)} tasks"


# ---- limits and gates ----


def a_slot_is_never_given_twice(books: Auditor, step: Step) -> Iterator[str]:
    """A job starts only while fewer than `concurrency` of its provider's are at work."""
    if step.event.type != "started":
        return
    working = ("preparing", "submitting", "generating", "cancelling")
    busy = sum(
        job.state in working and job.provider == step.after.provider and job.id != step.after.id
        for job in books.jobs.values()
    )
    if busy >= step.policy.limits.concurrency:
        yield f"{busy} of {step.policy.limits.concurrency} were at work already"


def the_highest_priority_starts_first(books: Auditor, step: Step) -> Iterator[str]:
    """No job starts while one of a higher priority is ready at the same provider."""
    if step.event.type != "started":
        return
    for job in books.jobs.values():
        ahead = job.provider == step.after.provider and job.priority > step.before.priority
        if ahead and isinstance(job.work, Queued) and not job.after:
            ready_at = max(job.not_before_at or 0.0, job.work.retry_at or 0.0)
            if ready_at < step.now - 1.0 - books.jumped_s:
                yield f"job {job.id} is ready, with priority {job.priority}"


def a_shut_gate_starts_nothing(books: Auditor, step: Step) -> Iterator[str]:
    """No intent is written behind a paused or closed gate."""
    if step.event.type == "submitting":
        now = state(step.gate, step.event.at)
        if now in ("paused", "closed"):
            yield f"an intent behind a gate that is {now}: {step.gate.causes}"


def a_probe_goes_alone(books: Auditor, step: Step) -> Iterator[str]:
    """After a pause for quota or health one request goes first, and nobody beside it."""
    if step.event.type != "submitting" or state(step.gate, step.event.at) != "probing":
        return
    for job in books.jobs.values():
        if job.id != step.after.id and job.provider == step.after.provider:
            intent = _out(job)
            if intent is not None and intent.epoch >= step.gate.epoch:
                yield f"job {job.id} is out with {intent.key} already"


def _out(job: Job) -> Intent | None:
    match job.work:
        case Submitting(intent=intent, reconcile_at=None):
            return intent
        case Cancelling(intent=Intent() as intent, reconcile_at=None):
            return intent
        case _:
            return None


def a_good_answer_clears_the_providers_counters(
    books: Auditor, job: Job, answer: Outcome | Command | None, gate: Gate | None
) -> Iterator[str]:
    """Any good answer clears a provider's health, and says nothing about quota."""
    good = isinstance(answer, Accepted | Pending | Ready | Saved | Absent)
    if good and gate is not None and (gate.errors_consecutive or gate.unreached):
        yield f"{gate.errors_consecutive} errors, {gate.unreached} unreached after {answer}"


def polls_keep_their_distance(
    books: Auditor, remote: Remote, last: float | None, now: float, interval_s: float
) -> Iterator[str]:
    """A task is asked about no more often than poll_interval_s."""
    if last is not None and now < last + interval_s - 1e-3:
        yield f"{remote.remote_id} was polled at {last} and {now}"


# ---- counters ----


def counters_count_and_are_reset(books: Auditor, step: Step) -> Iterator[str]:
    """An error counts once, in its phase's row; a good answer ends the row; totals never fall."""
    before, after = step.before, step.after
    rise = after.errors_total - before.errors_total
    if rise not in (0, 1) or after.attempt < before.attempt:
        yield f"errors {before.errors_total} -> {after.errors_total}, attempt {after.attempt}"
    good = step.event.type in ("submitted", "ready", "rescued", "succeeded") or (
        step.event.type == "polled" and after.state == "generating"
    )
    if good and after.state not in ("cancelling", "cancelled") and after.errors_consecutive:
        yield f"{after.errors_consecutive} errors in a row after {step.event.type}"
    if rise == 1 and after.error is not None:
        same = before.error is not None and before.error.phase == after.error.phase
        row = (before.errors_consecutive if same else 0) + 1
        if after.errors_consecutive != row:
            yield f"{after.errors_consecutive} errors in a row, counted were {row}"


def quota_burns_nothing(books: Auditor, step: Step) -> Iterator[str]:
    """A submit that is refused for quota costs no retry and counts no error."""
    fault = step.because
    if not isinstance(fault, Fault) or fault.http != 429 or step.event.type != "submit_failed":
        return
    if isinstance(step.before.work, Submitting) and step.before.work.reconcile_at is None:
        if step.after.retries != step.before.retries:
            yield f"retries {step.before.retries} -> {step.after.retries}"
        if step.after.errors_total != step.before.errors_total:
            yield "an error was counted"


def retries_stay_within_their_limit(books: Auditor, step: Step) -> Iterator[str]:
    """Retries rise by one, and fall only when somebody requeues or releases."""
    rise = step.after.retries - step.before.retries
    if rise not in (0, 1) and not isinstance(step.because, Requeue | Release):
        yield f"retries {step.before.retries} -> {step.after.retries}"


# ---- the record ----


def every_change_is_in_the_table(books: Auditor, step: Step) -> Iterator[str]:
    """A job changes only along the edges of machine.TABLE."""
    if step.after.state not in TABLE[step.before.state].get(step.event.type, frozenset()):
        yield f"{step.event.type} led from {step.before.state} to {step.after.state}"


def revisions_have_no_hole(books: Auditor, step: Step) -> Iterator[str]:
    """Each event of a job is one revision, dated when it happened."""
    if step.after.rev != step.before.rev + 1:
        yield f"revision {step.before.rev} -> {step.after.rev}"
    if step.event.at != step.after.updated_at:
        yield f"updated_at is {step.after.updated_at}, it happened at {step.event.at}"


def nobody_is_picked_for_nothing(books: Auditor, step: Step) -> Iterator[str]:
    """A job isn't prepared again and again without ever being sent."""
    if books.sent_back[step.after.id] > SENT_BACK_MAX:
        yield f"sent back {books.sent_back[step.after.id]} times"


def the_stream_has_no_hole(books: Auditor, event: Event) -> Iterator[str]:
    """Stored events are numbered one after the other, across crashes too."""
    if event.seq != books.seq + 1:
        yield f"event {event.seq} came after {books.seq}"


def the_stream_tells_what_is_stored(books: Auditor, rows: Mapping[int, Job]) -> Iterator[str]:
    """Any program that copies the keys of the streamed lines has every stored job, key for key."""
    for job in rows.values():
        if books.compared.get(job.id) == job.rev:
            continue
        books.compared[job.id] = job.rev
        told = msgspec.json.decode(msgspec.json.encode(public(job)))
        seen = books.seen[job.id]
        if told != seen:
            wrong = {key for key in told if told[key] != seen.get(key)}
            yield f"job {job.id} differs in {sorted(wrong)}"


def memory_is_what_is_stored(
    books: Auditor, jobs: Mapping[int, Job], rows: Mapping[int, Job]
) -> Iterator[str]:
    """Once everything is durable, memory and journal are equal but for the times of looks."""
    for number in jobs.keys() | rows.keys():
        mine, stored = jobs.get(number), rows.get(number)
        if mine is None or stored is None:
            yield f"job {number} is only in {'memory' if stored is None else 'the journal'}"
        elif (
            mine is not stored and mine != stored and _without_times(mine) != _without_times(stored)
        ):
            yield f"job {number}: {mine.work} in memory, {stored.work} stored"


def _without_times(job: Job) -> tuple[Job, Any]:
    """Looks that found nothing aren't stored, nor is what a clock that was set moved along."""
    return msgspec.structs.replace(job, work=Queued()), _timeless(msgspec.to_builtins(job.work))


def _timeless(told: Any) -> Any:
    if not isinstance(told, dict):
        return told
    return {
        key: _timeless(value)
        for key, value in told.items()
        if not key.endswith("_at") and key != "polls"
    }


# ---- what a job says ----


def an_end_says_why_and_what_it_cost(books: Auditor, job: Job) -> Iterator[str]:
    """A job that ended says when, what is known about the money, and the error if there is one."""
    finished = job.state in FINISHED
    if (job.finished_at is not None) != finished:
        yield f"{job.state}, and finished_at is {job.finished_at}"
    if finished and job.billed is None:
        yield f"{job.state} without a word on money"
    if job.state == "succeeded" and (job.error is not None or job.billed != "yes"):
        yield f"succeeded, but {job.error}, billed {job.billed}"
    if job.state in ("failed", "in_doubt") and job.error is None:
        yield f"{job.state}, and doesn't say why"
    if job.state == "in_doubt" and job.billed not in ("unknown", "yes", "kept"):
        yield f"in doubt, but billed {job.billed}"


def what_waits_says_for_what(books: Auditor, job: Job) -> Iterator[str]:
    """A held job has a reason, and an error unless a person held it; others have none."""
    if job.state == "held":
        faulty = job.reason not in ("operator", "approval")
        if job.reason not in HELD_REASONS or (faulty and job.error is None):
            yield f"held for {job.reason}, error {job.error}"
    elif job.reason is not None:
        yield f"{job.state} with a reason: {job.reason}"
    if job.state == "generating" and job.deadline_at is None:
        yield "generating without a deadline"
    if job.next_at is not None:
        yield "next_at is derived, never stored"


def the_timeline_is_whole(books: Auditor, job: Job) -> Iterator[str]:
    """The stage of the state runs, and no other; what ended has a duration."""
    running = [stage for stage in job.stages if stage.result == "running"]
    if not all(_is_whole(stage) for stage in job.stages):
        yield f"stages {job.stages}"
    expected = {
        "queued": "queue",
        "preparing": "prepare",
        "submitting": "submit",
        "generating": "generate",
        "downloading": "download",
    }.get(job.state)
    names = [stage.stage for stage in running]
    if job.state != "cancelling" and names != ([expected] if expected else []):
        yield f"{job.state}, but running are {names}"
    numbers = [record.attempt for record in _records(job)]
    if len(set(numbers)) != len(numbers) or max(numbers, default=0) > job.attempt:
        yield f"attempts {numbers} of {job.attempt}"
    if job.state in FINISHED and any(one.finished_at is None for one in _records(job)):
        yield f"{job.state}, but an attempt is open"


def _records(job: Job) -> tuple[Attempt, ...]:
    return job.attempts if isinstance(job.attempts, tuple) else ()


def _is_whole(stage: Stage) -> bool:
    return (stage.duration_s is None) == (stage.result == "running") and (
        stage.duration_s is None or stage.duration_s >= 0
    )


# ---- the end ----


def everything_comes_to_an_end(books: Auditor, job: Job, end: End) -> Iterator[str]:
    """After a calm day every job has ended, or waits for an operator."""
    if not _waits_for_somebody(job, end):
        yield f"still {job.state}: {job.work}"


def _waits_for_somebody(job: Job, end: End) -> bool:
    if job.state in WAITING_ON_SOMEBODY:
        return True
    parents = [end.jobs.get(number) for number, _ in end.blocked(job)]
    return any(parent is None or _waits_for_somebody(parent, end) for parent in parents)


def everything_says_why(books: Auditor, job: Job, end: End) -> Iterator[str]:
    """Whatever didn't succeed has a sentence that says why, with the error where there is one."""
    scene = Scene(end.gates.get(job.provider) or Gate(), end.now, end.blocked(job))
    sentence = end.why(job, scene).sentence
    troubled = job.state in ("failed", "in_doubt")
    if not sentence or (troubled and job.error is not None and str(job.error.rule) not in sentence):
        yield f"{job.state}: {sentence!r}"


def no_runner_gives_up(books: Auditor, job: int, gave_up: bool) -> Iterator[str]:
    """No outcome in any state is more than the core can decide about."""
    if gave_up:
        yield "its runner gave up; the log says why"


def no_gate_waits_for_ever(books: Auditor, end: End) -> Iterator[str]:
    """After a calm day no gate waits for a probe that nobody will answer."""
    for name, gate in end.gates.items():
        if gate.probe is not None:
            yield f"{name} waits for job {gate.probe}"


OF_A_PAYMENT = (a_key_is_accepted_once, a_job_is_paid_for_once)
OF_A_SUBMIT = (
    an_intent_is_on_disk_before_its_request,
    a_cancelled_job_is_not_sent,
    a_request_is_sent_again_only_if_refused,
)
OF_A_STEP = (
    every_change_is_in_the_table,
    revisions_have_no_hole,
    a_paid_task_is_let_go_only_for_a_reason,
    a_slot_is_never_given_twice,
    the_highest_priority_starts_first,
    a_shut_gate_starts_nothing,
    a_probe_goes_alone,
    counters_count_and_are_reset,
    quota_burns_nothing,
    retries_stay_within_their_limit,
    nobody_is_picked_for_nothing,
)
OF_A_JOB = (
    an_end_says_why_and_what_it_cost,
    what_waits_says_for_what,
    the_timeline_is_whole,
    an_accepted_id_is_kept,
    a_task_without_verdict_is_watched,
)
OF_A_GATE = (a_good_answer_clears_the_providers_counters,)
OF_A_POLL = (polls_keep_their_distance,)
OF_THE_STREAM = (the_stream_has_no_hole,)
OF_THE_DISK = (the_stream_tells_what_is_stored,)
OF_MEMORY = (memory_is_what_is_stored,)
OF_A_START = (what_is_in_paid_jsonl_is_adopted,)
AT_THE_END = (
    everything_comes_to_an_end,
    everything_says_why,
    every_payment_is_known,
    money_is_told_truthfully,
)
OF_GATES_AT_THE_END = (no_gate_waits_for_ever,)
OF_A_RUNNER = (no_runner_gives_up,)
EVERY_PROMISE = (
    *OF_A_RUNNER,
    *OF_A_PAYMENT,
    *OF_A_SUBMIT,
    *OF_A_STEP,
    *OF_A_JOB,
    *OF_A_GATE,
    *OF_A_POLL,
    *OF_THE_STREAM,
    *OF_THE_DISK,
    *OF_MEMORY,
    *OF_A_START,
    *AT_THE_END,
    *OF_GATES_AT_THE_END,
)
