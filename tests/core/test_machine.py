"""The table is the whole machine: what isn't in it can't happen."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from msgspec import UNSET

from daemon.core.effects import Fetch, Lookup, Poll, Prepare, Stop, Submit
from daemon.core.events import CHANGES, Event, EventType, apply, streamed
from daemon.core.job import (
    STATES,
    Attempt,
    Cancelling,
    Finished,
    Job,
    State,
    Submitting,
    label,
    live_remote,
    public,
)
from daemon.core.machine import TABLE, WORKS, IllegalTransitionError, evolve, fold, next_effect
from tests.core.jobs import (
    INTENT,
    NOW,
    READY_REMOTE,
    REMOTE,
    cancelled,
    cancelling,
    downloading,
    failed,
    generating,
    held,
    in_doubt,
    one_of_each,
    preparing,
    queued,
    submitting,
    succeeded,
)

JOBS = {job.state: job for job in one_of_each()}
TYPES: tuple[EventType, ...] = get_args(EventType)
WORK_OF = {state: JOBS[state].work for state in STATES}
EDGES = [
    (state, kind, target)
    for state in STATES
    for kind in TABLE[state]
    for target in sorted(TABLE[state][kind])
]


def event(about: Job, kind: EventType, target: State, **changes: Any) -> Event:
    usual = {"job": about.id, "rev": about.rev + 1, "work": WORK_OF[target], "state": target}
    return Event(at=NOW, type=kind, **{**usual, **changes})


@pytest.mark.parametrize(("state", "kind", "target"), EDGES)
def test_every_edge_of_the_table_can_be_taken(state: State, kind: EventType, target: State) -> None:
    job = JOBS[state]
    assert evolve(job, event(job, kind, target)).state == target


@pytest.mark.parametrize("state", STATES)
def test_an_event_that_is_not_in_the_row_of_a_state_raises(state: State) -> None:
    job = JOBS[state]
    for kind in TYPES:
        for target in STATES if kind not in TABLE[state] else ():
            with pytest.raises(IllegalTransitionError, match="not in the table") as caught:
                evolve(job, event(job, kind, target))
            assert (caught.value.state, caught.value.event.type) == (state, kind)


@pytest.mark.parametrize("state", STATES)
def test_an_event_that_leads_elsewhere_than_its_row_says_raises(state: State) -> None:
    job = JOBS[state]
    for kind in TABLE[state]:
        for target in set(STATES) - TABLE[state][kind]:
            with pytest.raises(IllegalTransitionError, match=f"can't lead to {target}"):
                evolve(job, event(job, kind, target))


@pytest.mark.parametrize("state", STATES)
def test_a_working_memory_that_does_not_go_with_the_state_raises(state: State) -> None:
    job = JOBS[state]
    for kind in TABLE[state]:
        for target in TABLE[state][kind]:
            for other in (one for one in STATES if WORKS[one] is not WORKS[target]):
                with pytest.raises(IllegalTransitionError, match=f"in {target}"):
                    evolve(job, event(job, kind, target, work=WORK_OF[other]))


@pytest.mark.parametrize("rev", [0, 1, 3])
def test_an_event_out_of_order_raises(rev: int) -> None:
    with pytest.raises(IllegalTransitionError, match=f"revision {rev} after 1"):
        evolve(queued(), event(queued(), "started", "preparing", rev=rev))


def test_an_event_about_another_job_raises() -> None:
    with pytest.raises(IllegalTransitionError, match="about job 2"):
        evolve(queued(), event(queued(), "started", "preparing", job=2))


def test_a_change_of_state_that_brings_no_working_memory_raises() -> None:
    with pytest.raises(IllegalTransitionError, match="Queued in preparing"):
        evolve(queued(), event(queued(), "started", "preparing", work=UNSET))


def test_a_client_folds_the_same_events_without_the_working_memory() -> None:
    job = public(queued())
    told = streamed(event(queued(), "started", "preparing", started_at=NOW))
    assert told.work is UNSET
    assert (evolve(job, told).state, evolve(job, told).started_at) == ("preparing", NOW)


def test_an_event_without_a_state_stays_in_the_state() -> None:
    asked = event(queued(), "edited", "queued", state=UNSET, work=queued().work, priority=4)
    assert fold(queued(), [asked]).priority == 4


def test_every_state_has_a_row_a_kind_of_memory_and_an_example() -> None:
    assert set(TABLE) == set(WORKS) == set(JOBS) == set(STATES)


def test_every_state_can_be_reached_and_but_for_success_be_left() -> None:
    reached = {target for state, _, target in EDGES if state != target}
    assert reached == set(STATES)
    assert all(any(target != state for s, _, target in EDGES if s == state) for state in STATES)


def test_only_an_operator_leads_out_of_a_success() -> None:
    assert set(TABLE["succeeded"]) == {"requeued"}


def test_folding_copies_every_field_that_a_job_and_an_event_share() -> None:
    others = {"seq", "at", "type", "job", "attempt_record", "value", "gate", "detail"}
    assert set(Event.__struct_fields__) - set(CHANGES) == others
    assert set(CHANGES) < set(Job.__struct_fields__)


def test_the_record_of_an_attempt_is_merged_by_its_number() -> None:
    job = queued(attempts=(Attempt(1, "a"), Attempt(2, "b")))
    told = Event(at=NOW, type="edited", job=1, rev=2, attempt_record=Attempt(2, "b", polls=9))
    assert apply(job, told).attempts == (Attempt(1, "a"), Attempt(2, "b", polls=9))
    added = msgspec.structs.replace(told, attempt_record=Attempt(3, "c"))
    assert apply(job, added).attempts == (Attempt(1, "a"), Attempt(2, "b"), Attempt(3, "c"))
    assert apply(public(job), added).attempts is UNSET


def test_of_a_long_life_the_newest_attempts_are_kept_and_those_with_a_remote_id() -> None:
    job = queued(attempts=(Attempt(1, "1", remote_id="paid-1"),))
    for number in range(2, 251):
        record = Attempt(number, str(number), finished_at=NOW, result="refused")
        job = apply(job, Event(at=NOW, type="edited", attempt_record=record))
    assert isinstance(job.attempts, tuple)
    assert [one.attempt for one in job.attempts] == [1, *range(52, 251)]


@pytest.mark.parametrize(
    ("job", "effect"),
    [
        (queued(), None),
        (preparing(), Prepare()),
        (submitting(), Submit(INTENT)),
        (submitting(Submitting(INTENT, 7.0)), Lookup(INTENT, 7.0)),
        (generating(), Poll(REMOTE, NOW)),
        (downloading(), Fetch(READY_REMOTE, NOW)),
        (cancelling(), Stop(REMOTE, NOW)),
        (cancelling(Cancelling(intent=INTENT)), None),
        (cancelling(Cancelling(intent=INTENT, reconcile_at=7.0)), Lookup(INTENT, 7.0)),
        (in_doubt(), None),
        (held(), Poll(REMOTE, NOW, slow=True)),
        (failed(), Poll(REMOTE, NOW, slow=True)),
        (cancelled(), Poll(REMOTE, NOW, slow=True)),
        (cancelled(Finished(READY_REMOTE)), Fetch(READY_REMOTE, NOW)),
        (failed(Finished(READY_REMOTE)), None),
        (succeeded(), None),
    ],
)
def test_each_state_calls_for_its_effect(job: Job, effect: object) -> None:
    assert next_effect(job) == effect


@pytest.mark.parametrize("job", one_of_each())
def test_a_job_survives_its_encoding(job: Job) -> None:
    assert msgspec.json.decode(msgspec.json.encode(job), type=Job) == job


def test_what_anybody_may_see_leaves_the_working_memory_out() -> None:
    seen = msgspec.to_builtins(public(generating()))
    assert not {"work", "attempts"} & set(seen)
    assert live_remote(generating()) == REMOTE
    assert label(queued()) == "job 1"
