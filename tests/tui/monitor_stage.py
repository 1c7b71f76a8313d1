"""What the monitor's tests share: the app on a fake daemon, and ways to wait for what is seen."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.fakes.socket_daemon import BOOT_AT, SocketDaemon, provider
from tui.monitor.app import Monitor
from tui.monitor.screens.frame import Frame
from tui.monitor.widgets.lines import Lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from textual.pilot import Pilot

    from daemon.core.job import Job

SEEN_S_MAX = 20.0


class StageClock:
    """Wall time is what a test sets; the monitor's own loop keeps real time."""

    def __init__(self, now: float = BOOT_AT) -> None:
        self.wall = now

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def sleep(self, seconds: float) -> None:
        raise AssertionError("the monitor blocks nothing")

    def local(self, at: float) -> time.struct_time:
        return time.gmtime(at)


class Stage:
    """A monitor that runs, and its daemon."""

    def __init__(self, app: Monitor, pilot: Pilot[int], daemon: SocketDaemon) -> None:
        self.app = app
        self.pilot = pilot
        self.daemon = daemon

    @property
    def clock(self) -> StageClock:
        clock = self.app.clock
        assert isinstance(clock, StageClock)
        return clock

    def text(self) -> str:
        """What is on the screen, line by line, as the widgets would paint it now."""
        blocks = []
        for screen in self.app.screen_stack:
            for block in screen.query(Lines):
                if block.display and all(one.display for one in block.ancestors):
                    strips = [block.render_line(y) for y in range(block.size.height)]
                    blocks += [strip.text.rstrip() for strip in strips]
        return "\n".join(blocks)

    async def until(self, true: Callable[[], object], what: str) -> None:
        """Wait until `true`; fail with what is on the screen."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + SEEN_S_MAX
        while not true():
            assert loop.time() < give_up_at, f"not {what}:\n{self.text()}"
            await self.pilot.pause(0.01)

    async def sees(self, text: str) -> None:
        """Wait until `text` is on the screen."""
        await self.until(lambda: text in self.text(), f"seen: {text!r}")

    async def misses(self, text: str) -> None:
        """Wait until `text` is off the screen."""
        await self.until(lambda: text not in self.text(), f"gone: {text!r}")

    async def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        await self.pilot.press(*keys)

    async def answer(self, *keys: str) -> None:
        """Press keys once the dialog listens."""
        await self.pilot.pause(0.32)
        await self.pilot.press(*keys)

    def rows(self) -> list[int]:
        """The ids that the table lists, in order."""
        return list(self.app.view.ids)


@asynccontextmanager
async def stage(
    folder: Path,
    jobs: list[Job],
    *,
    providers: list[dict[str, Any]] | None = None,
    size: tuple[int, int] = (80, 24),
    happened: Callable[[SocketDaemon], object] = lambda _: None,
    **options: Any,
) -> AsyncIterator[Stage]:
    """A monitor that shows these jobs; `happened` is what the daemon did before it came."""
    daemon = SocketDaemon(folder / "s", jobs, providers or [provider("veo"), provider("coze")])
    happened(daemon)
    await daemon.start()
    app = Monitor([folder / "s"], clock=StageClock(), **options)
    async with app.run_test(size=size) as pilot:
        on = Stage(app, pilot, daemon)
        await on.until(lambda: app.feed.live and isinstance(app.screen, Frame), "live")
        await on.until(lambda: len(app.view.ids) == len(jobs), "all jobs listed")
        yield on
        await daemon.stop()
