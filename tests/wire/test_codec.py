"""Lines: how bytes become frames, whatever is sent and however it is cut."""

import json
from itertools import pairwise
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw

from daemon.core.events import Event
from daemon.core.job import Failure
from daemon.wire import codec, messages
from daemon.wire.codec import BadFrameError, Overlong, Problem, Resync, Splitter, Told
from daemon.wire.messages import FRAME_BYTES_MAX, ErrorBody, Ping, Reply, Show, Welcome


def problem(line: bytes | Overlong) -> Problem:
    found = codec.decode_request(line)
    assert isinstance(found, Problem), found
    return found


def reply(line: bytes) -> Reply:
    found = codec.decode_answer(line)
    assert isinstance(found, Reply)
    return found


# ---- cutting ----


@given(
    lines=st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=8),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_a_stream_cut_anywhere_gives_the_same_lines(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    whole = Splitter(32).receive(stream)
    splitter = Splitter(32)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(places)]
    assert [line for piece in pieces for line in splitter.receive(piece)] == whole
    assert whole == [
        Overlong(line) if len(line) > 32 else line for line in lines if line and not line.isspace()
    ]


def test_a_line_of_exactly_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    assert Splitter(5).receive(b"12345\n123456\n") == [b"12345", Overlong(b"123456")]


def test_an_overlong_line_is_skipped_to_its_newline_and_keeps_little_of_it() -> None:
    splitter = Splitter(1_000)
    for _ in range(100):
        assert splitter.receive(b"x" * 997) == []
    found = splitter.receive(b"x\nnext\n")
    assert found == [Overlong(b"x" * codec.HEAD_BYTES), b"next"]


@given(
    items=st.lists(st.binary(min_size=1, max_size=30), max_size=30), bytes_max=st.integers(1, 60)
)
def test_gathering_keeps_every_item_in_order_and_the_limit(
    items: list[bytes], bytes_max: int
) -> None:
    batches = list(codec.gather(items, bytes_max))
    assert [item for batch in batches for item in batch] == items
    for batch in batches:
        assert batch
        assert sum(map(len, batch)) <= bytes_max or len(batch) == 1


# ---- requests ----


@pytest.mark.parametrize("kind", get_args(messages.AnyRequest))
def test_every_request_comes_back_as_it_was_sent(kind: type[messages.Request]) -> None:
    needed: dict[str, Any] = {
        "job": 3,
        "jobs": (3,),
        "verb": "cancel",
        "add": 1,
        "rows": (messages.Row(provider="mock"),),
        "sha256": "ab" * 32 if kind is messages.AddPicture else ("ab" * 32,),
        "data": b"\x89PNG",
    }
    fields = {field.name for field in msgspec.structs.fields(kind) if field.required}
    request = kind(**{"id": 7, **{name: needed[name] for name in fields}})
    assert codec.decode_request(codec.encode(request).removesuffix(b"\n")) == request


@pytest.mark.parametrize(
    ("line", "number", "code"),
    [
        (b"hello there", None, "bad_frame"),
        (b'{"op":"ping","id":7', None, "bad_frame"),
        (b'{"op":"ping","id":7,', 7, "bad_frame"),
        (b'{"op":"ping","id":7,"x":"\xff"', 7, "bad_frame"),
        (b'{"id":7,"op":"ping",]', 7, "bad_frame"),
        (b'{"why":"\xff","id":7,"op":"ping"', None, "bad_frame"),
        (b'{"op":"show","id":7,"job":"x","y":}', 7, "bad_frame"),
        (b'{"op":"act","id":7,"verb":"edit","jobs":[],"changes":{"a":"\xff"}}', 7, "bad_frame"),
        (b'{"op":"act","id":7,"a":' + b"[" * 100_000, 7, "bad_frame"),
        (b'{"op":"fly","id":7}', 7, "unknown_op"),
        (b'{"job":{"a":1},"op":"fly","id":7}', 7, "unknown_op"),
        (b'{"op":"fly","id":"7"}', None, "unknown_op"),
        (b'{"op":"show","id":7}', 7, "bad_request"),
        (b'{"op":"show","id":7,"job":"12"}', 7, "bad_request"),
        (b'{"op":"show","id":7,"job":{"id":9}}', 7, "bad_request"),
        (b'{"op":["show"],"id":7}', 7, "bad_request"),
        (b'{"id":7}', 7, "bad_request"),
        (b'{"op":"events","id":7,"after":-1}', 7, "bad_request"),
        (b'{"op":"events","id":7,"job":%d}' % 2**63, 7, "bad_request"),
        (b'{"op":"wait","id":7,"timeout_s":-0.5}', 7, "bad_request"),
        (b'{"op":"ping"}', None, "bad_request"),
        (b'{"op":"ping","id":0}', None, "bad_request"),
        (b'{"op":"ping","id":true}', None, "bad_request"),
        (b'{"op":"ping","id":9007199254740992}', None, "bad_request"),
        (b'{"op":"add_picture","id":7,"add":1,"sha256":"a","data":"!"}', 7, "bad_request"),
        (b"[]", None, "bad_frame"),
        (b"null", None, "bad_frame"),
    ],
)
def test_a_line_that_is_no_request_is_told_with_its_id(
    line: bytes, number: int | None, code: str
) -> None:
    found = problem(line)
    assert (found.id, found.body.code) == (number, code), found


def test_an_overlong_frame_is_told_with_its_id_where_it_stands_first() -> None:
    assert problem(Overlong(b'{"op":"add_rows","id":31,"add":1,"rows":[')).id == 31
    found = problem(Overlong(b'{"rows":[{"id":31},'))
    assert found.id is None
    assert found.body.code == "too_large"
    assert f"{FRAME_BYTES_MAX:,} bytes" in found.body.message


def test_an_id_inside_something_else_is_not_taken_for_the_requests() -> None:
    assert problem(b'{"op":"x","job":{"id":5},').id is None
    assert problem(b'{"op":"ping","id":0,').id is None


def test_an_unknown_op_is_told_with_those_there_are() -> None:
    message = problem(b'{"op":"pin\\u001bg","id":1}').body.message
    assert message.startswith("unknown op 'pin?g' (there are: act, add_abort, ")
    assert message.endswith("wait, why)")


def test_what_a_message_repeats_has_no_control_codes_and_is_short() -> None:
    long = json.dumps({"op": "act", "id": 1, "verb": "\x1b[2J" + "x" * 1_000, "jobs": []})
    message = problem(long.encode()).body.message
    assert message.isprintable()
    assert len(message) <= codec.TOLD_CHARS_MAX


@given(line=st.binary(max_size=80))
def test_no_line_whatsoever_raises(line: bytes) -> None:
    assert isinstance(codec.decode_request(line), Problem)
    assert codec.decode_hello(line) is None


# ---- answers ----


def test_each_frame_of_an_answer_is_known_by_its_key() -> None:
    assert reply(codec.encode_ok(4, {"count": 2})) == Reply(id=4, ok=Raw(b'{"count":2}'))
    part = codec.encode_part(4, "jobs", [b'{"id":1}', b'{"id":2}'])
    assert reply(part) == Reply(id=4, part=Raw(b'{"jobs":[{"id":1},{"id":2}]}'))
    assert reply(codec.encode_progress(4, {"total": 3})).progress == Raw(b'{"total":3}')
    body = ErrorBody("bad_query", "no such field", at=5)
    assert reply(codec.encode_error(4, body)).error == body


def test_an_event_is_told_apart_though_it_has_progress_and_an_error() -> None:
    event = Event(
        seq=9, at=1.0, type="poll_failed", job=4, progress=0.5, error=Failure("poll", "http")
    )
    line = msgspec.json.encode(event)
    assert codec.decode_answer(line) == Told(9, line)


def test_a_resync_names_the_place() -> None:
    assert codec.decode_answer(b'{"resync":41}') == Resync(41)


def test_an_error_code_of_a_later_daemon_is_kept() -> None:
    found = reply(b'{"id":1,"error":{"code":"too_hot","message":"wait","more":1}}')
    assert found.error is not UNSET
    assert (str(found.error.code), found.error.message) == ("too_hot", "wait")


@pytest.mark.parametrize("line", [b"nonsense", b"[]", b'{"id":1,"error":5}', Overlong(b"{")])
def test_a_line_that_is_no_answer_is_an_error(line: bytes | Overlong) -> None:
    with pytest.raises(BadFrameError):
        codec.decode_answer(line)


def test_the_first_answer_is_a_welcome_or_an_error() -> None:
    welcome = Welcome(hello="genq", protocol=1, version="0.1", boot="b", seq=5)
    assert codec.decode_welcome(msgspec.json.encode(welcome)) == welcome
    error = codec.encode_error(None, ErrorBody("limit", "too many clients"))
    assert isinstance(codec.decode_welcome(error), Reply)
    for line in (b"HTTP/1.1 400 Bad Request", b'{"seq":1}', b'{"id":1,"ok":{}}', Overlong(b"x")):
        with pytest.raises(BadFrameError):
            codec.decode_welcome(line)


def test_a_request_without_an_id_of_its_own_is_not_mistaken_for_a_hello() -> None:
    assert codec.decode_hello(msgspec.json.encode(Ping(id=1))) is None
    assert codec.decode_hello(b"{}") is None
    assert codec.decode_hello(Overlong(b'{"hello":"genq","protocol":1')) is None


def test_ten_thousand_rows_are_decoded_in_parts_that_fit_a_frame() -> None:
    rows = [messages.Row(provider="mock", prompt=f"shot {n}", name=f"s-{n}") for n in range(10_000)]
    parts = list(codec.gather(map(msgspec.json.encode, rows)))
    found: list[messages.Row] = []
    for part in parts:
        frame: Any = tuple(map(Raw, part))
        line = codec.encode(messages.AddRows(id=1, add=1, rows=frame))
        assert len(line) <= FRAME_BYTES_MAX
        request = codec.decode_request(line)
        assert isinstance(request, messages.AddRows)
        found += request.rows
    assert found == rows


def test_a_show_of_a_huge_number_is_refused_before_the_journal_sees_it() -> None:
    assert isinstance(codec.decode_request(b'{"op":"show","id":1,"job":12}'), Show)
    assert problem(b'{"op":"show","id":1,"job":%s}' % (b"9" * 400)).body.code == "bad_request"
