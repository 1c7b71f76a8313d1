"""The outward contract of the socket: JSON lines, greetings, errors that leave the daemon alive."""

import base64
import hashlib
import io
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from tests.fakes.installation import Installation, fold, without_derived

WEATHER = """
submit_s = 0.01
generate_s = 0.05
poll_interval_s = 0.05
params = { width = 64, height = 48 }
"""
HELLO = {"hello": "genq", "protocol": 1, "version": "0"}


class Wire:
    """A client that knows nothing but JSON lines."""

    def __init__(self, genq: Installation) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10)
        self._socket.connect(str(genq.socket))
        self._lines = self._socket.makefile("rb")
        self._last = 0

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def send(self, frame: object) -> None:
        self.send_raw(json.dumps(frame).encode() + b"\n")

    def send_raw(self, line: bytes) -> None:
        self._socket.sendall(line)

    def read(self) -> dict[str, Any]:
        """The next frame; an empty one when the daemon has closed."""
        line = self._lines.readline()
        frame: dict[str, Any] = json.loads(line) if line else {}
        return frame

    def ask(self, op: str, **fields: Any) -> list[dict[str, Any]]:
        """All frames of an answer; the last is its `ok` or `error`."""
        self._last += 1
        self.send({"id": self._last, "op": op, **fields})
        frames: list[dict[str, Any]] = []
        while not frames or not {"ok", "error"} & set(frames[-1]):
            frame = self.read()
            if frame.get("id") == self._last:
                frames.append(frame)
        return frames


@pytest.fixture(scope="module")
def genq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = Installation(tmp_path_factory.mktemp("t"), WEATHER)
    installation.start()
    yield installation
    installation.kill()


@pytest.fixture
def wire(genq: Installation) -> Iterator[Wire]:
    """A client that was greeted."""
    client = Wire(genq)
    client.send(HELLO)
    assert client.read()["hello"] == "genq"
    yield client
    client.close()
    assert genq.ask("ping").code == 0


def test_both_sides_greet_with_the_protocols_number(genq: Installation) -> None:
    client = Wire(genq)
    client.send(HELLO)
    welcome = client.read()
    client.close()
    assert (welcome["hello"], welcome["protocol"]) == ("genq", 1)
    assert welcome["boot"]
    assert isinstance(welcome["seq"], int)


def test_another_protocol_is_refused_with_both_versions(genq: Installation) -> None:
    client = Wire(genq)
    client.send({**HELLO, "protocol": 99, "version": "9.9.9"})
    told = ""
    while frame := client.read():
        told += json.dumps(frame)
    client.close()
    assert "99" in told
    assert "1" in told
    assert genq.ask("ping").code == 0


@pytest.mark.parametrize(
    "line",
    [
        b"this is no JSON\n",
        b'{"id": 1}\n',
        b'{"id": 1, "op": "sing"}\n',
        b'{"id": 1, "op": "show"}\n',
        b'{"id": 1, "op": "show", "job": "one"}\n',
        b"[]\n",
        b'{"id": "x", "op": "ping"}\n',
        b"\xff\xfe\n",
        b'{"id": 1, "op": "ping", "x": "' + b"y" * 1_048_600 + b'"}\n',
    ],
)
def test_a_bad_frame_gets_an_error_and_the_daemon_lives(wire: Wire, line: bytes) -> None:
    wire.send_raw(line)
    reply = wire.read()
    assert reply["error"]["code"]
    assert reply["error"]["message"]


def test_a_request_after_a_bad_one_is_answered(wire: Wire) -> None:
    wire.send_raw(b"nonsense\n")
    assert "error" in wire.read()
    (reply,) = wire.ask("ping")
    assert reply["ok"]["at"] > 0


def test_what_is_unknown_has_a_code_of_its_own(wire: Wire) -> None:
    (reply,) = wire.ask("show", job=999)
    assert reply["error"]["code"] == "unknown_id"
    (reply,) = wire.ask("sing")
    assert reply["error"]["code"] == "unknown_op"
    reply = wire.ask("ls", filter="state:faild")[-1]
    assert reply["error"]["code"] == "bad_query"


def test_an_edit_of_what_cannot_be_edited_is_refused(genq: Installation, wire: Wire) -> None:
    number = genq.add("mock", "--prompt", "x", "--hold")
    for changes in ({"batch": "b"}, {"priority": "high"}):
        (reply,) = wire.ask("act", verb="edit", jobs=[number], changes=changes)
        assert reply["error"]["code"] == "bad_request"
    (reply,) = wire.ask("act", verb="edit", jobs=[number], changes={"params": {"width": 1}})
    assert "params.width" in reply["ok"]["refused"][0]["why"]
    (reply,) = wire.ask("act", verb="edit", jobs=[number], changes={"prompt": "y"})
    assert reply["ok"]["changed"] == [number]
    assert genq.show(number)["prompt"] == "y"


def test_a_job_that_has_moved_on_since_it_was_seen_is_left_alone(
    genq: Installation, wire: Wire
) -> None:
    number = genq.add("mock", "--prompt", "x")
    genq.until(number, "succeeded")
    (reply,) = wire.ask("act", verb="requeue", jobs=[number], states=["failed", "held"])
    assert reply["ok"]["changed"] == []
    (refused,) = reply["ok"]["refused"]
    assert f"job {number} is succeeded by now" in refused["why"]
    (reply,) = wire.ask("act", verb="requeue", jobs=[number], states=["succeeded"])
    assert reply["ok"]["changed"] == [number]


@pytest.mark.parametrize("at", [-1.0, 1e300])
def test_a_time_that_no_calendar_knows_is_refused(wire: Wire, at: float) -> None:
    number = wire.ask("ls")[-1]["ok"]["count"]
    row = {"provider": "mock", "not_before_at": at}
    token = wire.ask("add_begin")[-1]["ok"]["add"]
    assert wire.ask("add_rows", add=token, rows=[row])[-1]["error"]["code"] == "bad_request"
    wire.ask("add_abort", add=token)
    edit = wire.ask("act", verb="edit", jobs=[1], changes={"not_before_at": at})
    assert edit[-1]["error"]["code"] == "bad_request"
    pause = wire.ask("pause", providers=["mock"], until_at=at)
    assert pause[-1]["error"]["code"] == "bad_request"
    assert wire.ask("ls")[-1]["ok"]["count"] == number


def test_an_add_comes_in_chunks_begun_and_committed(wire: Wire) -> None:
    drawn = io.BytesIO()
    Image.new("RGB", (32, 32), "green").save(drawn, "PNG")
    content = drawn.getvalue()
    sha256 = hashlib.sha256(content).hexdigest()
    token = wire.ask("add_begin")[-1]["ok"]["add"]
    row = {
        "provider": "mock",
        "prompt": "wired",
        "images": [{"source": "/x.png", "sha256": sha256}],
    }
    assert "ok" in wire.ask("add_rows", add=token, rows=[row, row])[-1]
    assert wire.ask("add_need", add=token, sha256=[sha256])[-1]["ok"]["need"] == [sha256]
    half = len(content) // 2
    for chunk, last in ((content[:half], False), (content[half:], True)):
        data = base64.b64encode(chunk).decode()
        reply = wire.ask("add_picture", add=token, sha256=sha256, data=data, last=last)[-1]
        assert "ok" in reply, reply
    done = wire.ask("add_commit", add=token)[-1]["ok"]
    assert done["count"] == 2
    assert wire.ask("show", job=done["first"])[-1]["ok"]["images"][0]["sha256"] == sha256


def test_an_add_that_was_not_committed_leaves_nothing(genq: Installation) -> None:
    before = len(genq.ask("ls", "--json").value)
    client = Wire(genq)
    client.send(HELLO)
    client.read()
    token = client.ask("add_begin")[-1]["ok"]["add"]
    client.ask("add_rows", add=token, rows=[{"provider": "mock", "prompt": "never"}])
    client.close()
    assert len(genq.ask("ls", "--json").value) == before


def test_a_picture_that_was_not_sent_keeps_the_add_out_with_its_row(wire: Wire) -> None:
    token = wire.ask("add_begin")[-1]["ok"]["add"]
    picture = {"source": "/x.png", "sha256": "0" * 64}
    wire.ask(
        "add_rows",
        add=token,
        rows=[{"provider": "mock"}, {"provider": "mok"}, {"provider": "mock", "images": [picture]}],
    )
    error = wire.ask("add_commit", add=token)[-1]["error"]
    assert error["code"] == "bad_jobs"
    places = [(one["row"], one["field"]) for one in error["problems"]]
    assert places == [(1, "provider"), (2, "images[0]")]


def test_a_snapshot_and_the_events_after_it_give_ls(genq: Installation, wire: Wire) -> None:
    frames = wire.ask("subscribe", snapshot=True)
    jobs = {job["id"]: job for frame in frames[:-1] for job in frame["part"].get("jobs", [])}
    number = genq.add("mock", "--prompt", "streamed")
    seen: list[dict[str, Any]] = []
    while not seen or (seen[-1].get("job"), seen[-1]["type"]) != (number, "succeeded"):
        seen.append(wire.read())
    seqs = [event["seq"] for event in seen]
    assert seqs == list(range(frames[-1]["ok"]["seq"] + 1, seqs[-1] + 1))
    shown = next(job for job in genq.ask("ls", "--json").value if job["id"] == number)
    assert without_derived(fold(seen)[number]) == without_derived(shown)
    assert number not in jobs


def test_who_comes_back_gets_what_it_missed(genq: Installation, wire: Wire) -> None:
    everything = [event["seq"] for event in genq.events()]
    wire.ask("subscribe", after=everything[-3])
    assert [wire.read()["seq"] for _ in range(2)] == everything[-2:]
