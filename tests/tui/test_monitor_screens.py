"""Providers, events, and what stands between a foreign text and the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.segment import Segment
from textual.color import Color
from textual.widgets import Static

from daemon.core.gate import Closure, Gate
from tests.fakes.socket_daemon import BOOT_AT, failure, job, paused, provider
from tests.tui.monitor_stage import stage
from tui.monitor.actions import ACTIONS
from tui.monitor.guard import ControlGuard, PlainSigns
from tui.monitor.symbols import PLAIN
from tui.text import width

BLACK = Color(0, 0, 0)


# ---- providers ----


async def test_the_providers_show_gate_causes_countdown_and_counters(tmp_path: Path) -> None:
    rows = [
        provider("coze", gate=paused(None, "auth", "401: the key is wrong")),
        provider("veo", gate=paused(BOOT_AT + 401.0), errors_consecutive=4),
    ]
    async with stage(tmp_path, [job(1), job(2, state="generating")], providers=rows) as on:
        await on.press("2")
        await on.sees("■ closed: auth")
        await on.sees("401: the key is wrong")
        await on.sees("‖ paused: quota, in 6:41")
        await on.sees("1/3")
        await on.press("j")
        await on.sees("4 errors in a row")
        on.clock.wall += 1
        on.app.wake()
        await on.sees("in 6:40")


async def test_p_pauses_after_a_question_and_resumes_without_one(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("2", "j", "p")
        await on.sees("pause veo?")
        await on.answer("y")
        await on.until(lambda: on.daemon.gates, "asked")
        assert on.daemon.gates[0].providers == ("veo",)
        gate = Gate((Closure("operator", None, "lunch", "operator"),))
        on.daemon.tell("provider_paused", provider="veo", gate=gate)
        await on.sees("‖ paused: operator")
        await on.press("p")
        await on.sees("resumed veo")
        assert type(on.daemon.gates[1]).__name__ == "Resume"


async def test_u_pauses_until_a_time_and_refuses_what_is_none(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("2", "p")
        await on.sees("pause coze?")
        await on.answer("u", *"soon", "enter")
        await on.sees("expected")
        assert not on.daemon.gates
        await on.press("ctrl+u", *"+10m", "enter")
        await on.until(lambda: on.daemon.gates, "asked")
        assert getattr(on.daemon.gates[0], "until_at", None) == on.clock.wall + 600
        await on.sees("paused coze until +10m")


async def test_the_sheet_of_a_provider_lists_its_last_errors(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1, state="generating")], size=(160, 48)) as on:
        on.daemon.tell("poll_failed", 1, errors_consecutive=1, error=failure())
        await on.press("2")
        await on.sees("veo")
        await on.press("j")
        await on.sees("last errors")
        await on.sees("Gateway Time-out")


async def test_enter_on_a_provider_lists_its_jobs(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2, provider="coze")]) as on:
        await on.press("2", "enter")
        await on.sees("filter: provider:coze")
        assert on.rows() == [2]


# ---- events ----


async def test_the_events_are_followed_until_the_cursor_leaves_the_last(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("3")
        on.daemon.tell("poll_failed", 1, errors_consecutive=2, error=failure())
        on.daemon.tell("held", 1, state="held", reason="operator")
        await on.sees("2 errors in a row")
        await on.sees("following")
        await on.press("k")
        await on.sees("standing still")
        await on.press("f")
        await on.sees(" following")


async def test_the_newest_event_is_seen_at_once_while_it_follows(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("3")
        for number in range(60):
            on.daemon.tell("edited", 1, detail=f"change {number}")
        await on.sees("change 59")
        on.daemon.tell("edited", 1, detail="and one more")
        await on.until(lambda: on.text().count("and one more") == 2, "listed")


async def test_events_are_found_by_their_words(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("3")
        on.daemon.tell("poll_failed", 1, error=failure(message="lighthouse"))
        for _ in range(30):
            on.daemon.tell("polled", 1, progress=0.5)
        await on.until(lambda: len(on.app.board.entries) == 31, "all events")
        await on.press("slash", *"LIGHT", "enter")
        await on.sees("find: LIGHT")
        await on.sees("── 13:46:50.100 poll_failed job 1")
        await on.press("n")
        await on.sees("no other event mentions LIGHT")


async def test_enter_on_an_event_shows_its_job(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2)]) as on:
        on.daemon.tell("held", 2, state="held", reason="operator")
        await on.press("3")
        await on.sees("held")
        await on.press("enter")
        await on.sees("filter: id:2")
        assert on.rows() == [2]


async def test_the_last_events_before_the_start_are_recalled(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)], happened=lambda on: on.tell("held", 1)) as on:
        await on.press("3")
        await on.sees("held")


# ---- the guard ----


@pytest.mark.parametrize("code", ["\x1b[2J", "\x9b2J", "\x07", "\u202e", "\x7f", "\x00", "\u200b"])
def test_no_code_in_a_segment_passes_the_guard(code: str) -> None:
    passed = ControlGuard().apply([Segment(f"a{code}b")], BLACK)
    assert code not in passed[0].text
    assert passed[0].text.startswith("a")


def test_what_is_harmless_passes_the_guard_as_it_is() -> None:
    segments = [Segment("红风筝 ◐ kite ␛"), Segment(" ")]
    assert ControlGuard().apply(segments, BLACK) is segments


async def test_a_widget_that_forgot_to_clean_is_stopped_by_the_guard(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        careless = Static("x\x1b]0;owned\x1b\\y", markup=False)
        await on.app.screen.mount(careless)
        await on.pilot.pause()
        strips = careless.render_lines(careless.size.region)
        assert "\x1b" not in "".join(strip.text for strip in strips)


def test_plain_signs_are_ascii_and_take_as_many_cells() -> None:
    for sign, plain in PLAIN.items():
        assert isinstance(plain, str)
        assert plain.isascii()
        assert len(plain) == width(chr(sign)) == 1
    assert PlainSigns().apply([Segment("● live…")], BLACK)[0].text == "* live~"


# ---- colours ----


async def test_without_colours_states_are_still_told_by_sign_and_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with stage(tmp_path, [job(1, state="failed"), job(2, state="in_doubt")]) as on:
        await on.sees("✗ failed")
        await on.sees("? IN DOUBT")
        table = on.app.screen.query_one("#table")
        strips = table.render_lines(table.size.region)
        styles = [segment.style for strip in strips for segment in strip if segment.style]
        assert not any(style.color or style.bgcolor for style in styles)
        assert any(style.reverse for style in styles), "the row under the cursor"


# ---- its page ----


def test_its_page_tells_every_key_of_the_table() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "monitor.md").read_text()
    assert [one.shown for one in ACTIONS if f"`{one.shown}`" not in page] == []


@pytest.mark.parametrize("mode", ["events", "providers", "failures"])
async def test_news_that_come_while_a_screen_is_made_are_drawn_when_it_is_there(
    tmp_path: Path, mode: str
) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        on.app.switch_mode(mode)
        on.app.flush()
        await on.sees(f"/ {mode}")
