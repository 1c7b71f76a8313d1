import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.installation import Installation, fold, without_derived

KILLS = 25
JOBS = 60
WEATHER = """
submit_s = 0.05
generate_s = [0.05, 0.4]
lost_answers = 0.15
polls_504 = 0.1
poll_interval_s = 0.1
concurrency = 8
submit_timeout_s = 2
backoff_base_s = 0.05
backoff_max_s = 0.2
errors_consecutive_max = 50
cancel_grace_s = 0.1
"""


@pytest.fixture
def genq(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path, WEATHER)
    yield installation
    installation.kill()


def test_killed_at_random_moments_no_job_is_lost_and_none_is_paid_twice(
    genq: Installation,
) -> None:
    draw = random.Random(20)
    genq.start()
    rows = "\n".join(
        f'{{"provider": "mock", "prompt": "shot {n}", "name": "n{n}", "batch": "b",'
        f' "params": {{"width": 64, "height": 48}}}}'
        for n in range(JOBS)
    )
    ids = genq.genq("add", "--file", "-", "--format", "jsonl", "--json", stdin=rows)
    assert ids.returncode == 0
    for _ in range(KILLS):
        time.sleep(draw.uniform(0.0, 0.25))
        genq.kill()
        genq.start()
    genq.genq("wait", "--batch", "b", "--timeout", "30", check=False)
    jobs, events, ledger = genq.jobs(), genq.events(), genq.ledger()
    assert genq.stop() == 0

    assert [job["id"] for job in jobs] == list(range(1, JOBS + 1))
    assert {job["state"] for job in jobs} <= {"succeeded", "in_doubt"}
    assert max(Counter(row["key"] for row in ledger).values()) == 1
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    folded = fold(events)
    assert {job["id"]: without_derived(job) for job in jobs} == {
        number: without_derived(job) for number, job in folded.items()
    }
    accepted = {row["job"] for row in ledger}
    for job in jobs:
        if job["state"] == "succeeded":
            assert all(Path(output["path"]).stat().st_size for output in job["outputs"])
        else:
            assert job["billed"] == "unknown"
    assert accepted <= {job["id"] for job in jobs}
    assert sum(job["state"] == "succeeded" for job in jobs) > JOBS // 3
