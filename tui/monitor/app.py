"""The monitor itself: one board, one feed, a few screens, and a flush a frame.

Nothing of the data goes through Textual's messages or reactives: the feed changes the board and
wakes the app, and the app has the screen redraw what changed, once a frame at most.
"""

import asyncio
import gc
import os
import signal
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.timer import Timer

from daemon.core.job import Job
from daemon.core.query import Query
from tui.clock import Clock
from tui.monitor.actions import CHANGING
from tui.monitor.board import Board
from tui.monitor.driver import BACKLOG_MAX, TERMINAL_GONE, GuardedDriver, terminal_is_gone
from tui.monitor.errands import Errands
from tui.monitor.feed import Feed
from tui.monitor.guard import ControlGuard, NoColours, PlainSigns
from tui.monitor.screens.dialog import Dialog
from tui.monitor.screens.frame import Frame
from tui.monitor.screens.jobs import JobsScreen
from tui.monitor.view import Sort, View
from tui.monitor.widgets.entry import Entry
from tui.text import Cell, Style, clean

FRAME_S = 0.033
FRAME_SLOW_S = 0.25
"""Over a slow line four frames a second save two thirds of the bytes."""
BEHIND_S = 0.05
"""So long a terminal that is behind gets to catch up before the next look."""
TICK_S = 1.0
STEP_S_MAX = 0.008
"""So long the list is built anew before others get a turn of the loop."""
SAID_S = 6.0


def _providers() -> Frame:
    from tui.monitor.screens.providers import ProvidersScreen  # noqa: PLC0415  when first shown

    return ProvidersScreen()


def _events() -> Frame:
    from tui.monitor.screens.events import EventsScreen  # noqa: PLC0415  when first shown

    return EventsScreen()


def _failures() -> Frame:
    from tui.monitor.screens.failures import FailuresScreen  # noqa: PLC0415  when first shown

    return FailuresScreen()


class Monitor(App[int]):
    """The monitor of the daemon whose socket is at one of `paths`. It reads only, if told so;
    `plain` has only ASCII signs."""

    CSS_PATH = "app.tcss"
    TITLE = "genq"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]  # noqa: RUF012  as Textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-short"), (36, "-tall")]  # noqa: RUF012  likewise
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c,ctrl+q", "leave", "quit", show=False, priority=True)
    ]
    MODES: ClassVar[dict[str, Any]] = {
        "jobs": JobsScreen,
        "providers": _providers,
        "events": _events,
        "failures": _failures,
    }

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        clock: Clock,
        read_only: bool = False,
        slow_link: bool = False,
        plain: bool = False,
    ) -> None:
        super().__init__(driver_class=GuardedDriver)
        self.clock = clock
        self.read_only = read_only
        self.board = Board()
        self.view = View(self.board)
        self.feed = Feed(paths, self.board, now=clock.now, changed=self.wake)
        self.errands = Errands(
            self.feed,
            unmark=self.view.unmark,
            spawn=self._spawn,
            say=self.say,
            changed=self.wake,
        )
        self.frozen: dict[int, Job] | None = None
        self.frozen_total = 0
        self.rearranged = False
        self._frame_s = FRAME_SLOW_S if slow_link else FRAME_S
        self._filters_of_ours: list[LineFilter] = [ControlGuard()]
        if plain:
            self._filters_of_ours.append(PlainSigns())
        if self.no_color:
            self._filters_of_ours.append(NoColours())
        self._said: tuple[float, Cell] | None = None
        self._flush_due: asyncio.TimerHandle | None = None
        self._flushed_at = 0.0
        self._nudge: Timer | None = None
        self._nudge_at = 0.0
        self._arranging: Iterator[None] | None = None
        self._snapshots = 0

    # ---- life ----

    def on_mount(self) -> None:
        """Show what there is, and begin to listen."""
        self.switch_mode("jobs")
        self._spawn(self.feed.run())
        self.set_interval(TICK_S, self._tick)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.exit, 128 + number)
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)  # a full collection is a frame of 50 ms
        gc.enable()

    def on_unmount(self) -> None:
        """Leave the signals to whoever had them."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().remove_signal_handler(number)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Work beside the screens; it ends with them, and what goes wrong in it ends them."""
        self.run_worker(work, exit_on_error=True)

    def _tick(self) -> None:
        """Once a second: ages, countdowns, and whether anybody is still there."""
        driver = self._driver
        if isinstance(driver, GuardedDriver) and terminal_is_gone(driver.fileno):
            os._exit(TERMINAL_GONE)  # a thread that reads a terminal which is gone would spin
        self.wake()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's, and the guard before them: nothing passes it."""
        if self.no_color:
            return self._filters_of_ours  # Textual's would put greys in the place of colours
        return [*self._filters_of_ours, *super().get_line_filters()]

    def on_key(self, event: events.Key) -> None:
        """A key that was on its way elsewhere when something to type into opened is typed there.

        Keys that come in one burst are all sent to what has the focus before the first has acted.
        """
        target = (self.focused or self.screen) if self.screen_stack else None  # else it is leaving
        if isinstance(target, Entry | Dialog) and target.takes(event):
            event.prevent_default()

    def action_leave(self) -> None:
        """Quit; the daemon goes on."""
        self.exit(0)

    # ---- drawing ----

    def wake(self) -> None:
        """There is news: flush at the next frame, at once if the last one is long ago."""
        if self._flush_due is not None:
            return
        loop = asyncio.get_running_loop()
        wait_s = max(0.0, self._flushed_at + self._frame_s - loop.time())
        self._flush_due = loop.call_later(wait_s, self._due)

    def wake_in(self, wait_s: float) -> None:
        """Flush in so many seconds at the latest: something is due then."""
        due_at = self.clock.monotonic() + wait_s
        if self._nudge is not None:
            if self._nudge_at <= due_at:
                return
            self._nudge.stop()
        self._nudge_at, self._nudge = due_at, self.set_timer(wait_s, self._nudged)

    def _nudged(self) -> None:
        self._nudge = None
        self.wake()

    def _due(self) -> None:
        self._flush_due = None
        if self.backlog > BACKLOG_MAX:
            loop = asyncio.get_running_loop()
            self._flush_due = loop.call_later(BEHIND_S, self._due)
            return
        self.call_next(self.flush)

    @property
    def backlog(self) -> int:
        """How many pieces the terminal has not taken yet."""
        return self._driver.backlog if isinstance(self._driver, GuardedDriver) else 0

    def flush(self) -> None:
        """Have the screen that is shown redraw what changed."""
        self._flushed_at = asyncio.get_running_loop().time()
        now = self.clock.now()
        if self.board.snapshots != self._snapshots and self.frozen is None:
            self._snapshots = self.board.snapshots
            gc.freeze()  # what a snapshot brought stays; no collection need look at it again
            self.arrange(self.view.sort, self.view.query)
        for screen in reversed(self.screen_stack):
            if isinstance(screen, Dialog) and screen.is_mounted:
                screen.look_again()
            if isinstance(screen, Frame):
                if screen.is_mounted:  # else it has nothing to draw on; its first layout wakes
                    screen.draw(now)
                break

    def arrange(self, sort: Sort, query: Query) -> None:
        """Build the list of jobs anew, in steps that let keys through."""
        self._arranging = self.view.arrange(sort, query, self.clock.now())
        self._arrange_on()

    @property
    def arranging(self) -> bool:
        """Whether the list is being built: changes wait for it."""
        return self._arranging is not None

    def _arrange_on(self) -> None:
        if self._arranging is None:
            return
        loop = asyncio.get_running_loop()
        until = loop.time() + STEP_S_MAX
        for _ in self._arranging:
            if loop.time() > until:
                loop.call_soon(self._arrange_on)
                return
        self._arranging = None
        self.rearranged = True
        self.wake()

    # ---- what is said ----

    def say(self, text: str, style: Style = "") -> None:
        """Show a line at the bottom for a few seconds; foreign text in it is cleaned."""
        self._said = (self.clock.monotonic() + SAID_S, Cell(clean(text), style))
        self.wake()

    def said(self) -> Cell | None:
        """What was said last, as long as it is fresh."""
        if self._said is not None and self.clock.monotonic() > self._said[0]:
            self._said = None
        return None if self._said is None else self._said[1]

    def hush(self) -> None:
        """Take back what was said: it is settled."""
        self._said = None

    # ---- what can be done ----

    def allows(self, action: str) -> bool | None:
        """True: go on. None: not now, nobody is there to ask. False: this monitor only reads."""
        if action not in CHANGING:
            return True
        if self.read_only:
            return False
        return True if self.feed.live else None

    # ---- what screens ask of the app ----

    def show_jobs(self, query: str | None = None) -> None:
        """Go to the list of jobs, narrowed to `query` if there is one."""
        self.switch_mode("jobs")
        while len(self.screen_stack) > 1:
            self.pop_screen()
        if query is not None and isinstance(self.screen, JobsScreen):
            self.screen.narrow(query)

    def freeze(self) -> None:
        """Let nothing move any more, or let it go on."""
        if self.frozen is None:
            self.frozen, self.frozen_total = dict(self.board.jobs), self.board.entries_total
        else:
            self.frozen = None
        self.view.frozen = self.frozen
        self.wake()

    def toggle_mouse(self) -> None:
        """Have the mouse reported, or leave it to the terminal's own selection."""
        driver = self._driver
        if isinstance(driver, GuardedDriver):
            driver.report_mouse(not driver.mouse)
            said = "on" if driver.mouse else "off: the terminal selects text itself"
            self.say(f"mouse {said}")
