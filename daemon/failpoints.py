"""Named places where genqd can be made to die, so that its promises can be proven.

`GENQ_FAILPOINT=after_intent:3` kills the process at the third passage of that place, with a real
SIGKILL: no `finally` runs, nothing is flushed. `GENQ_FAILPOINT_TRACE=FILE` notes each passage, one
name a line. Without them a passage is the call of a function that does nothing.

Call them through the module (`failpoints.at("before_post")`), as `arm` puts others in their place.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol

VARIABLE = "GENQ_FAILPOINT"
TRACE_VARIABLE = "GENQ_FAILPOINT_TRACE"

FACTS: Mapping[str, str] = {
    "added": "added",
    "submitting": "intent",
    "submitted": "accepted",
    "doubted": "doubt",
    "resolved": "resolution",
    "ready": "ready",
    "succeeded": "finished",
    "failed": "failure",
    "requeued": "requeue",
    "cancelling": "cancelling",
    "cancelled": "cancelled",
    "recovered": "recovery",
    "provider_paused": "pause",
    "provider_resumed": "resume",
}
"""Events whose commit has a `before_` and an `after_`, and what they are called there."""

_PLACES: Mapping[str, str] = {
    # What comes in.
    "add_unacknowledged": "an add is on disk, its client doesn't know yet",
    "act_unacknowledged": "a command is on disk, its client doesn't know yet",
    "prepared": "the pictures are ready, nothing is recorded",
    # The paid request.
    "before_post": "the intent is on disk, the engine is called next",
    "request_leaves": "a request is about to leave over HTTP",
    "mock_accepted": "the mock has accepted, its answer is on the way",
    "reply_begun": "the head of an HTTP answer is here, its body is not read",
    "answer_read": "the answer to the paid request is known to memory only",
    "spool_synced": "a result that came inside an answer is synced, not renamed",
    "spool_renamed": "a result that came inside an answer has its name, the folder isn't synced",
    "before_paid_line": "an accepted id is about to be written to paid.jsonl",
    "after_paid_line": "paid.jsonl has an accepted id, synced; the journal doesn't",
    "before_lookup": "a provider is about to be asked whether a request arrived",
    "lookup_answered": "whether a request arrived is known to memory only",
    # The task and its result.
    "before_poll": "a provider is about to be asked how a task is doing",
    "poll_answered": "how a task is doing is known to memory only",
    "before_download": "a result is about to be fetched",
    "mid_download": "a piece of a result has come",
    "file_written": "a result is in its part, not synced",
    "file_synced": "a result is in its part, synced",
    "before_rename": "a result is about to get its name",
    "after_rename": "a result has its name, the folder isn't synced",
    "folder_synced": "a result is on disk for good, the journal doesn't know",
    "before_stop": "a provider is about to be told to stop a task",
    "stop_answered": "the answer to a cancellation is known to memory only",
    # The life of the daemon.
    "recovery_recorded": "what a restart means for each job is recorded, perhaps not on disk",
    "recovery_durable": "the recovery is on disk, no client is served yet",
    "stop_begun": "SIGTERM was heard, nothing has ended yet",
    "runners_ended": "at an orderly stop, nothing is done for any job any more",
    "journal_closed": "at an orderly stop, the journal is closed and not marked so",
    "overrides_written": "overrides.toml is written beside the old one, not renamed",
    "jobs_forgotten": "housekeeping has dropped old jobs",
    "events_pruned": "housekeeping has dropped old events",
    "inputs_pruned": "housekeeping has dropped pictures that no job needs",
    # The journal's own file.
    "migration_begun": "a journal is about to be made or brought up to date; its copy is made",
    "migration_step": "one step of a migration is committed",
    "backup_copied": "a copy of the journal is whole, not synced",
    "backup_synced": "a copy of the journal is synced, not in its place",
    "backup_in_place": "a copy of the journal is in its place, the folder isn't synced",
    "restore_revived": "a backup is ready to take the journal's place",
    "restore_pending": "a restored journal counts, the old one still has its name",
    "restore_set_aside": "the old journal is set aside, the restored one isn't in its place",
    "restore_in_place": "the restored journal is in its place, not marked as closed",
}

POINTS: Mapping[str, str] = {
    **{
        f"{side}_{word}": f"{'just before' if side == 'before' else 'right after'} the commit of "
        f"the event {fact}"
        for fact, word in FACTS.items()
        for side in ("before", "after")
    },
    **_PLACES,
}
"""Every place, and what holds there."""

Side = Literal["before", "after"]


class _Fact(Protocol):
    @property
    def type(self) -> str: ...


class _Line(Protocol):
    @property
    def event(self) -> _Fact: ...


class FailpointError(ValueError):
    """The environment names a place that there isn't; the message lists those that there are."""


def _pass(_name: str) -> None:
    pass


def _pass_commit(_side: Side, _lines: Iterable[_Line]) -> None:
    pass


at: Callable[[str], None] = _pass
"""The daemon is at this place."""
commit: Callable[[Side, Iterable[_Line]], None] = _pass_commit
"""The daemon is at the commit of these."""


def arm(environ: Mapping[str, str]) -> bool:
    """Have the process die, or note, where `environ` says so; whether it does.

    Raises FailpointError, and OSError if the trace can't be written.
    """
    global at, commit
    asked, trace = environ.get(VARIABLE, ""), environ.get(TRACE_VARIABLE, "")
    if not (asked or trace):
        return False
    armed = _Armed(*_parsed(asked), trace)
    at, commit = armed.at, armed.commit
    return True


def _parsed(asked: str) -> tuple[str, int]:
    """The place and the number of its passage; an empty name for none."""
    name, _, number = asked.partition(":")
    number = number or "1"
    if name and name not in POINTS:
        there_are = "".join(f"\n  {point:20} {means}" for point, means in POINTS.items())
        raise FailpointError(f"{VARIABLE}: there is no place {name!r}. There are:{there_are}")
    if not (number.isascii() and number.isdigit() and int(number) > 0):
        raise FailpointError(f"{VARIABLE}={asked}: the passage is a number from 1")
    return name, int(number)


class _Armed:
    """Counts passages, on every thread."""

    def __init__(self, name: str, passage: int, trace: str) -> None:
        self._name = name
        self._left = passage
        self._counting = threading.Lock()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._trace = os.open(trace, flags, 0o600) if trace else -1

    def at(self, name: str) -> None:
        if self._trace >= 0:
            os.write(self._trace, f"{name}\n".encode())
        if name == self._name:
            with self._counting:
                self._left -= 1
                if self._left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    def commit(self, side: Side, lines: Iterable[_Line]) -> None:
        for line in lines:
            if (word := FACTS.get(line.event.type)) is not None:
                self.at(f"{side}_{word}")
