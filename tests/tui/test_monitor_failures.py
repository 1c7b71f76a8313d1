"""Failures by kind, the level of events, and what is listed as a file."""

from __future__ import annotations

import asyncio
import csv
import json
from typing import TYPE_CHECKING

import pytest

from daemon.core.query import matches, parse_query
from tests.fakes.socket_daemon import failure, job
from tests.tui.monitor_stage import stage
from tui.monitor.link import Link, LostError
from tui.monitor.screens.events import EventsScreen
from tui.monitor.troubles import query_for, troubles

if TYPE_CHECKING:
    from pathlib import Path

JOBS = [
    job(1, state="failed", error=failure()),
    job(2, state="failed", error=failure()),
    job(3, state="in_doubt", error=failure(phase="submit", message='said "no"')),
    job(4, state="generating"),
    job(5, state="held", reason="operator"),
]


# ---- failures ----


async def test_failures_are_grouped_and_doubts_stand_first(tmp_path: Path) -> None:
    async with stage(tmp_path, JOBS) as on:
        await on.press("4")
        await on.sees("3 jobs in 2 groups")
        text = on.text()
        assert text.index("IN DOUBT") < text.index("✗ failed")
        await on.press("j")
        await on.sees("── 2 jobs of veo")
        await on.sees("jobs 1, 2")
        await on.sees("rule veo.3: the gateway is slow; the task goes on")


async def test_r_on_a_group_asks_once_for_all_its_jobs(tmp_path: Path) -> None:
    async with stage(tmp_path, JOBS) as on:
        await on.press("4")
        await on.sees("2 groups")
        await on.press("j", "r")
        await on.sees("requeue 2 jobs?")
        await on.answer("y")
        await on.until(lambda: on.daemon.acts, "asked")
        assert (on.daemon.acts[0].verb, on.daemon.acts[0].jobs) == ("requeue", (1, 2))
        await on.sees("1 job in 1 group")


async def test_the_cursor_stays_on_its_group_when_another_comes_before_it(tmp_path: Path) -> None:
    async with stage(tmp_path, JOBS) as on:
        await on.press("4")
        await on.sees("2 groups")
        await on.press("j")
        on.daemon.tell("doubted", 4, state="in_doubt", error=failure(message="another"))
        await on.sees("3 groups")
        await on.sees("── 2 jobs of veo")


async def test_enter_on_a_group_lists_its_jobs(tmp_path: Path) -> None:
    async with stage(tmp_path, JOBS) as on:
        await on.press("4")
        await on.sees("2 groups")
        await on.press("enter")
        await on.until(lambda: on.rows() == [3], "narrowed")


def test_the_filter_of_a_group_holds_for_its_jobs_and_no_others() -> None:
    for one in troubles(JOBS):
        query = parse_query(query_for(one))
        assert tuple(known.id for known in JOBS if matches(query, known, 0.0)) == one.jobs


# ---- events ----


async def test_l_leaves_out_progress_then_all_but_trouble(tmp_path: Path) -> None:
    async with stage(tmp_path, JOBS) as on:
        await on.press("3")
        on.daemon.tell("polled", 4, progress=0.4)
        on.daemon.tell("started", 4, state="generating")
        on.daemon.tell("poll_failed", 4, errors_consecutive=1, error=failure())
        await on.sees("polled")
        await on.press("l")
        await on.misses("polled")
        await on.sees("level: changes")
        await on.press("l")
        await on.misses("started")
        await on.sees("poll_failed")
        on.daemon.tell("polled", 4, progress=0.5)
        on.daemon.tell("held", 4, state="held", reason="poll_limit")
        await on.sees("poll_limit")
        screen = on.app.screen
        assert isinstance(screen, EventsScreen)
        assert screen.table.cursor == screen.table.count() - 1
        await on.press("l")
        await on.sees("polled")


async def test_an_edit_tells_what_was_changed(tmp_path: Path) -> None:
    async with stage(tmp_path, JOBS) as on:
        await on.press("plus", "3")
        await on.sees("priority 10")


# ---- files ----


async def test_ctrl_s_saves_the_listed_jobs_as_ndjson(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a name without folders is quickly typed
    path = tmp_path / "jobs.ndjson"
    async with stage(tmp_path, JOBS) as on:
        await on.press("slash", *"state:failed", "enter")
        await on.until(lambda: on.rows() == [2, 1], "narrowed")
        await on.press("ctrl+s")
        await on.sees("save 2 rows")
        await on.press("ctrl+u", *path.name, "enter")
        await on.sees("saved 2 rows")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert [(row["id"], row["error"]["http"]) for row in rows] == [(2, 504), (1, 504)]


async def test_a_name_that_ends_in_csv_gets_a_table_and_no_file_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "events.csv"
    async with stage(tmp_path, JOBS) as on:
        on.daemon.tell("poll_failed", 4, errors_consecutive=1, error=failure())
        await on.press("3")
        await on.sees("poll_failed")
        for _ in range(2):
            await on.press("ctrl+s", "ctrl+u", *path.name, "enter")
            await on.until(path.exists, "there")
        await on.sees("name another")
        with path.open(newline="") as file:
            assert [row["type"] for row in csv.DictReader(file)] == ["poll_failed"]


async def test_a_picture_of_the_screen_can_be_taken(tmp_path: Path) -> None:
    async with stage(tmp_path, JOBS) as on:
        await on.until(on.rows, "rows")
        picture = on.app.export_screenshot()
    assert picture.startswith("<svg")
    assert "PROVIDER" in picture


# ---- the link ----


async def test_a_daemon_that_never_greets_is_hung_up_on(tmp_path: Path) -> None:
    left = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1_024):
            continue
        left.set()
        writer.close()

    server = await asyncio.start_unix_server(mute, str(tmp_path / "s"))
    with pytest.raises(LostError, match="doesn't answer"):
        await Link.open(tmp_path / "s", lambda _: None, lambda: None, wait_s=0.05)
    async with asyncio.timeout(5):
        await left.wait()
    server.close()
