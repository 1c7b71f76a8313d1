"""Paid work that nobody waits for any more is watched and filed, and a cancel tells the truth."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.installation import Installation, until

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = """
[[outcome]]
match = "lost"
phase = "submit"
kind = "transport.timeout.read"

[[outcome]]
match = "refused"
phase = "submit"
http = 400

[[outcome]]
match = "stuck"
phase = "download"
http = 503
times = 1000

[[outcome]]
match = "twice"
phase = "download"
http = 503
times = 2
"""
QUICK = """
engine = "mock"
script = "weather.toml"
submit_s = 0.02
poll_interval_s = 0.05
watch_interval_s = 0.2
backoff_base_s = 0.02
backoff_max_s = 0.05
download_retries = 1
cancel_grace_s = 0.1
params = { width = 64, height = 48 }
"""
CONFIG = f"""
[daemon]
stop_grace_s = 5

[pictures]
image_workers = 1

[providers.late]
{QUICK}
generate_s = 0.8
generate_timeout_s = 0.2

[providers.strict]
{QUICK}
generate_s = 0.8
generate_timeout_s = 0.2
on_limit = "fail"

[providers.deaf]
{QUICK}
cancel = false
generate_s = 1

[providers.slow]
{QUICK}
generate_s = 600

[providers.quick]
{QUICK}
generate_s = 0.05

[providers.far]
{QUICK.replace("submit_s = 0.02", "submit_s = 1.5")}
generate_s = 600

[providers.knowing]
{QUICK.replace("submit_s = 0.02", "submit_s = 1.5")}
lookup = true
generate_s = 600
submit_timeout_s = 2
reconcile_grace_s = 0.1
"""


@pytest.fixture
def genq(tmp_path: Path) -> Iterator[Installation]:
    (tmp_path / "weather.toml").write_text(SCRIPT)
    installation = Installation(tmp_path, config=CONFIG)
    installation.start()
    yield installation
    installation.kill()


def owed(genq: Installation) -> list[int]:
    """What `genq status` tells of paid work without a result, in both its forms."""
    status = genq.ask("status", "--json").value
    listed: list[int] = status["daemon"]["uncollected_jobs"]
    assert status["uncollected"] == len(listed)
    return listed


def cancel(genq: Installation, number: int) -> dict[str, Any]:
    """The job at once after it was cancelled."""
    answer = genq.ask("cancel", str(number))
    assert answer.code == 0, answer
    return genq.show(number)


def paid_once(genq: Installation, jobs: int) -> None:
    keys = Counter(row["key"] for row in genq.ledger())
    assert len(keys) == jobs
    assert max(keys.values()) == 1


def stopped(genq: Installation) -> list[str]:
    """The tasks that the provider was told to stop."""
    lines = (genq.state / "mock-ledger.jsonl").read_text().splitlines()
    return [line for line in lines if '"cancelled"' in line]


# ---- rescue ----


@pytest.mark.parametrize(("provider", "state"), [("late", "held"), ("strict", "failed")])
def test_a_job_that_ran_out_of_time_is_watched_and_its_late_result_filed(
    genq: Installation, provider: str, state: str
) -> None:
    number = genq.add(provider, "--prompt", "x")
    job = genq.until(number, state)
    assert job["finished_at"] is None if state == "held" else job["finished_at"]
    assert owed(genq) == [number]
    assert f"1 perhaps paid, no result: {number}" in genq.ask("status").out
    done = genq.until(number, "succeeded")
    assert Path(done["outputs"][0]["path"]).stat().st_size
    assert (done["billed"], done["error"], done["attempt"]) == ("yes", None, 1)
    assert "rescued" in {event["type"] for event in genq.events()}
    assert owed(genq) == []
    paid_once(genq, 1)


def test_what_was_cancelled_here_only_is_filed_when_it_comes_and_stays_cancelled(
    genq: Installation,
) -> None:
    number = genq.add("deaf", "--prompt", "x")
    genq.until(number, "generating")
    cancel(genq, number)
    job = genq.until(number, "cancelled")
    assert (job["billed"], owed(genq)) == ("unknown", [number])
    job = until(lambda: (one := genq.show(number))["billed"] == "kept" and one)
    assert job["state"] == "cancelled"
    assert Path(job["outputs"][0]["path"]).stat().st_size
    assert owed(genq) == []
    assert "too late and was kept" in genq.ask("why", str(number)).out
    paid_once(genq, 1)


@pytest.mark.parametrize("provider", ["late", "strict", "deaf"])
def test_a_kill_while_paid_work_is_watched_loses_none_of_it(
    genq: Installation, provider: str
) -> None:
    number = genq.add(provider, "--prompt", "x")
    genq.until(number, "generating", "held", "failed")
    if provider == "deaf":
        cancel(genq, number)
    until(lambda: owed(genq) == [number])
    genq.kill()
    genq.start()
    until(lambda: genq.show(number)["outputs"])
    until(lambda: owed(genq) == [])
    paid_once(genq, 1)


def test_a_result_that_cannot_be_fetched_is_listed_until_a_person_decides(
    genq: Installation,
) -> None:
    number = genq.add("quick", "--prompt", "stuck")
    job = genq.until(number, "held")
    assert (job["reason"], owed(genq)) == ("download", [number])
    assert genq.ask("requeue", str(number)).code == 0
    genq.until(number, "held")
    assert owed(genq) == [number]
    paid_once(genq, 1)


def test_a_verdict_leaves_nothing_to_collect(genq: Installation) -> None:
    number = genq.add("slow", "--prompt", "x")
    genq.until(number, "generating")
    cancel(genq, number)
    genq.until(number, "cancelled")
    assert owed(genq) == []


# ---- what a cancel says ----


def test_what_was_never_submitted_is_cancelled_at_once_and_not_billed(genq: Installation) -> None:
    waiting = genq.add("slow", "--prompt", "x", "--not-before", "+1h")
    held = genq.add("slow", "--prompt", "x", "--hold")
    for number in (waiting, held):
        job = cancel(genq, number)
        assert (job["state"], job["billed"], job["attempt"]) == ("cancelled", "no", 0)
    assert genq.ledger() == []


def test_a_generating_task_is_stopped_at_the_provider(genq: Installation) -> None:
    number = genq.add("slow", "--prompt", "x")
    remote = genq.until(number, "generating")["remote_id"]
    assert cancel(genq, number)["state"] in ("cancelling", "cancelled")
    job = genq.until(number, "cancelled")
    assert (job["billed"], job["remote_id"]) == ("unknown", remote)
    assert len(stopped(genq)) == 1
    types = [event["type"] for event in genq.events() if event.get("job") == number]
    assert types[-2:] == ["cancelling", "cancelled"]


def test_a_submit_in_flight_is_waited_for_and_then_stopped(genq: Installation) -> None:
    number = genq.add("far", "--prompt", "x")
    genq.until(number, "submitting")
    job = cancel(genq, number)
    assert (job["state"], job["remote_id"]) == ("cancelling", None)
    job = genq.until(number, "cancelled")
    (entry,) = genq.ledger()
    assert (job["remote_id"], job["billed"]) == (entry["remote_id"], "unknown")
    assert entry["remote_id"] in stopped(genq)[0]
    assert owed(genq) == []


def test_a_submit_in_flight_that_is_refused_was_not_billed(genq: Installation) -> None:
    number = genq.add("far", "--prompt", "refused")
    genq.until(number, "submitting")
    assert cancel(genq, number)["state"] == "cancelling"
    assert genq.until(number, "cancelled")["billed"] == "no"
    assert genq.ledger() == []


def test_a_submit_in_flight_whose_answer_is_lost_needs_a_person(genq: Installation) -> None:
    number = genq.add("far", "--prompt", "lost")
    genq.until(number, "submitting")
    assert cancel(genq, number)["state"] == "cancelling"
    job = genq.until(number, "in_doubt")
    assert (job["billed"], owed(genq)) == ("unknown", [number])
    assert genq.ask("cancel", str(number)).code == 1
    assert genq.ask("resolve", str(number), "write-off").code == 0
    job = genq.show(number)
    assert (job["state"], job["billed"], owed(genq)) == ("failed", "unknown", [])


@pytest.mark.parametrize(("provider", "end"), [("far", "in_doubt"), ("knowing", "cancelled")])
def test_a_kill_while_a_cancel_waits_for_the_answer_tells_no_lie(
    genq: Installation, provider: str, end: str
) -> None:
    number = genq.add(provider, "--prompt", "x")
    genq.until(number, "submitting")
    assert cancel(genq, number)["state"] == "cancelling"
    until(genq.ledger)  # accepted, and the answer is on its way
    genq.kill()
    genq.start()
    job = genq.until(number, end)
    assert job["billed"] == "unknown"
    assert owed(genq) == ([number] if end == "in_doubt" else [])
    assert len(stopped(genq)) == (end == "cancelled")
    paid_once(genq, 1)


def test_a_result_that_was_ready_when_it_was_cancelled_is_fetched_and_kept(
    genq: Installation,
) -> None:
    number = genq.add("quick", "--prompt", "twice")
    assert genq.until(number, "held")["reason"] == "download"
    cancel(genq, number)
    job = until(lambda: (one := genq.show(number))["outputs"] and one)
    assert (job["state"], job["billed"], job["attempt"]) == ("cancelled", "kept", 1)
    assert Path(job["outputs"][0]["path"]).stat().st_size
    assert (stopped(genq), owed(genq)) == ([], [])
    paid_once(genq, 1)


def test_cancelling_what_is_finished_is_refused_and_changes_nothing(genq: Installation) -> None:
    number = genq.add("quick", "--prompt", "x")
    before = genq.until(number, "succeeded")
    answer = genq.ask("cancel", str(number))
    assert (answer.code, genq.show(number)) == (1, before)
    assert "nothing to cancel" in answer.err
