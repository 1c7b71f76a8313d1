"""Events in the log: what an administrator looks for afterwards. The stream itself has them all."""

import logging
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
QUIET = frozenset(
    {
        "added",
        "started",
        "prepared",
        "submitting",
        "submitted",
        "polled",
        "ready",
        "saved",
        "provider_changed",
    }
)
"""The steps of a job that goes well: how it ended is line enough."""
FIELDS = ("seq", "job", "provider", "state", "attempt", "by", "reason", "remote_id", "detail")


def log_events(lines: Sequence[Line]) -> None:
    """A log line for each committed event: warnings for trouble, debug for the small steps."""
    bound = log.bind()  # once: what is bound for each line anew costs as much as the line
    all_steps = bound.is_enabled_for(logging.DEBUG)
    for line in lines:
        event = line.event
        if event.type in WARNINGS:
            bound.warning(event.type, **_fields(event))
        elif event.type not in QUIET:
            bound.info(event.type, **_fields(event))
        elif all_steps:
            bound.debug(event.type, **_fields(event))


def _fields(event: Event) -> dict[str, Any]:
    found = {
        name: value for name in FIELDS if (value := getattr(event, name)) is not UNSET and value
    }
    if event.error is not UNSET and event.error is not None:
        error = event.error
        found |= {"phase": error.phase, "kind": error.kind, "http": error.http, "rule": error.rule}
        found["message"] = error.message[:300]
    return found
