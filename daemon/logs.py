"""The log: JSON lines in `<log_dir>/genqd.jsonl`, rotated; warnings also on stderr (the journal).

Lines are written by a thread of the log's own, so that a slow disk never holds up the loop, and
what came meanwhile is written at once, so that many lines cost little.
"""

import logging
import queue
import sys
import threading
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from typing import Any

import structlog

from daemon.redaction import Redactor

LOG_FILE = "genqd.jsonl"
LOG_BYTES_MAX = 16 * 1024 * 1024
LOG_FILES_MAX = 5
"""Older files that are kept beside it: genqd.jsonl.1 is the youngest."""
QUEUE_LINES_MAX = 10_000
"""Lines that wait for the disk; more are dropped, and counted, rather than waited for."""
DROPPED = '{"event": "lines_dropped", "level": "warning", "lines": %d}'
LEVELS = ("debug", "info", "warning", "error")


class Lines:
    """Finished lines on their way to the file at `path`; the part of a logger that structlog calls.

    Raises OSError if the file can't be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._waiting: queue.SimpleQueue[tuple[int, str] | None] = queue.SimpleQueue()
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and end."""
        self._waiting.put(None)
        self._thread.join()
        self._file.close()

    def _put(self, level: int, line: str) -> None:
        if self._waiting.qsize() >= QUEUE_LINES_MAX:
            self._dropped += 1
            return
        if self._dropped:
            missing, self._dropped = self._dropped, 0
            self._waiting.put((logging.WARNING, DROPPED % missing))
        self._waiting.put((level, line))

    debug = partialmethod(_put, logging.DEBUG)
    info = partialmethod(_put, logging.INFO)
    warning = partialmethod(_put, logging.WARNING)
    error = partialmethod(_put, logging.ERROR)
    critical = partialmethod(_put, logging.CRITICAL)

    # ---- on the thread ----

    def _run(self) -> None:
        more = True
        while more:
            taken = [self._waiting.get()]
            while not self._waiting.empty():
                taken.append(self._waiting.get())
            lines = [one for one in taken if one is not None]
            more = len(lines) == len(taken)
            try:
                self._write(lines)
            except OSError as error:  # a full disk: the daemon says so by itself, and lives
                sys.stderr.write(f"{self._path}: {error.strerror}\n")

    def _write(self, lines: list[tuple[int, str]]) -> None:
        self._file.write(b"".join([line.encode() + b"\n" for _, line in lines]))
        if self._file.tell() > LOG_BYTES_MAX:
            self._rotate()
        for level, line in lines:
            if level >= logging.WARNING:
                sys.stderr.write(line + "\n")

    def _rotate(self) -> None:
        """Begin a new file. Where none can be opened the old one goes on, under its new name."""
        if self._path.exists():
            for age in range(LOG_FILES_MAX, 0, -1):
                younger = self._aged(age - 1)
                if younger.exists():
                    younger.replace(self._aged(age))
        fresh = self._path.open("ab", buffering=0)
        self._file.close()
        self._file = fresh

    def _aged(self, age: int) -> Path:
        return self._path.with_name(f"{LOG_FILE}.{age}") if age else self._path


def start(
    log_dir: Path, *, level: str, redactor: Redactor, now: Callable[[], float]
) -> Callable[[], None]:
    """Send structlog to the files of `log_dir`, from `level` up; returns what ends the log.

    Raises OSError if the folder can't be written.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    lines = Lines(log_dir / LOG_FILE)

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
        logger_factory=lambda *_args: lines,
        cache_logger_on_first_use=False,
    )

    def stop() -> None:
        lines.close()
        structlog.reset_defaults()

    return stop
