"""Pausing a provider: for good, or until a time."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from daemon.core.times import describe_when, parse_time
from tui.clock import Clock
from tui.monitor.orders import Question
from tui.monitor.screens.confirm import Confirm
from tui.monitor.widgets.entry import Entry
from tui.monitor.widgets.lines import Fixed
from tui.text import Cell


class Pausing(Confirm):
    """Closes with whether to pause; `until_at` is the end, None if somebody has to resume it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("u", "until", "until…", show=False)]

    def __init__(self, name: str, clock: Clock) -> None:
        lines = (
            Cell("No new submits; what was submitted is polled and fetched."),
            Cell("It stays so until it is resumed; u: until a time."),
        )
        super().__init__(Question(f"pause {name}?", f"Pause {name}", lines))
        self.until_at: float | None = None
        self.said: str | None = None
        self._clock = clock

    def compose(self) -> ComposeResult:
        """The question, and the place for a time."""
        with Vertical():
            yield Fixed(id="text")
            entry = Entry(" until: ", " +10m, 14:30, 2026-01-31T08:00", id="until")
            entry.display = False
            yield entry

    def action_until(self) -> None:
        """Type the time."""
        self.query_one(Entry).open()

    def on_entry_submitted(self, event: Entry.Submitted) -> None:
        """Pause until then, if it is a time that lies ahead."""
        now = self._clock.now()
        try:
            at = parse_time(event.text.strip(), now=now, utc_offset_s=self._offset_s(now))
        except ValueError as error:
            self._refuse(str(error))
            return
        if at <= now:
            self._refuse(f"that was {describe_when(at, now)}")
            return
        self.until_at, self.said = at, event.text.strip()
        self.dismiss(True)

    def _offset_s(self, now: float) -> int:
        return self._clock.local(now).tm_gmtoff or 0

    def _refuse(self, why: str) -> None:
        first, *_ = self.question.lines
        self.question = Question(
            self.question.title, self.question.yes, (first, Cell(why, "yellow"))
        )
        self.say_lines()

    def on_entry_left(self) -> None:
        """Back to the question."""
        self.query_one(Entry).close()
        self.set_focus(None)
