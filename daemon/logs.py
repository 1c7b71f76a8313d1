"""The log: JSON lines in `<log_dir>/genqd.jsonl`, rotated; warnings also on stderr (the journal).

Lines are written by a thread of the log's own, so that a slow disk never holds up the loop.
"""

import logging
import logging.handlers
import queue
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from daemon.redaction import Redactor

LOG_FILE = "genqd.jsonl"
LOG_BYTES_MAX = 16 * 1024 * 1024
LOG_FILES_MAX = 5
QUEUE_LINES_MAX = 10_000
"""Lines that wait for the disk; more are dropped rather than waited for."""
LEVELS = ("debug", "info", "warning", "error")


class _BoundedQueueHandler(logging.handlers.QueueHandler):
    """Puts lines into a bounded queue; a full one drops the line instead of blocking."""

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            return


def start(
    log_dir: Path, *, level: str, redactor: Redactor, now: Callable[[], float]
) -> Callable[[], None]:
    """Send structlog to the files of `log_dir`, from `level` up; returns what ends the log.

    Raises OSError if the folder can't be written.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    file = logging.handlers.RotatingFileHandler(
        log_dir / LOG_FILE, maxBytes=LOG_BYTES_MAX, backupCount=LOG_FILES_MAX, encoding="utf-8"
    )
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.WARNING)
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(QUEUE_LINES_MAX)
    listener = logging.handlers.QueueListener(waiting, file, console, respect_handler_level=True)
    root = logging.getLogger("genqd")
    root.handlers[:] = [_BoundedQueueHandler(waiting)]
    root.setLevel(number)
    root.propagate = False

    def stamp(_logger: Any, _method: str, event: Any) -> Any:
        event["at"] = round(now(), 6)
        return event

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            stamp,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            redactor,
            structlog.processors.JSONRenderer(ensure_ascii=True, default=str),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_args: logging.getLogger("genqd"),
        cache_logger_on_first_use=False,
    )
    listener.start()

    def stop() -> None:
        listener.stop()
        file.close()
        root.handlers[:] = []
        structlog.reset_defaults()

    return stop
