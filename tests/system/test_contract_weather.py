"""The outward contract in bad weather: what is counted, held, asked, paid and told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.installation import Installation, fold, until, without_derived

FAST = """
engine = "mock"
submit_s = 0.01
generate_s = 0.05
poll_interval_s = 0.05
backoff_base_s = 0.01
backoff_max_s = 0.02
concurrency = 20
submit_timeout_s = 0.2
reconcile_grace_s = 0.05
health_streak_max = 1000
params = { width = 64, height = 48 }
"""
CONFIG = f"""
[daemon]
stop_grace_s = 5

[pictures]
image_workers = 1

[providers.scripted]
script = "weather.toml"
download_retries = 2
{FAST}
[providers.strict]
script = "weather.toml"
on_limit = "fail"
watch_interval_s = 0.1
{FAST}
[providers.stubborn]
script = "weather.toml"
on_unknown = "resubmit"
{FAST}
[providers.knowing]
script = "weather.toml"
lookup = true
{FAST}
[providers.quota]
quota_every = 2
quota_for_s = 0.4
{FAST.replace("concurrency = 20", "concurrency = 1")}
[providers.late]
generate_timeout_s = 0.2
watch_interval_s = 0.3
{FAST.replace("generate_s = 0.05", "generate_s = 0.6")}
[providers.slow]
{FAST.replace("generate_s = 0.05", "generate_s = 600")}
[providers.deaf]
cancel = false
watch_interval_s = 0.1
{FAST.replace("generate_s = 0.05", "generate_s = 0.5")}
[providers.sticky]
download_s = 30
{FAST}
[providers.single]
{FAST.replace("concurrency = 20", "concurrency = 1")}
"""
SCRIPT = """
[[outcome]]
match = "four gateways"
phase = "poll"
http = 504
times = 4
[[outcome]]
match = "five gateways"
phase = "poll"
http = 504
times = 5
[[outcome]]
match = "lost once"
phase = "submit"
kind = "transport.reset"
[[outcome]]
match = "lost twice"
phase = "submit"
kind = "transport.reset"
times = 2
[[outcome]]
match = "fails once"
phase = "poll"
kind = "provider.failed"
code = "nsfw"
message = "not this"
[[outcome]]
match = "refused twice"
phase = "submit"
http = 503
effect = "none"
times = 2
[[outcome]]
match = "refused for good"
phase = "submit"
http = 400
code = "bad"
message = "no"
[[outcome]]
match = "never reached"
phase = "submit"
kind = "transport.connect"
times = 100
[[outcome]]
match = "stuck download"
phase = "download"
http = 500
times = 3
[[outcome]]
match = "old link"
phase = "download"
http = 404
times = 2
[[outcome]]
match = "unknown task"
phase = "poll"
http = 404
"""


@pytest.fixture(scope="module")
def genq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("t")
    (folder / "weather.toml").write_text(SCRIPT)
    installation = Installation(folder, config=CONFIG)
    installation.start()
    yield installation
    installation.kill()


def _submits(genq: Installation, number: int) -> list[str]:
    return [row["key"] for row in genq.ledger() if row["job"] == number]


def _events(genq: Installation, number: int) -> list[dict[str, Any]]:
    out = genq.ask("events", "--json", "--job", str(number)).out
    return [json.loads(line) for line in out.splitlines()]


def _check_fold(genq: Installation) -> None:
    """What the stream tells is what `ls` shows, whatever happens meanwhile."""
    jobs = genq.ask("ls", "--json").value
    lines = genq.ask("events", "--json").out.splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    revs = {job["id"]: job["rev"] for job in jobs}
    told = fold([one for one in events if one.get("rev", 0) <= revs.get(one.get("job"), 0)])
    for job in jobs:
        assert without_derived(told[job["id"]]) == without_derived(job)


# ---- polling ----


def test_four_504s_are_tolerated_counted_and_forgotten(genq: Installation) -> None:
    number = genq.add("scripted", "--prompt", "four gateways")
    job = genq.until(number, "succeeded")
    assert (job["errors_consecutive"], job["errors_total"], job["retries"]) == (0, 4, 0)
    assert job["error"] is None
    failed = [event for event in _events(genq, number) if event["type"] == "poll_failed"]
    assert [event["errors_consecutive"] for event in failed] == [1, 2, 3, 4]
    assert all(event["error"]["http"] == 504 for event in failed)
    assert len(_submits(genq, number)) == 1
    _check_fold(genq)


def test_the_fifth_504_holds_with_advice_and_release_polls_on(genq: Installation) -> None:
    number = genq.add("scripted", "--prompt", "five gateways")
    job = genq.until(number, "held")
    assert (job["reason"], job["errors_consecutive"], job["errors_total"]) == ("poll_limit", 5, 5)
    assert (job["error"]["phase"], job["error"]["http"]) == ("poll", 504)
    assert job["error"]["advice"]
    assert job["error"]["rule"]
    assert job["remote_id"]
    assert genq.ask("status", "--json").value["uncollected"] >= 1
    assert "release" in genq.ask("why", str(number)).out
    assert genq.ask("release", str(number)).code == 0
    job = genq.until(number, "succeeded")
    assert (job["attempt"], job["errors_consecutive"]) == (1, 0)
    assert len(_submits(genq, number)) == 1
    _check_fold(genq)


def test_requeue_of_a_held_job_polls_on_and_does_not_pay(genq: Installation) -> None:
    number = genq.add("scripted", "--prompt", "five gateways")
    genq.until(number, "held")
    assert genq.ask("requeue", str(number)).code == 0
    genq.until(number, "succeeded")
    assert len(_submits(genq, number)) == 1


def test_fresh_pays_anew_but_in_a_pipe_only_with_yes(genq: Installation) -> None:
    number = genq.add("scripted", "--prompt", "five gateways")
    genq.until(number, "held")
    assert genq.ask("requeue", str(number), "--fresh").code == 1
    assert genq.ask("requeue", str(number), "--fresh", "--yes").code == 0
    job = genq.until(number, "succeeded", "held")
    assert job["attempt"] == 2
    assert len(set(_submits(genq, number))) == 2


def test_with_on_limit_fail_the_job_fails_and_a_late_result_makes_it_succeeded(
    genq: Installation,
) -> None:
    number = genq.add("strict", "--prompt", "five gateways")
    genq.until(number, "succeeded")
    told = [(event["type"], event["state"]) for event in _events(genq, number)]
    assert ("failed", "failed") in told
    assert told.index(("failed", "failed")) < told.index(("rescued", "downloading"))
    assert len(_submits(genq, number)) == 1
    _check_fold(genq)


def test_a_task_that_the_provider_does_not_know_is_held_as_lost(genq: Installation) -> None:
    number = genq.add("scripted", "--prompt", "unknown task")
    job = genq.until(number, "held")
    assert (job["reason"], job["error"]["http"]) == ("lost", 404)
    assert genq.ask("release", str(number)).code == 0
    genq.until(number, "succeeded")


def test_a_verdict_fails_the_job_and_requeue_pays_anew(genq: Installation) -> None:
    number = genq.add("scripted", "--prompt", "fails once")
    job = genq.until(number, "failed")
    assert (job["error"]["kind"], job["error"]["code"]) == ("provider.failed", "nsfw")
    assert (job["error"]["message"], job["error"]["phase"]) == ("not this", "poll")
    assert genq.ask("wait", str(number)).code == 1
    assert genq.ask("requeue", str(number)).code == 0
    until(lambda: genq.show(number)["attempt"] == 2)
    job = genq.until(number, "failed", "succeeded")
    assert len(set(_submits(genq, number))) == 2
    assert job["attempts"][0]["result"] == "failed"
    _check_fold(genq)


def test_the_poll_that_brought_the_verdict_is_counted(genq: Installation) -> None:
    number = genq.add("scripted", "--prompt", "fails once")
    job = genq.until(number, "failed")
    assert job["attempts"][0]["polls"] == 1


# ---- submitting ----


def test_sure_refusals_are_tried_again_each_with_a_key_of_its_own(genq: Installation) -> None:
    number = genq.add("scripted", "--prompt", "refused twice")
    job = genq.until(number, "succeeded")
    assert (job["attempt"], job["retries"], job["errors_total"]) == (3, 2, 2)
    assert len({one["key"] for one in job["attempts"]}) == 3
    assert len(_submits(genq, number)) == 1
    assert [one["result"] for one in job["attempts"][:2]] == ["refused", "refused"]


def test_a_refusal_for_good_fails_at_once_and_costs_nothing(genq: Installation) -> None:
    number = genq.add("scripted", "--prompt", "refused for good")
    job = genq.until(number, "failed")
    assert (job["billed"], job["retries"], job["error"]["http"]) == ("no", 0, 400)
    assert _submits(genq, number) == []


def test_retries_end_with_submit_retries(genq: Installation) -> None:
    number = genq.add("scripted", "--prompt", "never reached")
    job = genq.until(number, "failed")
    assert (job["retries"], job["retries_max"], job["billed"]) == (5, 5, "no")
    assert job["attempt"] == 6
    assert genq.ask("requeue", str(number)).code == 0
    assert genq.show(number)["retries"] < 5
    genq.until(number, "failed")


def test_a_lost_answer_is_a_doubt_that_nothing_but_a_person_ends(genq: Installation) -> None:
    number = genq.add("scripted", "--prompt", "lost once")
    job = genq.until(number, "in_doubt")
    assert (job["billed"], job["remote_id"], job["attempt"]) == ("unknown", None, 1)
    for verb in ("requeue", "release", "hold"):
        answer = genq.ask(verb, str(number), "--json")
        assert (answer.code, answer.value["changed"]) == (1, [])
    assert "resolve" in genq.ask("requeue", str(number)).err
    assert "write-off" in genq.ask("why", str(number)).out
    assert genq.ask("wait", str(number), "--json").value["stuck"] == [number]
    assert _submits(genq, number) == []

    refused = genq.ask("resolve", str(number), "pay-again")
    assert (refused.code, refused.out) == (1, "")
    assert genq.ask("resolve", str(number), "pay-again", "--yes").code == 0
    job = genq.until(number, "succeeded")
    assert [one["attempt"] for one in job["attempts"]] == [1]
    assert [one["key"] for one in job["attempts"]] == _submits(genq, number)
    _check_fold(genq)


def test_a_doubt_that_is_paid_again_and_lost_again_is_a_doubt_again(genq: Installation) -> None:
    number = genq.add("scripted", "--prompt", "lost twice")
    key = genq.until(number, "in_doubt")["attempts"][0]["key"]
    genq.ask("resolve", str(number), "pay-again", "--yes")
    until(lambda: genq.show(number)["errors_total"] == 2)
    job = genq.until(number, "in_doubt")
    assert [(one["attempt"], one["key"]) for one in job["attempts"]] == [(1, key)]
    assert genq.ask("resolve", str(number), "write-off", "--json").value["changed"] == [number]
    job = genq.show(number)
    assert (job["state"], job["billed"]) == ("failed", "unknown")
    assert genq.ask("requeue", str(number)).code == 0
    job = genq.until(number, "succeeded")
    assert [one["attempt"] for one in job["attempts"]] == [1, 2]


def test_attach_takes_the_task_that_was_found(genq: Installation) -> None:
    donor = genq.until(genq.add("scripted", "--prompt", "x"), "succeeded")
    number = genq.add("scripted", "--prompt", "lost once")
    genq.until(number, "in_doubt")
    assert genq.ask("resolve", str(number), "attach", donor["remote_id"]).code == 0
    job = genq.until(number, "succeeded")
    assert job["remote_id"] == donor["remote_id"]
    assert _submits(genq, number) == []
    assert len(job["attempts"]) == 1


def test_on_unknown_resubmit_sends_the_same_key_once(genq: Installation) -> None:
    number = genq.add("stubborn", "--prompt", "lost once")
    job = genq.until(number, "succeeded")
    assert [one["key"] for one in job["attempts"]] == _submits(genq, number)
    twice = genq.add("stubborn", "--prompt", "lost twice")
    job = genq.until(twice, "in_doubt")
    assert len(job["attempts"]) == 1


def test_a_lookup_settles_a_lost_answer_by_itself(genq: Installation) -> None:
    number = genq.add("knowing", "--prompt", "lost once")
    seen = until(
        lambda: (
            (job := genq.show(number))["state"] != "queued" and job["state"] != "preparing" and job
        )
    )
    job = genq.until(number, "succeeded")
    assert job["attempt"] == 2
    assert len(_submits(genq, number)) == 1
    assert seen["reason"] in (None, "reconciling")
    _check_fold(genq)


# ---- downloads ----


def test_a_download_that_fails_too_often_is_held_and_fetched_on_release(
    genq: Installation,
) -> None:
    number = genq.add("scripted", "--prompt", "stuck download")
    job = genq.until(number, "held")
    assert (job["reason"], job["outputs"]) == ("download", [])
    assert job["error"]["phase"] == "download"
    assert genq.ask("release", str(number)).code == 0
    job = genq.until(number, "succeeded")
    assert Path(job["outputs"][0]["path"]).stat().st_size == job["outputs"][0]["bytes"]
    assert len(_submits(genq, number)) == 1


def test_an_old_link_is_asked_for_anew_once_and_then_held(genq: Installation) -> None:
    number = genq.add("scripted", "--prompt", "old link")
    job = genq.until(number, "held")
    assert job["reason"] == "link_expired"
    assert [one["stage"] for one in job["stages"]].count("generate") == 2
    assert genq.ask("requeue", str(number)).code == 0
    genq.until(number, "succeeded")
    assert len(_submits(genq, number)) == 1


# ---- quota ----


def test_quota_pauses_the_provider_and_burns_nothing(genq: Installation) -> None:
    answer = genq.ask("add", "quota", "--prompt", "x", "--count", "3", "--json")
    numbers = answer.value["ids"]

    def paused() -> dict[str, Any]:
        (row,) = (one for one in genq.ask("providers", "--json").value if one["name"] == "quota")
        return row if row["gate"]["state"] == "paused" else {}

    row = until(paused)
    gate = row["gate"]
    assert gate["source"] == "provider"
    assert gate["causes"][0]["cause"] == "quota"
    assert "429" in gate["reason"]
    waiting = genq.show(numbers[2])
    if waiting["state"] == "queued":
        assert waiting["reason"] == "provider"
        assert waiting["next_at"] == pytest.approx(gate["until_at"], abs=0.05)
    value = genq.ask("wait", *map(str, numbers), "--json").value
    assert value["succeeded"] == numbers
    for number in numbers:
        job = genq.show(number)
        assert (job["retries"], job["errors_total"], job["errors_consecutive"]) == (0, 0, 0)
        assert len(_submits(genq, number)) == 1
    events = [json.loads(line) for line in genq.ask("events", "--json").out.splitlines()]
    gates = [one["type"] for one in events if one.get("provider") == "quota" and "gate" in one]
    assert gates.count("provider_paused") >= 1
    assert gates.count("provider_resumed") >= 1
    assert gates.index("provider_paused") < gates.index("provider_resumed")


# ---- deadlines ----


def test_past_its_deadline_a_job_is_held_and_rescued_when_it_ends_late(
    genq: Installation,
) -> None:
    number = genq.add("late", "--prompt", "x")
    job = genq.until(number, "held")
    assert job["reason"] == "deadline"
    assert job["deadline_at"] == pytest.approx(job["attempts"][0]["accepted_at"] + 0.2, abs=0.01)
    assert job["next_at"] > job["deadline_at"]
    job = genq.until(number, "succeeded")
    assert "rescued" in [event["type"] for event in _events(genq, number)]
    assert (len(_submits(genq, number)), job["billed"]) == (1, "yes")
    _check_fold(genq)


# ---- cancelling ----


def test_a_queued_job_is_cancelled_and_not_billed(genq: Installation) -> None:
    number = genq.add("single", "--prompt", "x", "--not-before", "+1h")
    answer = genq.ask("cancel", str(number), "--reason", "wrong lens")
    assert (answer.code, str(number) in answer.out) == (0, True)
    job = genq.show(number)
    assert (job["state"], job["billed"]) == ("cancelled", "no")
    assert "wrong lens" in json.dumps(_events(genq, number))
    assert genq.ask("requeue", str(number)).code == 0
    assert genq.show(number)["state"] == "queued"
    genq.ask("cancel", str(number))


def test_a_generating_job_is_cancelled_at_the_provider(genq: Installation) -> None:
    number = genq.add("slow", "--prompt", "x")
    genq.until(number, "generating")
    assert genq.ask("cancel", str(number)).code == 0
    job = genq.until(number, "cancelled")
    assert job["billed"] == "unknown"
    assert job["finished_at"]
    assert "billed" in genq.ask("why", str(number)).out
    _check_fold(genq)


def test_a_cancelled_and_stopped_job_that_is_requeued_is_made_anew(genq: Installation) -> None:
    number = genq.add("slow", "--prompt", "x")
    genq.until(number, "generating")
    genq.ask("cancel", str(number))
    genq.until(number, "cancelled")
    assert genq.ask("requeue", str(number), "--yes").code == 0
    try:
        until(lambda: genq.show(number)["state"] == "failed" or genq.show(number)["attempt"] == 2)
        assert genq.show(number)["state"] != "failed"
    finally:
        genq.ask("cancel", str(number))


def test_what_was_cancelled_here_only_is_kept_when_it_comes(genq: Installation) -> None:
    number = genq.add("deaf", "--prompt", "x")
    genq.until(number, "generating")
    assert genq.ask("cancel", str(number)).code == 0
    job = genq.until(number, "cancelled")
    assert job["billed"] == "unknown"
    job = until(lambda: (one := genq.show(number))["billed"] == "kept" and one)
    assert job["state"] == "cancelled"
    assert Path(job["outputs"][0]["path"]).exists()
    refused = genq.ask("requeue", str(number))
    assert refused.code == 1
    _check_fold(genq)


def test_a_downloading_job_that_is_cancelled_keeps_its_paid_result(genq: Installation) -> None:
    number = genq.add("sticky", "--prompt", "x")
    genq.until(number, "downloading")
    assert genq.ask("cancel", str(number)).code == 0
    job = genq.show(number)
    assert job["state"] in ("cancelling", "cancelled")
    assert job["billed"] in ("yes", "kept", "unknown")
    _check_fold(genq)


# ---- order ----


def test_priority_goes_first_then_batches_in_turn_then_age(genq: Installation) -> None:
    genq.ask("pause", "single")
    words = ("single", "--prompt", "x")
    plain = [genq.add(*words, "--batch", "a") for _ in range(3)]
    other = genq.add(*words, "--batch", "b")
    urgent = genq.add(*words, "--batch", "b", "--priority", "10")
    raised = genq.add(*words, "--batch", "a")
    assert genq.ask("priority", str(raised), "20").code == 0
    assert genq.show(raised)["priority"] == 20
    genq.ask("resume", "single")
    numbers = [*plain, other, urgent, raised]
    genq.ask("wait", *map(str, numbers))
    order = sorted(numbers, key=lambda number: genq.show(number)["started_at"])
    assert order[:2] == [raised, urgent]
    assert order.index(other) < order.index(plain[2])
    assert [one for one in order if one in plain] == plain


# ---- dependencies ----


def test_children_wait_for_a_failed_parent_until_it_succeeds(genq: Installation) -> None:
    parent = genq.add("scripted", "--prompt", "refused for good", "--name", "the failing one")
    child = genq.add("scripted", "--prompt", "x", "--image", "job:the failing one")
    genq.until(parent, "failed")
    job = genq.show(child)
    assert (job["state"], job["reason"], job["after"]) == ("queued", "dependency", [parent])
    assert genq.ask("wait", str(child), "--json").value["stuck"] == [child]
    assert genq.ask("requeue", str(parent)).code == 0
    job = genq.until(child, "succeeded")
    assert job["images"] == [{"source": f"job:{parent}", "sha256": None}]


def test_a_script_is_played_once_for_each_job(genq: Installation) -> None:
    number = genq.add("scripted", "--prompt", "fails once")
    genq.until(number, "failed")
    genq.ask("requeue", str(number))
    until(lambda: genq.show(number)["attempt"] == 2)
    assert genq.until(number, "failed", "succeeded")["state"] == "succeeded"


def test_a_hold_takes_a_job_out_of_the_queue_and_release_puts_it_back(
    genq: Installation,
) -> None:
    genq.ask("pause", "strict")
    number = genq.add("strict", "--prompt", "x")
    assert genq.show(number)["reason"] == "provider"
    assert genq.ask("hold", str(number)).code == 0
    genq.ask("resume", "strict")
    job = genq.show(number)
    assert (job["state"], job["reason"]) == ("held", "operator")
    assert genq.ask("release", str(number)).code == 0
    genq.until(number, "succeeded")
    _check_fold(genq)
