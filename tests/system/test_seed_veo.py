"""The post-mortem of Veo's quota: one refusal stops the provider, one probe opens it again.

Through genqd and genq, beside a platform that refuses as it is told.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from PIL import Image

from tests.fakes.installation import CLOCK, ROOT
from tests.fakes.leaks import leaks_of
from tests.fakes.shared_studio import SharedStudio, eventually
from tests.fakes.vendors.server import Weather, answers, page
from tests.fakes.vendors.veo import (
    CLIP,
    KEY,
    MODEL,
    VeoServer,
    error_body,
    quota_failure,
    retry_info,
)

COMMON = {
    "engine": "veo",
    "variant": "platform",
    "model": MODEL,
    "api_key": {"env": "GOOGLE_API_KEY"},
    "poll_interval_s": 0.05,
    "backoff_base_s": 0.01,
    "backoff_max_s": 0.02,
    "watch_interval_s": 60,
    "cancel_grace_s": 0,
    "submit_retries": 3,
    "quota_daily_reset": "00:00 America/Los_Angeles",
}
WORDS = "You exceeded your current quota, please check your plan and billing details."


def exhausted(*details: dict[str, Any], headers: Mapping[str, str] | None = None) -> Weather:
    """The refusal of the post-mortem, with what else it may say."""
    body = error_body(429, "RESOURCE_EXHAUSTED", WORDS, list(details))
    return answers(429, body, headers=headers)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStudio]:
    made = SharedStudio(tmp_path_factory.mktemp("t"), COMMON, GOOGLE_API_KEY=KEY)
    yield made
    made.genq.kill()


@pytest.fixture
async def platform() -> AsyncIterator[VeoServer]:
    async with VeoServer() as server, server.store:
        yield server
        assert server.complaints == []


@pytest.fixture
async def developer() -> AsyncIterator[VeoServer]:
    async with VeoServer("developer") as server, server.store:
        yield server
        assert server.complaints == server.store.complaints == []


# ---- the pause ----


def test_the_shipped_figures_are_those_of_the_post_mortem(studio: SharedStudio) -> None:
    shown = studio.genq.genqd("config", "show", "--json", "--config", str(ROOT / "config.toml"))
    section = json.loads(shown.stdout)["providers"]["veo"]
    assert (section["submit_retries"], section["backoff_base_s"]) == (3, 30)
    assert (section["quota_pause_s"], section["quota_streak_max"]) == (300, 3)
    assert section["quota_reset_s"] == 3600


async def test_a_refusal_pauses_the_provider_and_is_explained_through_a_crash_until_an_operator(
    studio: SharedStudio, platform: VeoServer
) -> None:
    platform.will("submit", exhausted())
    await studio.provider("pausing", platform.target, quota_pause_s=300, concurrency=1)
    before = CLOCK.now()
    first = await studio.add("pausing", "--prompt", "a fox")
    closure = await studio.paused("pausing", "quota")
    assert before + 300 <= closure["until_at"] <= CLOCK.now() + 300
    assert closure["reason"] == f"HTTP 429 RESOURCE_EXHAUSTED: {WORDS}"
    second = await studio.add("pausing", "--prompt", "an owl")

    await studio.kill()
    await studio.start()
    gate = await studio.gate("pausing")
    assert (gate["state"], gate["source"], gate["causes"]) == ("paused", "provider", [closure])
    for number in (first, second):
        job = await studio.job(number)
        assert (job["state"], job["reason"]) == ("queued", "provider")
        assert job["next_at"] == closure["until_at"]
        assert (job["retries"], job["errors_consecutive"]) == (0, 0)
        sentence = await studio.why(number)
        assert "pausing is paused (quota), it goes on in 4:5" in sentence
        assert "RESOURCE_EXHAUSTED" in sentence
    assert "quota" in await studio.run("providers")
    assert platform.submits == 1

    await studio.run("resume", "pausing")
    for number in (first, second):
        job = await studio.until(number, "succeeded", "failed")
        assert (job["state"], job["retries"], job["errors_total"]) == ("succeeded", 0, 0)
    assert dict(platform.accepted) == {"a fox": 1, "an owl": 1}
    assert (await studio.gate("pausing"))["causes"] == []


async def test_the_third_refusal_in_a_row_pauses_for_long_and_an_acceptance_clears_the_count(
    studio: SharedStudio, platform: VeoServer
) -> None:
    platform.will("submit", *[exhausted()] * 3)
    await studio.provider("third", platform.target, quota_pause_s=0.05, quota_reset_s=3600)
    number = await studio.add("third", "--prompt", "a fox")
    await eventually(lambda: platform.submits == 3)

    def long() -> bool:
        causes = studio.genq.ask("providers", "--json").value
        gate = next(row["gate"] for row in causes if row["name"] == "third")
        return bool(gate["until_at"] and gate["until_at"] > CLOCK.now() + 3000)

    await eventually(long)
    assert (await studio.provider_row("third"))["quota_consecutive"] == 3
    job = await studio.job(number)
    assert [attempt["result"] for attempt in job["attempts"]] == ["refused"] * 3
    assert (job["state"], job["retries"], job["errors_consecutive"]) == ("queued", 0, 0)
    assert "it goes on in 59:" in await studio.why(number)
    assert await studio.told("resume", "third") == {"changed": ["third"], "refused": []}
    await studio.until(number, "succeeded")
    assert (await studio.provider_row("third"))["quota_consecutive"] == 0
    assert (platform.submits, dict(platform.accepted)) == (4, {"a fox": 1})


async def test_after_the_pause_exactly_one_probe_goes_first(
    studio: SharedStudio, platform: VeoServer
) -> None:
    together, probe = asyncio.Event(), asyncio.Event()
    platform.doors.extend([*[together] * 4, probe])
    platform.will("submit", *[exhausted()] * 4)
    await studio.provider("probing", platform.target, quota_pause_s=0.2, concurrency=4)
    added = [await studio.add("probing", "--prompt", f"shot {n}") for n in range(6)]
    await eventually(lambda: platform.submits == 4)
    together.set()
    await eventually(lambda: platform.submits == 5)
    # Refusals of requests that were on their way together count as one.
    row = await studio.provider_row("probing")
    assert (row["gate"]["state"], row["quota_consecutive"]) == ("probing", 1)
    await asyncio.to_thread(studio.genq.ask, "wait", "--timeout", "0.3", *map(str, added))
    assert platform.submits == 5
    states = [(await studio.job(number))["state"] for number in added]
    assert sorted(states) == ["queued"] * 5 + ["submitting"]
    probe.set()
    for number in added:
        assert (await studio.until(number, "succeeded", "failed"))["state"] == "succeeded"
    assert platform.submits == 4 + 6
    assert set(platform.accepted.values()) == {1}
    assert (await studio.gate("probing"))["state"] in ("open", "ramping")


async def test_a_probe_that_is_refused_pauses_again_and_nobody_follows_it(
    studio: SharedStudio, platform: VeoServer
) -> None:
    platform.will("submit", exhausted(), exhausted(retry_info("300s")))
    await studio.provider("refused", platform.target, quota_pause_s=0.05, concurrency=1)
    for shot in range(3):
        await studio.add("refused", "--prompt", f"shot {shot}")
    await eventually(lambda: platform.submits == 2)
    closure = await studio.paused("refused", "quota")
    assert closure["until_at"] > CLOCK.now() + 250
    assert (platform.submits, dict(platform.accepted)) == (2, {})


@pytest.mark.parametrize(
    ("name", "details", "headers", "least_s"),
    [
        ("info", [retry_info("37.5s")], {}, 37.5),
        ("header", [], {"Retry-After": "55"}, 55),
        ("both", [retry_info("37.5s")], {"Retry-After": "55"}, 55),
    ],
)
async def test_a_hint_that_is_longer_than_the_pause_wins(
    studio: SharedStudio,
    platform: VeoServer,
    name: str,
    details: list[Any],
    headers: dict[str, str],
    least_s: float,
) -> None:
    platform.will("submit", exhausted(*details, headers=headers))
    await studio.provider(f"hint_{name}", platform.target, quota_pause_s=5)
    before = CLOCK.now()
    await studio.add(f"hint_{name}", "--prompt", "a fox")
    closure = await studio.paused(f"hint_{name}", "quota")
    assert before + least_s <= closure["until_at"] <= CLOCK.now() + least_s * 1.1


async def test_a_quota_of_the_day_waits_for_the_daily_reset_whatever_the_hint_says(
    studio: SharedStudio, platform: VeoServer
) -> None:
    quota = quota_failure(("PredictLongRunningRequestsPerDayPerProjectPerModel", "10"))
    platform.will("submit", exhausted(quota, retry_info("57s")))
    await studio.provider("daily", platform.target, quota_pause_s=5)
    before = CLOCK.now()
    number = await studio.add("daily", "--prompt", "a fox")
    closure = await studio.paused("daily", "quota")
    reset = datetime.fromtimestamp(closure["until_at"], ZoneInfo("America/Los_Angeles"))
    assert (reset.hour, reset.minute, reset.second) == (0, 0, 0)
    assert timedelta(0) < reset - datetime.fromtimestamp(before, UTC) <= timedelta(hours=25)
    assert "PerDay" in await studio.why(number)
    assert (await studio.job(number))["next_at"] == closure["until_at"]


async def test_what_is_paid_for_is_polled_and_fetched_during_a_pause(
    studio: SharedStudio, developer: VeoServer
) -> None:
    developer.running = 1_000_000
    loopback = {"allow_networks": ["127.0.0.0/8"], "variant": "developer"}
    await studio.provider("goes_on", developer.target, quota_pause_s=300, **loopback)
    paid = await studio.add("goes_on", "--prompt", "a fox")
    await studio.until(paid, "generating")
    developer.will("submit", exhausted())
    waiting = await studio.add("goes_on", "--prompt", "an owl")
    closure = await studio.paused("goes_on", "quota")
    developer.running = 0
    job = await studio.until(paid, "succeeded", "failed", "held")
    assert job["outputs"][0]["bytes"] == len(CLIP)
    assert (await studio.gate("goes_on"))["causes"] == [closure]  # a good poll says nothing of it
    assert (await studio.job(waiting))["state"] == "queued"
    assert (developer.submits, dict(developer.accepted)) == (2, {"a fox": 1})


# ---- other errors ----


async def test_an_ordinary_error_is_retried_three_times_and_then_the_job_fails(
    studio: SharedStudio,
) -> None:
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))  # and nobody listens
        base = f"http://127.0.0.1:{port.getsockname()[1]}/v1beta1"
        await studio.provider("nobody", base)
        job = await studio.until(await studio.add("nobody", "--prompt", "a fox"), "failed")
    assert (job["retries"], len(job["attempts"]), job["billed"]) == (3, 4, "no")
    assert job["error"]["kind"] == "transport.connect"


async def test_an_error_that_may_have_been_paid_is_a_doubt_and_is_not_retried(
    studio: SharedStudio, platform: VeoServer
) -> None:
    platform.will("submit", answers(503, error_body(503, "UNAVAILABLE", "busy"), accepts=True))
    await studio.provider("doubtful", platform.target)
    number = await studio.add("doubtful", "--prompt", "a fox")
    await studio.until(number, "in_doubt")
    (operation,) = platform.operations
    await studio.told("resolve", str(number), "attach", operation)
    assert (await studio.until(number, "succeeded"))["remote_id"] == operation
    assert (platform.submits, dict(platform.accepted)) == (1, {"a fox": 1})


# ---- failed prompts, exported and added again ----


async def test_failed_prompts_are_exported_and_added_again_with_their_pictures(
    studio: SharedStudio, platform: VeoServer, tmp_path: Path
) -> None:
    first = tmp_path / "first frame.png"
    Image.new("RGB", (64, 48), "red").save(first)
    prompts = ['a "red" fox \\ runs,\n\tthen rests', "狐狸、雪地。日落"]
    refused = error_body(400, "INVALID_ARGUMENT", "blocked by a safety filter")
    platform.will("submit", *[answers(400, refused)] * 2)
    await studio.provider("exported", platform.target)
    words = ("--image", str(first), "--set", "durationSeconds=8", "--set", "aspectRatio=9:16")
    failed = [await studio.add("exported", "--prompt", one, *words) for one in prompts]
    for number in failed:
        await studio.until(number, "failed")
    good = await studio.add("exported", "--prompt", "not this one")
    await studio.until(good, "succeeded")

    file = tmp_path / "again.toml"
    asked = ("export", "--state", "failed", "--filter", "provider:exported")
    file.write_text(await studio.run(*asked))
    again = (await studio.told("add", "--file", str(file)))["ids"]
    assert len(again) == 2
    for old, new in zip(failed, again, strict=True):
        before, after = await studio.job(old), await studio.until(new, "succeeded", "failed")
        assert (before["state"], after["state"]) == ("failed", "succeeded")
        same = ("prompt", "params", "provider", "batch", "labels", "priority")
        assert [before[key] for key in same] == [after[key] for key in same]
        assert [one["sha256"] for one in before["images"]] == [
            one["sha256"] for one in after["images"]
        ]
    assert dict(platform.accepted) == dict.fromkeys((*prompts, "not this one"), 1)
    *_, sent = platform.operations.values()
    assert sent["parameters"] == {"durationSeconds": 8, "aspectRatio": "9:16"}
    assert sent["instances"][0]["image"]["mimeType"] == "image/png"


# ---- the key ----


async def test_the_key_goes_to_google_and_to_no_origin_that_a_link_leads_to(
    studio: SharedStudio, developer: VeoServer
) -> None:
    loopback = {"allow_networks": ["127.0.0.0/8"], "variant": "developer"}
    await studio.provider("linked", developer.target, **loopback)
    redirected = await studio.add("linked", "--prompt", "a fox")
    job = await studio.until(redirected, "succeeded", "failed", "held")
    assert job["outputs"][0]["bytes"] == len(CLIP)
    assert any(path.startswith("/v1beta/files/") for _, path in developer.seen)
    straight = {"video": {"uri": f"{developer.store.origin}/clips/b.mp4"}}
    response = {"generateVideoResponse": {"generatedSamples": [straight]}}
    developer.will("poll", answers(200, {"name": "n", "done": True, "response": response}))
    elsewhere = await studio.add("linked", "--prompt", "an owl")
    await studio.until(elsewhere, "succeeded", "failed", "held")
    assert developer.store.seen == [("GET", "/clips/a.mp4"), ("GET", "/clips/b.mp4")]
    assert developer.store.complaints == []  # it complains about keys


async def test_a_key_that_the_provider_echoes_is_nowhere_in_what_is_written_or_shown(
    studio: SharedStudio, developer: VeoServer
) -> None:
    words = f"API key not valid: {KEY}"
    half = "." * (1_200 - len(KEY) // 2)  # where the words of an error are cut
    loopback = {"allow_networks": ["127.0.0.0/8"], "variant": "developer", "quota_pause_s": 0.05}
    await studio.provider("echo", developer.target, **loopback)
    developer.will(
        "submit",
        answers(429, error_body(429, "RESOURCE_EXHAUSTED", f"{half}{KEY}")),
        answers(403, error_body(403, "PERMISSION_DENIED", words)),
    )
    refused = await studio.add("echo", "--prompt", "a fox")
    closure = await studio.paused("echo", "auth")
    assert "[hidden]" in closure["reason"]
    sentence = await studio.why(refused)
    assert "paused (auth) until an operator resumes it" in sentence
    developer.will("poll", page(502, words), answers(500, error_body(500, "INTERNAL", words)))
    developer.will("file", answers(200, {"error": words}), answers(502, {"error": words}))
    await studio.told("resume", "echo")
    job = await studio.until(refused, "succeeded", "failed", "held")
    assert job["state"] == "succeeded"
    verdict = {"name": "n", "done": True, "error": {"code": 7, "message": words}}
    developer.will("poll", answers(200, verdict))
    failed = await studio.add("echo", "--prompt", "an owl")
    job = await studio.until(failed, "failed")
    assert job["error"]["message"] == "API key not valid: [hidden]"
    leaks = await leaks_of(studio, KEY[: len(KEY) // 2], refused, failed)
    assert leaks == []
