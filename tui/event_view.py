"""Events as text: one line each, for `genq events` and the monitor's stream."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from daemon.core.job import Failure
from tui.clock import Clock, short_stamp
from tui.text import Style, clean, counted, cut, pad, paint
from tui.wording import failure_shown, job_called

TYPE_CELLS = 16
JOB_CELLS = 10
PROVIDER_CELLS = 10
_STYLES: dict[str, Style] = {
    "succeeded": "green",
    "rescued": "green",
    "failed": "red",
    "doubted": "red",
    "held": "yellow",
    "submit_failed": "yellow",
    "poll_failed": "yellow",
    "download_failed": "yellow",
    "provider_paused": "yellow",
    "config_refused": "red",
}


def event_line(
    event: Mapping[str, Any], *, clock: Clock, cells: int | None, colour: bool = False
) -> str:
    """When, which, what, whose, and why, cleaned; cut to `cells` if there is a limit."""
    kind = clean(str(event["type"]))
    job = event.get("job")
    style = _STYLES.get(kind, "")
    head = f"{short_stamp(clock, event['at'])} {event['seq']:>6}  "
    whose = [
        pad("" if job is None else f"job {job}", JOB_CELLS),
        pad(clean(str(event.get("provider", ""))), PROVIDER_CELLS),
    ]
    what = clean("; ".join(part for part in _story(event) if part))
    tail = "  ".join([*whose, what]).rstrip()
    if cells is not None:
        tail = cut(tail, cells - len(head) - TYPE_CELLS - 2)
    return f"{head}{paint(pad(kind, TYPE_CELLS), style, colour=colour)}  {tail}".rstrip()


def _story(event: Mapping[str, Any]) -> Iterator[str]:
    """What an event tells beside its type; not cleaned yet."""
    if event["type"] == "added" and isinstance(event.get("value"), dict):
        added = event["value"]
        yield job_called(added["id"], added["name"])
        yield str(added["prompt"])[:200]
    if event["type"] in ("held", "provider_paused", "resolved"):
        yield str(event.get("reason") or "")
    if event.get("error"):
        yield failure_shown(msgspec.convert(event["error"], Failure))
    if event.get("errors_consecutive", 0) > 1:
        yield f"{event['errors_consecutive']} errors in a row"
    if event.get("progress") is not None:
        yield f"{event['progress']:.0%}"
    if outputs := event.get("outputs"):
        more = f" and {counted(len(outputs) - 1, 'file')} more" if len(outputs) > 1 else ""
        yield f"{outputs[0]['path']}{more}"
    if isinstance(event.get("gate"), dict):
        for cause in event["gate"].get("causes", ()):
            yield f"{cause['cause']}: {cause['reason']}"
    yield str(event.get("detail") or "")
    if event.get("by") is not None and event["type"] != "added":
        yield f"by {event['by']}"
