"""Why a job is where it is: one word, one moment, one sentence."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from daemon.core.explain import Scene, next_at, reason, shown, stuck, why
from daemon.core.gate import Closure, Gate
from daemon.core.job import (
    Cancelling,
    Downloading,
    Failure,
    Finished,
    Held,
    Job,
    Queued,
    Submitting,
)
from tests.core.jobs import (
    INTENT,
    NOW,
    OUTPUT,
    POLL_ERROR,
    READY_REMOTE,
    REMOTE,
    cancelled,
    cancelling,
    downloading,
    failed,
    generating,
    held,
    in_doubt,
    one_of_each,
    preparing,
    queued,
    submitting,
    succeeded,
)

OPEN = Scene(Gate(), NOW)
PAUSED = Scene(Gate((Closure("quota", NOW + 300.0, "HTTP 429"),)), NOW)
CLOSED = Scene(Gate((Closure("auth", None, "HTTP 401"),)), NOW)
KEYLESS = Scene(Gate((Closure("auth", None, "no key is set", "config"),)), NOW)
BEHIND = Scene(Gate(), NOW, ((3, "generating"),))
STUCK = Scene(Gate(), NOW, ((3, "failed"),))
GONE = Scene(Gate(), NOW, idle="mock isn't configured any more")
PROBED = Scene(Gate((Closure("quota", NOW - 1.0, "HTTP 429"),), probe=7), NOW)
FULL = Scene(Gate(), NOW, free_slots=0)
BACKOFF = queued(Queued("backoff", NOW + 8.0), retries=2, error=POLL_ERROR)
SCHEDULED = queued(not_before_at=NOW + 60.0)


@pytest.mark.parametrize(
    ("job", "scene", "word", "at", "words"),
    [
        (queued(), OPEN, None, None, ["as soon as"]),
        (queued(), FULL, None, None, ["free slot of mock"]),
        (queued(), PAUSED, "provider", NOW + 300.0, ["paused (quota)", "5:00", "HTTP 429"]),
        (queued(), CLOSED, "provider", None, ["paused (auth)", "an operator", "HTTP 401"]),
        (queued(), KEYLESS, "provider", None, ["no key is set"]),
        (queued(), BEHIND, "dependency", None, ["job 3 (generating)"]),
        (queued(), STUCK, "dependency", None, ["job 3 (failed)", "requeued"]),
        (BACKOFF, OPEN, "backoff", NOW + 8.0, ["0:08", "retry 2 of 5", "HTTP 504"]),
        (BACKOFF, PAUSED, "provider", NOW + 300.0, ["paused"]),
        (SCHEDULED, OPEN, "schedule", NOW + 60.0, ["Scheduled", "1:00"]),
        (preparing(), OPEN, None, None, ["pictures"]),
        (submitting(), OPEN, None, None, ["on its way"]),
        (
            submitting(Submitting(INTENT, NOW + 7.0)),
            OPEN,
            "reconciling",
            NOW + 7.0,
            ["lost", "0:07", "not sent again"],
        ),
        (
            generating(progress=0.6, errors_consecutive=3, error=POLL_ERROR),
            OPEN,
            None,
            NOW,
            ["60%", "3 errors in a row", "at 5", "16:40"],
        ),
        (generating(deadline_at=None), OPEN, None, NOW, ["mock works on it"]),
        (downloading(), OPEN, None, NOW, ["being fetched"]),
        (
            downloading(Downloading(READY_REMOTE, NOW + 4.0, tries=2), error=POLL_ERROR),
            OPEN,
            None,
            NOW + 4.0,
            ["try 3", "0:04", "HTTP 504"],
        ),
        (cancelling(by="ana"), OPEN, None, NOW, ["ana"]),
        (cancelling(Cancelling(intent=INTENT)), OPEN, None, None, ["an operator"]),
        (in_doubt(error=POLL_ERROR), OPEN, None, None, ["genq resolve 1", "HTTP 504"]),
        (held(), OPEN, "poll_limit", NOW, ["genq release 1", "pays nothing"]),
        (held(Held(), reason="approval"), OPEN, "approval", None, ["genq approve 1"]),
        (held(Held(READY_REMOTE), reason="download"), OPEN, "download", None, ["fetched"]),
        (succeeded(), OPEN, None, None, ["1 file "]),
        (succeeded(outputs=(OUTPUT, OUTPUT)), OPEN, None, None, ["2 files"]),
        (failed(error=POLL_ERROR), OPEN, None, NOW, ["shared.poll", "may still give"]),
        (failed(Finished(READY_REMOTE)), OPEN, None, None, ["kept", "pays nothing"]),
        (cancelled(Finished(READY_REMOTE)), OPEN, None, NOW, ["may still give"]),
        (queued(), GONE, None, None, ["Nobody", "mock isn't configured"]),
        (generating(), GONE, None, None, ["Nobody", "mock isn't configured"]),
        (held(), GONE, "poll_limit", None, ["genq release 1"]),
        (queued(), PROBED, None, None, ["job 7", "first", "mock"]),
        (failed(Finished()), OPEN, None, None, ["genq requeue 1"]),
        (cancelled(Finished(), billed="no"), OPEN, None, None, ["not billed"]),
        (cancelled(Finished(), billed="kept"), OPEN, None, None, ["kept"]),
        (cancelled(Finished(), billed="yes"), OPEN, None, None, ["paid for"]),
        (cancelled(), OPEN, None, NOW, ["unknown", "may still give"]),
    ],
)
def test_a_job_says_what_it_waits_for_and_until_when(
    job: Job, scene: Scene, word: str | None, at: float | None, words: list[str]
) -> None:
    assert (reason(job, scene), next_at(job, scene)) == (word, at)
    told = why(job, scene)
    assert (told.id, told.state, told.next_at) == (1, job.state, at)
    assert [one for one in words if one not in told.sentence] == [], told.sentence


def test_the_last_error_is_told_with_its_rule_and_its_advice() -> None:
    error = Failure(
        phase="poll",
        kind="provider.error",
        code="4101",
        message="busy",
        rule="coze.2",
        advice="wait",
    )
    sentence = why(failed(Finished(), error=error), OPEN).sentence
    assert "rule coze.2: poll provider.error 4101: busy (wait)" in sentence


@pytest.mark.parametrize("job", one_of_each())
def test_what_is_shown_is_the_public_half_with_what_is_derived(job: Job) -> None:
    seen = shown(job, PAUSED)
    assert seen.reason == reason(job, PAUSED)
    assert seen.next_at == next_at(job, PAUSED)
    assert not {"work", "attempts"} & set(msgspec.to_builtins(seen))


@pytest.mark.parametrize(
    ("job", "blocked_by", "expected"),
    [
        (queued(), (), False),
        (queued(), ((3, "generating"),), False),
        (queued(), ((3, "cancelled"),), True),
        (generating(), (), False),
        (in_doubt(), (), True),
        (held(), (), True),
        (succeeded(), (), True),
    ],
)
def test_stuck_is_what_can_not_go_on_by_itself(job: Job, blocked_by: Any, expected: bool) -> None:
    assert stuck(job, blocked_by) is expected


def test_a_moment_that_is_past_is_now() -> None:
    late = msgspec.structs.replace(REMOTE, next_poll_at=NOW - 50.0)
    job = generating(msgspec.structs.replace(generating().work, remote=late))  # type: ignore[arg-type, type-var]
    assert "the next look is now" in why(job, OPEN).sentence
