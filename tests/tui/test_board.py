"""The board: the same state as the daemon's, whatever came when; nothing kept that isn't shown."""

from __future__ import annotations

import msgspec
import pytest

from daemon.core.events import Event, apply
from daemon.core.gate import Closure, Gate
from daemon.core.job import Job, Output, Stage
from tests.fakes.socket_daemon import failure, job, paused, provider
from tui.monitor.board import EVENTS_KEPT_MAX, Board, Gap, folded, tidy
from tui.monitor.gates import ProviderRow, gate_cell, pause_line, shut

NOW = 1_000.0


def board(*jobs: Job) -> Board:
    one = Board()
    one.begin()
    one.load(jobs)
    one.commit(10)
    return one


def rows(*given: dict[str, object]) -> list[ProviderRow]:
    return msgspec.convert(list(given), list[ProviderRow])


def event(seq: int, kind: str, **fields: object) -> Event:
    return msgspec.convert({"seq": seq, "at": NOW, "type": kind, **fields}, Event)


def test_a_snapshot_and_the_events_after_it_give_what_the_daemon_has() -> None:
    one = board(job(1), job(2))
    told = [
        event(11, "started", job=1, state="preparing", attempt=0, rev=2, updated_at=NOW),
        event(12, "submitting", job=1, state="submitting", attempt=1, rev=3, updated_at=NOW + 1),
        event(13, "edited", job=2, state="queued", attempt=0, rev=2, priority=5, updated_at=NOW),
    ]
    expected = {1: job(1), 2: job(2)}
    for one_event in told:
        assert isinstance(one_event.job, int)
        expected[one_event.job] = apply(expected[one_event.job], one_event)
        assert one.read(one_event) == "changed"
    assert dict(one.jobs) == expected
    assert one.counts["submitting"] == 1
    assert one.counts["queued"] == 1


def test_an_event_that_was_told_already_changes_nothing() -> None:
    one = board(job(1))
    assert one.read(event(10, "failed", job=1, state="failed")) == "none"
    assert one.jobs[1].state == "queued"


def test_an_event_of_a_job_that_is_not_known_asks_for_a_snapshot() -> None:
    assert board().read(event(11, "polled", job=9, state="generating")) == "torn"


def test_the_word_that_events_are_missing_asks_for_a_snapshot() -> None:
    assert board().read(event(11, "snapshot")) == "torn"


def test_an_added_job_is_there_whole_and_its_event_keeps_no_copy_of_it() -> None:
    one = board()
    added = job(3, prompt="new")
    one.read(msgspec.structs.replace(event(11, "added", job=3), value=added))
    assert one.jobs[3].prompt == "new"
    kept = one.entries[-1]
    assert isinstance(kept, Event)
    assert kept.value is msgspec.UNSET


def test_until_a_snapshot_is_whole_the_old_state_stands() -> None:
    one = board(job(1))
    one.begin()
    one.load([job(2)])
    assert set(one.jobs) == {1}
    one.commit(20)
    assert set(one.jobs) == {2}
    assert one.counts["queued"] == 1


def test_what_no_list_shows_is_not_kept_of_all_jobs() -> None:
    full = job(
        1,
        params={"duration": 5},
        stages=(Stage("queue", 0, 1.0),),
        outputs=(Output("/a", 1, "0", "video/mp4"),),
    )
    slim = tidy(full)
    assert (slim.params, slim.stages, slim.outputs) == ({}, (), ())
    after = folded(slim, Event(at=NOW, type="ready", job=1, stages=(Stage("download", 1, 2.0),)))
    assert after.stages == ()


@pytest.mark.parametrize("field", ["name", "prompt", "batch", "by", "remote_id", "reason"])
def test_every_foreign_text_is_cleaned_when_it_comes_in(field: str) -> None:
    hostile = job(1, **{field: "a\x1b]52;c;x\x07\u202eb"})
    assert "\x1b" not in getattr(board(hostile).jobs[1], field)
    assert "\u202e" not in getattr(board(hostile).jobs[1], field)


def test_texts_of_errors_and_events_are_cleaned_too() -> None:
    one = board(job(1))
    error = failure(message="\x1b[2J", rule="\x07r", advice="\x9bm", kind="\x1bk", code="\x1bc")
    told = Event(seq=11, at=NOW, type="poll_failed", job=1, error=error, detail="\x1b[3J")
    one.read(told)
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in str(one.jobs[1].error))
    kept = one.entries[-1]
    assert isinstance(kept, Event)
    assert kept.detail == "␛[3J"


def test_the_list_of_events_keeps_the_last_ones_and_counts_all() -> None:
    one = board()
    for seq in range(11, 11 + EVENTS_KEPT_MAX + 5):
        one.read(event(seq, "config_reloaded"))
    assert len(one.entries) == EVENTS_KEPT_MAX
    assert one.entries_total == EVENTS_KEPT_MAX + 5


def test_a_gap_stands_between_the_events_before_and_after_it() -> None:
    one = board()
    one.read(event(11, "config_reloaded"))
    one.keep(Gap(1.0, 2.0, 1))
    one.read(event(12, "config_reloaded"))
    assert [type(entry) for entry in one.entries] == [Event, Gap, Event]


def test_what_changed_is_told_with_what_it_was_before() -> None:
    one = board(job(1))
    one.read(event(11, "held", job=1, state="held", reason="operator"))
    one.read(event(12, "released", job=1, state="queued", reason=None))
    before = one.dirty[1]
    assert before is not None
    assert before.state == "queued"
    assert before.rev == 1


# ---- why a job waits ----


def test_a_queued_job_behind_a_shut_gate_waits_for_its_provider_and_no_longer_after_it() -> None:
    one = board(job(1))
    one.know(rows(provider("veo", gate=paused(NOW + 60))))
    assert one.shown(one.jobs[1], NOW).reason == "provider"
    assert one.shown(one.jobs[1], NOW + 61).reason is None


def test_a_gate_that_an_event_opens_lets_its_jobs_wait_for_nothing_more() -> None:
    one = board(job(1, reason="provider"))
    one.know(rows(provider("veo", gate=paused(None, "operator"))))
    told = Event(seq=11, at=NOW, type="provider_resumed", provider="veo", gate=Gate())
    one.read(told)
    assert one.shown(one.jobs[1], NOW).reason is None


def test_a_job_waits_for_the_one_it_depends_on_until_that_has_succeeded() -> None:
    one = board(job(1), job(2, after=(1,)))
    assert one.shown(one.jobs[2], NOW).reason == "dependency"
    one.read(event(11, "succeeded", job=1, state="succeeded"))
    assert one.shown(one.jobs[2], NOW).reason is None


def test_a_scheduled_job_waits_for_its_time() -> None:
    one = board(job(1, not_before_at=NOW + 5))
    assert one.shown(one.jobs[1], NOW).reason == "schedule"
    assert one.shown(one.jobs[1], NOW + 6).reason is None


def test_a_lost_answer_is_told_as_reconciling_until_the_job_moves_on() -> None:
    one = board(job(1, state="submitting"))
    one.read(event(11, "doubted", job=1, state="submitting"))
    assert one.jobs[1].reason == "reconciling"
    one.read(event(12, "submitted", job=1, state="generating"))
    assert one.jobs[1].reason is None


# ---- providers ----


def test_the_rows_of_providers_tell_the_same_gate_as_its_events() -> None:
    one = board()
    one.know(rows(provider("veo", gate=paused(NOW + 401), quota_consecutive=2)))
    by_row = gate_cell(one.providers["veo"], NOW)
    gate = Gate((Closure("quota", NOW + 401, "429"),), quota_consecutive=2)
    one.read(Event(seq=11, at=NOW, type="provider_paused", provider="veo", gate=gate))
    assert gate_cell(one.providers["veo"], NOW) == by_row
    assert by_row.text == "‖ paused: quota, in 6:41"
    assert pause_line(one.providers["veo"], NOW).endswith("(2 in a row)")


def test_a_gate_that_probes_or_ramps_is_told_from_its_row() -> None:
    probing = {**paused(None), "state": "probing", "causes": [], "until_at": None}
    ramping = {**probing, "state": "ramping"}
    one = board()
    one.know(rows(provider("a", gate=probing), provider("b", gate=ramping)))
    assert "probing" in gate_cell(one.providers["a"], NOW).text
    assert "ramping" in gate_cell(one.providers["b"], NOW).text
    assert not shut(one.providers["a"], NOW)


def test_those_that_somebody_must_open_come_first_and_those_not_enabled_never() -> None:
    one = board()
    one.know(
        rows(
            provider("late", gate=paused(NOW + 90)),
            provider("soon", gate=paused(NOW + 10)),
            provider("stuck", gate=paused(None, "auth", "401")),
            provider("off", enabled=False, gate=paused(None, "auth", "no key")),
        )
    )
    assert [held.row.name for held in one.shut(NOW)] == ["stuck", "soon", "late"]


def test_running_and_queued_jobs_of_a_provider_are_counted_as_they_move() -> None:
    one = board(job(1), job(2, state="generating"), job(3, state="downloading"))
    assert (one.queued("veo"), one.running("veo")) == (1, 1)
    one.read(event(11, "started", job=1, state="preparing"))
    assert (one.queued("veo"), one.running("veo")) == (0, 2)
