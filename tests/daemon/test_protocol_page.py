"""docs/protocol.md: its conversation is replayed, its program runs, its tables are held against
the code."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec import UNSET

from daemon.core import limits
from daemon.core.events import Event, EventType
from daemon.core.machine import TABLE
from daemon.serving import adds, connection, hub, server
from daemon.wire import messages
from daemon.wire.messages import Act, ErrorCode
from tests.core.auditor import Auditor
from tests.core.simulation import Simulation, stormy
from tests.core.world import Dice
from tests.fakes.served import Served, until

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
EVERY_EVENT = {"seq", "at", "type"}
EVERY_EVENT_OF_A_JOB = EVERY_EVENT | {"job", "provider", "state", "attempt", "rev", "updated_at"}
NEVER_SENT = {"work"}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with Served(tmp_path) as served:
        yield served


def tables(title: str) -> Iterator[list[str]]:
    """The cells of every row of the tables in a section, without their heads."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    for table in re.findall(r"(?:^\|.*\|\n)+", section, re.MULTILINE):
        for row in table.splitlines()[2:]:
            yield [cell.strip() for cell in row.removeprefix("|").removesuffix("|").split("|")]


def words(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def described() -> dict[str, list[str]]:
    """Every event type's row."""
    types = get_args(EventType)
    return {words(row[0])[0]: row for row in tables("Events") if words(row[0])[0] in types}


# ---- the conversation ----


def hold(served: Served, request: Act) -> dict[str, Any]:
    """What the daemon would do to job 2."""
    served.desk.turn(2, "held", "held", reason="operator", by="ana")
    brief = msgspec.structs.replace(served.desk.jobs[2], prompt="", params={})
    refused = [{"id": 9, "why": "there is no job 9"}]
    return {"changed": [2], "refused": refused, "jobs": [brief]}


async def test_the_conversation_is_what_the_daemon_says(served: Served) -> None:
    served.desk.add_jobs(1, name="shot-01")
    served.desk.add_jobs(1, name="shot-02")
    served.desk.answers[Act] = lambda request: hold(served, request)
    ends = {"succeeded": [1], "failed": [], "cancelled": [], "stuck": [], "unfinished": []}
    served.desk.progress = [dict.fromkeys(ends, 0) | {"unfinished": 1, "total": 1}]
    served.desk.waited = {**ends, "timed_out": False}
    client = await served.connect()
    for line in BLOCKS["conversation"].splitlines():
        side, text = line[:2], line[2:]
        if side == "> ":
            await client.send(text.encode() + b"\n")
        else:
            assert side == "< "
            said = (await client.line()).decode()
            pattern = ".*".join(re.escape(piece) for piece in text.split("…"))
            assert re.fullmatch(pattern, said), f"\n{text}\n{said}"


async def test_the_program_prints_every_change_of_state(served: Served, tmp_path: Path) -> None:
    served.desk.add_jobs(2)
    script = tmp_path / "watch.py"
    script.write_text(BLOCKS["python"])
    program = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(served.path), stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    await until(lambda: served.hub._live)  # noqa: SLF001 - whether it follows is nobody's business
    served.desk.turn(2, "held", "held", reason="operator")
    served.desk.turn(2, "held", priority=5)
    served.desk.add_jobs(1)
    await served.server.stop("the test is over")
    printed, _ = await program.communicate()
    assert printed.decode().splitlines() == ["2 queued -> held", "3 None -> queued"]
    assert program.returncode == 0


# ---- requests and errors ----


def test_every_request_stands_on_the_page_with_all_its_fields() -> None:
    rows = {words(row[0])[0]: row for row in [*tables("Requests"), *tables("Adding jobs")]}
    kinds = {kind.__struct_config__.tag: kind for kind in get_args(messages.AnyRequest)}
    rows["add_begin"] = next(row for row in tables("Adding jobs"))
    assert set(rows) == set(kinds)
    for op, kind in kinds.items():
        named = re.sub(r"\([^)]*\)", "", rows[op][1])
        assert words(named) == [name for name in kind.__struct_fields__ if name != "id"], op


def test_every_error_code_stands_on_the_page() -> None:
    rows = [words(row[0])[0] for row in tables("Frames")]
    assert rows[-len(get_args(ErrorCode)) :] == list(get_args(ErrorCode))


# ---- events ----


def test_every_type_of_event_stands_on_the_page_and_no_other() -> None:
    rows = [words(row[0])[0] for row in tables("Events")]
    assert rows[: len(EVERY_EVENT)] == ["seq", "at", "type"]
    assert sorted(rows[len(EVERY_EVENT) :]) == sorted(get_args(EventType))


def test_the_states_after_an_event_are_those_of_the_machine() -> None:
    for kind in {kind for row in TABLE.values() for kind in row}:
        states = {state for row in TABLE.values() for state in row.get(kind, ())}
        assert set(words(described()[kind][2])) == states, kind


class NotingAuditor(Auditor):
    """Keeps every event."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[Event] = []

    def recorded(self, events: Sequence[Event], *rest: Any, **more: Any) -> None:
        self.noted += events
        super().recorded(events, *rest, **more)


@pytest.mark.parametrize("seed", range(6))
def test_an_event_has_no_key_that_the_page_does_not_name(seed: int) -> None:
    simulation = Simulation(stormy(), Dice(seed))
    auditor = simulation.auditor = NotingAuditor()
    simulation.run()
    assert len(auditor.noted) > 100
    for event in auditor.noted:
        always = EVERY_EVENT if event.job is UNSET else EVERY_EVENT_OF_A_JOB
        named = set(words(described()[event.type][-1])) | always | NEVER_SENT
        carried = {name for name in Event.__struct_fields__ if getattr(event, name) is not UNSET}
        assert always <= carried <= named, (event.type, carried - named)


def test_the_keys_that_are_named_are_keys_of_events() -> None:
    for kind, row in described().items():
        assert set(words(row[-1])) <= set(Event.__struct_fields__), kind


# ---- limits ----


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    rows = [" | ".join(row) for row in tables("Limits")]
    section = PAGE.partition("\n## Limits\n")[2]
    for text in (
        f"| a line to the daemon | {messages.FRAME_BYTES_MAX:,} bytes |",
        f"{messages.ANSWER_BYTES_MAX:,} bytes; parts are about {messages.PART_BYTES_MAX:,} |",
        f"| clients | {server.CONNECTIONS_MAX} |",
        f"| time for the hello | {connection.HELLO_S_MAX:g} s |",
        f"| requests of one client at a time | {connection.IN_FLIGHT_MAX}; more",
        f"| `wait`s of one client at a time | {connection.WAITS_MAX} |",
        f"| {adds.ADDS_MAX}, with {limits.ADD_JOBS_MAX:,} jobs and {limits.ADD_BYTES_MAX:,} bytes",
        f"| a picture | {limits.IMAGE_BYTES_MAX:,} bytes; {adds.UPLOADS_MAX} of them half sent |",
        f"| unread events | {hub.BOUNDS.buffer_bytes_max:,} bytes,",
        f"| an answer that isn't read | {connection.SEND_S_MAX:g} s,",
        f"still come for {connection.LINGER_S_MAX:g} s |",
    ):
        assert text in section, text
    assert len(rows) == 11
    assert f"more than\n{hub.BOUNDS.behind_events_max:,} events" in PAGE
    assert f"for {hub.STALLED_S_MAX / 60:g} minutes" in PAGE
    assert f"at most {messages.PICTURE_CHUNK_BYTES:,} bytes" in PAGE
    assert str(messages.REQUEST_ID_MAX) in PAGE
