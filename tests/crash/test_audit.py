"""The audit bites: each promise, broken by hand, is found."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.crash.audit import Paid, Row, Seen, violations

ASKED = {1: 1}
PAID = Paid(1, "k1", "r1")


def job(path: Path, **more: Any) -> Row:
    """A job that was paid for once and is on disk, changed as `more` says."""
    output = {"path": str(path), "bytes": 3, "sha256": hashlib.sha256(b"fox").hexdigest()}
    attempt = {"attempt": 1, "key": "k1", "result": "succeeded"}
    known = {"id": 1, "state": "succeeded", "attempt": 1, "remote_id": "r1", "billed": "yes"}
    return {**known, "outputs": [output], "attempts": [attempt], **more}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "1.png"
    made.write_bytes(b"fox")
    return made


def test_what_holds_is_left_alone(path: Path) -> None:
    assert violations(Seen([job(path)], [], [PAID]), ASKED) == []


def test_a_key_that_was_accepted_twice_is_found(path: Path) -> None:
    (found,) = violations(Seen([job(path)], [], [PAID, PAID]), {1: 2})
    assert found == "key k1 was accepted 2 times"


def test_a_job_that_was_paid_for_more_often_than_asked_is_found(path: Path) -> None:
    found = violations(Seen([job(path)], [], [PAID, Paid(1, "k2", "r2")]), ASKED)
    assert "job 1 was accepted 2 times, asked for 1 times" in found
    assert "job 1 knows nothing of the accepted key k2" in found


def test_a_result_that_is_not_the_file_that_was_told_is_found(path: Path) -> None:
    path.write_bytes(b"ox")
    (found,) = violations(Seen([job(path)], [], [PAID]), ASKED)
    assert found == f"{path} isn't the file that job 1 tells of"


@pytest.mark.parametrize("result", ["refused", "absent", "failed"])
def test_an_accepted_request_that_a_job_thinks_lost_is_found(path: Path, result: str) -> None:
    attempt = {"attempt": 1, "key": "k1", "result": result}
    gone = job(path, state="failed", outputs=[], attempts=[attempt])
    (found,) = violations(Seen([gone], [], [PAID]), ASKED)
    assert "r1 was accepted" in found


@pytest.mark.parametrize("state", ["submitting", "generating", "cancelling", "queued"])
def test_a_job_that_nobody_sees_to_is_found(path: Path, state: str) -> None:
    assert f"job 1 stays {state}" in violations(Seen([job(path, state=state)], [], []), ASKED)


def test_a_hole_in_the_stream_is_found() -> None:
    events = [{"seq": seq, "type": "daemon_started"} for seq in (1, 2, 4)]
    assert violations(Seen([], events, []), {}) == ["the stream has a hole before 4"]


def test_an_event_out_of_order_is_found() -> None:
    added = {"seq": 1, "type": "added", "job": 1, "value": {"id": 1, "state": "queued", "rev": 1}}
    event = {"seq": 2, "type": "submitted", "job": 1, "state": "generating", "rev": 3}
    assert violations(Seen([], [added, event], []), {}) == [
        "event 2: submitted of job 1 in queued to generating",
        "event 2: revision 3 of job 1 after 1",
    ]


def test_a_job_that_is_not_what_its_events_say_is_found(path: Path) -> None:
    value = {**job(path), "rev": 1, "prompt": "a fox"}
    del value["attempts"]
    added = {"seq": 1, "type": "added", "job": 1, "value": value}
    told = {**job(path), "rev": 1, "prompt": "an owl"}
    assert violations(Seen([told], [added], [PAID]), ASKED) == ["job 1 isn't what its events say"]


def test_an_error_in_the_log_is_found() -> None:
    (found,) = violations(Seen([], [], [], ["Traceback"]), {})
    assert "Traceback" in found
