"""The cells of the crash matrix: which place, against which provider, and what must come of it.

The expectations are those of the recovery matrix: a kill between the intent and the journal's
knowledge of the answer is looked up, or is a doubt where nothing can be looked up; every other
kill costs nothing but time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

Scene = Literal[
    "deliver",
    "http",
    "inline",
    "refuse",
    "cancel",
    "cancel early",
    "verdict",
    "pay again",
    "requeue",
    "pause",
    "resume",
    "restart",
    "stop",
    "backup",
    "restore",
    "create",
    "upgrade",
    "prune",
]
Answer = Literal["kept", "cut", "lost"]
"""What becomes of the first paid request: answered, accepted and not answered, never arrived."""

IN_FLIGHT = "in_flight"
"""No place of the daemon's: the vendor kills it when it has accepted."""

BEFORE = ("before_added", "after_added", "add_unacknowledged", "prepared", "before_intent")
EARLY = ("after_added", "add_unacknowledged")
"""The intent may stand in the same commit, or the request be out, before the client knows."""
UNSENT = ("after_intent", "before_post")
SENT = ("mock_accepted", "answer_read", "before_paid_line")
DOUBT = ("before_doubt", "after_doubt")
LOOKUP = ("before_lookup", "lookup_answered")
ACCEPTED = ("after_paid_line", "before_accepted", "after_accepted")
RESULT = (
    *("before_poll", "poll_answered", "before_ready", "after_ready"),
    *("before_download", "mid_download:2", "file_written", "file_synced", "before_rename"),
    *("after_rename", "folder_synced", "before_finished", "after_finished"),
)
OVER_HTTP = (
    *("after_intent", "request_leaves", IN_FLIGHT, "reply_begun", "answer_read", "after_paid_line"),
    *("after_accepted", "before_poll", "before_ready", "mid_download", "after_rename"),
)
WINDOW = frozenset({*UNSENT, "request_leaves", IN_FLIGHT, "reply_begun", *SENT})
"""Killed here, nobody but the provider knows whether there is a paid task."""


INDIFFERENT = frozenset(
    {
        *("pay again", "requeue", "pause", "resume", "restart", "stop", "backup", "restore"),
        *("create", "upgrade", "prune"),
    }
)
"""Scenes that are played once, without a lookup."""


class Cell(NamedTuple):
    """One kill, and what must be seen when everything has come to rest and no operator came."""

    scene: Scene
    point: str
    lookup: bool
    answer: Answer
    state: str
    """The states of its jobs, in order, alternatives after a slash."""
    accepted: int | None
    """How many paid requests the provider must have accepted; None: any number asked for."""

    @property
    def place(self) -> str:
        return self.point.partition(":")[0]

    @property
    def indifferent(self) -> bool:
        """Whether a lookup changes nothing in its scene."""
        return self.scene in INDIFFERENT


def cells() -> Iterator[Cell]:
    """The whole matrix."""
    for lookup in (True, False):
        for answer in ("kept", "cut", "lost"):
            for point in (*BEFORE, *UNSENT, *SENT, *DOUBT, *LOOKUP, *ACCEPTED, *RESULT):
                if _is_passed(point, lookup, answer):
                    yield _cell("deliver", point, lookup, answer)
            for point in OVER_HTTP:
                if _is_passed(point, lookup, answer):
                    yield _cell("http", point, lookup, answer)
        yield from _scenes(lookup)
    yield from _inline()
    yield from _life()


def _is_passed(point: str, lookup: bool, answer: Answer) -> bool:
    """Whether a job comes by there at all."""
    if point in DOUBT:
        return answer != "kept"
    if point in LOOKUP:
        return answer != "kept" and lookup
    if point in (*BEFORE, *UNSENT, "request_leaves", "answer_read"):
        return True
    if point in ("mock_accepted", IN_FLIGHT):
        return lookup or answer != "lost"
    if point == "reply_begun":  # of a look at the queue, where an answer was cut
        return answer == "kept"
    return lookup or answer == "kept"


def _cell(scene: Scene, point: str, lookup: bool, answer: Answer) -> Cell:
    if point in EARLY and not lookup:
        return Cell(scene, point, lookup, answer, "succeeded/in_doubt", None)
    doubt = not lookup and (answer != "kept" or point in WINDOW)
    never_sent = point in (*UNSENT, "request_leaves")
    accepted = 0 if not lookup and (never_sent or answer == "lost") else 1
    return Cell(scene, point, lookup, answer, "in_doubt" if doubt else "succeeded", accepted)


def _scenes(lookup: bool) -> Iterator[Cell]:
    doubt = "succeeded" if lookup else "in_doubt"
    # Two jobs; the second is refused, and the provider pauses. A refusal that is not on disk yet
    # is as good as none.
    for point, second in (("before_pause", doubt), ("after_pause", "succeeded")):
        accepted = 1 if second == "in_doubt" else 2
        yield Cell("refuse", point, lookup, "kept", f"succeeded {second}", accepted)
    for point in ("before_failure", "after_failure"):
        yield Cell("verdict", point, lookup, "kept", "failed", 1)
    # A cancellation that isn't on disk wasn't acknowledged, and the job goes on.
    yield Cell("cancel", "before_cancelling", lookup, "kept", "succeeded", 1)
    for point in (
        *("after_cancelling", "act_unacknowledged", "before_stop", "stop_answered"),
        *("before_cancelled", "after_cancelled"),
    ):
        yield Cell("cancel", point, lookup, "kept", "cancelled", 1)
    for point in ("mock_accepted", "answer_read", "before_paid_line"):
        state = "cancelled" if lookup else "in_doubt"
        yield Cell("cancel early", point, lookup, "kept", state, 1)
    for point in ("after_paid_line", "before_accepted", "after_accepted"):
        yield Cell("cancel early", point, lookup, "kept", "cancelled", 1)


def _inline() -> Iterator[Cell]:
    """A provider that answers with the result, and keeps nothing that could be asked for."""
    yield Cell("inline", "request_leaves", False, "kept", "in_doubt", 0)
    for point in (
        *(IN_FLIGHT, "reply_begun", "spool_synced", "spool_renamed", "answer_read"),
        "before_paid_line",
    ):
        yield Cell("inline", point, False, "kept", "in_doubt", 1)
    # The line in paid.jsonl says where the result is.
    for point in (
        *("after_paid_line", "before_ready", "after_ready", "mid_download", "folder_synced"),
    ):
        yield Cell("inline", point, False, "kept", "succeeded", 1)


def _life() -> Iterator[Cell]:
    """Commands and the daemon's own life, of which a lookup changes nothing."""

    def cell(scene: Scene, point: str, state: str, accepted: int | None) -> Cell:
        return Cell(scene, point, False, "kept", state, accepted)

    yield cell("pay again", "before_resolution", "in_doubt", 0)
    # The next intent may stand in the same commit as a command.
    yield cell("pay again", "after_resolution", "succeeded/in_doubt", None)
    yield cell("pay again", "act_unacknowledged", "succeeded/in_doubt", None)
    yield cell("pay again", "after_intent", "in_doubt", 0)
    yield cell("pay again", "mock_accepted", "in_doubt", 1)
    yield cell("pay again", "after_accepted", "succeeded", 1)
    yield cell("requeue", "before_requeue", "failed", 1)
    yield cell("requeue", "after_requeue", "succeeded/in_doubt", None)
    yield cell("requeue", "act_unacknowledged", "succeeded/in_doubt", None)
    yield cell("requeue", "mock_accepted", "in_doubt", 2)
    yield cell("requeue", "after_accepted", "succeeded", 2)
    # What an operator pauses is kept twice; paused is what either says.
    yield cell("pause", "before_pause", "open", 0)
    yield cell("pause", "after_pause", "paused", 0)
    yield cell("pause", "overrides_written", "open/paused", 0)
    yield cell("resume", "before_resume", "paused", 0)
    yield cell("resume", "after_resume", "open/paused", 0)
    yield cell("resume", "overrides_written", "paused", 0)
    for point in (
        *("recovery_recorded", "before_recovery", "after_recovery", "recovery_durable"),
        *("before_doubt", "after_doubt"),
    ):
        yield cell("restart", point, "succeeded succeeded in_doubt", 3)
    for point in ("stop_begun", "runners_ended", "journal_closed"):
        yield cell("stop", point, "succeeded succeeded succeeded", 3)
    for point in ("backup_copied", "backup_synced", "backup_in_place"):
        yield cell("backup", point, "succeeded succeeded", 2)
    for point in ("backup_copied", "backup_in_place", "restore_revived"):
        yield cell("restore", point, "succeeded succeeded succeeded", 3)
    for point in ("restore_pending", "restore_set_aside", "restore_in_place", "journal_closed"):
        yield cell("restore", point, "succeeded held held", 3)
    for point in ("migration_begun", "migration_step"):
        yield cell("create", point, "succeeded", 1)
        yield cell("upgrade", point, "succeeded", 1)
    yield cell("upgrade", "migration_step:2", "succeeded", 1)
    yield cell("upgrade", "backup_synced", "succeeded", 1)
    for point in ("jobs_forgotten", "events_pruned", "inputs_pruned"):
        yield cell("prune", point, "gone", None)
