"""What went wrong, by kind: how often, where, what to do about it; actions take whole groups."""

import time
from collections.abc import Hashable
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from daemon.core.job import Job
from tui.monitor.actions import EVERYWHERE, FAILURES, LISTS, bindings
from tui.monitor.rows import GLYPHS
from tui.monitor.saving import plain
from tui.monitor.screens.acting import Acting
from tui.monitor.symbols import RULE
from tui.monitor.troubles import Trouble, kind, query_for, troubles
from tui.monitor.widgets.lines import Fixed, Line
from tui.monitor.widgets.plain_table import PlainTable
from tui.text import Cell, counted, cut, pad, width, wrap
from tui.wording import STATE_SHOWN, failure_shown

FRESH_S = 1.0
"""All jobs are looked at; once a second is soon enough."""
IDS_SHOWN_MAX = 40


class FailuresScreen(Acting):
    """Groups of jobs with the same error, and the one under the cursor in full."""

    PLACES: ClassVar[tuple[str, ...]] = (FAILURES, LISTS)
    TRAIL = "failures"
    BINDINGS: ClassVar[list[BindingType]] = bindings(FAILURES, EVERYWHERE)

    def body(self) -> ComposeResult:
        """The table, and a sheet under it."""
        self._found: dict[Hashable, Trouble] = {}
        self._seen: tuple[int, int] | None = None
        self._seen_at = 0.0
        yield PlainTable(id="table")
        yield Fixed(id="sheet")

    def on_mount(self) -> None:
        """The keys go to the table."""
        self.table.focus()

    @property
    def table(self) -> PlainTable:
        """The table of groups."""
        return self.query_one(PlainTable)

    def trouble(self) -> Trouble | None:
        """The group under the cursor."""
        return self._found.get(self.table.key)

    def chosen(self) -> list[Job]:
        """The jobs of the group, without those that have moved on since it was listed."""
        one, known = self.trouble(), self.monitor.board.jobs
        if one is None:
            return []
        jobs = (known[number] for number in one.jobs if number in known)
        return [job for job in jobs if kind(job) == one.key]

    def under_cursor(self) -> Job | None:
        """The newest job of the group."""
        return next(reversed(self.chosen()), None)

    def seen(self) -> list[dict[str, Any]]:
        """The groups, for a file."""
        return [plain(one) for one in self._found.values()]

    # ---- drawing ----

    def draw_body(self, now: float) -> None:  # noqa: ARG002  as declared
        """The groups and the sheet."""
        app, table = self.monitor, self.table
        seen = (app.board.seq, app.board.snapshots)
        due_s = self._seen_at + FRESH_S - app.clock.monotonic()
        if app.frozen is None and seen != self._seen and (due_s <= 0 or self._seen is None):
            self._seen, self._seen_at = seen, app.clock.monotonic()
            self._found = {one.key: one for one in troubles(app.board.jobs.values())}
        elif app.frozen is None and seen != self._seen:
            app.wake_in(max(0.0, due_s))
        table.stale = app.feed.phase == "away"
        room = table.size.width
        state, jobs, provider = pad("STATE", 11), pad("JOBS", 7, right=True), pad("PROVIDER", 12)
        table.titles = f"  {state} {jobs} {provider} {'LAST':<8} ERROR"
        table.have({key: self._row(one, room) for key, one in self._found.items()})
        sheet = self.fixed("sheet")
        sheet.show(self._sheet(sheet.size.width))

    def _row(self, one: Trouble, room: int) -> tuple[Cell, ...]:
        state, provider, _, _ = one.key
        shown = STATE_SHOWN[state]
        last = time.strftime("%H:%M:%S", self.monitor.clock.local(one.last_at))
        head = (
            Cell(f"{GLYPHS[state]} {pad(shown.text, 9)} ", shown.style),
            Cell(f"{pad(f'{len(one.jobs):,}', 7, right=True)} {pad(provider, 12)} "),
            Cell(f"{last} ", "dim"),
        )
        rest = max(0, room - 2 - sum(width(cell.text) for cell in head))
        return (*head, Cell(pad(failure_shown(one.failure), rest)))

    def _sheet(self, cells: int) -> list[Line]:
        one = self.trouble()
        if one is None:
            told = " nothing failed, is held with an error, or is in doubt"
            return [Line((Cell(RULE * cells, "dim"),)), Line((Cell(told, "dim"),))]
        head = f"{RULE * 2} {counted(len(one.jobs), 'job')} of {one.key[1]} "
        lines = [Line((Cell(head + RULE * max(0, cells - width(head)), "dim"),))]
        style = STATE_SHOWN[one.key[0]].style
        lines += [
            Line((Cell(f" {line}", style),)) for line in wrap(failure_shown(one.failure), cells - 2)
        ]
        if one.failure.rule is not None:
            advice = f": {one.failure.advice}" if one.failure.advice else ""
            rule = wrap(f"rule {one.failure.rule}{advice}", cells - 2)
            lines += [Line((Cell(f" {line}", "dim"),)) for line in rule]
        numbers = ", ".join(map(str, one.jobs[:IDS_SHOWN_MAX]))
        more = (
            f" and {len(one.jobs) - IDS_SHOWN_MAX:,} more" if len(one.jobs) > IDS_SHOWN_MAX else ""
        )
        lines.append(Line())
        lines += [Line((Cell(f" {line}"),)) for line in wrap(f"jobs {numbers}{more}", cells - 2)]
        return lines

    def foot_cells(self, now: float) -> tuple[Cell, ...]:  # noqa: ARG002  as declared
        """How many groups, of how many jobs."""
        jobs = sum(len(one.jobs) for one in self._found.values())
        told = f" {counted(jobs, 'job')} in {counted(len(self._found), 'group')}"
        return (Cell(cut(told, self.size.width)),)

    def on_plain_table_moved(self) -> None:
        """The sheet follows the cursor."""
        self.monitor.wake()

    # ---- actions ----

    def action_open(self) -> None:
        """List its jobs."""
        one = self.trouble()
        if one is not None:
            self.monitor.show_jobs(query_for(one))
