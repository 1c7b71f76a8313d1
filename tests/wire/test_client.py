"""The blocking client, against the real server in this loop and against peers that misbehave."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import UNSET, Raw, Struct

from daemon.core.job import Job
from daemon.wire import codec
from daemon.wire.client import Client, ProtocolMismatchError, ServerError, UnreachableError
from daemon.wire.codec import Resync, Told
from daemon.wire.messages import (
    Act,
    ErrorBody,
    Events,
    Ls,
    Ping,
    RowProblem,
    Show,
    Subscribe,
    Wait,
    refusal,
)
from tests.fakes.desk import NOW
from tests.fakes.peer import WELCOME, Peer, Reply, script
from tests.fakes.served import Served


class Jobs(Struct):
    count: int
    jobs: list[Job] = []


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with Served(tmp_path) as served:
        yield served


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Any]:
    """Makes peers, and closes them."""
    made: list[Peer] = []

    def make(*replies: Reply) -> Path:
        made.append(Peer(tmp_path / f"peer-{len(made)}", *replies))
        return made[-1].path

    yield make
    for peer in made:
        peer.close()


def refused(path: Path, **options: Any) -> str:
    with pytest.raises(UnreachableError) as caught:
        Client.connect(path, **options)
    assert str(path) in str(caught.value)
    assert "start it with: genqd run --socket" in str(caught.value)
    return caught.value.why


# ---- connecting ----


async def test_a_client_knows_who_answers(served: Served) -> None:
    served.desk.add_jobs(2)

    def work() -> tuple[str, int]:
        with Client.connect(served.path) as client:
            return client.welcome.boot, client.welcome.seq

    assert await asyncio.to_thread(work) == ("b1", 2)


def test_a_missing_socket_says_so_and_how_to_start_a_daemon(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.sock") == "there is no socket"


def test_a_socket_that_nobody_listens_on_says_so(tmp_path: Path) -> None:
    path = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    assert refused(path) == "nobody listens there"


def test_a_file_that_is_no_socket_says_so(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    assert refused(path) == "nobody listens there"


def test_a_path_that_is_too_long_says_so(tmp_path: Path) -> None:
    assert "more than 107" in refused(tmp_path / ("x" * 107))


def test_somebody_else_at_the_socket_is_no_daemon(peers: Any) -> None:
    assert refused(peers(script(b"HTTP/1.1 400 Bad Request\r\n"))).startswith("a line of it")


def test_one_who_hangs_up_at_once_is_no_daemon(peers: Any) -> None:
    assert refused(peers(script(None))) == "it has gone away"


def test_one_who_says_nothing_is_given_up(peers: Any) -> None:
    assert refused(peers(script()), timeout_s=0.02) == "it hasn't answered for 0.02 s"


def test_a_daemon_too_busy_to_take_a_connection_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "busy.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as queued:
        busy.bind(str(path))
        busy.listen(0)
        queued.connect(str(path))
        assert refused(path, timeout_s=0.02) == "it hasn't answered for 0.02 s"

        def take() -> None:
            busy.accept()[0].close()
            client, _ = busy.accept()
            with client:
                client.recv(1_000)
                client.sendall(WELCOME)

        taking = threading.Timer(0.03, take)
        taking.start()
        with Client.connect(path) as client:
            assert client.welcome.boot == "b1"
        taking.join()


def test_another_protocol_is_told_with_both_versions(peers: Any) -> None:
    path = peers(script(b'{"hello":"genq","protocol":2,"version":"7.0"}\n'))
    with pytest.raises(ProtocolMismatchError, match=r"genqd 7\.0 speaks 2"):
        Client.connect(path)


def test_a_daemon_without_room_is_quoted(peers: Any) -> None:
    path = peers(script(codec.encode_error(None, ErrorBody("limit", "256 clients"))))
    with pytest.raises(ServerError, match="256 clients"):
        Client.connect(path)


# ---- asking ----


async def test_an_answer_of_one_frame_is_its_value(served: Served) -> None:
    served.desk.add_jobs(1, name="shot-01")

    def work() -> tuple[Any, Job]:
        with Client.connect(served.path) as client:
            return client.request(Ping()), client.request(Show(job=1), Job)

    value, job = await asyncio.to_thread(work)
    assert value == {"at": NOW}
    assert job.name == "shot-01"


async def test_an_answer_in_parts_is_put_together(served: Served) -> None:
    served.desk.add_jobs(300, prompt="p" * 5_000)

    def work() -> Jobs:
        with Client.connect(served.path) as client:
            return client.request(Ls(), Jobs)

    jobs = await asyncio.to_thread(work)
    assert jobs.count == 300
    assert [job.id for job in jobs.jobs] == list(range(1, 301))


async def test_a_list_cut_out_of_an_answer_is_put_back(served: Served) -> None:
    value = {"changed": list(range(3_000)), "refused": [{"id": 9, "why": "x"}], "jobs": []}
    served.desk.answers[Act] = value

    def work() -> Any:
        with Client.connect(served.path) as client:
            return client.request(Act(verb="cancel", jobs=(1,)))

    assert await asyncio.to_thread(work) == value


async def test_an_error_carries_its_body_with_all_problems(served: Served) -> None:
    problems = tuple(RowProblem(row, "name", "is taken") for row in range(3_000))
    served.desk.failures["answer"] = refusal("bad_jobs", "3000 problems", problems=problems)

    def work() -> ErrorBody:
        with Client.connect(served.path) as client, pytest.raises(ServerError) as caught:
            client.request(Ping())
        return caught.value.body

    body = await asyncio.to_thread(work)
    assert (body.code, body.message) == ("bad_jobs", "3000 problems")
    assert body.problems == problems


async def test_an_error_of_one_frame_is_as_it_was_sent(served: Served) -> None:
    served.desk.failures["ls"] = refusal("bad_query", "no such field", at=4)

    def work() -> ErrorBody:
        with Client.connect(served.path) as client, pytest.raises(ServerError) as caught:
            list(client.stream(Ls(filter="x:1")))
        return caught.value.body

    assert await asyncio.to_thread(work) == ErrorBody("bad_query", "no such field", at=4)


async def test_a_stream_gives_every_frame_as_it_comes(served: Served) -> None:
    served.desk.add_jobs(3)
    served.desk.progress = [{"total": 1}]

    def work() -> tuple[list[Any], list[Any]]:
        with Client.connect(served.path) as client:
            events = list(client.stream(Events(after=1)))
            waited = list(client.stream(Wait(), idle_s=None))
            return events, waited

    (part, end), (progress, over) = await asyncio.to_thread(work)
    lines = msgspec.json.decode(part.part, type=dict[str, list[Raw]])["events"]
    assert [bytes(line) for line in lines] == [line.text for line in served.desk.lines[1:]]
    assert msgspec.json.decode(end.ok) == {"seq": 3}
    assert msgspec.json.decode(progress.progress) == {"total": 1}
    assert over.ok is not UNSET


def test_an_answer_that_never_comes_is_given_up(peers: Any) -> None:
    client = Client.connect(peers(script(WELCOME)))
    with pytest.raises(UnreachableError, match=r"hasn't answered for 0\.02 s"):
        client.request(Ping(), idle_s=0.02)
    client.close()
    client.close()


def test_a_daemon_that_dies_during_a_request_has_gone_away(peers: Any) -> None:
    with Client.connect(peers(script(WELCOME, None))) as client:
        with pytest.raises(UnreachableError, match="it has gone away"):
            client.request(Ping())
        with pytest.raises(UnreachableError):
            client.request(Ping())


def test_a_request_on_a_closed_client_is_an_error_not_a_crash(peers: Any) -> None:
    client = Client.connect(peers(script(WELCOME)))
    client.close()
    with pytest.raises(UnreachableError):
        client.request(Ping())


def test_answers_to_what_was_given_up_are_left_out(peers: Any) -> None:
    late = codec.encode_ok(1, "late") + codec.encode_ok(2, "right")
    with Client.connect(peers(script(WELCOME, b"", late))) as client:
        with pytest.raises(UnreachableError):
            client.request(Ping(), idle_s=0.02)
        assert client.request(Ping()) == "right"


def test_an_error_about_no_request_ends_the_one_that_waits(peers: Any) -> None:
    error = codec.encode_error(None, ErrorBody("bad_frame", "not JSON"))
    with (
        Client.connect(peers(script(WELCOME, error))) as client,
        pytest.raises(ServerError, match="not JSON"),
    ):
        client.request(Ping())


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"id":1,"part":5}\n', b'{"id":1,"ok":"text"}\n'])
def test_an_answer_that_makes_no_sense_is_an_error_not_a_crash(peers: Any, line: bytes) -> None:
    with (
        Client.connect(peers(script(WELCOME, line))) as client,
        pytest.raises(UnreachableError, match="makes no sense"),
    ):
        client.request(Ls(), Jobs)


# ---- following ----


async def test_a_subscriber_reads_events_as_they_come(served: Served) -> None:
    served.desk.add_jobs(4)

    def begin() -> tuple[Client, int]:
        client = Client.connect(served.path)
        return client, client.subscribe(after=2)

    client, seq = await asyncio.to_thread(begin)
    with client:
        served.desk.turn(1, "held")
        told = client.told(idle_s=5)
        found = [await asyncio.to_thread(next, told) for _ in range(3)]
    assert seq == 2
    assert [one.seq for one in found] == [3, 4, 5]
    assert isinstance(found[0], Told)
    assert found[0].line == served.desk.lines[2].text


def test_events_that_come_during_a_request_are_kept_for_later(peers: Any) -> None:
    mixed = b'{"seq":8,"type":"started"}\n' + codec.encode_ok(2, 1) + b'{"resync":8}\n'
    path = peers(script(WELCOME, codec.encode_ok(1, {"seq": 7, "boot": "b1"}), mixed))
    with Client.connect(path) as client:
        assert client.subscribe() == 7
        assert client.request(Ping()) == 1
        told = client.told(idle_s=5)
        assert [next(told), next(told)] == [Told(8, b'{"seq":8,"type":"started"}'), Resync(8)]


def test_the_subscription_names_its_place_and_job(peers: Any, tmp_path: Path) -> None:
    peer = Peer(tmp_path / "p", script(WELCOME, codec.encode_ok(1, {"seq": 5, "boot": "b1"})))
    with Client.connect(peer.path) as client:
        client.subscribe(after=5, job=3)
    assert codec.decode_request(peer.heard[1].strip()) == Subscribe(id=1, after=5, job=3)
    peer.close()


# ---- starting ----


def test_the_client_loads_nothing_heavy() -> None:
    heavy = {"asyncio", "ssl", "http", "urllib.request", "logging", "structlog", "difflib"}
    program = (
        "import sys; import daemon.wire.client, daemon.wire.upload, daemon.wire.following; "
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"
