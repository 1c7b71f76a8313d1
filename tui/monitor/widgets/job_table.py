"""The table of jobs: a row a job, drawn from the view."""

from typing import NamedTuple

from textual import events
from textual.message import Message

from daemon.core.job import Job
from tui.monitor.rows import Context, Layout, layout, row, ticking, widest
from tui.monitor.symbols import CURSOR, DOWN, MARK, UP
from tui.monitor.view import View
from tui.monitor.widgets.grid import Grid
from tui.monitor.widgets.lines import Line
from tui.text import Cell, pad

ROWS_KEPT_MAX = 1_000
"""Rows that were drawn are kept, so that a flush costs little where nothing changed."""


class _Key(NamedTuple):
    """What a row shows besides its job."""

    reason: str | None
    asked: str | None
    edge: str
    ground: str


class _Row(NamedTuple):
    """A row as it was drawn `at` some time."""

    job: Job
    key: _Key
    at: float
    line: Line


class JobTable(Grid):
    """Rows of jobs. `stale` dims them; `frozen` is what they were when the view was frozen.

    `nothing` stands where there are none.
    """

    class Moved(Message):
        """The cursor is on another job now, or on none."""

    class HeadClicked(Message):
        """A click on a column that jobs can be sorted by."""

        def __init__(self, sort: str) -> None:
            super().__init__()
            self.sort = sort

    def __init__(self, view: View, *, id: str | None = None) -> None:  # noqa: A002  Textual's own name
        super().__init__(id=id)
        self.view = view
        self.now = 0.0
        self.stale = False
        self.asked: dict[int, str] = {}
        self.frozen: dict[int, Job] | None = None
        self.nothing = ""
        self.touched_at = 0.0
        self._columns = layout(80, id_cells=3, provider_cells=8)
        self._laid_out: tuple[int, int, int] | None = None
        self._named = False
        self._rows: dict[int, _Row] = {}

    def lay_out(self) -> None:
        """Give the columns the room that the width and the longest texts allow."""
        board = self.view.board
        longest = len(str(board.highest))
        names = widest(list(board.providers), 8)
        wanted = (self.size.width, longest, names)
        if wanted != self._laid_out:
            self._laid_out = wanted
            self._columns = layout(wanted[0], id_cells=longest, provider_cells=names)
            self._named = any(slot.key == "name" for slot in self._columns.slots)
            self._rows.clear()
            self.repaint()

    @property
    def columns(self) -> Layout:
        """The columns as they are laid out."""
        return self._columns

    # ---- what Grid asks ----

    def count(self) -> int:
        """As many as the view lists."""
        return len(self.view.ids)

    def head(self) -> Line:
        """The titles; the one that is sorted by carries an arrow."""
        cells = []
        for slot in self._columns.slots:
            title, sorted_by = slot.title, slot.sort == self.view.sort.name
            if sorted_by and slot.sort is not None:
                title += DOWN if self.view.sort.down else UP
            text = pad(title, slot.cells, right=slot.right) + " "
            cells.append(Cell(text, "bold" if sorted_by and slot.sort else ""))
        return Line(tuple(cells), "head")

    def line(self, y: int) -> Line:
        """As in all lists; without rows, why there are none and what to do."""
        if y == 1 and not self.view.ids:
            return Line((Cell(self.nothing, "dim"),))
        return super().line(y)

    def row(self, index: int) -> Line:
        """The job of a row, as it is known, or as it was when the view was frozen."""
        number = self.view.ids[index]
        jobs = self.view.board.jobs if self.frozen is None else self.frozen
        job = jobs.get(number)
        under = index == self.view.index
        edge = (CURSOR if under else " ") + (MARK if number in self.view.marks else " ")
        if job is None:
            return Line((Cell(f"{edge} {number} is gone", "dim"),))
        ground = "stale" if self.stale else "plain"
        if under:
            ground = "cursor" if self.has_focus else "cursor-away"
        shown = self.view.board.shown(job, self.now)
        key = _Key(shown.reason, self.asked.get(number), edge, ground)
        known = self._rows.get(number)
        if known is not None and known.job is job and known.key == key:
            if int(self.now) == int(known.at):
                return known.line
            if ticking(job, self.now) == ticking(job, known.at):
                self._rows[number] = known._replace(at=self.now)
                return known.line
        line = Line(row(shown, self._columns, self._shown_with(number), edge=edge), ground)
        if len(self._rows) > ROWS_KEPT_MAX:
            self._rows.clear()
        self._rows[number] = _Row(job, key, self.now, line)
        return line

    def _shown_with(self, number: int) -> Context:
        return Context(self.now, named=self._named, asked=self.asked.get(number))

    @property
    def cursor(self) -> int:
        """The row of the view's cursor."""
        return self.view.index

    def put_cursor(self, index: int) -> None:
        """Move the view's cursor."""
        self.touched_at = self.now
        self.view.move(index)
        self.post_message(self.Moved())

    def on_click(self, event: events.Click) -> None:
        """A click on the head sorts, one on a row puts the cursor there."""
        if event.y > 0:
            super().on_click(event)
            return
        x = 0
        for slot in self._columns.slots:
            x += slot.cells + 1
            if event.x < x:
                if slot.sort is not None:
                    self.post_message(self.HeadClicked(slot.sort))
                return
