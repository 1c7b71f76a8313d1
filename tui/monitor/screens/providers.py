"""The providers: gates with their causes and countdowns, counters, latencies."""

from collections.abc import Callable, Hashable, Mapping
from itertools import islice
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.geometry import Size

from daemon.core.events import Event
from daemon.core.gate import blocking
from daemon.core.job import Failure
from daemon.core.times import describe_when
from daemon.wire.messages import Pause, Resume
from tui.monitor.actions import EVERYWHERE, LISTS, PROVIDERS, bindings
from tui.monitor.gates import Provider, gate_cell, shut
from tui.monitor.saving import plain
from tui.monitor.screens.frame import Frame
from tui.monitor.sheet import lasted
from tui.monitor.stories import entry_row
from tui.monitor.symbols import RULE
from tui.monitor.widgets.lines import Fixed, Line
from tui.monitor.widgets.plain_table import PlainTable
from tui.text import Cell, Style, counted, pad, width, wrap

FRESH_S = 5.0
"""Latencies don't come as events: they are read again as long as somebody looks at them."""
NAME_CELLS_MAX, GATE_CELLS_MAX = 14, 40
STAGES = ("queue", "prepare", "submit", "generate", "download")


Column = tuple[str, int, Callable[[Provider], Cell]]
"""A title, its cells, and what stands under it."""


def _errors(one: Provider) -> Cell:
    count = one.gate.errors_consecutive
    return Cell(str(count), "red" if count > 2 else "yellow" if count else "dim")


def _count(count: int, style: Style) -> Cell:
    return Cell(f"{count:,}", style if count else "dim")


def _latency(one: Provider, stage: str) -> Cell:
    seen = one.row.latency.get(stage)
    if seen is None or seen.p50_s is None or seen.p95_s is None:
        return Cell("-", "dim")
    return Cell(f"{lasted(seen.p50_s)} / {lasted(seen.p95_s)}")


class ProvidersScreen(Frame):
    """All providers, and the one under the cursor in full."""

    PLACES: ClassVar[tuple[str, ...]] = (PROVIDERS, LISTS)
    TRAIL = "providers"
    BINDINGS: ClassVar[list[BindingType]] = bindings(PROVIDERS, EVERYWHERE)

    def body(self) -> ComposeResult:
        """The table, and a sheet under it."""
        yield PlainTable(id="table")
        yield Fixed(id="sheet")

    def on_mount(self) -> None:
        """The keys go to the table."""
        self._read_at = 0.0
        self._seen: Mapping[str, Provider] = {}
        self.table.focus()

    @property
    def table(self) -> PlainTable:
        """The table of providers."""
        return self.query_one(PlainTable)

    def under_cursor(self) -> Provider | None:
        """The provider under the cursor, as it is seen."""
        return self._seen.get(str(self.table.key))

    def on_plain_table_moved(self) -> None:
        """The sheet follows the cursor."""
        self.monitor.wake()

    def draw_body(self, now: float) -> None:
        """Rows and the sheet; the latencies are read again now and then."""
        app = self.monitor
        if app.feed.live and not 0 <= now - self._read_at <= FRESH_S:
            self._read_at = now
            self.run_worker(app.feed.refresh_providers(), exit_on_error=True)
        if app.frozen is None:
            self._fill(now)
        self.table.stale = app.feed.phase == "away"
        self.table.redraw()
        one, sheet = self.under_cursor(), self.fixed("sheet")
        sheet.show([] if one is None else self._sheet(one, now, sheet.size))

    def _fill(self, now: float) -> None:
        """The rows, with gates as wide as the widest, and more columns where there is room."""
        table, known = self.table, self.monitor.board.providers
        self._seen = dict(known)
        shown = [known[name] for name in sorted(known)]
        names = max([8, *(min(NAME_CELLS_MAX, width(one.row.name)) for one in shown)])
        gates = max([8, *(min(GATE_CELLS_MAX, width(gate_cell(one, now).text)) for one in shown)])
        columns = self._columns(table.size.width - names - gates - 4)
        titles = "".join(f" {pad(title, cells, right=True)}" for title, cells, _ in columns)
        table.titles = f"  {pad('PROVIDER', names)} {pad('GATE', gates)}{titles}"
        rows: dict[Hashable, tuple[Cell, ...]] = {}
        for one in shown:
            gate = gate_cell(one, now)
            name = Cell(f"{pad(one.row.name, names)} ", "" if one.row.enabled else "dim")
            told = [(cell(one), cells) for _, cells, cell in columns]
            more = (
                Cell(f" {pad(cell.text, cells, right=True)}", cell.style) for cell, cells in told
            )
            rows[one.row.name] = (name, Cell(pad(gate.text, gates), gate.style), *more)
        table.have(rows)
        if table.styles.max_height is None or table.styles.max_height.value != len(shown) + 1:
            table.styles.max_height = len(shown) + 1

    def _columns(self, room: int) -> list[Column]:
        board = self.monitor.board
        wanted: list[Column] = [
            ("ERR", 4, _errors),
            ("RUN", 6, lambda one: Cell(f"{board.running(one.row.name)}/{one.row.concurrency}")),
            ("QUEUED", 7, lambda one: Cell(f"{board.queued(one.row.name):,}")),
            ("SUBMIT p50/p95", 15, lambda one: _latency(one, "submit")),
            ("GENERATE p50/p95", 17, lambda one: _latency(one, "generate")),
            ("HELD", 6, lambda one: _count(board.count(one.row.name, "held"), "yellow")),
            ("IN DOUBT", 9, lambda one: _count(board.count(one.row.name, "in_doubt"), "red")),
            ("FAILED", 7, lambda one: _count(board.count(one.row.name, "failed"), "red")),
            ("DONE", 7, lambda one: _count(board.count(one.row.name, "succeeded"), "green")),
        ]
        columns: list[Column] = []
        for column in wanted:
            room -= column[1] + 1
            if room < 0:
                break
            columns.append(column)
        return columns

    def _sheet(self, one: Provider, now: float, size: Size) -> list[Line]:
        cells = size.width
        head = f"{RULE * 2} {one.row.name} ({one.row.engine}) "
        lines = [Line((Cell(head + RULE * max(0, cells - width(head)), "dim"),))]
        causes = blocking(one.gate, now)
        for closure in causes:
            until = "until it is resumed: p"
            if closure.source == "config":
                until = "until the configuration changes"
            if closure.until_at is not None:
                until = f"ends {describe_when(closure.until_at, now)}"
            told = wrap(f"{closure.cause}, {until}: {closure.reason}", cells - 2)
            lines += [Line((Cell(f" {line}", "yellow"),)) for line in told]
        if not causes:
            lines.append(Line((Cell(" nothing stops submits"),)))
        gate = one.gate
        counts = f" {counted(gate.errors_consecutive, 'error')} in a row"
        quota = f"{counted(gate.quota_consecutive, 'refusal')} by quota in a row"
        lines.append(Line((Cell(f"{counts}, {quota}"),)))
        lines += [Line(), Line((Cell(f" {'stage':<10} {'p50':>9} {'p95':>9} {'jobs':>7}", "dim"),))]
        for stage in STAGES:
            seen = one.row.latency.get(stage)
            if seen is not None and seen.p50_s is not None and seen.p95_s is not None:
                text = f" {stage:<10} {lasted(seen.p50_s):>9} {lasted(seen.p95_s):>9} {seen.n:>7,}"
                lines.append(Line((Cell(text),)))
        return [*lines, *self._troubles(one.row.name, size.height - len(lines) - 2, cells)]

    def _troubles(self, name: str, count: int, cells: int) -> list[Line]:
        """Its last events that tell of an error."""
        if count < 1:
            return []
        told = (
            entry
            for entry in reversed(self.monitor.board.entries)
            if isinstance(entry, Event)
            and entry.provider == name
            and isinstance(entry.error, Failure)
        )
        rows = [entry_row(entry, self.monitor.clock, cells, "") for entry in islice(told, count)]
        title = " last errors" if rows else " no error of it among the events that are kept"
        return [Line(), Line((Cell(title, "dim"),)), *(Line(row) for row in rows)]

    def seen(self) -> list[dict[str, Any]]:
        """The providers, for a file."""
        return [plain(one.row) for one in self.monitor.board.providers.values()]

    def foot_cells(self, now: float) -> tuple[Cell, ...]:
        """How many are paused."""
        providers = self.monitor.board.providers.values()
        held = sum(shut(one, now) for one in providers if one.row.enabled)
        return (Cell(f" {held} of {sum(one.row.enabled for one in providers)} paused"),)

    # ---- actions ----

    def action_open(self) -> None:
        """Show its jobs."""
        one = self.under_cursor()
        if one is not None:
            self.monitor.show_jobs(f"provider:{one.row.name}")

    def action_gate(self) -> None:
        """Pause it after a question, or resume it."""
        one = self.under_cursor()
        if one is None:
            return
        name = one.row.name
        if shut(one, self.monitor.clock.now()):
            self.monitor.errands.request(Resume(providers=(name,)), f"resumed {name}")
            return
        from tui.monitor.screens.pausing import Pausing  # noqa: PLC0415  when it is first needed

        asking = Pausing(name, self.monitor.clock)

        def answered(agreed: bool | None) -> None:
            if agreed:
                when = "" if asking.said is None else f" until {asking.said}"
                pause = Pause(providers=(name,), until_at=asking.until_at)
                self.monitor.errands.request(pause, f"paused {name}{when}")

        self.app.push_screen(asking, answered)

    def action_copy_id(self) -> None:
        """Copy its name."""
        one = self.under_cursor()
        if one is not None:
            self.app.copy_to_clipboard(one.row.name)
            self.monitor.say(f"copied {one.row.name}")
