"""Eight hours of three providers' weather, for a few seeds here and for thousands by hand."""

from __future__ import annotations

import pytest

from daemon.core.changes import to_failed
from daemon.core.decisions import settle
from daemon.core.effects import Submit
from daemon.core.gate import Gate
from daemon.core.job import Submitting
from daemon.core.judge import Moment
from daemon.core.outcomes import Accepted, Pending
from daemon.core.policy import Policy
from tests.core.auditor import Auditor, ViolationError
from tests.core.jobs import INTENT, NOW, REMOTE, generating, submitting
from tests.core.simulation import simulate, stormy
from tests.core.world import Dice


@pytest.mark.parametrize("seed", range(25))
def test_a_stormy_day_breaks_no_promise(seed: int) -> None:
    simulation = simulate(seed)
    assert len(simulation.jobs) == stormy().jobs
    assert sum(simulation.auditor.sent.values()) >= stormy().jobs / 2


def test_the_same_seed_is_the_same_day() -> None:
    first, second = (simulate(3).jobs for _ in range(2))
    assert first == second


def test_other_seeds_are_other_days() -> None:
    assert Dice(1).random() != Dice(2).random()
    assert 0.4 < sum(Dice(seed).random() for seed in range(500)) / 500 < 0.6


def test_the_auditor_sees_a_request_that_is_sent_twice() -> None:
    auditor = Auditor()
    auditor.submitted(submitting(), Submit(INTENT), Gate(), NOW)
    with pytest.raises(ViolationError, match="was sent 2 times"):
        auditor.submitted(submitting(), Submit(INTENT), Gate(), NOW + 1.0)


def test_the_auditor_sees_polls_that_come_too_fast() -> None:
    auditor = Auditor()
    auditor.polled(REMOTE, NOW, 10.0)
    with pytest.raises(ViolationError, match="polled at"):
        auditor.polled(REMOTE, NOW + 9.0, 10.0)


def test_the_auditor_sees_a_paid_task_that_is_dropped() -> None:
    auditor, job = Auditor(), generating()
    auditor.added(job)
    dropped = to_failed(job, NOW, {}, billed="unknown")
    with pytest.raises(ViolationError, match="a paid task was dropped"):
        auditor.recorded((dropped,), Policy(), Pending())


def test_the_auditor_sees_a_fact_that_clients_would_fold_otherwise() -> None:
    auditor, job = Auditor(), submitting(Submitting(INTENT))
    auditor.added(job)
    auditor.seen[job.id]["priority"] = 9
    events = settle(job, Gate(), Accepted("r", "t"), Policy(), Moment(NOW))
    with pytest.raises(ViolationError, match="folds differ"):
        auditor.recorded(events, Policy(), Accepted("r", "t"))
