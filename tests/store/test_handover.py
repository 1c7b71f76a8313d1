"""The loop stands still now and then, while the writer's thread has something to do."""

from __future__ import annotations

import asyncio
import threading

from daemon.store import handover
from daemon.store.handover import Handover


class Timer:
    """A call that the loop was asked to make later."""

    def __init__(self, callback: object) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop(asyncio.BaseEventLoop):
    """A loop that never runs; it only keeps what it was asked to call."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[Timer] = []

    def call_later(self, delay, callback, *args, context=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
        self.timers.append(Timer(callback))
        return self.timers[-1]

    def fire(self) -> float:
        """Make the last call; how long it took, in seconds of the loop's own clock."""
        before = self.time()
        timer = self.timers[-1]
        assert not timer.cancelled
        timer.callback()  # type: ignore[operator]
        return self.time() - before


def test_one_timer_is_set_however_much_waits() -> None:
    loop = Loop()
    turns = Handover(loop)
    turns.owe()
    turns.owe()
    assert len(loop.timers) == 1


def test_the_loop_stands_while_something_waits_and_asks_again() -> None:
    loop = Loop()
    turns = Handover(loop)
    turns.owe()
    assert loop.fire() >= handover.STAND_S
    assert len(loop.timers) == 2


def test_the_loop_goes_on_when_something_is_done() -> None:
    loop = Loop()
    turns = Handover(loop)
    turns.owe()
    threading.Timer(0, turns.ring).run()
    loop.fire()
    turns.settle()
    assert loop.timers[-1].cancelled


def test_nothing_waits_so_no_timer_is_left() -> None:
    loop = Loop()
    turns = Handover(loop)
    turns.owe()
    turns.owe()
    turns.settle(2)
    assert [timer.cancelled for timer in loop.timers] == [True]


def test_the_loop_does_not_stand_still_for_a_full_disk() -> None:
    loop = Loop()
    turns = Handover(loop)
    turns.owe()
    turns.paused = True
    assert loop.fire() < handover.STAND_S
    assert len(loop.timers) == 1
