"""The providers: gates with their causes and countdowns, counters, latencies."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from daemon.core.gate import blocking
from daemon.core.times import describe_when
from daemon.wire.messages import Pause, Resume
from tui.monitor.actions import EVERYWHERE, LISTS, PROVIDERS, bindings
from tui.monitor.gates import Provider, gate_cell, shut
from tui.monitor.screens.frame import Frame
from tui.monitor.symbols import CURSOR, RULE
from tui.monitor.widgets.lines import Fixed, Grid, Line
from tui.text import Cell, Style, cut, pad, width

FRESH_S = 5.0
"""Latencies don't come as events: they are read again as long as somebody looks at them."""
STAGES = ("queue", "prepare", "submit", "generate", "download")


class ProviderTable(Grid):
    """A row a provider."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's own name
        super().__init__(id=id)
        self.rows: list[tuple[Cell, ...]] = []
        self.stale = False
        self._cursor = 0

    def count(self) -> int:
        """As many as there are."""
        return len(self.rows)

    def head(self) -> Line:
        """The titles of the columns."""
        text = (
            f"  {'PROVIDER':<14} {'GATE':<28} {'ERR':>4} {'RUN':>7} {'QUEUED':>7}  p50/p95 SUBMIT"
        )
        return Line((Cell(text),), "head")

    def row(self, index: int) -> Line:
        """A provider."""
        under = index == self._cursor
        edge = Cell(f"{CURSOR if under else ' '} ")
        ground = "cursor" if under else "stale" if self.stale else "plain"
        return Line((edge, *self.rows[index]), ground)

    @property
    def cursor(self) -> int:
        """The row of the cursor."""
        return min(self._cursor, max(0, len(self.rows) - 1))

    def put_cursor(self, index: int) -> None:
        """Put it there."""
        self._cursor = index
        self.screen.call_next(self.screen.draw_now)  # type: ignore[attr-defined]  # ProvidersScreen


class ProvidersScreen(Frame):
    """All providers, and the one under the cursor in full."""

    PLACES: ClassVar[tuple[str, ...]] = (PROVIDERS, LISTS)
    TRAIL = "providers"
    BINDINGS: ClassVar[list[BindingType]] = bindings(PROVIDERS, EVERYWHERE)

    def body(self) -> ComposeResult:
        """The table, and a sheet under it."""
        yield ProviderTable(id="table")
        yield Fixed(id="sheet")

    def on_mount(self) -> None:
        """The keys go to the table."""
        self._read_at = 0.0
        self.table.focus()

    @property
    def table(self) -> ProviderTable:
        """The table of providers."""
        return self.query_one(ProviderTable)

    def under_cursor(self) -> Provider | None:
        """The provider under the cursor."""
        names = sorted(self.monitor.board.providers)
        return self.monitor.board.providers[names[self.table.cursor]] if names else None

    def draw_now(self) -> None:
        """Redraw at once: the cursor moved."""
        self.monitor.wake()

    def draw_body(self, now: float) -> None:
        """Rows and the sheet; the latencies are read again now and then."""
        app = self.monitor
        if app.feed.live and now - self._read_at > FRESH_S:
            self._read_at = now
            self.run_worker(app.feed.refresh_providers(), exit_on_error=True)
        if app.frozen is None:
            providers = app.board.providers
            self.table.rows = [self._row(providers[name], now) for name in sorted(providers)]
        self.table.stale = app.feed.phase == "away"
        self.table.redraw()
        one = self.under_cursor()
        cells = self.fixed("sheet").size.width
        self.fixed("sheet").show([] if one is None else self._sheet(one, now, cells))

    def _row(self, one: Provider, now: float) -> tuple[Cell, ...]:
        board, row = self.monitor.board, one.row
        errors = one.gate.errors_consecutive
        running = f"{board.running(row.name)}/{row.concurrency}"
        submit = row.latency.get("submit")
        times = "-"
        if submit is not None and submit.p50_s is not None and submit.p95_s is not None:
            times = f"{submit.p50_s:.1f} / {submit.p95_s:.1f} s"
        gate = gate_cell(one, now)
        loud: Style = "red" if errors > 2 else "yellow" if errors else "dim"
        return (
            Cell(f"{pad(row.name, 14)} ", "" if row.enabled else "dim"),
            Cell(f"{pad(gate.text, 28)} ", gate.style),
            Cell(f"{errors:>4} ", loud),
            Cell(f"{running:>7} {board.queued(row.name):>7}  "),
            Cell(pad(times, 14), "dim"),
        )

    def _sheet(self, one: Provider, now: float, cells: int) -> list[Line]:
        head = f"{RULE * 2} {one.row.name} ({one.row.engine}) "
        lines = [Line((Cell(head + RULE * max(0, cells - width(head)), "dim"),))]
        causes = blocking(one.gate, now)
        for closure in causes:
            until = "until it is resumed: p"
            if closure.source == "config":
                until = "until the configuration changes"
            if closure.until_at is not None:
                until = f"ends {describe_when(closure.until_at, now)}"
            text = f" {pad(closure.cause, 9)} {until}: {closure.reason}"
            lines.append(Line((Cell(cut(text, cells), "yellow"),)))
        if not causes:
            lines.append(Line((Cell(" nothing stops submits"),)))
        counts = f" errors    {one.gate.errors_consecutive} in a row"
        quota = f"quota {one.gate.quota_consecutive} in a row"
        lines.append(Line((Cell(cut(f"{counts}, {quota}", cells)),)))
        lines.append(Line((Cell(f" {'stage':<10} {'p50 s':>8} {'p95 s':>8} {'n':>6}", "dim"),)))
        for stage in STAGES:
            seen = one.row.latency.get(stage)
            if seen is not None and seen.p50_s is not None and seen.p95_s is not None:
                text = f" {stage:<10} {seen.p50_s:>8.1f} {seen.p95_s:>8.1f} {seen.n:>6}"
                lines.append(Line((Cell(text),)))
        return lines

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
            self.monitor.request(Resume(providers=(name,)), f"resumed {name}")
            return
        from tui.monitor.orders import Question  # noqa: PLC0415  when it is first needed
        from tui.monitor.screens.confirm import Confirm  # noqa: PLC0415  likewise

        lines = (Cell("No new submits; what was submitted is polled and fetched."),)
        asked = Question(f"pause {name}?", f"Pause {name}", lines)

        def answered(agreed: bool | None) -> None:
            if agreed:
                self.monitor.request(Pause(providers=(name,)), f"paused {name}")

        self.app.push_screen(Confirm(asked), answered)

    def action_copy_id(self) -> None:
        """Copy its name."""
        one = self.under_cursor()
        if one is not None:
            self.app.copy_to_clipboard(one.row.name)
            self.monitor.say(f"copied {one.row.name}")
