"""The greeting of both sides, and what may follow it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from daemon import __version__
from daemon.wire import codec
from daemon.wire.codec import BadFrameError, Problem, Told
from daemon.wire.messages import ErrorBody, Hello, Ping, Reply, Welcome
from daemon.wire.session import ClientSession, ProtocolMismatchError, ServerSession

HELLO = ClientSession().hello()
WELCOME = codec.encode(Welcome(hello="genq", protocol=1, version="0.1.0", boot="b1", seq=7))
PINGS = b"".join(codec.encode(Ping(id=number)) for number in range(1, 6))


def greeted() -> ClientSession:
    session = ClientSession()
    session.receive(WELCOME)
    return session


def test_after_the_hello_requests_are_read() -> None:
    session = ServerSession()
    found = session.receive(HELLO + codec.encode(Ping(id=3)))
    assert found == [Hello(hello="genq", protocol=1, version=__version__), Ping(id=3)]
    assert session.greeted
    assert not session.closing


@given(cut=st.integers(0, len(HELLO + PINGS)))
def test_a_conversation_cut_anywhere_is_the_same(cut: int) -> None:
    stream = HELLO + PINGS
    session = ServerSession()
    found = session.receive(stream[:cut]) + session.receive(stream[cut:])
    assert found == ServerSession().receive(stream)
    assert len(found) == 6


def test_a_bad_line_after_the_hello_is_told_and_the_next_one_is_read() -> None:
    session = ServerSession()
    _, bad, good = session.receive(HELLO + b"oops\n" + codec.encode(Ping(id=3)))
    assert isinstance(bad, Problem)
    assert good == Ping(id=3)
    assert not session.closing


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/1.1", b'{"op":"ping","id":1}', b"{}", b'{"hello":"pueue","protocol":1}']
)
def test_a_first_line_that_is_no_hello_ends_the_conversation(line: bytes) -> None:
    session = ServerSession()
    (found,) = session.receive(line + b"\n" + HELLO)
    assert isinstance(found, Problem)
    assert found.id is None
    assert found.body.code == "protocol"
    assert '{"hello":"genq","protocol":1,"version":""}' in found.body.message
    assert session.closing
    assert session.receive(HELLO) == []


@pytest.mark.parametrize(
    ("spoken", "way_out"), [(2, "update genqd, then restart it"), (0, "update genq")]
)
def test_another_protocol_is_refused_with_both_versions(spoken: int, way_out: str) -> None:
    session = ServerSession()
    hello = Hello(hello="genq", protocol=spoken, version="9.9\x1b[31m")
    (found,) = session.receive(codec.encode(hello))
    assert isinstance(found, Problem)
    assert found.body.message == (
        f"genq 9.9?[31m speaks protocol {spoken}, genqd {__version__} speaks 1: {way_out}"
    )
    assert session.closing


def test_a_client_without_a_version_is_refused_all_the_same() -> None:
    (found,) = ServerSession().receive(b'{"hello":"genq","protocol":7}\n')
    assert isinstance(found, Problem)
    assert found.body.message.startswith("genq (of unknown version) speaks protocol 7, ")


def test_the_client_learns_who_answers() -> None:
    session = greeted()
    assert session.welcome == Welcome(hello="genq", protocol=1, version="0.1.0", boot="b1", seq=7)
    assert session.receive(b'{"seq":8,"type":"started"}\n') == [
        Told(8, b'{"seq":8,"type":"started"}')
    ]


def test_the_client_numbers_its_requests() -> None:
    session = greeted()
    assert [session.number(Ping()).id for _ in range(3)] == [1, 2, 3]


def test_a_daemon_of_another_protocol_is_refused_with_both_versions() -> None:
    welcome = codec.encode(Welcome(hello="genq", protocol=4, version="3.0"))
    with pytest.raises(ProtocolMismatchError, match=r"genqd 3\.0 speaks 4: update genq$"):
        ClientSession().receive(welcome)


def test_a_daemon_that_refuses_the_protocol_is_quoted() -> None:
    line = codec.encode_error(None, ErrorBody("protocol", "genq 1 speaks 1, genqd 2 speaks 2"))
    with pytest.raises(ProtocolMismatchError, match=r"^genq 1 speaks 1, genqd 2 speaks 2$"):
        ClientSession().receive(line)


def test_another_error_in_place_of_the_welcome_is_handed_on() -> None:
    session = ClientSession()
    (found,) = session.receive(codec.encode_error(None, ErrorBody("limit", "too many")))
    assert isinstance(found, Reply)
    assert found.error is not UNSET
    assert session.welcome is None


def test_something_else_that_answers_is_no_daemon() -> None:
    with pytest.raises(BadFrameError):
        ClientSession().receive(b"220 mail.test ESMTP\r\n")
