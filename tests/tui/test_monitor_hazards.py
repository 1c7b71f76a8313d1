"""What must not happen to an operator: a key that acts on what he doesn't see, or doesn't mean."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec import Raw
from textual import events
from textual.containers import Vertical

from daemon.core.gate import Closure, Gate
from daemon.wire.messages import Act
from tests.fakes.socket_daemon import SocketDaemon, failure, job
from tests.tui.monitor_stage import Stage, StageClock, stage
from tui.monitor import orders
from tui.monitor.app import Monitor
from tui.monitor.board import Board
from tui.monitor.editing import edit
from tui.monitor.errands import Errands
from tui.monitor.feed import Feed
from tui.monitor.link import LostError
from tui.monitor.screens.confirm import Confirm
from tui.monitor.screens.job import JobScreen
from tui.monitor.screens.jobs import JobsScreen
from tui.monitor.widgets.lines import Lines

if TYPE_CHECKING:
    from pathlib import Path


async def paste(on: Stage, text: str) -> None:
    on.app.screen.post_message(events.Paste(text))
    await on.pilot.pause()


def fits(on: Stage) -> bool:
    """Whether the dialog has room for all that it says."""
    room = on.app.screen.query_one(Vertical).content_region
    blocks = on.app.screen.query(Lines)
    return all(room.contains_region(block.region) for block in blocks if block.display)


# ---- questions whose jobs changed ----


async def test_a_question_is_asked_anew_when_its_job_was_submitted_meanwhile(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("c")
        await on.sees("Not submitted: nothing is paid for.")
        await on.answer("tab")
        await on.sees(">[ Cancel 1 job ]<")
        on.daemon.tell("accepted", 1, state="generating", remote_id="op/1")
        await on.sees("It is submitted: what is paid may not come back.")
        await on.sees(">[ Keep ]<")
        await on.press("y")
        assert isinstance(on.app.screen, Confirm)
        assert on.daemon.acts == []
        await on.answer("y")
        await on.until(lambda: on.daemon.acts, "asked")


async def test_a_number_is_asked_for_when_jobs_turn_out_to_be_paid_for(tmp_path: Path) -> None:
    jobs = [job(n, state="failed", billed="no", error=failure()) for n in (1, 2)]
    async with stage(tmp_path, jobs) as on:
        await on.press("R")
        await on.sees("requeue 2 jobs?")
        for number in (1, 2):
            on.daemon.tell("rescued", number, state="succeeded", billed="kept")
        await on.sees("2 of 2 may have been paid for: a new attempt costs again.")
        await on.sees("type 2 to go on, then y")
        await on.answer("y")
        assert on.daemon.acts == []


async def test_progress_of_a_job_doesnt_ask_the_question_anew(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1, state="generating", remote_id="op/1")]) as on:
        await on.press("c")
        await on.sees("cancel 1 job?")
        await on.answer("tab")
        on.daemon.tell("polled", 1, progress=0.5)
        await on.sees("1 veo generate 50%")
        await on.sees(">[ Cancel 1 job ]<")


async def test_a_doubt_that_is_resolved_elsewhere_closes_its_dialog(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1, state="in_doubt", error=failure())]) as on:
        await on.press("D")
        await on.sees("was it accepted, and paid?")
        await on.answer("p")
        on.daemon.tell("accepted", 1, state="generating", remote_id="op/1")
        await on.misses("was it accepted, and paid?")
        await on.sees("job 1 is generate; nothing was changed")
        assert on.daemon.acts == []


def test_what_was_billed_isnt_called_unpaid_though_it_has_no_remote_id() -> None:
    held = job(1, state="held", reason="download_limit", billed="yes")
    asked = orders.question("cancel", [held])
    assert "what is paid may not come back" in asked.lines[1].text
    assert asked.grave


@pytest.mark.parametrize(("key", "verb"), [("h", "release"), ("a", "approve")])
async def test_many_held_jobs_go_on_only_after_a_question(
    tmp_path: Path, key: str, verb: str
) -> None:
    jobs = [job(n, state="held", reason="approval") for n in range(1, 26)]
    async with stage(tmp_path, jobs) as on:
        await on.press("space", "G", "ctrl+@", key)
        await on.sees(f"{verb} 25 jobs?")
        await on.sees("What isn't submitted yet goes to its provider, and costs.")
        assert on.daemon.acts == []
        await on.answer("2", "5", "y")
        await on.until(lambda: on.daemon.acts, "asked")
        assert on.daemon.acts[0].verb == verb


# ---- keys that go where nobody looks ----


async def test_tab_doesnt_take_the_keys_from_what_is_typed_into(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2)]) as on:
        await on.press("slash", *"kite", "tab", "c")
        await on.sees("/ kitec_")
        assert isinstance(on.app.screen, JobsScreen)


async def test_a_click_on_a_row_leaves_the_keys_to_the_filter(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2)]) as on:
        await on.press("slash", *"kite")
        await on.pilot.click("#table", offset=(10, 2))
        await on.press("c")
        await on.sees("/ kitec_")
        assert isinstance(on.app.screen, JobsScreen)


async def test_after_a_terminal_was_too_small_the_keys_go_where_they_went(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2)]) as on:
        await on.pilot.resize_terminal(40, 10)
        await on.sees("too small")
        await on.pilot.resize_terminal(80, 24)
        await on.sees("filter:")
        await on.press("j")
        assert on.app.view.index == 1
        await on.press("slash", "k")
        await on.pilot.resize_terminal(40, 10)
        await on.sees("too small")
        await on.pilot.resize_terminal(80, 24)
        await on.sees("/ k_")
        await on.press("c")
        await on.sees("/ kc_")
        assert isinstance(on.app.screen, JobsScreen)


async def test_nothing_is_changed_in_a_terminal_too_small_to_see_it(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1, state="held", reason="approval")], size=(40, 10)) as on:
        await on.sees("too small")
        await on.press("h", "a", "plus", "c")
        await on.pilot.resize_terminal(80, 24)
        await on.sees("filter:")
        assert on.daemon.acts == []
        assert isinstance(on.app.screen, JobsScreen)


async def test_a_question_that_isnt_seen_any_more_takes_no_answer_but_esc(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("c")
        await on.sees("cancel 1 job?")
        await on.pilot.resize_terminal(40, 8)
        await on.answer("y")
        assert isinstance(on.app.screen, Confirm)
        assert on.daemon.acts == []
        await on.press("escape")
        await on.until(lambda: isinstance(on.app.screen, JobsScreen), "left")


async def test_the_least_terminal_shows_what_is_asked_and_both_answers(tmp_path: Path) -> None:
    jobs = [job(number, state="in_doubt", error=failure()) for number in range(1, 12)]
    async with stage(tmp_path, jobs, size=(60, 12)) as on:
        await on.press("D")
        await on.sees("was it accepted, and paid?")
        await on.answer("p")
        await on.sees("this may pay a second time: y")
        assert fits(on)
        await on.press("a")
        await on.sees(" id: _ the provider's id of the task")
        assert fits(on)
        await on.press("escape")
        await on.until(lambda: isinstance(on.app.screen, JobsScreen), "left")
        await on.press("space", "G", "ctrl+@", "c")
        await on.sees("cancel 11 jobs?")
        await on.sees("11 of 11 are submitted")
        await on.sees(">[ Keep ]<")
        assert fits(on)


async def test_the_least_terminal_shows_the_chosen_line_of_a_list(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)], size=(60, 12)) as on:
        await on.press("s", "up")
        await on.sees("> u  updated")
        assert fits(on)
        await on.press("escape", "ctrl+p", "end", *(["down"] * 60))
        await on.sees("quit (ctrl+c too)")
        assert fits(on)


# ---- another job than the one that was opened ----


async def test_a_jobs_own_screen_stays_with_it_when_the_list_is_read_anew(tmp_path: Path) -> None:
    jobs = [job(1, state="generating"), job(2, state="generating")]
    async with stage(tmp_path, jobs) as on:
        await on.press("slash", *"state:generating", "enter", "enter")
        await on.sees("/ jobs / 1")
        await on.daemon.stop()
        await on.sees("stale")
        on.daemon.quiet = True
        on.daemon.tell("succeeded", 1, state="succeeded")
        on.daemon.boot = "another"
        await on.daemon.start()
        await on.until(lambda: on.rows() == [2], "read anew")
        await on.sees("── 1 done")
        await on.press("c")
        await on.sees(" 1 veo done")
        await on.answer("escape")
        await on.sees("not among the 1 job that are listed")
        await on.press("right_square_bracket")
        await on.sees("/ jobs / 2")


async def test_a_row_that_was_acted_on_stays_under_the_cursor(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2)]) as on:
        await on.press("c")
        await on.sees("cancel 1 job?")
        on.daemon.tell("started", 2, state="preparing")
        await on.answer("escape")
        on.app.wake()
        await on.sees("prepare")
        assert on.app.view.cursor == 1


async def test_1_leads_to_the_list_also_from_a_jobs_own_screen(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2)]) as on:
        await on.press("enter")
        await on.until(lambda: isinstance(on.app.screen, JobScreen), "opened")
        await on.press("1")
        await on.until(lambda: isinstance(on.app.screen, JobsScreen), "back at the list")
        await on.press("enter")
        await on.until(lambda: isinstance(on.app.screen, JobScreen), "opened")
        await on.press("2", "enter")
        await on.sees("filter: provider:coze")


async def test_a_group_of_failures_has_no_job_that_has_moved_on(tmp_path: Path) -> None:
    jobs = [job(n, state="failed", billed="no", error=failure()) for n in (1, 2)]
    async with stage(tmp_path, jobs) as on:
        await on.press("4")
        await on.sees("2 jobs in 1 group")
        await on.press("z")
        on.daemon.tell("rescued", 1, state="succeeded", billed="kept")
        await on.sees("1 event missed")
        await on.press("r")
        await on.sees("requeue 1 job?")
        await on.sees("2 veo failed")


@pytest.mark.parametrize("key", ["h", "a", "plus", "minus"])
async def test_a_key_that_asks_nothing_doesnt_act_on_marks_of_which_none_is_seen(
    tmp_path: Path, key: str
) -> None:
    jobs = [job(1), job(2, state="held", reason="approval")]
    async with stage(tmp_path, jobs) as on:
        await on.press("G", "space", "slash", *"state:held", "enter")
        await on.sees("1 marked (1 not listed)")
        await on.press(key)
        await on.sees("no marked job is listed")
        assert on.daemon.acts == []
        await on.press("u", key)
        await on.until(lambda: on.daemon.acts, "asked")
        assert on.daemon.acts[0].jobs == (2,)


async def test_two_keys_of_one_burst_answer_a_dialog_once(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2)]) as on:
        await on.press("enter", "1", "s")
        await on.sees("sort by: a letter")
        for letter in "ia":
            on.app.post_message(events.Key(letter, letter))
        await on.sees("sort: id")
        await on.press("c")
        await on.sees("cancel 1 job?")
        await on.answer()
        for _ in range(3):
            on.app.post_message(events.Key("y", "y"))
        await on.until(lambda: on.daemon.acts, "asked")
        assert isinstance(on.app.screen, JobsScreen)


async def test_a_key_behind_the_one_that_quits_is_passed_over(tmp_path: Path) -> None:
    app = Monitor([tmp_path / "s"], clock=StageClock())
    app.on_key(events.Key("j", "j"))  # its screens are gone by then
    assert app.screen_stack == []


async def test_a_requeue_is_of_the_states_that_were_agreed_to(tmp_path: Path) -> None:
    jobs = [job(1, state="failed", error=failure()), job(2, state="held", reason="lost")]
    async with stage(tmp_path, jobs) as on:
        await on.press("space", "space", "r")
        await on.sees("requeue 2 jobs?")
        await on.answer()
        await on.press("y")
        await on.until(lambda: on.daemon.acts, "asked")
        assert set(on.daemon.acts[0].states) == {"failed", "held"}


# ---- a filter that isn't what was typed ----


async def test_enter_doesnt_keep_a_filter_with_a_word_left_out(tmp_path: Path) -> None:
    jobs = [job(1, state="failed"), job(2, state="failed", provider="coze"), job(3)]
    async with stage(tmp_path, jobs) as on:
        await on.press("slash", *"state:failed provder:veo", "enter", "R")
        await on.sees("/ state:failed provder:veoR_")
        assert isinstance(on.app.screen, JobsScreen)
        await on.press(*["backspace"] * 12, *"provider:veo", "enter")
        await on.until(lambda: on.rows() == [1], "narrowed")
        await on.misses("veo_")


async def test_a_line_break_that_was_copied_along_is_no_part_of_an_id(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1, state="in_doubt", error=failure())]) as on:
        await on.press("D")
        await on.sees("was it accepted, and paid?")
        await on.answer("a")
        await paste(on, "op/77f1\r\n")
        await on.press("enter")
        await on.until(lambda: on.daemon.acts, "asked")
        assert on.daemon.acts[0].remote_id == "op/77f1"


# ---- a frozen view ----


async def test_in_a_frozen_view_h_does_what_the_row_says(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("z")
        on.daemon.tell("held", 1, state="held", reason="operator")
        await on.sees("1 event missed")
        await on.press("h")
        await on.until(lambda: on.daemon.acts, "asked")
        assert on.daemon.acts[0].verb == "hold"


async def test_in_a_frozen_view_p_doesnt_resume_what_is_seen_as_open(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("2")
        await on.sees("● open")
        await on.press("z")
        gate = Gate((Closure("operator", None, "lunch", "operator"),))
        on.daemon.tell("provider_paused", provider="coze", gate=gate)
        await on.sees("1 event missed")
        await on.press("p")
        await on.sees("pause coze?")
        assert on.daemon.gates == []


async def test_a_frozen_view_says_that_the_daemon_is_away(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("z")
        await on.sees("frozen")
        await on.daemon.stop()
        await on.sees("stale 0 s")
        await on.sees("frozen, 0 events missed: z")


async def test_a_frozen_view_stays_when_the_list_is_narrowed_or_read_anew(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2)]) as on:
        await on.press("z")
        on.daemon.add(job(3))
        on.daemon.tell("started", 2, state="preparing")
        await on.sees("2 events missed")
        await on.press("slash", *"state:queued", "enter")
        await on.until(lambda: on.app.view.query.terms and not on.app.arranging, "narrowed")
        assert on.rows() == [1, 2]
        on.daemon.raw(b'{"seq":1,"at":0,"type":"snapshot"}')
        await on.until(lambda: on.app.board.snapshots == 2, "read anew")
        await on.pilot.pause(0.1)
        assert on.rows() == [1, 2]
        await on.press("z")
        await on.until(lambda: on.rows() == [1, 3], "going on")


async def test_a_jobs_own_screen_is_frozen_too(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("enter")
        await on.sees("── 1 queued")
        await on.press("z")
        on.daemon.tell("started", 1, state="preparing")
        await on.sees("1 event missed")
        assert "── 1 queued" in on.text()
        await on.press("z")
        await on.sees("── 1 prepare")


async def test_frozen_failures_are_not_drawn_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, [job(1, state="failed", error=failure())]) as on:
        await on.press("4")
        await on.sees("1 job in 1 group")
        await on.press("z")
        on.daemon.tell("requeued", 1, state="queued")
        await on.sees("1 event missed")
        waits: list[float] = []
        monkeypatch.setattr(on.app, "wake_in", waits.append)
        on.app.flush()
        assert waits == []


# ---- what is said ----


async def test_a_key_that_does_nothing_now_says_why(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.daemon.stop()
        await on.sees("stale")
        await on.press("c")
        await on.sees("cancel…: not now, what is shown is not live")


async def test_what_is_said_is_said_to_its_end(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)], size=(60, 20)) as on:
        on.daemon.refuse[1] = f"it is {'very ' * 20}busy: wait, or cancel it"
        await on.press("h")
        await on.sees("wait, or cancel it")
        await on.sees("filter: none")
        keys = on.app.screen.query_one("#keys")
        await on.until(lambda: keys.region.bottom == 20 and keys.size.height == 3, "room for it")
        on.app.hush()
        on.app.wake()
        await on.until(lambda: keys.size.height == 1, "as before")


async def test_a_home_that_isnt_there_is_told_and_ends_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("ctrl+s", "ctrl+u", *"~nobody-here/x", "enter")
        await on.sees("not saved, there is no such home: ~nobody-here/x")


async def test_the_palette_moves_in_lists(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(number) for number in range(1, 6)]) as on:
        await on.press("ctrl+p", *"to the last", "enter")
        await on.until(lambda: on.app.view.index == 4, "at the last")


async def test_a_long_request_is_copied_whole(tmp_path: Path) -> None:
    prompt = "a red kite " * 1_000
    async with stage(tmp_path, [job(1, prompt=prompt)]) as on:
        await on.press("Y")
        await on.sees("copied 11,0")
        assert msgspec.json.decode(on.app.clipboard)["prompt"] == prompt


class ShortLine:
    """A feed whose connection ends after the first answer."""

    def __init__(self) -> None:
        self.asked: list[Act] = []

    async def ask(self, act: Act) -> Raw:
        if self.asked:
            raise LostError("the connection ended")
        self.asked.append(act)
        return Raw(msgspec.json.encode({"changed": list(act.jobs), "refused": [], "jobs": []}))


async def test_what_was_done_before_the_connection_ended_is_told() -> None:
    said: list[str] = []
    tasks: list[asyncio.Task[None]] = []
    errands = Errands(
        ShortLine(),  # type: ignore[arg-type]  # all of a feed that is asked for here
        unmark=lambda _: None,
        spawn=lambda work: tasks.append(asyncio.create_task(work)),
        say=lambda text, _: said.append(text),
        changed=lambda: None,
    )
    errands.act(Act(verb="hold", jobs=tuple(range(1, 61))))
    await tasks[0]
    assert said == ["held 50 jobs; then hold: the connection ended"]
    assert errands.asked == {}


async def test_an_empty_list_says_why_and_what_to_do_though_the_pane_is_hidden(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("t", "slash", *"nothing", "enter")
        await on.sees("no job matches: esc clears the filter")


async def test_without_a_daemon_it_says_what_to_start(tmp_path: Path) -> None:
    app = Monitor([tmp_path / "s"], clock=StageClock())
    async with app.run_test(size=(80, 24)) as pilot:
        on = Stage(app, pilot, SocketDaemon(tmp_path / "s", [], []))
        await on.sees("no daemon at")
        await on.sees("start genqd: the jobs appear by themselves")


# ---- odd surroundings ----


async def test_a_socket_whose_name_is_too_long_is_no_daemon(tmp_path: Path) -> None:
    told = asyncio.Event()
    feed = Feed([tmp_path / ("x" * 300)], Board(), now=lambda: 0.0, changed=told.set)
    running = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(5):
            await told.wait()
        assert (feed.phase, running.done()) == ("away", False)
    finally:
        running.cancel()


async def test_a_clock_that_is_set_back_stops_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2)], size=(120, 30)) as on:
        await on.press("j", "j", "k")
        on.clock.wall -= 3_600
        on.daemon.tell("doubted", 2, state="in_doubt", error=failure())
        await on.until(lambda: on.rows() == [2, 1], "in its place")
        await on.pilot.pause(0.1)
        on.clock.wall += 1
        on.app.wake()
        await on.sees("attempts")
        await on.daemon.stop()
        on.clock.wall -= 3_600
        await on.sees("stale 0 s")


async def test_an_editor_that_cant_be_started_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    edited, said = await edit(1, tmp_path / "s")
    assert not edited
    assert said.startswith("not edited: ")


async def test_a_frozen_list_of_events_says_why_its_level_stays(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("3", "z", "l")
        await on.sees("the view is frozen: z lets it go on")
        assert "level:" not in on.text()


async def test_at_a_level_the_listed_events_are_told_from_the_kept(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1, state="generating")]) as on:
        await on.press("3")
        on.daemon.tell("polled", 1, progress=0.5)
        await on.sees("1 of 1 kept")
        await on.press("l")
        await on.sees("0 events listed, 1 of 1 kept")
