"""What a clock that was set does to what a job has noted."""

from __future__ import annotations

import msgspec

from daemon.core.job import Queued
from daemon.core.restamped import moved
from tests.core.jobs import NOW, queued


def test_what_waits_waits_as_long_as_before() -> None:
    later = moved(queued(Queued("backoff", NOW + 5.0)), 3600.0)
    assert later.work == Queued("backoff", NOW + 3605.0)


def test_a_job_that_has_noted_no_time_stays_the_one_that_it_is() -> None:
    job = queued(Queued("new", None))
    assert moved(job, 3600.0) is job
    public = msgspec.structs.replace(job, work=msgspec.UNSET)
    assert moved(public, 3600.0) is public
