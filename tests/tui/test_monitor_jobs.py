"""The jobs screen, driven by keys, over a socket with a daemon that does what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.socket_daemon import failure, job, paused, provider
from tests.tui.monitor_stage import stage

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_snapshot_is_shown_with_state_glyph_and_word(tmp_path: Path) -> None:
    jobs = [job(1, state="generating", progress=0.61, attempt=2), job(2), job(3, state="succeeded")]
    async with stage(tmp_path, jobs) as on:
        await on.sees("◐ generate 61%")
        await on.sees("· queued")
        await on.sees("✓ done")
        await on.sees("● live")


async def test_slash_narrows_while_typing_and_escape_shows_all_again(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2, state="failed", error=failure())]) as on:
        await on.press(*"/state:failed")
        await on.until(lambda: on.rows() == [2], "narrowed")
        await on.sees("filter: state:failed")
        await on.press("escape")
        await on.until(lambda: len(on.rows()) == 2, "all")
        await on.sees("filter: none")


async def test_an_event_changes_the_row_it_is_about(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2, state="in_doubt", error=failure())]) as on:
        await on.sees("504")
        on.daemon.tell("edited", 2, error=None, errors_consecutive=0, prompt="Z0001 probe")
        await on.sees("Z0001 probe")
