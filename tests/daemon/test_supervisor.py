import asyncio

import msgspec
import pytest

from daemon.core.commands import Cancel, Edit, Hold, RefusedError, Requeue, Resolve
from daemon.core.gate import Gate
from daemon.core.job import Output, Queued, Result
from daemon.core.judge import close, gate_events
from daemon.core.outcomes import (
    Absent,
    Accepted,
    Fault,
    Pending,
    Ready,
    Saved,
    Stopped,
)
from daemon.core.policy import Abilities, Limits
from daemon.desk.problems import Problems
from daemon.store.port import Paid
from tests.fakes.clock import FakeClock, settle
from tests.fakes.performer import Answer
from tests.fakes.shell import LIMITS, Shell
from tests.fakes.store import MemoryStore

READY = Ready((Result("mock:1"),))
SAVED = Saved((Output("/out/1.png", 10, "ab" * 32, "image/png"),))
LOST = Fault("submit", "transport.timeout.read", effect="unknown")
REFUSED = Fault("submit", "http", http=429, effect="none")


def good(**more: list[Answer]) -> dict[str, list[Answer]]:
    answers: dict[str, list[Answer]] = {
        "Submit": [Accepted("r1", "mock:")],
        "Poll": [READY],
        "Fetch": [SAVED],
        "Stop": [Stopped("no")],
    }
    return {**answers, **more}


class BusyClock(FakeClock):
    """A machine so busy that time passes between two looks at the clock."""

    step = 0.0

    def now(self) -> float:
        self._now += self.step
        return self._now


@pytest.mark.parametrize("early", [0.05 * place for place in range(20)])
async def test_what_falls_due_while_a_pass_runs_is_started_all_the_same(early: float) -> None:
    clock = BusyClock()
    shell = Shell(good(), clock=clock)
    (number,) = shell.add(not_before_at=clock.now() + 100.0)
    await shell.run(100.0 - early)
    clock.step = 0.1
    shell.supervisor.kick()
    await settle()
    clock.step = 0.0
    await shell.run(100.0)
    assert shell.job(number).state == "succeeded"


@pytest.mark.parametrize("early", [0.05 * place for place in range(20)])
async def test_a_slot_let_go_while_a_pass_runs_is_given_out_all_the_same(early: float) -> None:
    clock = BusyClock()
    limits = msgspec.structs.replace(LIMITS, concurrency=1, cancel_grace_s=50.0)
    shell = Shell(good(Submit=[LOST]), clock=clock, limits=limits)
    shell.add(2)
    await shell.run(50.0 - early)  # the first is in doubt, and lingers
    clock.step = 0.1
    shell.supervisor.kick()
    await settle()
    clock.step = 0.0
    await shell.run(100.0)
    assert [shell.job(number).state for number in (1, 2)] == ["in_doubt", "in_doubt"]


async def test_a_job_runs_through_to_its_output() -> None:
    shell = Shell(good())
    (job,) = shell.add()
    await shell.run(10.0)
    assert shell.job(job).state == "succeeded"
    assert shell.job(job).outputs == SAVED.outputs
    types = [line.event.type for line in shell.store.lines]
    assert types == [
        "added",
        "started",
        "prepared",
        "submitting",
        "submitted",
        "ready",
        "saved",
        "succeeded",
    ]
    assert [line.seq for line in shell.store.lines] == list(range(1, 9))
    assert shell.store.rows[job] == shell.job(job)
    assert [one.remote_id for one in shell.store.paid] == ["r1"]


async def test_the_request_waits_until_its_intent_is_durable() -> None:
    shell = Shell(good(), store=MemoryStore(held=True))
    shell.add()
    await shell.run()
    assert shell.job(1).state == "submitting"
    assert shell.performer.count("Submit") == 0
    shell.store.commit()
    await shell.run()
    assert shell.performer.count("Submit") == 1


async def test_an_accepted_task_is_asked_about_only_when_its_id_is_durable() -> None:
    shell = Shell(good(), store=MemoryStore(held=True))
    shell.add()
    await shell.run()
    shell.store.commit()
    await shell.run(30.0)
    assert shell.job(1).state == "generating"
    assert shell.performer.count("Poll") == 0
    shell.store.commit()
    await shell.run(30.0)
    assert shell.performer.count("Poll") == 1


async def test_no_more_jobs_run_than_there_are_slots() -> None:
    shell = Shell(good(Poll=[Pending(0.5)]))
    shell.add(5)
    await shell.run(30.0)
    states = [shell.job(number).state for number in range(1, 6)]
    assert states == ["generating", "generating", "queued", "queued", "queued"]


async def test_an_edit_of_a_held_job_takes_no_slot_again() -> None:
    limits = msgspec.structs.replace(LIMITS, concurrency=1, cancel_grace_s=50.0)
    gone = Fault("poll", "http", http=404, effect="accepted")
    shell = Shell(good(Poll=[gone, READY]), limits=limits)
    shell.add(2)
    await shell.run(30.0)
    assert (shell.job(1).state, shell.job(2).state) == ("held", "queued")
    shell.supervisor.command(shell.job(1), Edit(priority=3), by="ana")
    await shell.run(49.0)
    assert shell.job(2).state == "succeeded"


async def test_a_freed_slot_goes_to_the_next_job() -> None:
    shell = Shell(good(), limits=msgspec.structs.replace(LIMITS, concurrency=1))
    shell.add(3)
    await shell.run(31.0)
    assert [shell.job(number).state for number in (1, 2, 3)] == ["succeeded"] * 3


async def test_a_lost_answer_without_a_lookup_is_in_doubt_and_sent_once() -> None:
    shell = Shell(good(Submit=[LOST]))
    shell.add()
    await shell.run(10_000.0)
    assert shell.job(1).state == "in_doubt"
    assert shell.performer.count("Submit") == 1


async def test_a_lost_answer_is_looked_up_and_adopted() -> None:
    shell = Shell(
        good(Submit=[LOST], Lookup=[Absent(), Accepted("r7", "mock:")]),
        abilities=Abilities(lookup=True),
    )
    shell.add()
    await shell.run(1_000.0)
    assert shell.job(1).state == "succeeded"
    assert shell.performer.count("Submit") == 1
    assert shell.attempt(1).remote_id == "r7"


async def test_a_quota_answer_pauses_the_provider_and_burns_nothing() -> None:
    shell = Shell(good(Submit=[REFUSED, Accepted("r1", "mock:")]))
    shell.add(3)
    await shell.run(1.0)
    submits = shell.performer.count("Submit")
    assert submits <= 2
    await shell.run(250.0)
    assert shell.performer.count("Submit") == submits
    await shell.run(200.0)
    assert [shell.job(number).state for number in (1, 2, 3)] == ["succeeded"] * 3
    assert {shell.job(number).retries for number in (1, 2, 3)} == {0}


async def test_cancelling_a_generating_job_stops_it_at_the_provider() -> None:
    shell = Shell(good(Poll=[Pending(0.1)]), abilities=Abilities(cancel=True))
    shell.add()
    await shell.run(15.0)
    shell.supervisor.command(shell.job(1), Cancel(), by="ana")
    assert shell.job(1).state == "cancelling"
    await shell.run(1.0)
    assert shell.job(1).state == "cancelled"
    assert shell.job(1).billed == "no"
    assert shell.job(1).by == "ana"
    assert shell.performer.count("Stop") == 1


async def test_a_cancel_while_the_submit_is_out_waits_for_its_answer() -> None:
    shell = Shell(good())
    shell.performer.gates["Submit"] = asyncio.Event()
    shell.add()
    await shell.run()
    assert shell.performer.count("Submit") == 1
    shell.supervisor.command(shell.job(1), Cancel(), by="ana")
    await shell.run(1.0)
    assert shell.job(1).state == "cancelling"
    shell.performer.gates["Submit"].set()
    await shell.run(1.0)
    assert shell.job(1).state == "cancelled"
    assert [one.remote_id for one in shell.store.paid] == ["r1"]


async def test_a_held_job_does_not_start_and_a_requeued_one_does() -> None:
    shell = Shell(good(), limits=msgspec.structs.replace(LIMITS, concurrency=1))
    shell.add(2)
    await shell.run(5.0)
    shell.supervisor.command(shell.job(2), Hold(), by="ana")
    await shell.run(60.0)
    assert shell.job(2).state == "held"
    shell.supervisor.command(shell.job(2), Requeue(), by="ana")
    await shell.run(60.0)
    assert shell.job(2).state == "succeeded"


async def test_paying_again_sends_the_same_key_once_more() -> None:
    shell = Shell(good(Submit=[LOST, Accepted("r2", "mock:")]))
    shell.add()
    await shell.run(1.0)
    key = shell.attempt(1).key
    shell.supervisor.command(shell.job(1), Resolve("pay-again"), by="ana")
    await shell.run(30.0)
    assert shell.job(1).state == "succeeded"
    assert shell.performer.count("Submit") == 2
    assert shell.job(1).attempt == 1
    assert shell.attempt(1).key == key


async def test_a_doubt_that_is_held_before_it_is_sent_again_is_still_told_as_uncollected() -> None:
    shell = Shell(good(Submit=[LOST]))
    shell.add()
    await shell.run()
    assert shell.book.uncollected() == [1]
    shell.performer.gates["Prepare"] = asyncio.Event()
    shell.supervisor.command(shell.job(1), Resolve("pay-again"), by="ana")
    await shell.run()
    shell.supervisor.command(shell.job(1), Hold(), by="ana")
    await shell.run()
    assert (shell.job(1).state, shell.book.uncollected()) == ("held", [1])


async def test_stopping_waits_for_a_submit_and_keeps_its_answer() -> None:
    shell = Shell(good())
    shell.performer.gates["Submit"] = asyncio.Event()
    shell.add()
    await shell.run()
    stopping = asyncio.get_running_loop().create_task(shell.supervisor.stop(30.0))
    await shell.run(10.0)
    assert not stopping.done()
    shell.performer.gates["Submit"].set()
    await shell.run(1.0)
    assert stopping.done()
    assert shell.job(1).state == "generating"
    assert [one.remote_id for one in shell.store.paid] == ["r1"]


async def test_a_stop_before_the_request_left_sends_the_job_back_and_leaves_no_doubt() -> None:
    shell = Shell(good(), store=MemoryStore(held=True))
    shell.add()
    await shell.run()
    assert shell.job(1).state == "submitting"  # the intent is on its way to the disk
    stopping = asyncio.get_running_loop().create_task(shell.supervisor.stop(30.0))
    await settle()
    shell.store.commit()
    await stopping
    shell.store.commit()
    assert shell.performer.count("Submit") == 0
    assert (shell.job(1).state, shell.job(1).retries) == ("queued", 0)
    assert shell.attempt(1).result == "interrupted"
    again = Shell(good(), clock=shell.clock)
    again.take_over(shell.store)
    again.supervisor.recover()
    await again.run(1_000.0)
    assert again.job(1).state == "succeeded"
    assert again.performer.count("Submit") == 1


async def test_a_doubted_request_that_is_not_sent_again_before_a_stop_keeps_its_key() -> None:
    shell = Shell(good(Submit=[LOST]))
    shell.add()
    await shell.run()
    key = shell.attempt(1).key
    shell.store.held = True
    shell.supervisor.command(shell.job(1), Resolve("pay-again"), by="ana")
    await shell.run()
    assert shell.job(1).state == "submitting"
    stopping = asyncio.get_running_loop().create_task(shell.supervisor.stop(30.0))
    await settle()
    shell.store.commit()
    await stopping
    work = shell.job(1).work
    assert isinstance(work, Queued)
    assert work.resend is not None
    assert work.resend.key == key
    assert shell.performer.count("Submit") == 1


async def test_a_submit_cut_by_the_stop_is_a_doubt_at_the_next_start() -> None:
    shell = Shell(good())
    shell.performer.gates["Submit"] = asyncio.Event()
    shell.add()
    await shell.run()
    await shell.stop(grace_s=5.0)
    assert shell.job(1).state == "submitting"
    again = Shell(good(), clock=shell.clock)
    again.take_over(shell.store)
    again.supervisor.recover()
    await again.run(1_000.0)
    assert again.job(1).state == "in_doubt"
    assert again.performer.count("Submit") == 0


async def test_an_answer_that_reached_only_the_paid_file_is_adopted_at_the_next_start() -> None:
    shell = Shell(good())
    shell.performer.gates["Submit"] = asyncio.Event()
    shell.add()
    await shell.run()
    await shell.stop(grace_s=1.0)
    key = shell.attempt(1).key
    again = Shell(good(), clock=shell.clock)
    again.take_over(shell.store)
    again.supervisor.recover([Paid(0.0, 1, 1, key, "mock:", "r9", "p")])
    await again.run(30.0)
    assert again.job(1).state == "succeeded"
    assert again.attempt(1).remote_id == "r9"
    assert again.performer.count("Submit") == 0


async def test_results_that_came_with_the_answer_are_fetched_as_the_paid_file_tells() -> None:
    shell = Shell(good())
    shell.performer.gates["Submit"] = asyncio.Event()
    shell.add()
    await shell.run()
    await shell.stop(grace_s=1.0)
    key = shell.attempt(1).key
    again = Shell(good(), clock=shell.clock)
    again.take_over(shell.store)
    again.supervisor.recover([Paid(0.0, 1, 1, key, "mock:", "", "p", (Result("spool:a"),))])
    assert again.job(1).state == "downloading"
    await again.run(30.0)
    assert again.job(1).state == "succeeded"
    assert again.performer.count("Submit") == again.performer.count("Poll") == 0


async def test_a_generating_job_goes_on_polling_after_a_restart() -> None:
    shell = Shell(good(Poll=[Pending(0.2)]))
    shell.add()
    await shell.run(25.0)
    await shell.stop()
    again = Shell(good(), clock=shell.clock)
    again.take_over(shell.store)
    again.supervisor.recover()
    await again.run(20.0)
    assert again.job(1).state == "succeeded"
    assert again.performer.count("Submit") == 0


async def test_a_job_that_is_left_alone_is_told_until_somebody_sends_it_on() -> None:
    shell = Shell(good(Poll=[RuntimeError("boom")]))
    (number,) = shell.add()
    await shell.run(500.0)
    assert shell.job(number).state == "generating"
    assert "nobody works on job 1" in Problems().lines(shell.book, shell.providers)[0]
    shell.supervisor.command(shell.job(number), Cancel(), by="ana")
    await shell.run(500.0)
    assert shell.job(number).state == "cancelled"
    assert Problems().lines(shell.book, shell.providers) == []


async def test_a_bug_in_an_engine_at_submit_leaves_a_doubt_and_the_others_running() -> None:
    shell = Shell(good(Submit=[RuntimeError("boom"), Accepted("r2", "mock:")]))
    shell.add(2)
    await shell.run(60.0)
    assert {shell.job(1).state, shell.job(2).state} == {"in_doubt", "succeeded"}


async def test_the_end_of_a_pause_is_told_once_however_many_jobs_waited_for_it() -> None:
    shell = Shell(good())
    now = shell.clock.now()
    shut = close(Gate(), "operator", now + 50.0, "lunch", source="operator")
    shell.book.record(gate_events("p", Gate(), shut, "provider_paused", now))
    shell.add(2)
    await shell.run(100.0)
    assert [shell.job(number).state for number in (1, 2)] == ["succeeded", "succeeded"]
    told = [line.event.type for line in shell.store.lines]
    assert told.count("provider_resumed") == 1


async def test_a_child_waits_for_its_parent() -> None:
    shell = Shell(good())
    (parent,) = shell.add()
    (child,) = shell.add(after=(parent,))
    await shell.run(5.0)
    assert shell.job(child).state == "queued"
    await shell.run(30.0)
    assert shell.job(child).state == "succeeded"


async def test_a_child_that_was_about_to_start_waits_for_a_parent_that_is_made_anew() -> None:
    shell = Shell(good())
    (parent,) = shell.add()
    await shell.run(30.0)
    (child,) = shell.add(after=(parent,), not_before_at=shell.clock.now() + 50.0)
    await shell.run(1.0)
    shell.performer.gates["Poll"] = asyncio.Event()
    shell.supervisor.command(shell.job(parent), Requeue(), by="ana")
    (other,) = shell.add(not_before_at=shell.clock.now() + 51.0)
    await shell.run(60.0)
    states = [shell.job(number).state for number in (parent, child, other)]
    assert states == ["generating", "queued", "generating"]
    shell.performer.gates["Poll"].set()
    await shell.run(100.0)
    assert (shell.job(parent).state, shell.job(child).state) == ("succeeded", "succeeded")


async def test_a_command_that_makes_no_sense_is_refused_and_changes_nothing() -> None:
    shell = Shell(good())
    shell.add()
    await shell.run(20.0)
    before = shell.job(1)
    with pytest.raises(RefusedError, match="nothing to cancel"):
        shell.supervisor.command(before, Cancel(), by="ana")
    assert shell.job(1) is before


async def test_a_backoff_ends_by_itself() -> None:
    refused = Fault("submit", "transport.connect", effect="none")
    shell = Shell(good(Submit=[refused, refused, Accepted("r1", "mock:")]), limits=Limits())
    shell.add()
    await shell.run(30.0)
    assert shell.job(1).state == "succeeded"
    assert shell.job(1).retries == 2
    assert shell.job(1).errors_total == 2
