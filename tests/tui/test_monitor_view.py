"""The list of jobs: its order, and a row under the cursor that nothing moves."""

from __future__ import annotations

import random  # noqa: TID251  a seeded shuffle, the same each time
from typing import TYPE_CHECKING

import msgspec
import pytest

from daemon.core.events import Event
from daemon.core.query import SORT_KEYS, parse_query
from tests.fakes.socket_daemon import crowd, failure, job
from tui.monitor.board import Board
from tui.monitor.rows import layout
from tui.monitor.view import CHUNK_JOBS, Sort, View

if TYPE_CHECKING:
    from daemon.core.job import Job

NOW = 1_000_000.0


def view(*jobs: Job, sort: str = "activity", down: bool = False, query: str = "") -> View:
    board = Board()
    board.begin()
    board.load(jobs)
    board.commit(0)
    one = View(board)
    one.renew(Sort(sort, down), parse_query(query), NOW)
    return one


def change(one: View, number: int, **fields: object) -> None:
    told = {"seq": one.board.seq + 1, "at": NOW, "type": "edited", "job": number, **fields}
    one.board.read(msgspec.convert(told, Event))


def follow(one: View) -> int:
    moved = one.follow(one.board.dirty, NOW)
    one.board.dirty = {}
    return moved


def test_what_needs_a_person_comes_first_then_work_then_the_queue_then_what_ended() -> None:
    one = view(
        job(1, state="succeeded", finished_at=5.0),
        job(2),
        job(3, state="generating"),
        job(4, state="in_doubt"),
        job(5, state="held"),
        job(6, priority=9),
        job(7, state="failed", finished_at=9.0),
    )
    assert one.ids == [4, 3, 5, 6, 2, 7, 1]


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("name", ["activity", *SORT_KEYS])
def test_following_changes_one_by_one_gives_the_same_order_as_sorting_anew(
    name: str, down: bool
) -> None:
    one = view(*crowd(60, NOW), sort=name, down=down)
    draw = random.Random(7)  # noqa: S311  no secret
    states = ["queued", "generating", "failed", "succeeded", "held"]
    for _ in range(200):
        number = draw.randint(1, 60)
        state = draw.choice(states)
        change(one, number, state=state, priority=draw.randint(-5, 5), updated_at=NOW)
        if draw.random() < 0.4:
            follow(one)
    follow(one)
    followed = list(one.ids)
    one.renew(Sort(name, down), one.query, NOW)
    assert followed == one.ids


def test_a_job_that_begins_or_ceases_to_match_comes_or_goes() -> None:
    one = view(job(1), job(2), query="state:failed")
    assert one.ids == []
    change(one, 2, state="failed")
    follow(one)
    assert one.ids == [2]
    change(one, 2, state="queued")
    follow(one)
    assert one.ids == []


def test_the_row_under_the_cursor_stays_though_its_job_would_go_elsewhere() -> None:
    one = view(job(1, state="generating"), job(2, state="generating"), job(3), job(4))
    one.move(1)
    change(one, 2, state="succeeded", finished_at=NOW)
    assert follow(one) == 0
    assert one.ids == [1, 2, 3, 4]
    assert (one.cursor, one.index) == (2, 1)
    one.move(2)
    follow(one)
    assert one.ids == [1, 3, 4, 2]
    assert one.cursor == 3


def test_rows_that_come_above_move_the_list_and_not_the_cursor() -> None:
    one = view(*(job(number) for number in range(1, 6)), sort="id")
    one.move(3)
    board = one.board
    change(one, 1, state="failed")
    assert follow(one) == 0
    one.renew(Sort("id", True), parse_query(""), NOW)
    assert one.cursor == 4
    board.read(Event(seq=board.seq + 1, at=NOW, type="added", job=9, value=job(9)))
    assert follow(one) == 1
    assert one.ids == [9, 5, 4, 3, 2, 1]
    assert one.cursor == 4


def test_a_cursor_that_nobody_moved_stays_on_the_first_row() -> None:
    one = view(job(1), job(2))
    change(one, 2, state="in_doubt")
    follow(one)
    assert one.ids == [2, 1]
    assert (one.cursor, one.index) == (2, 0)


def test_marks_are_held_by_id_and_chosen_in_the_order_of_the_list() -> None:
    one = view(job(1), job(2), job(3), sort="id")
    one.move(2)
    one.mark()
    one.move(0)
    one.mark()
    one.renew(Sort("id", True), parse_query(""), NOW)
    assert [chosen.id for chosen in one.chosen()] == [3, 1]


def test_marks_that_a_filter_hides_still_count() -> None:
    one = view(job(1), job(2, state="failed", error=failure()))
    one.move(0)
    one.mark()
    one.renew(Sort(), parse_query("state:queued"), NOW)
    marked = one.marks
    one.renew(Sort(), parse_query("provider:none"), NOW)
    assert one.marks == marked
    assert one.unseen == len(marked)
    assert [chosen.id for chosen in one.chosen()] == sorted(marked)
    one.unmark(tuple(marked))
    assert (one.marks, one.unseen) == (set(), 0)


def test_marking_to_here_takes_all_between_the_last_mark_and_the_cursor() -> None:
    one = view(*(job(number) for number in range(1, 8)), sort="id")
    one.move(1)
    one.mark()
    one.move(4)
    one.mark_to_here()
    assert one.marks == {2, 3, 4, 5}


def test_without_marks_an_action_means_the_job_under_the_cursor() -> None:
    one = view(job(1), job(2), sort="id")
    one.move(1)
    assert [chosen.id for chosen in one.chosen()] == [2]


def test_an_empty_list_has_no_cursor_and_nothing_to_act_on() -> None:
    one = view()
    one.move(3)
    one.mark()
    assert one.cursor is None
    assert one.chosen() == []


def test_a_long_list_is_built_in_steps_and_stands_until_the_last() -> None:
    one = view(*(job(number) for number in range(1, CHUNK_JOBS * 2 + 2)), sort="id")
    before = one.ids
    steps = one.arrange(Sort("id", True), parse_query(""), NOW)
    assert sum(1 for _ in steps) == 3
    assert one.ids == before[::-1]


def test_every_column_that_is_sorted_by_has_room_for_its_arrow() -> None:
    slots = layout(200, id_cells=2, provider_cells=3).slots
    cut = [slot.title for slot in slots if slot.sort and len(slot.title) >= slot.cells]
    assert cut == []
