"""The terminal's driver: a terminal that stops reading stalls nobody, one that is gone ends us.

Textual's writer takes 30 pieces and then blocks the event loop; here it takes many more, and the
monitor draws nothing new while it is behind (`backlog`).
"""

import asyncio
import select
from queue import Queue
from typing import IO

from textual.drivers._writer_thread import WriterThread
from textual.drivers.linux_driver import LinuxDriver

QUEUED_WRITES_MAX = 10_000
"""More than is ever drawn while nothing is read: what is drawn waits for the backlog to go."""
CLOSE_S_MAX = 1.0
TERMINAL_GONE = 129
"""The exit code of what SIGHUP ended."""
BACKLOG_MAX = 3
"""With more pieces than these unread, nothing new is drawn."""


class PatientWriter(WriterThread):
    """Textual's writer with room for what is drawn before a stall is noticed."""

    def __init__(self, file: IO[str]) -> None:
        super().__init__(file)
        self._queue: Queue[str | None] = Queue(QUEUED_WRITES_MAX)

    @property
    def backlog(self) -> int:
        """How many pieces wait to be written."""
        return self._queue.qsize()

    def run(self) -> None:
        """Write until told to stop, or until the terminal is gone."""
        try:
            super().run()
        except OSError:
            while self._queue.get() is not None:
                continue  # nobody reads; whoever writes must not wait

    def finish(self, wait_s: float) -> bool:
        """Write what is left, for at most so long; whether it was all taken."""
        self._queue.put_nowait(None)
        self.join(wait_s)
        return not self.is_alive()


class GuardedDriver(LinuxDriver):
    """Textual's driver for Linux with a patient writer, which gets what a turn writes in one."""

    all_taken = True
    _pieces: list[str] | None = None

    @property
    def backlog(self) -> int:
        """How many pieces the terminal has not taken yet; many while it is lent to another."""
        writer = self._writer_thread
        if not isinstance(writer, PatientWriter):
            return 0
        return writer.backlog if writer.is_alive() else QUEUED_WRITES_MAX

    def write(self, data: str) -> None:
        """Write it when this turn of the loop ends: a frame wakes the writer once, not thrice."""
        if self._pieces is not None:
            self._pieces.append(data)
            return
        try:
            asyncio.get_running_loop().call_soon(self.flush)
        except RuntimeError:
            super().write(data)
        else:
            self._pieces = [data]

    def flush(self) -> None:
        """Hand what was written to the writer; while there is none, nothing of it is of use."""
        pieces, self._pieces = self._pieces, None
        if pieces and self._writer_thread is not None and self._writer_thread.is_alive():
            super().write("".join(pieces))

    def start_application_mode(self) -> None:
        """As Textual does it, then with a patient writer in the usual one's place."""
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual's
        usual = self._writer_thread
        if usual is not None and self._file is not None:
            usual.stop()
            self._writer_thread = PatientWriter(self._file)
            self._writer_thread.start()

    def run_input_thread(self) -> None:
        """Read keys until told to stop, or until the terminal is gone: that ends the app."""
        try:
            super().run_input_thread()
        except OSError:
            self._app.call_later(self._app.exit, TERMINAL_GONE)

    def close(self) -> None:
        """Write what is left, if the terminal takes it: `all_taken` says so."""
        self.flush()
        if isinstance(self._writer_thread, PatientWriter):
            GuardedDriver.all_taken = self._writer_thread.finish(CLOSE_S_MAX)

    @property
    def mouse(self) -> bool:
        """Whether the terminal reports the mouse to us."""
        return self._mouse

    def report_mouse(self, wanted: bool) -> None:
        """Have the mouse reported, or leave it to the terminal's own selection."""
        if wanted:
            self._mouse = True
            self._enable_mouse_support()
        else:
            self._disable_mouse_support()
            self._mouse = False


def terminal_is_gone(fileno: int) -> bool:
    """Whether nobody is at the other end any more. Asks the system; takes no input."""
    poll = select.poll()
    poll.register(fileno, select.POLLIN)
    gone = select.POLLHUP | select.POLLERR | select.POLLNVAL
    return any(event & gone for _, event in poll.poll(0))
