"""What every screen has: the top line, pauses under it, the keys at the bottom."""

import asyncio
import time
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen
from textual.timer import Timer

from tui.monitor.actions import CHANGING, EVERYWHERE, Action, available, bindings
from tui.monitor.gates import pause_line
from tui.monitor.painting import TightCompositor
from tui.monitor.symbols import PAUSED
from tui.monitor.topline import count_cells, link_cell
from tui.monitor.widgets.entry import Entry
from tui.monitor.widgets.grid import Grid
from tui.monitor.widgets.lines import CELLS_MIN, LINES_MIN, Fixed, Line, Lines, cramped
from tui.text import Cell, counted, cut, width, wrap

if TYPE_CHECKING:
    from tui.monitor.app import Monitor

PAUSES_SHOWN_MAX = 2
SAID_LINES_MAX = 3
SETTLED_S = 0.2
"""After the last of many resizes; some terminals lose characters meanwhile."""
ALWAYS_SHOWN = frozenset({"help", "leave"})
"""Who knows these two finds all others."""


class Frame(Screen[None]):
    """A screen of the monitor. `PLACES` says which actions of the table it has."""

    PLACES: ClassVar[tuple[str, ...]] = ()
    TRAIL: ClassVar[str] = ""
    AUTO_FOCUS = ""
    _settling: Timer | None = None
    BINDINGS: ClassVar[list[BindingType]] = bindings(EVERYWHERE)

    def __init__(self) -> None:
        super().__init__()
        self._compositor = TightCompositor()
        self._keys_of: tuple[Cell | None, int, bool] | None = None

    def compose(self) -> ComposeResult:
        """The frame around what a screen shows."""
        yield Fixed(id="top")
        yield Fixed(id="pauses")
        yield from self.body()
        yield Fixed(id="foot")
        yield Fixed(id="keys")

    def body(self) -> ComposeResult:
        """What the screen itself shows."""
        yield from ()

    @property
    def monitor(self) -> "Monitor":
        """The app, by its own type."""
        return cast("Monitor", self.app)

    def draw(self, now: float) -> None:
        """Have repainted what changed."""
        if cramped(self.size):
            self.add_class("too-small")
            told = f" too small, it needs {CELLS_MIN}x{LINES_MIN}"
            self.fixed("top").show([Line((Cell(told),))])
            return
        if self.has_class("too-small"):
            self.remove_class("too-small")
            self.call_after_refresh(self._focus_again)
        self.fixed("top").show([Line(self.top_cells(now), "bar")])
        self._draw_pauses(now)
        self.draw_body(now)
        self.fixed("foot").show([Line(self.foot_cells(now), "head")])
        self._draw_keys()

    def _focus_again(self) -> None:
        """What was hidden has lost the keys."""
        typed = [entry for entry in self.query(Entry) if entry.display]
        for one in [*typed, *self.query(Grid)][:1]:
            self.set_focus(one)

    def draw_body(self, now: float) -> None:
        """Have repainted what changed of the screen's own."""

    def foot_cells(self, now: float) -> tuple[Cell, ...]:  # noqa: ARG002  subclasses tell the time
        """The line above the keys."""
        return ()

    def fixed(self, name: str) -> Fixed:
        """One of the blocks of lines, by its id."""
        return self.query_one(f"#{name}", Fixed)

    def on_screen_resume(self) -> None:
        """What changed while another screen was shown is drawn."""
        self.monitor.wake()

    def on_resize(self) -> None:
        """Everything may have another place; once it settles, nothing of the old one is left."""
        self.monitor.wake()
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(SETTLED_S, self.action_redraw)

    def on_key(self, event: events.Key) -> None:
        """A key that does nothing now says why."""
        for one in self.actions():
            if event.key in one.keys.split(",") and self.check_action(one.id, ()) is None:
                self.monitor.say(f"{one.title}: not now, what is shown is not live", "yellow")

    # ---- what can be done everywhere ----

    def action_jobs(self) -> None:
        """Show the list of jobs."""
        self.monitor.show_jobs()

    def action_providers(self) -> None:
        """Show the providers."""
        self.app.switch_mode("providers")

    def action_events(self) -> None:
        """Show the events."""
        self.app.switch_mode("events")

    def action_failures(self) -> None:
        """Show what went wrong, by kind."""
        self.app.switch_mode("failures")

    def action_back(self) -> None:
        """Back to the jobs."""
        self.app.switch_mode("jobs")

    def action_leave(self) -> None:
        """Quit; the daemon goes on."""
        self.monitor.action_leave()

    def action_freeze(self) -> None:
        """Freeze the view, or let it go on."""
        self.monitor.freeze()

    def action_mouse(self) -> None:
        """Have the mouse reported, or leave it to the terminal."""
        self.monitor.toggle_mouse()

    def action_redraw(self) -> None:
        """Draw everything anew."""
        for lines in self.query(Lines):
            lines.repaint()
        self.refresh(layout=True)
        self.monitor.wake()

    def action_help(self) -> None:
        """Tell the keys of this screen."""
        from tui.monitor.screens.help import help_sheet  # noqa: PLC0415  when it is first opened
        from tui.monitor.screens.reading import Reading  # noqa: PLC0415  likewise

        usable = [one for one in self.actions() if self.check_action(one.id, ()) is not False]
        self.app.push_screen(Reading(lambda page: help_sheet(usable, page)))

    def action_palette(self) -> None:
        """Find an action by its words."""
        from tui.monitor.screens.palette import Palette  # noqa: PLC0415  when it is first opened

        usable = [one for one in self.actions() if self.check_action(one.id, ())]

        async def chosen(name: str | None) -> None:
            if name is not None:
                here = self if hasattr(self, f"action_{name}") else self.query_one(Grid)
                await here.run_action(name)

        self.app.push_screen(Palette(usable), chosen)

    def seen(self) -> list[dict[str, Any]]:
        """What is listed, for a file."""
        return []

    def action_save(self) -> None:
        """Save what is listed."""
        rows = self.seen()
        if not rows:
            self.monitor.say("nothing is listed here that could be saved", "yellow")
            return
        from tui.monitor.screens.naming import Naming  # noqa: PLC0415  when it is first opened

        def named(path: str | None) -> None:
            if path is not None:
                self.run_worker(self._save(rows, path), exit_on_error=True)

        self.app.push_screen(Naming(len(rows), f"genq-{self.TRAIL or 'jobs'}.ndjson"), named)

    async def _save(self, rows: list[dict[str, Any]], name: str) -> None:
        from tui.monitor.saving import save  # noqa: PLC0415  when it is first needed

        try:
            path = await asyncio.to_thread(save, rows, name)
        except FileExistsError as error:
            self.monitor.say(f"name another file: there is already {error.filename}", "yellow")
        except OSError as error:
            self.monitor.say(f"not saved, {error.strerror}: {error.filename or name}", "red")
        else:
            self.monitor.say(f"saved {counted(len(rows), 'row')} to {path}", "green")

    def actions(self) -> list[Action]:
        """What can be done here, in the order of the table."""
        return available(*self.PLACES, EVERYWHERE)

    # ---- the top ----

    def top_cells(self, now: float) -> tuple[Cell, ...]:
        """Connection, where we are, what operators act on, the time."""
        app = self.monitor
        missed = None
        if app.frozen is not None:
            missed = app.board.entries_total - app.frozen_total
        left = [Cell(" genq  ", "bold"), link_cell(app.feed, now, missed=missed)]
        if trail := self.trail():
            left.append(Cell(f"  / {trail}"))
        clock = time.strftime("%H:%M", app.clock.local(now)) + " "
        room = self.size.width - sum(width(cell.text) for cell in left) - len(clock) - 2
        counts: list[Cell] = []
        for cell in count_cells(app.board):
            if width(cell.text) + 2 > room:
                break
            room -= width(cell.text) + 2
            counts += [Cell(f"  {cell.text}", cell.style)]
        return (*left, Cell(" " * max(1, room + 1)), *counts, Cell(f"  {clock}"[1:], "dim"))

    def trail(self) -> str:
        """Where we are, as a path from the jobs."""
        return self.TRAIL

    def _draw_pauses(self, now: float) -> None:
        shut = self.monitor.board.shut(now)
        lines = [
            Line((Cell(cut(f" {PAUSED} {pause_line(one, now)}", self.size.width), "yellow"),))
            for one in shut[:PAUSES_SHOWN_MAX]
        ]
        if len(shut) > PAUSES_SHOWN_MAX:
            more = f"   and {len(shut) - PAUSES_SHOWN_MAX + 1} more providers: 2"
            lines[-1] = Line((Cell(f" {PAUSED}{more}", "yellow"),))
        bar = self.fixed("pauses")
        if bar.styles.height is None or bar.styles.height.value != len(lines):
            bar.styles.height = len(lines)
            bar.display = bool(lines)
        bar.show(lines)

    # ---- the bottom ----

    def _draw_keys(self) -> None:
        """What was just said, else the keys that matter here."""
        app = self.monitor
        said = app.said()
        wanted = (said, self.size.width, app.feed.live)
        if wanted == self._keys_of:
            return
        self._keys_of, keys = wanted, self.fixed("keys")
        lines = [self._keys()]
        if said is not None:
            told = wrap(said.text, self.size.width - 2)[:SAID_LINES_MAX]
            lines = [Line((Cell(f" {line}", said.style),), "warning") for line in told]
        keys.styles.height = len(lines)
        keys.show(lines)

    def _keys(self) -> Line:
        """As many as there is room for."""
        actions = [one for one in self.actions() if one.brief]
        actions = [one for one in actions if self.check_action(one.id, ()) is not False]
        needed = {one.id: len(one.shown) + len(one.brief) + 3 for one in actions}
        always = [one for one in actions if one.id in ALWAYS_SHOWN]
        room = self.size.width - 1 - sum(needed[one.id] for one in always)
        cells: list[Cell] = []
        for action in [*(one for one in actions if one not in always), *always]:
            if action not in always:
                if needed[action.id] > room:
                    continue
                room -= needed[action.id]
            usable = self.check_action(action.id, ()) is not None
            cells.append(Cell(f" {action.shown}", "cyan" if usable else "dim"))
            cells.append(Cell(f" {action.brief} ", "dim"))
        return Line(tuple(cells))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """False: not here (read-only). None: not now (nobody to ask, or too small to see it)."""
        allowed = self.monitor.allows(action)
        if allowed and action in CHANGING and cramped(self.size):
            return None
        return allowed if allowed is not True else super().check_action(action, parameters)
