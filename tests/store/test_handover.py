"""The loop stands still now and then, while the writer's thread has something to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.clock import SystemClock
from daemon.store.handover import Handover

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Keeps what it was asked to call later, and calls it when told to."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(callback))
        return self.timers[-1]

    def fire(self) -> float:
        """Make the last call; how many seconds it took."""
        assert not self.timers[-1].cancelled
        clock = SystemClock()
        before = clock.monotonic()
        self.timers[-1].callback()
        return clock.monotonic() - before


def test_one_timer_is_set_however_much_waits() -> None:
    loop = Loop()
    handover = Handover(loop.call_later)
    handover.owe()
    handover.owe()
    assert len(loop.timers) == 1


def test_the_loop_stands_while_something_waits_and_asks_again() -> None:
    loop = Loop()
    handover = Handover(loop.call_later, stand_s=0.01)
    handover.owe()
    assert loop.fire() >= 0.009
    assert len(loop.timers) == 2


def test_the_loop_goes_on_when_something_is_done() -> None:
    loop = Loop()
    handover = Handover(loop.call_later, stand_s=60.0)
    handover.owe()
    handover.ring()
    assert loop.fire() < 30.0


def test_no_timer_is_left_when_nothing_waits() -> None:
    loop = Loop()
    handover = Handover(loop.call_later)
    handover.owe()
    handover.owe()
    handover.settle()
    assert [timer.cancelled for timer in loop.timers] == [False]
    handover.settle()
    assert [timer.cancelled for timer in loop.timers] == [True]


def test_the_loop_does_not_stand_still_for_a_full_disk() -> None:
    loop = Loop()
    handover = Handover(loop.call_later, stand_s=60.0)
    handover.owe()
    handover.paused = True
    assert loop.fire() < 30.0
    assert len(loop.timers) == 1
