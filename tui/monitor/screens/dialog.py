"""What all dialogs share: they stand over a screen, and ignore keys for the first moment."""

import asyncio
from typing import Generic, TypeVar

from textual import events
from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

from tui.monitor.painting import TightCompositor
from tui.monitor.widgets.lines import Fixed, cramped

DEAF_S = 0.3
"""A key that was meant for the table must not answer a question."""

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer], Generic[Answer]):
    """A question over a screen."""

    AUTO_FOCUS = ""
    _answered = False

    def __init__(self) -> None:
        super().__init__()
        self._compositor = TightCompositor()

    def on_mount(self) -> None:
        """Begin to listen a moment later."""
        self.listen_later()
        self.say_lines()

    def listen_later(self) -> None:
        """Ignore keys for a moment: what is asked is new."""
        self._hears_at = asyncio.get_running_loop().time() + DEAF_S

    def look_again(self) -> None:
        """There may be news about what is asked."""

    def say_lines(self) -> None:
        """Show what the dialog says, at the width it got."""

    def on_resize(self) -> None:
        """Likewise, at another width."""
        self.call_after_refresh(self.say_lines)

    def fixed(self, name: str) -> Fixed:
        """One of its blocks of lines."""
        return self.query_one(f"#{name}", Fixed)

    @property
    def deaf(self) -> bool:
        """Whether it is too early for an answer, or nobody sees the question."""
        return self._early or cramped(self.size)

    @property
    def _early(self) -> bool:
        return asyncio.get_running_loop().time() < self._hears_at

    def dismiss(self, result: Answer | None = None) -> AwaitComplete:
        """Close with an answer. Of keys that came in one burst, only the first gives one."""
        if self._answered:
            return AwaitComplete()
        self._answered = True
        return super().dismiss(result)

    def takes(self, event: events.Key) -> bool:  # noqa: ARG002  dialogs say which they take
        """Take a key that means something here beside the bindings; whether it did."""
        return False

    def on_key(self, event: events.Key) -> None:
        """What is taken means nothing else."""
        if self.takes(event):
            event.stop()
            event.prevent_default()

    async def on_event(self, event: events.Event) -> None:
        """Keys and clicks that come too early, or to what isn't seen, are dropped."""
        answers = isinstance(event, events.Key | events.Click | events.MouseDown | events.Paste)
        if answers and self.is_mounted and self.deaf:
            leaves = isinstance(event, events.Key) and event.key == "escape"
            if self._early or not leaves:
                event.stop()
                return
        await super().on_event(event)
