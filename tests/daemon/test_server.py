"""The server over a real socket: greeting, requests, long answers, clients that go."""

import asyncio
import os
import pwd
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import structlog

from daemon import __version__
from daemon.core.job import Job
from daemon.serving import answers as answers_module
from daemon.serving.connection import (
    CLOSE_S_MAX,
    HELLO_S_MAX,
    IN_FLIGHT_MAX,
    LINGER_S_MAX,
    SEND_S_MAX,
    WAITS_MAX,
)
from daemon.serving.server import CONNECTIONS_MAX, STOP_S_MAX
from daemon.wire import codec
from daemon.wire.messages import (
    PART_BYTES_MAX,
    Act,
    Events,
    Ls,
    Ping,
    Providers,
    RowProblem,
    Show,
    Status,
    Subscribe,
    Wait,
    refusal,
)
from tests.fakes.clock import settle
from tests.fakes.desk import NOW
from tests.fakes.served import HELLO, Served, until

ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with Served(tmp_path) as served:
        yield served


# ---- greeting ----


async def test_the_hello_is_answered_with_version_boot_and_place(served: Served) -> None:
    served.desk.add_jobs(3)
    client = await served.connect()
    await client.send(HELLO)
    assert await client.frame() == {
        "hello": "genq",
        "protocol": 1,
        "version": __version__,
        "boot": "b1",
        "seq": 3,
    }


async def test_another_protocol_gets_one_error_and_the_end(served: Served) -> None:
    client = await served.connect()
    await client.send(b'{"hello":"genq","protocol":9,"version":"9.0"}\n', Ping(id=1))
    frame = await client.frame()
    assert frame["id"] is None
    assert frame["error"]["code"] == "protocol"
    assert await client.ended()


async def test_a_client_that_says_nothing_is_hung_up_on(served: Served) -> None:
    client = await served.connect()
    await client.send(b'{"hello":')
    await served.pass_time(HELLO_S_MAX)
    assert (await client.frame())["error"]["message"] == "no hello came within 10 s"
    assert await client.ended()


async def test_a_greeted_client_may_be_silent_for_ever(served: Served) -> None:
    client = await served.client()
    await served.clock.advance(100_000)
    assert (await client.ask(Ping(id=1)))["ok"] == {"at": NOW}


async def test_one_client_too_many_is_told_so(served: Served) -> None:
    clients = [await served.client() for _ in range(CONNECTIONS_MAX)]
    extra = await served.connect()
    assert (await extra.frame())["error"]["code"] == "limit"
    assert await extra.ended()
    clients[0].writer.close()
    await until(lambda: served.server.clients < CONNECTIONS_MAX)
    await served.client()


# ---- requests ----


async def test_what_is_done_is_done_by_the_user_at_the_other_end(served: Served) -> None:
    served.desk.answers[Act] = {"changed": [1], "refused": [], "jobs": []}
    client = await served.client()
    await client.ask(Act(id=1, verb="cancel", jobs=(1,)))
    assert served.desk.asked[-1][1] == ME


async def test_a_user_is_looked_up_once(served: Served) -> None:
    served.names = ["ana", "bob"]
    for number in (1, 2):
        client = await served.client()
        await client.ask(Ping(id=number))
    assert [by for _, by in served.desk.asked] == ["ana", "ana"]


async def test_a_user_without_a_name_is_called_by_number(served: Served) -> None:
    served.names = [""]
    client = await served.client()
    await client.ask(Ping(id=1))
    assert served.desk.asked[-1][1] == str(os.getuid())


async def test_one_broken_connection_is_logged_and_no_other_ends(served: Served) -> None:
    client = await served.client()
    served.desk.boot = object()  # type: ignore[assignment]
    with structlog.testing.capture_logs() as logged:
        broken = await served.connect()
        await broken.send(HELLO)
        assert await broken.ended()
    assert [line["event"] for line in logged] == ["connection_failed"]
    assert (await client.ask(Ping(id=1)))["ok"]


async def test_a_refused_request_gets_an_error_with_its_id(served: Served) -> None:
    client = await served.client()
    answer = await client.ask(Show(id=5, job=9))
    assert answer == {
        "id": 5,
        "error": {"code": "unknown_id", "message": "there is no job 9"},
    }


async def test_bad_lines_are_answered_and_the_connection_goes_on(served: Served) -> None:
    client = await served.client()
    await client.send(b"nonsense\n", b'{"op":"fly","id":2}\n', Ping(id=3))
    codes = [(await client.frame())["error"]["code"] for _ in range(2)]
    assert codes == ["bad_frame", "unknown_op"]
    assert (await client.frame())["ok"] == {"at": NOW}


async def test_an_overlong_frame_is_skipped_and_the_connection_goes_on(served: Served) -> None:
    client = await served.client()
    await client.send(b'{"op":"act","id":8,"reason":"' + b"x" * 3_000_000 + b'"}\n', Ping(id=9))
    frame = await client.frame()
    assert (frame["id"], frame["error"]["code"]) == (8, "too_large")
    assert (await client.frame())["id"] == 9


async def test_a_mistake_of_the_daemon_is_logged_and_costs_one_request(served: Served) -> None:
    served.desk.failures["ls"] = ZeroDivisionError("oh")
    client = await served.client()
    with structlog.testing.capture_logs() as logged:
        answer = await client.ask(Ls(id=1))
    assert answer["error"]["code"] == "internal"
    assert "oh" not in answer["error"]["message"]
    assert [(line["event"], line["op"]) for line in logged] == [("request_failed", "Ls")]
    assert (await client.ask(Ping(id=2)))["ok"]


async def test_an_answer_that_takes_long_holds_up_no_other(served: Served) -> None:
    served.desk.gate = asyncio.Event()
    client = await served.client()
    await client.send(Wait(id=1), Ls(id=2))
    assert (await client.frame()) == {"id": 2, "ok": {"count": 0}}
    served.desk.gate.set()
    assert (await client.frame())["id"] == 1


async def test_a_wait_tells_its_progress(served: Served) -> None:
    served.desk.progress = [{"total": 2, "succeeded": 1}]
    client = await served.client()
    await client.send(Wait(id=1))
    assert await client.answer(1) == [
        {"id": 1, "progress": {"total": 2, "succeeded": 1}},
        {"id": 1, "ok": {"succeeded": [1], "timed_out": False}},
    ]


async def test_more_requests_than_the_limit_are_read_when_others_are_answered(
    served: Served,
) -> None:
    served.desk.gate = asyncio.Event()
    client = await served.client()
    count = IN_FLIGHT_MAX + 5
    await client.send(*(Ping(id=number) for number in range(1, count + 1)))
    await until(lambda: len(served.desk.asked) == IN_FLIGHT_MAX)
    await settle()
    assert len(served.desk.asked) == IN_FLIGHT_MAX
    served.desk.gate.set()
    assert {(await client.frame())["id"] for _ in range(count)} == set(range(1, count + 1))


async def test_one_wait_too_many_is_refused_and_the_others_go_on(served: Served) -> None:
    served.desk.gate = asyncio.Event()
    client = await served.client()
    await client.send(*(Wait(id=number) for number in range(1, WAITS_MAX + 2)))
    frame = await client.frame()
    assert (frame["id"], frame["error"]["code"]) == (WAITS_MAX + 1, "limit")
    served.desk.gate.set()
    assert {(await client.frame())["id"] for _ in range(WAITS_MAX)} == set(range(1, WAITS_MAX + 1))


async def test_one_answer_of_one_frame_has_the_value_as_the_desk_gave_it(served: Served) -> None:
    served.desk.answers = {Status: {"counts": {"queued": 1}}, Providers: [{"name": "mock"}]}
    client = await served.client()
    assert (await client.ask(Status(id=1)))["ok"] == {"counts": {"queued": 1}}
    assert (await client.ask(Providers(id=2)))["ok"] == [{"name": "mock"}]


# ---- long answers ----


async def test_a_long_list_comes_in_parts_and_in_order(served: Served) -> None:
    served.desk.add_jobs(400, prompt="p" * 5_000)
    client = await served.client()
    await client.send(Ls(id=1))
    *parts, end = await client.answer(1)
    assert end == {"id": 1, "ok": {"count": 400}}
    assert len(parts) == 5
    ids = [job["id"] for part in parts for job in part["part"]["jobs"]]
    assert ids == list(range(1, 401))
    assert all(len(msgspec.json.encode(part)) < PART_BYTES_MAX + 100 for part in parts)


async def test_a_long_list_within_an_answer_goes_before_it_in_parts(served: Served) -> None:
    served.desk.answers[Act] = {"changed": list(range(1_000)), "refused": [], "jobs": []}
    client = await served.client()
    await client.send(Act(id=1, verb="cancel", jobs=(1,)))
    part, end = await client.answer(1)
    assert part["part"] == {"changed": list(range(1_000))}
    assert end["ok"] == {"changed": [], "refused": [], "jobs": []}


async def test_many_problems_go_before_their_error_in_parts(served: Served) -> None:
    problems = tuple(RowProblem(row, "name", "is taken") for row in range(20_000))
    served.desk.failures["answer"] = refusal("bad_jobs", "20000 problems", problems=problems)
    client = await served.client()
    await client.send(Ping(id=1))
    *parts, end = await client.answer(1)
    told = [problem["row"] for part in parts for problem in part["part"]["problems"]]
    assert told == list(range(20_000))
    assert end["error"] == {"code": "bad_jobs", "message": "20000 problems"}
    assert len(parts) > 1


async def test_stored_events_come_in_parts_up_to_the_newest(served: Served) -> None:
    served.desk.add_jobs(300, prompt="p" * 5_000)
    client = await served.client()
    await client.send(Events(id=1, after=100))
    *parts, end = await client.answer(1)
    assert end["ok"] == {"seq": 300}
    seqs = [event["seq"] for part in parts for event in part["part"]["events"]]
    assert seqs == list(range(101, 301))
    assert len(parts) > 1


async def test_the_last_events_and_those_of_one_job_can_be_asked_for(served: Served) -> None:
    served.desk.add_jobs(5)
    client = await served.client()
    await client.send(Events(id=1, tail=2))
    part, _ = await client.answer(1)
    assert [event["seq"] for event in part["part"]["events"]] == [4, 5]
    await client.send(Events(id=2, job=3))
    part, _ = await client.answer(2)
    assert [event["job"] for event in part["part"]["events"]] == [3]


async def test_events_that_were_pruned_are_told_where_they_would_stand(served: Served) -> None:
    served.desk.add_jobs(5)
    served.desk.prune(4)
    client = await served.client()
    await client.send(Events(id=1, after=1))
    part, _ = await client.answer(1)
    first, *rest = part["part"]["events"]
    assert (first["type"], first["seq"]) == ("snapshot", 3)
    assert first["detail"] == "events before 4 are gone: they were pruned"
    assert [event["seq"] for event in rest] == [4, 5]
    await client.send(Events(id=2))
    part, _ = await client.answer(2)
    assert [event["seq"] for event in part["part"]["events"]] == [4, 5]


async def test_a_client_that_reads_nothing_of_an_answer_is_hung_up_on(served: Served) -> None:
    served.desk.add_jobs(400, prompt="p" * 5_000)
    stuck = await served.client()
    other = await served.client()
    stuck.stop_reading()
    await stuck.send(Ls(id=1))
    assert (await other.ask(Ping(id=1)))["ok"]
    assert served.server.clients == 2
    with structlog.testing.capture_logs() as logged:
        await served.pass_time(SEND_S_MAX)
        await until(lambda: served.server.clients == 1)
    assert ("client_stalled", ME) in [(line["event"], line.get("by")) for line in logged]
    assert (await other.ask(Ping(id=2)))["ok"]


async def test_a_client_that_dies_during_an_answer_is_no_mistake_of_the_daemon(
    served: Served,
) -> None:
    served.desk.add_jobs(400, prompt="p" * 5_000)
    client = await served.client()
    client.stop_reading()
    with structlog.testing.capture_logs() as logged:
        await client.send(Ls(id=1), Ls(id=2))
        await until(lambda: served.clock.next_wake_at is not None)
        client.writer.transport.abort()
        await until(lambda: served.server.clients == 0)
    assert logged == []


async def test_a_client_that_reads_nothing_does_not_hold_up_the_stop(served: Served) -> None:
    client = await served.client()
    client.stop_reading()
    served.desk.answers[Status] = {"pad": "x" * 60_000}
    for number in range(1, 9):
        await client.send(Status(id=number))
        await until(lambda: len(served.desk.asked) == number)  # noqa: B023 - waited for at once
        await settle()
    stopping = asyncio.ensure_future(served.server.stop("test"))
    await served.pass_time(STOP_S_MAX)
    await served.pass_time(CLOSE_S_MAX)
    await stopping
    assert served.server.clients == 0


async def test_progress_is_spared_to_a_client_that_does_not_read(served: Served) -> None:
    served.desk.progress = [{"total": 1, "pad": "x" * 1_000}] * 5_000
    client = await served.client()
    await client.send(Wait(id=1))
    *progress, end = await client.answer(1)
    assert end["ok"]["succeeded"] == [1]
    assert 0 < len(progress) * 1_000 < 2 * answers_module.SLOW_BYTES + 1_000_000
    assert len(progress) < 5_000


# ---- subscriptions ----


async def test_a_subscriber_gets_what_happens_from_now_on(served: Served) -> None:
    served.desk.add_jobs(2)
    client = await served.client()
    assert (await client.ask(Subscribe(id=1)))["ok"] == {"seq": 2, "boot": "b1"}
    served.desk.add_jobs(2)
    served.desk.turn(1, "held", "held")
    assert await client.seqs(3) == [3, 4, 5]


async def test_a_subscriber_gets_what_it_missed_and_then_goes_on(served: Served) -> None:
    served.desk.add_jobs(5)
    client = await served.client()
    assert (await client.ask(Subscribe(id=1, after=2)))["ok"]["seq"] == 2
    assert await client.seqs(3) == [3, 4, 5]
    served.desk.add_jobs(1)
    assert await client.seqs(1) == [6]


async def test_a_subscriber_of_one_job_gets_nothing_else(served: Served) -> None:
    served.desk.add_jobs(3)
    client = await served.client()
    await client.ask(Subscribe(id=1, after=0, job=2))
    served.desk.turn(1, "held")
    served.desk.turn(2, "held")
    assert await client.seqs(2) == [2, 5]


async def test_a_snapshot_is_the_state_before_the_events_that_follow(served: Served) -> None:
    served.desk.add_jobs(3)
    client = await served.client()
    await client.send(Subscribe(id=1, snapshot=True))
    jobs, providers, end = await client.answer(1)
    assert [job["id"] for job in jobs["part"]["jobs"]] == [1, 2, 3]
    assert providers["part"] == {"providers": [{"name": "mock"}]}
    assert end["ok"] == {"seq": 3, "boot": "b1"}
    served.desk.add_jobs(1)
    assert await client.seqs(1) == [4]


async def test_events_during_a_snapshot_come_after_it(served: Served) -> None:
    served.desk.add_jobs(1)
    served.desk.gate = asyncio.Event()
    client = await served.client()
    await client.send(Subscribe(id=1, snapshot=True), Ping(id=2))
    await until(lambda: served.desk.asked)
    served.desk.turn(1, "held")
    served.desk.gate.set()
    jobs, *_ = await client.answer(1)
    assert jobs["part"]["jobs"][0]["state"] == "queued"
    assert await client.seqs(1) == [2]


async def test_a_second_subscription_replaces_the_first(served: Served) -> None:
    served.desk.add_jobs(2)
    client = await served.client()
    await client.ask(Subscribe(id=1))
    await client.ask(Subscribe(id=2, job=2))
    served.desk.turn(1, "held")
    served.desk.turn(2, "held")
    assert await client.seqs(1) == [4]


async def test_a_place_beyond_the_journal_is_told_with_a_snapshot_event(served: Served) -> None:
    served.desk.add_jobs(2)
    client = await served.client()
    await client.ask(Subscribe(id=1, after=900))
    event = await client.frame()
    assert (event["type"], event["seq"]) == ("snapshot", 2)
    assert "restored" in event["detail"]
    served.desk.add_jobs(1)
    assert await client.seqs(1) == [3]


# ---- the end ----


async def test_a_client_that_has_said_its_last_still_gets_its_answers(served: Served) -> None:
    served.desk.gate = asyncio.Event()
    client = await served.client()
    await client.send(Ping(id=1))
    client.writer.write_eof()
    await until(lambda: served.desk.asked)
    await settle()
    served.desk.gate.set()
    assert (await client.frame())["ok"] == {"at": NOW}
    assert await client.ended()


async def test_a_client_that_is_gone_is_forgotten_with_all_it_waits_for(served: Served) -> None:
    served.desk.gate = asyncio.Event()
    client = await served.client()
    await client.send(Wait(id=1), Subscribe(id=2))
    await client.answer(2)
    client.writer.transport.abort()
    await served.pass_time(LINGER_S_MAX)
    await until(lambda: served.server.clients == 0)
    served.desk.add_jobs(1)


async def test_stopping_finishes_what_is_being_sent(served: Served) -> None:
    served.desk.gate = asyncio.Event()
    client = await served.client()
    await client.send(Ping(id=1), Wait(id=2))
    await until(lambda: served.desk.asked)
    stopping = asyncio.ensure_future(served.server.stop("test"))
    assert (await client.frame())["error"]["code"] == "stopping"
    await client.send(Ping(id=3))
    frame = await client.frame()
    assert (frame["id"], frame["error"]["code"]) == (3, "stopping")
    served.desk.gate.set()
    assert (await client.frame())["id"] == 1
    assert await client.ended()
    await stopping
    with pytest.raises(ConnectionRefusedError):
        await served.connect()


async def test_stopping_does_not_wait_for_ever(served: Served) -> None:
    served.desk.gate = asyncio.Event()
    client = await served.client()
    await client.send(Ping(id=1))
    await until(lambda: served.desk.asked)
    stopping = asyncio.ensure_future(served.server.stop("test"))
    await served.pass_time(STOP_S_MAX)
    await stopping
    assert await client.ended()


async def test_a_job_longer_than_a_part_is_sent_whole(served: Served) -> None:
    long = "p" * (PART_BYTES_MAX + 100_000)
    served.desk.add_jobs(1, prompt=long)
    served.desk.add_jobs(1)
    client = await served.client()
    await client.send(Ls(id=1))
    *parts, _ = await client.answer(1)
    jobs = [msgspec.convert(job, Job) for part in parts for job in part["part"]["jobs"]]
    assert [len(job.prompt) for job in jobs] == [len(long), 0]
    assert len(parts) == 2


def test_the_frames_of_an_answer_can_be_told_from_events() -> None:
    assert codec.encode_ok(1, {}) == b'{"id":1,"ok":{}}\n'
