"""What every screen has: the top line, pauses under it, the keys at the bottom."""

import time
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import Screen

from tui.monitor.actions import EVERYWHERE, available, bindings
from tui.monitor.gates import pause_line
from tui.monitor.widgets.lines import Fixed, Line
from tui.text import Cell, cut, width

if TYPE_CHECKING:
    from tui.monitor.app import Monitor

PAUSES_SHOWN_MAX = 2
CELLS_MIN, LINES_MIN = 60, 12


class Frame(Screen[None]):
    """A screen of the monitor. `PLACES` says which actions of the table it has."""

    PLACES: ClassVar[tuple[str, ...]] = ()
    TRAIL: ClassVar[str] = ""
    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = bindings(EVERYWHERE)

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
        if self.size.width < CELLS_MIN or self.size.height < LINES_MIN:
            self.add_class("too-small")
            self.fixed("top").show([Line((Cell(" too small: make the terminal 60x12 or more"),))])
            return
        self.remove_class("too-small")
        self.fixed("top").show([Line(self.top_cells(now), "bar")])
        self._draw_pauses(now)
        self.draw_body(now)
        self.fixed("foot").show([Line(self.foot_cells(now), "head")])
        self.fixed("keys").show([self._keys()])

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
        """Everything may have another place."""
        self.monitor.wake()

    # ---- the top ----

    def top_cells(self, now: float) -> tuple[Cell, ...]:
        """Connection, where we are, what operators act on, the time."""
        link = self.monitor.link_cell(now)
        left = [Cell(" genq  ", "bold"), link]
        if self.TRAIL:
            left.append(
                Cell(
                    f"  › {self.trail()}"
                    if not self.monitor.symbols.ascii
                    else f"  > {self.trail()}"
                )
            )
        clock = time.strftime("%H:%M", self.monitor.clock.local(now)) + " "
        room = self.size.width - sum(width(cell.text) for cell in left) - len(clock) - 2
        counts: list[Cell] = []
        for cell in self.monitor.count_cells():
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
        sign = self.monitor.symbols.pause
        lines = [
            Line((Cell(cut(f" {sign} {pause_line(one, now)}", self.size.width), "yellow"),))
            for one in shut[:PAUSES_SHOWN_MAX]
        ]
        if len(shut) > PAUSES_SHOWN_MAX:
            more = f"   and {len(shut) - PAUSES_SHOWN_MAX + 1} more providers: 2"
            lines[-1] = Line((Cell(f" {sign}{more}", "yellow"),))
        bar = self.fixed("pauses")
        if bar.styles.height is None or bar.styles.height.value != len(lines):
            bar.styles.height = len(lines)
            bar.display = bool(lines)
        bar.show(lines)

    # ---- the bottom ----

    def _keys(self) -> Line:
        """What was just said, else the keys that matter here, as many as there is room for."""
        said = self.monitor.said()
        if said is not None:
            return Line((Cell(cut(f" {said.text}", self.size.width), said.style),), "warning")
        cells: list[Cell] = []
        room = self.size.width - 1
        for action in available(*self.PLACES, EVERYWHERE):
            if not action.brief or self.check_action(action.id, ()) is False:
                continue
            needed = len(action.shown) + len(action.brief) + 3
            if needed > room:
                continue
            room -= needed
            usable = self.check_action(action.id, ()) is not None
            cells += [
                Cell(f" {action.shown}", "cyan" if usable else "dim"),
                Cell(f" {action.brief} ", "dim"),
            ]
        return Line(tuple(cells))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """False: not here (read-only). None: not now (no live connection)."""
        allowed = self.monitor.allows(action)
        return allowed if allowed is not True else super().check_action(action, parameters)
