"""The jobs screen, driven by keys, over a socket with a daemon that does what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from textual import events

from tests.fakes.socket_daemon import failure, job, paused, provider
from tests.tui.monitor_stage import stage
from tui.monitor.screens import dialog

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
        await on.press("slash", *"state:failed")
        await on.until(lambda: on.rows() == [2], "narrowed")
        await on.press("enter")
        await on.sees("filter: state:failed")
        await on.press("escape")
        await on.until(lambda: len(on.rows()) == 2, "all")
        await on.sees("filter: none")


async def test_what_is_no_query_is_told_and_narrows_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2)]) as on:
        await on.press("slash", *"state:faild")
        await on.sees("did you mean 'failed'?")
        assert len(on.rows()) == 2


async def test_an_event_changes_the_row_it_is_about(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2, state="in_doubt", error=failure())]) as on:
        await on.sees("504")
        on.daemon.tell("edited", 2, error=None, errors_consecutive=0, prompt="Z0001 probe")
        await on.sees("Z0001 probe")


async def test_errors_in_a_row_stand_in_the_row_and_in_the_detail(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1, state="generating")]) as on:
        on.daemon.tell("poll_failed", 1, errors_consecutive=3, errors_total=3, error=failure())
        await on.sees("3/5!")
        await on.sees("3 errors in a row")
        await on.sees("rule veo.3: the gateway is slow; the task goes on")


async def test_the_detail_shows_stages_attempts_and_why(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1, state="generating")], size=(120, 30)) as on:
        on.clock.wall += 1
        on.app.wake()
        await on.sees("attempts")
        await on.sees("submit")
        await on.sees("Job 1 waits for nothing in particular.")


async def test_cancel_asks_first_starts_on_keep_and_y_confirms(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2)]) as on:
        await on.press("j", "c")
        await on.sees("cancel 1 job?")
        await on.sees(">[ Keep ]<")
        await on.sees("Not submitted: nothing is paid for.")
        await on.answer("y")
        await on.until(lambda: on.daemon.acts, "asked")
        assert (on.daemon.acts[0].verb, on.daemon.acts[0].jobs) == ("cancel", (2,))
        await on.sees("⊘ cancelled")
        await on.sees("cancelled job 2")


async def test_a_dialog_ignores_keys_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialog, "DEAF_S", 60.0)  # however busy this machine is
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("c", "y")
        await on.sees("cancel 1 job?")
        assert on.daemon.acts == []


async def test_enter_on_a_dialog_keeps_things_as_they_are(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("c")
        await on.sees("cancel 1 job?")
        await on.answer("enter")
        await on.misses("cancel 1 job?")
        await on.sees("nothing was changed")
        assert on.daemon.acts == []


async def test_more_than_twenty_jobs_need_their_number_typed(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(number) for number in range(1, 26)]) as on:
        await on.press("space", "G", "ctrl+@")
        await on.sees("25 marked")
        await on.press("c")
        await on.sees("type 25 to go on")
        await on.answer("y")
        await on.sees("cancel 25 jobs?")
        await on.press("2", "5", "y")
        await on.until(lambda: on.daemon.acts, "asked")
        assert len(on.daemon.acts[0].jobs) == 25


async def test_requeueing_what_may_have_been_paid_for_says_so(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1, state="succeeded")]) as on:
        await on.press("r")
        await on.sees("a new attempt costs again")
        await on.answer("tab", "enter")
        await on.until(lambda: on.daemon.acts, "asked")
        assert on.daemon.acts[0].verb == "requeue"


async def test_all_failed_that_are_listed_are_requeued_together(tmp_path: Path) -> None:
    jobs = [job(1), *(job(n, state="failed", billed="no") for n in (2, 3))]
    async with stage(tmp_path, jobs) as on:
        await on.press("R")
        await on.sees("requeue 2 jobs?")
        await on.answer("y")
        await on.until(lambda: on.daemon.acts, "asked")
        assert set(on.daemon.acts[0].jobs) == {2, 3}


async def test_a_refusal_is_told_with_its_reason(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1, state="generating")]) as on:
        on.daemon.refuse[1] = "job 1 is at work: cancel it, or let it finish"
        await on.press("h")
        await on.sees("refused: job 1 is at work")


async def test_h_holds_and_releases_what_is_held(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("h")
        await on.sees("‖ held")
        await on.press("h")
        await on.until(lambda: len(on.daemon.acts) == 2, "released")
        assert [act.verb for act in on.daemon.acts] == ["hold", "release"]


async def test_plus_and_minus_change_the_priority_of_the_marked(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2, priority=5)]) as on:
        await on.press("space", "space", "plus")
        await on.until(lambda: len(on.daemon.acts) == 2, "asked")
        changes = {act.jobs: act.changes for act in on.daemon.acts}
        assert changes == {(1,): {"priority": 10}, (2,): {"priority": 15}}


async def test_keys_that_come_faster_than_answers_add_up(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        for _ in range(3):
            on.app.post_message(events.Key("plus", "+"))
        await on.until(lambda: len(on.daemon.acts) == 3, "asked")
        await on.until(lambda: on.app.board.jobs[1].priority == 30, "added up")
        await on.press("minus")
        await on.until(lambda: on.app.board.jobs[1].priority == 20, "lowered")


async def test_a_approves_what_waits_for_it(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1, state="held", reason="approval")]) as on:
        await on.press("a")
        await on.until(lambda: on.daemon.acts, "asked")
        assert on.daemon.acts[0].verb == "approve"


async def test_a_doubt_is_resolved_by_its_remote_id(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1, state="in_doubt", error=failure())]) as on:
        await on.press("D")
        await on.sees("was it accepted, and paid?")
        await on.answer("a")
        await on.press(*"op-77", "enter")
        await on.until(lambda: on.daemon.acts, "asked")
        act = on.daemon.acts[0]
        assert (act.verb, act.how, act.remote_id) == ("resolve", "attach", "op-77")


async def test_paying_again_for_a_doubt_asks_once_more(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1, state="in_doubt")]) as on:
        await on.press("D")
        await on.sees("pay again")
        await on.answer("p")
        await on.sees("this may pay a second time: y")
        await on.press("y")
        await on.until(lambda: on.daemon.acts, "asked")
        assert on.daemon.acts[0].how == "pay-again"


async def test_sorting_by_a_letter_and_reversing(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2), job(3)]) as on:
        await on.press("s", "i")
        await on.sees("sort: id")
        await on.press("S")
        await on.sees("sort: -id")
        assert on.rows() == [3, 2, 1]


async def test_marks_are_shown_counted_and_taken_away(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2), job(3)]) as on:
        await on.press("space", "space")
        await on.sees("2 marked")
        assert on.text().count("●") >= 3  # live, and two marks
        await on.press("u")
        await on.misses("marked")


async def test_what_an_action_changed_is_marked_no_more(tmp_path: Path) -> None:
    jobs = [job(1), job(2, state="succeeded"), job(3)]
    async with stage(tmp_path, jobs) as on:
        on.daemon.refuse[2] = "job 2 is done"
        await on.press("s", "i", "g", "space", "space", "h")
        await on.until(lambda: on.daemon.acts, "asked")
        await on.sees("1 marked")
        assert on.app.view.marks == {2}  # it was refused


async def test_a_priority_can_be_raised_twice_for_the_same_marks(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2)]) as on:
        await on.press("space", "space", "plus")
        await on.until(lambda: on.daemon.acts, "asked")
        await on.sees("2 marked")


async def test_marks_that_a_filter_hides_are_told_apart(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2), job(3, name="owl")]) as on:
        await on.press("space", "space", "space", "slash", *"owl", "enter")
        await on.sees("3 marked (2 not listed)")
        await on.press("u")
        await on.misses("marked")


async def test_copies_go_to_the_clipboard_cleaned(tmp_path: Path) -> None:
    hostile = job(1, state="succeeded", prompt="a\x1b]0;x\x07\nrm -rf /")
    async with stage(tmp_path, [hostile]) as on:
        await on.press("y")
        await on.until(lambda: on.app.clipboard == "1", "the id")
        await on.press("Y")
        await on.until(lambda: "rm -rf" in on.app.clipboard, "the request")
        assert "\x1b" not in on.app.clipboard
        assert "\n" not in on.app.clipboard
        await on.press("ctrl+y")
        await on.until(lambda: on.app.clipboard == "/out/1-kite.mp4", "the path")


async def test_w_says_why_in_a_sentence(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("t", "w")
        await on.sees("job 1: Job 1 waits for nothing in particular.")


async def test_a_job_has_a_screen_of_its_own_with_its_neighbours(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2)]) as on:
        await on.press("enter")
        await on.sees("/ jobs / 1")
        await on.press("right_square_bracket")
        await on.sees("/ jobs / 2")
        await on.press("left_square_bracket", "escape")
        await on.misses("/ jobs /")
        assert on.app.view.cursor == 1


async def test_e_shows_the_last_error_in_full(tmp_path: Path) -> None:
    long = "Gateway " * 100 + "the very end"
    failed = job(1, state="failed", error=failure(message=long))
    async with stage(tmp_path, [failed], size=(80, 40)) as on:
        await on.press("e")
        await on.sees("the very end")
        await on.press("escape")
        await on.misses("the very end")


async def test_frozen_rows_stay_as_they_are_and_what_is_missed_is_counted(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.press("z")
        await on.sees("frozen")
        on.daemon.tell("started", 1, state="preparing")
        await on.sees("1 event missed")
        assert "prepare" not in on.text()
        await on.press("z")
        await on.sees("prepare")


async def test_the_help_and_the_palette_know_the_same_actions(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)], size=(100, 60)) as on:
        await on.press("question_mark")
        await on.sees("priority up by 10")
        await on.press("escape")
        await on.press("ctrl+p", *"priority up")
        await on.sees("> priority up_")
        await on.press("enter")
        await on.until(lambda: on.daemon.acts, "asked")
        assert on.daemon.acts[0].changes == {"priority": 10}


async def test_a_monitor_that_only_reads_has_no_action_that_changes_anything(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, [job(1)], size=(100, 60), read_only=True) as on:
        assert "cancel" not in on.text()
        await on.press("c", "h", "plus", "r")
        await on.press("question_mark")
        await on.sees("keys of this screen")
        assert "requeue" not in on.text()
        assert on.daemon.acts == []


async def test_the_pane_can_be_hidden(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.sees("provider veo")
        await on.press("t")
        await on.misses("provider veo")


async def test_a_wide_terminal_shows_more_columns_and_the_pane_beside_them(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, [job(1, batch="episode-1", name="shot")], size=(250, 48)) as on:
        await on.sees("BATCH")
        await on.sees("episode-1")
        await on.sees("── events")


async def test_a_tiny_terminal_is_told_so(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)], size=(40, 10)) as on:
        await on.sees("too small")


async def test_plain_signs_are_all_ascii(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1, state="generating")], plain=True) as on:
        await on.sees("live")
        painted = on.app.screen.query_one("#table").render_lines
        strips = painted(on.app.screen.query_one("#table").size.region)
        assert all(strip.text.isascii() for strip in strips)


# ---- the connection ----


async def test_a_lost_daemon_leaves_the_rows_stale_and_the_actions_off(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.daemon.stop()
        await on.sees("stale 0 s")
        await on.sees("a red kite")
        on.clock.wall += 12
        on.app.wake()
        await on.sees("stale 12 s")
        await on.press("c")
        assert "cancel 1 job?" not in on.text()


async def test_what_was_missed_is_replayed_and_a_gap_is_drawn(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2)]) as on:
        await on.daemon.stop()
        await on.sees("stale")
        on.daemon.tell("held", 2, state="held", reason="operator")
        await on.daemon.start()
        await on.sees("● live")
        await on.sees("‖ held")
        await on.press("3")
        await on.sees("1 event replayed")


async def test_a_hole_in_the_events_is_mended_by_a_snapshot(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        await on.daemon.stop()
        await on.sees("stale")
        on.daemon.tell("started", 1, state="preparing")
        on.daemon.oldest = on.daemon.seq + 1
        on.daemon.events.clear()
        await on.daemon.start()
        await on.sees("prepare")
        await on.press("3")
        await on.sees("everything read anew, 0 events replayed")


async def test_another_run_of_the_daemon_is_read_anew_and_what_was_missed_is_listed(
    tmp_path: Path,
) -> None:
    async with stage(tmp_path, [job(1), job(2)]) as on:
        await on.daemon.stop()
        await on.sees("stale")
        on.daemon.boot = "another"
        on.daemon.tell("held", 2, state="held", reason="operator")
        await on.daemon.start()
        await on.sees("‖ held")
        await on.press("3")
        await on.sees("everything read anew, 1 event replayed")


async def test_a_restored_journal_that_is_behind_replaces_what_was_known(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1), job(2)]) as on:
        on.daemon.tell("held", 2, state="held", reason="operator")
        await on.sees("‖ held")
        await on.daemon.stop()
        await on.sees("stale")
        on.daemon.boot, on.daemon.seq = "another", 50
        on.daemon.jobs = {7: job(7, prompt="from the backup")}
        await on.daemon.start()
        await on.sees("from the backup")
        assert on.rows() == [7]
        on.daemon.tell("edited", 7, prompt="and it goes on")
        await on.sees("and it goes on")


async def test_a_resync_has_the_missed_events_told_again(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        on.daemon.quiet = True
        on.daemon.tell("started", 1, state="preparing")
        on.daemon.quiet = False
        on.daemon.raw(b'{"resync":%d}' % on.daemon.seq)
        await on.sees("prepare")


async def test_an_event_of_a_newer_daemon_is_survived(tmp_path: Path) -> None:
    async with stage(tmp_path, [job(1)]) as on:
        on.daemon.seq += 1
        on.daemon.raw(b'{"seq":%d,"at":1.0,"type":"teleported"}' % on.daemon.seq)
        on.daemon.tell("started", 1, state="preparing")
        await on.sees("prepare")


async def test_a_paused_provider_stands_under_the_top_line_with_its_countdown(
    tmp_path: Path,
) -> None:
    rows = [provider("veo", gate=paused(1_000_401.0), quota_consecutive=3)]
    async with stage(tmp_path, [job(1)], providers=rows) as on:
        await on.sees("veo quota: paused, resumes in 6:41 (3 in a row)")
        await on.sees("⋯ waiting")
        on.clock.wall += 401
        on.app.wake()
        await on.misses("resumes")
        await on.sees("· queued")
