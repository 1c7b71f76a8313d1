"""The timeline of a job: which stretch began when, how long it took, how it ended."""

import msgspec

from daemon.core.job import Job, Stage, StageName, StageResult

Stages = tuple[Stage, ...]
STAGES_MAX = 200
"""Older stretches are dropped: a job requeued a thousand times still fits a frame."""


def end(stages: Stages, now: float, result: StageResult) -> Stages:
    """`stages` with the running stretch, if there is one, ended at `now`.

    >>> end((Stage("queue", 0, 1.0),), 3.5, "ok")[0].duration_s
    2.5
    """
    if not stages or stages[-1].result != "running":
        return stages
    last = stages[-1]
    took = max(0.0, now - last.started_at)
    return (*stages[:-1], msgspec.structs.replace(last, duration_s=took, result=result))


def begin(stages: Stages, now: float, stage: StageName, attempt: int) -> Stages:
    """`stages` with a new running stretch; one that still ran was interrupted by it.

    >>> begin((), 1.0, "queue", 0)[-1].result
    'running'
    """
    ended = end(stages, now, "interrupted")
    return (*ended, Stage(stage, attempt, now))[-STAGES_MAX:]


def turn(stages: Stages, now: float, result: StageResult, stage: StageName, attempt: int) -> Stages:
    """End what runs with `result` and begin `stage` at the same moment.

    >>> [one.result for one in turn((Stage("queue", 0, 1.0),), 3.0, "ok", "prepare", 1)]
    ['ok', 'running']
    """
    return begin(end(stages, now, result), now, stage, attempt)


def just_ended(before: Job, after: Job) -> Stage | None:
    """The stretch that ended when `before` became `after`: the one that ran, unless it still does.

    >>> before = Job(id=1, provider="m", created_at=0.0, updated_at=0.0, stages=begin((), 1.0,
    ...     "queue", 0))
    >>> just_ended(before, before)
    """
    if after.stages is before.stages or not before.stages:
        return None
    if before.stages[-1].result != "running":
        return None
    last = after.stages[-1]
    return after.stages[-2] if last.result == "running" else last
