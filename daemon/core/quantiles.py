"""Exact quantiles over a sliding window: follows a change within the window (resilience.md 1.7)."""

from bisect import bisect_left, insort
from collections import deque

WINDOW = 200


class Window:
    """The last WINDOW durations, in seconds."""

    def __init__(self) -> None:
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, seconds: float) -> None:
        """Take in one duration; the oldest goes when the window is full."""
        if len(self._order) == WINDOW:
            oldest = self._order.popleft()
            del self._sorted[bisect_left(self._sorted, oldest)]
        self._order.append(seconds)
        insort(self._sorted, seconds)

    def quantile(self, share: float) -> float | None:
        """The value below which `share` of the window lies; None while it is empty.

        >>> window = Window()
        >>> for seconds in (1.0, 2.0, 3.0, 4.0): window.add(seconds)
        >>> window.quantile(0.5)
        2.0
        """
        if not self._sorted:
            return None
        index = max(0, -(-int(share * 1000) * len(self._sorted) // 1000) - 1)
        return self._sorted[min(index, len(self._sorted) - 1)]

    def __len__(self) -> int:
        return len(self._sorted)
