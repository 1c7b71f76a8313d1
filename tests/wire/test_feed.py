"""The client for event loops: answers by their id, events as they come, the end told once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from daemon.core.events import Event
from daemon.wire import codec, feed
from daemon.wire.client import ProtocolMismatchError, ServerError, UnreachableError
from daemon.wire.codec import BadFrameError, Resync, Told
from daemon.wire.feed import UNANSWERED_MAX, Feed, decode_event
from daemon.wire.messages import ErrorBody, Ls, Ping, Show, Subscribe, Wait, Welcome
from tests.fakes.clock import settle
from tests.fakes.desk import NOW
from tests.fakes.peer import WELCOME, Peer, script
from tests.fakes.served import Served, until


class User:
    """What the feed tells."""

    def __init__(self) -> None:
        self.told: list[Told | Resync] = []
        self.lost = 0

    def note(self, told: Told | Resync) -> None:
        self.told.append(told)

    def gone(self) -> None:
        self.lost += 1

    async def open(self, path: Path) -> tuple[Feed, Welcome]:
        return await Feed.open(path, self.note, self.gone)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with Served(tmp_path) as served:
        yield served


@pytest.fixture
def user() -> User:
    return User()


async def test_answers_find_their_requests_in_whatever_order(served: Served, user: User) -> None:
    served.desk.gate = asyncio.Event()
    opened, welcome = await user.open(served.path)
    assert welcome.boot == "b1"
    slow = asyncio.ensure_future(opened.ask(Wait()))
    quick = await opened.ask(Ls())
    assert bytes(quick) == b'{"count":0}'
    served.desk.gate.set()
    assert msgspec.json.decode(await slow)["succeeded"] == [1]
    opened.close()


async def test_parts_go_where_they_are_wanted_and_nowhere_else(served: Served, user: User) -> None:
    served.desk.add_jobs(300, prompt="p" * 5_000)
    opened, _ = await user.open(served.path)
    parts: list[Raw] = []
    await opened.ask(Ls(), parts.append)
    jobs = [job for part in parts for job in msgspec.json.decode(part)["jobs"]]
    assert [job["id"] for job in jobs] == list(range(1, 301))
    assert bytes(await opened.ask(Ls())) == b'{"count":300}'
    opened.close()


async def test_events_are_told_in_order_while_answers_come(served: Served, user: User) -> None:
    served.desk.add_jobs(3)
    opened, _ = await user.open(served.path)
    await opened.ask(Subscribe(after=1))
    served.desk.turn(1, "held", "poll_failed", progress=0.5)
    assert msgspec.json.decode(await opened.ask(Ping())) == {"at": NOW}
    await until(lambda: len(user.told) == 3)
    lines = [told.line for told in user.told if isinstance(told, Told)]
    assert lines == [line.text for line in served.desk.lines[1:]]
    assert decode_event(lines[-1]).progress == 0.5
    opened.close()


async def test_a_refused_request_raises_and_the_feed_goes_on(served: Served, user: User) -> None:
    opened, _ = await user.open(served.path)
    with pytest.raises(ServerError, match="there is no job 9"):
        await opened.ask(Show(job=9))
    assert await opened.ask(Ping())
    opened.close()


async def test_when_the_daemon_goes_everybody_who_waits_is_told_once(
    served: Served, user: User
) -> None:
    served.desk.gate = asyncio.Event()
    opened, _ = await user.open(served.path)
    asking = [asyncio.ensure_future(opened.ask(Ping())) for _ in range(3)]
    await until(lambda: len(served.desk.asked) == 3)
    stopping = asyncio.ensure_future(served.server.stop("test"))
    await served.pass_time(2.0)
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(result) for result in results] == [UnreachableError] * 3
    assert user.lost == 1
    with pytest.raises(UnreachableError, match="has ended"):
        await opened.ask(Ping())
    opened.close()
    await stopping


async def test_an_answer_that_takes_too_long_is_given_up_and_later_left_out(
    served: Served, user: User
) -> None:
    served.desk.gate = asyncio.Event()
    opened, _ = await user.open(served.path)
    with pytest.raises(UnreachableError, match=r"no answer within 0\.01 s"):
        await opened.ask(Ping(), wait_s=0.01)
    served.desk.gate.set()
    assert await opened.ask(Ping())
    opened.close()


async def test_requests_without_end_are_refused_here(served: Served, user: User) -> None:
    served.desk.gate = asyncio.Event()
    opened, _ = await user.open(served.path)
    asking = [asyncio.ensure_future(opened.ask(Ping())) for _ in range(UNANSWERED_MAX)]
    await settle()
    with pytest.raises(UnreachableError, match="200 requests wait"):
        await opened.ask(Ping())
    served.desk.gate.set()
    await asyncio.gather(*asking)
    opened.close()


# ---- whom it meets ----


async def test_where_nobody_listens_it_says_so(tmp_path: Path, user: User) -> None:
    with pytest.raises(UnreachableError, match="No such file"):
        await user.open(tmp_path / "none")
    with pytest.raises(UnreachableError, match="more than 107"):
        await user.open(tmp_path / ("x" * 107))
    assert user.lost == 0


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (b'{"hello":"genq","protocol":2,"version":"7.0"}\n', ProtocolMismatchError, "speaks 2"),
        (b"220 mail.test ESMTP\r\n", UnreachableError, "makes no sense"),
        (None, UnreachableError, "gone away"),
        (
            codec.encode_error(None, ErrorBody("limit", "256 clients")),
            ServerError,
            "256 clients",
        ),
    ],
)
async def test_a_greeting_that_fails_is_an_error_and_no_loss(
    tmp_path: Path, user: User, said: bytes | None, error: type[Exception], words: str
) -> None:
    peer = Peer(tmp_path / "p", script(said))
    with pytest.raises(error, match=words):
        await user.open(peer.path)
    await settle()
    assert user.lost == 0
    peer.close()


async def test_one_who_never_says_hello_is_given_up(
    tmp_path: Path, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "CONNECT_S_MAX", 0.02)
    peer = Peer(tmp_path / "p", script())
    with pytest.raises(UnreachableError, match=r"no hello within 0\.02 s"):
        await user.open(peer.path)
    peer.close()


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"nonsense\n", UnreachableError),
        (codec.encode_error(None, ErrorBody("bad_frame", "not JSON")), ServerError),
    ],
)
async def test_what_makes_no_sense_ends_what_waits(
    tmp_path: Path, user: User, line: bytes, error: type[Exception]
) -> None:
    peer = Peer(tmp_path / "p", script(WELCOME, line, None))
    opened, _ = await user.open(peer.path)
    with pytest.raises(error):
        await opened.ask(Ping())
    opened.close()
    await settle()
    assert user.lost == 1
    peer.close()


async def test_progress_is_no_answer_and_a_resync_is_told(tmp_path: Path, user: User) -> None:
    said = codec.encode_progress(1, {"total": 2}) + b'{"resync":4}\n' + codec.encode_ok(1, 5)
    said += codec.encode_ok(1, "twice")
    peer = Peer(tmp_path / "p", script(WELCOME, said))
    opened, _ = await user.open(peer.path)
    assert bytes(await opened.ask(Wait())) == b"5"
    assert user.told == [Resync(4)]
    opened.close()
    peer.close()


# ---- events ----


def test_an_event_of_a_later_daemon_is_kept_with_its_fields() -> None:
    line = b'{"seq":5,"at":1.0,"type":"blessed","job":3,"priority":9,"halo":true}'
    event = decode_event(line)
    assert (str(event.type), event.job, event.priority) == ("blessed", 3, 9)


def test_a_known_event_is_what_was_encoded() -> None:
    event = Event(seq=5, at=1.0, type="held", job=3, state="held", reason="operator")
    assert decode_event(msgspec.json.encode(event)) == event


@pytest.mark.parametrize(
    "line", [b"[]", b"{", b'{"seq":1}', b'{"seq":1,"at":"x","type":"held"}', b'{"type":"held"}']
)
def test_a_line_that_is_no_event_is_an_error(line: Any) -> None:
    with pytest.raises(BadFrameError):
        decode_event(line)
