"""Lets the writer's thread run when the event loop is too busy to let go of the interpreter.

A loop that always has something ready drops the interpreter's lock for a microsecond in each turn
and takes it again before a waiting thread has woken; the thread's own request for the lock starts
anew each time, and it may wait for seconds. So while facts wait to be stored, the loop now and then
stands still for a moment, and the lock is free.
"""

import threading
from collections.abc import Callable
from typing import Protocol

PATIENCE_S = 0.01
"""The loop goes on for so long before it stands still, and in between. A loop that waits for the
disk lets go by itself; only one that never does has to be stopped, and that costs it its time."""
STAND_S = 0.002
"""For so long at most: a commit of what waits takes about as long."""


class Timer(Protocol):
    """A call that may still be called off."""

    def cancel(self) -> None:
        """Don't make it."""


class Handover:
    """`call_later` is the loop's. Used on the loop, but for `ring`."""

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], Timer],
        *,
        stand_s: float = STAND_S,
    ) -> None:
        self._call_later = call_later
        self._stand_s = stand_s
        self._bell = threading.Event()
        self._timer: Timer | None = None
        self._waiting = 0
        self.paused = False
        """While there is no use in it: the thread waits too."""

    def owe(self) -> None:
        """The thread was given one thing more to do."""
        self._waiting += 1
        self._bell.clear()
        if self._timer is None:
            self._timer = self._call_later(PATIENCE_S, self._stand)

    def settle(self, count: int = 1) -> None:
        """`count` things are done, and the loop knows."""
        self._waiting -= count
        if self._waiting == 0 and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def ring(self) -> None:
        """From the thread: something is done, the loop may go on."""
        self._bell.set()

    def _stand(self) -> None:
        self._timer = None
        if self._waiting == 0 or self.paused:
            return
        if self._bell.wait(self._stand_s):
            self._bell.clear()
        self._timer = self._call_later(PATIENCE_S, self._stand)
