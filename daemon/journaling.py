"""Events in the log: what an administrator looks for afterwards. The stream itself has them all."""

from collections.abc import Sequence
from typing import Any

import structlog
from msgspec import UNSET

from daemon.core.events import Event
from daemon.store.port import Line

log = structlog.get_logger()
WARNINGS = frozenset(
    {"failed", "doubted", "held", "provider_paused", "config_refused", "submit_failed"}
)
QUIET = frozenset({"polled", "prepared", "provider_changed", "added", "started", "submitting"})
FIELDS = ("seq", "job", "provider", "state", "attempt", "by", "reason", "remote_id", "detail")


def log_events(lines: Sequence[Line]) -> None:
    """A log line for each committed event: warnings for trouble, debug for the small steps."""
    for line in lines:
        event = line.event
        level = "warning" if event.type in WARNINGS else "info"
        if event.type in QUIET:
            level = "debug"
        getattr(log, level)(event.type, **_fields(event))


def _fields(event: Event) -> dict[str, Any]:
    found = {
        name: value for name in FIELDS if (value := getattr(event, name)) is not UNSET and value
    }
    if event.error is not UNSET and event.error is not None:
        error = event.error
        found |= {"phase": error.phase, "kind": error.kind, "http": error.http, "rule": error.rule}
        found["message"] = error.message[:300]
    return found
