"""Which jobs a list shows and in what order, with the cursor and the marks held by id. Pure.

The row under the cursor stays where it is: when its own job would move, it waits until the cursor
leaves it; when others move, the list scrolls so that it doesn't.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from daemon.core.job import FINISHED, Job
from daemon.core.query import Query, matches, sort_key
from tui.monitor.board import Board

CHUNK_JOBS = 2_000
"""So many jobs are looked at before others get a turn of the loop."""
USUAL_SORT: Final = "activity"
_RANKS: Final = {"in_doubt": 0, "held": 2, "queued": 3, "succeeded": 4, "failed": 4, "cancelled": 4}


class Sort(Struct, frozen=True):
    """A sort key of interfaces.md 1, or `activity`; `down` turns it round."""

    name: str = USUAL_SORT
    down: bool = False

    def __str__(self) -> str:
        return f"-{self.name}" if self.down else self.name


def activity(job: Job) -> tuple[int, float, int]:
    """What needs a person, what is at work, what waits in turn, what ended last.

    >>> job = Job(id=1, provider="mock", state="generating", created_at=0.0, updated_at=0.0)
    >>> activity(job) < activity(Job(id=2, provider="mock", created_at=0.0, updated_at=0.0))
    True
    """
    if job.state in FINISHED:
        return 4, -(job.finished_at or job.updated_at), -job.id
    rank = _RANKS.get(job.state, 1)
    return rank, float(-job.priority) if rank == 3 else 0.0, job.id


class View:
    """The ids of a list, in order; `cursor` is an id, `marks` are ids.

    `unseen`: how many of the marked jobs the filter leaves out. `frozen`: the jobs as they were
    when the view was frozen; until it goes on, the list is built of them.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self.ids: list[int] = []
        self.marks: set[int] = set()
        self.unseen = 0
        self.sort = Sort()
        self.query = Query()
        self.frozen: Mapping[int, Job] | None = None
        self.cursor: int | None = None
        self.anchored = False
        self._index = 0
        self._displaced: int | None = None
        self._loose: set[int] = set()
        self._key: Callable[[Job], Any] = activity

    # ---- what is shown ----

    def arrange(self, sort: Sort, query: Query, now: float) -> Iterator[None]:
        """Build the list anew, in steps: the caller may do something else between two of them.

        Until the last step the old list stands.
        """
        key = activity if sort.name == USUAL_SORT else sort_key(sort.name)
        jobs = self.board.jobs if self.frozen is None else self.frozen
        found: list[int] = []
        everything = list(jobs)
        for start in range(0, len(everything), CHUNK_JOBS):
            chunk = everything[start : start + CHUNK_JOBS]
            if query.terms:
                shown = self.board.shown
                chunk = [
                    number
                    for number in chunk
                    if number in jobs and matches(query, shown(jobs[number], now), now)
                ]
            found += chunk
            yield
        found.sort(key=lambda number: (key(jobs[number]), number), reverse=sort.down)
        self.sort, self.query, self._key = sort, query, key
        self.ids = found
        self._displaced, self._loose = None, set()
        self._settle()

    def renew(self, sort: Sort, query: Query, now: float) -> None:
        """Build the list anew, in one go."""
        for _ in self.arrange(sort, query, now):
            pass

    def follow(self, changed: Mapping[int, Job | None], now: float) -> int:
        """Take changed jobs, given as they were, to their places; how far the cursor's row moved.

        A job that its change leaves in its place costs next to nothing.
        """
        jobs, cursor = self.board.jobs, self.cursor if self.anchored else None
        leaving = {number for number, was in changed.items() if self._moves(number, was, now)}
        leaving |= self._loose
        self._loose = set()
        if not leaving:
            return 0
        pinned = cursor is not None and (cursor in leaving or cursor == self._displaced)
        coming = [
            number
            for number in leaving
            if number in jobs and not (pinned and number == cursor) and self._listed(number, now)
        ]
        before = self._index
        if pinned and cursor is not None:
            leaving.add(cursor)
            self._displaced = cursor
        self.ids = [number for number in self.ids if number not in leaving]
        if len(coming) * 8 > len(self.ids):
            self.ids = sorted([*self.ids, *coming], key=self._place, reverse=self.sort.down)
        else:
            for number in coming:
                self._insert(number)
        if pinned and cursor is not None and cursor in jobs:
            self.ids.insert(min(before, len(self.ids)), cursor)
        self._settle()
        return self._index - before if self.anchored else 0

    def _moves(self, number: int, was: Job | None, now: float) -> bool:
        """Whether the change of a job takes it to another place, into the list, or out of it."""
        job = self.board.jobs.get(number)
        if job is None or was is None:
            return True
        if self._key(job) != self._key(was):
            return True
        return bool(self.query.terms) and self._fits(job, now) != self._fits(was, now)

    def _listed(self, number: int, now: float) -> bool:
        return not self.query.terms or self._fits(self.board.jobs[number], now)

    def _fits(self, job: Job, now: float) -> bool:
        return matches(self.query, self.board.shown(job, now), now)

    def _place(self, number: int) -> tuple[Any, int]:
        return self._key(self.board.jobs[number]), number

    def _insert(self, number: int) -> None:
        place = self._place(number)
        if not self.sort.down:
            self.ids.insert(bisect_left(self.ids, place, key=self._place), number)
            return
        low, high = 0, len(self.ids)
        while low < high:
            middle = (low + high) // 2
            if self._place(self.ids[middle]) > place:
                low = middle + 1
            else:
                high = middle
        self.ids.insert(low, number)

    def _settle(self) -> None:
        """The cursor's index after the list changed; if its job left, it takes the row there."""
        self.marks &= self.board.jobs.keys()
        self._count_unseen()
        if not self.ids:
            self.cursor, self._index = None, 0
            return
        if not self.anchored:
            self._index = 0
        elif self.cursor is not None and self._at(self._index) != self.cursor:
            try:
                self._index = self.ids.index(self.cursor)
            except ValueError:
                self._index = min(self._index, len(self.ids) - 1)
        self._index = min(self._index, len(self.ids) - 1)
        self.cursor = self.ids[self._index]

    def _count_unseen(self) -> None:
        self.unseen = len(self.marks.difference(self.ids)) if self.marks else 0

    def _at(self, index: int) -> int | None:
        return self.ids[index] if 0 <= index < len(self.ids) else None

    # ---- moving and marking ----

    @property
    def index(self) -> int:
        """The row of the cursor, from 0."""
        return self._index

    def move(self, index: int) -> None:
        """Put the cursor on a row. A job that it held in place may go to its own the next time."""
        self.anchored = True
        if not self.ids:
            return
        self._index = max(0, min(index, len(self.ids) - 1))
        self.cursor = self.ids[self._index]
        if self._displaced is not None and self._displaced != self.cursor:
            self._loose.add(self._displaced)
            self._displaced = None

    @property
    def unsettled(self) -> bool:
        """Whether a job that the cursor held waits to go to its own place."""
        return bool(self._loose)

    def mark(self) -> None:
        """Mark the cursor's job, or take its mark away."""
        if self.cursor is not None:
            self.anchored = True
            self.marks ^= {self.cursor}

    def unmark(self, numbers: Iterable[int | str]) -> None:
        """Take the marks of these jobs away."""
        self.marks.difference_update(numbers)
        self._count_unseen()

    def mark_to_here(self) -> None:
        """Mark from the nearest marked row above the cursor, or else below it, to the cursor."""
        if self.cursor is None:
            return
        self.anchored = True
        rows = [row for row, number in enumerate(self.ids) if number in self.marks]
        above = [row for row in rows if row <= self._index]
        start = above[-1] if above else rows[0] if rows else self._index
        low, high = sorted((start, self._index))
        self.marks.update(self.ids[low : high + 1])

    def chosen(self) -> list[Job]:
        """The jobs that an action means: the marked ones in the list's order, else the cursor's."""
        jobs = self.board.jobs
        if self.marks:
            listed = [number for number in self.ids if number in self.marks]
            hidden = sorted(self.marks.difference(listed))
            return [jobs[number] for number in (*listed, *hidden) if number in jobs]
        job = None if self.cursor is None else jobs.get(self.cursor)
        return [] if job is None else [job]
