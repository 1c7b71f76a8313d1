"""The third post-mortem: workflows that failed at once, and were waited for. Through genqd, genq.

Its figures are those of the shipped configuration; the sections here have the same, scaled down.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.installation import ROOT
from tests.fakes.leaks import leaks_of
from tests.fakes.shared_studio import SharedStudio
from tests.fakes.vendors.coze import CLIP, KEY, WORKFLOW, CozeServer, envelope, record
from tests.fakes.vendors.server import Weather, answers, cut, hangs_up, page, silent

COMMON = {
    "engine": "coze",
    "api_key": {"env": "COZE_API_TOKEN"},
    "workflow_id": WORKFLOW,
    "allow_networks": ["127.0.0.0/8"],
    "poll_interval_s": 0.02,
    "errors_consecutive_max": 20,
    "backoff_base_s": 0.001,
    "backoff_max_s": 0.002,
    "watch_interval_s": 3600,
    "cancel_grace_s": 0,
}
UNKNOWN = 700_000_001
"""A code that no table has: what follows is decided by the words."""
STOPS = (
    "Access plugin server url timed out",
    "Server timeout",
    "Request timed out",
    "Internal server error",
)
GOES_ON = "Normal error that should retry"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStudio]:
    made = SharedStudio(tmp_path_factory.mktemp("t"), COMMON, COZE_API_TOKEN=KEY)
    yield made
    made.genq.kill()


@pytest.fixture
async def vendor(studio: SharedStudio) -> AsyncIterator[CozeServer]:
    """Whom the provider `coze` works with during one test."""
    async with CozeServer(running=2) as server, server.store:
        await studio.provider("coze", server.origin)
        yield server
        assert server.complaints == server.store.complaints == []


async def run(studio: SharedStudio, provider: str = "coze") -> dict[str, Any]:
    """A job, once it goes no further by itself."""
    number = await studio.add(provider, "--prompt", "a fox runs")
    return await studio.until(number, "succeeded", "failed", "held", "in_doubt")


async def requeued(studio: SharedStudio, job: Mapping[str, Any]) -> dict[str, Any]:
    """The same job, after a requeue that succeeded."""
    assert (await studio.told("requeue", str(job["id"])))["changed"] == [job["id"]]
    return await studio.until(job["id"], "succeeded")


def polls(vendor: CozeServer) -> int:
    """How often runs were asked for."""
    return sum(method == "GET" for method, _ in vendor.seen)


def posts(vendor: CozeServer) -> int:
    """How many requests that cost money have reached the vendor."""
    return sum(method == "POST" for method, _ in vendor.seen)


def refuses(code: int, message: str) -> Weather:
    """Coze's own form of an error."""
    return answers(200, envelope(code, message))


def content_of(job: Mapping[str, Any]) -> bytes:
    """What is in the job's one output."""
    (output,) = job["outputs"]
    return Path(output["path"]).read_bytes()


# ---- the figures as shipped ----


def test_the_shipped_configuration_asks_every_minute_for_twenty_minutes(
    studio: SharedStudio,
) -> None:
    done = studio.genq.genqd("config", "show", "--json", "--config", str(ROOT / "config.toml"))
    shipped = json.loads(done.stdout)["providers"]["coze"]
    assert (shipped["poll_interval_s"], shipped["errors_consecutive_max"]) == (60, 20)
    assert shipped["generate_timeout_s"] == 1200 == 20 * shipped["poll_interval_s"]
    assert shipped["on_limit"] == "hold"


# ---- the way it goes ----


async def test_the_output_is_read_twice_and_its_clip_downloaded(
    studio: SharedStudio, vendor: CozeServer
) -> None:
    job = await run(studio)
    assert (job["state"], job["billed"]) == ("succeeded", "yes")
    assert job["remote_id"] in vendor.runs
    assert (job["outputs"][0]["mime"], content_of(job)) == ("video/mp4", CLIP)
    assert polls(vendor) == 3
    assert vendor.runs[job["remote_id"]]["ext"]["user_id"] == job["attempts"][0]["key"]


@pytest.mark.parametrize(
    "written",
    [
        lambda link: json.dumps({"Output": json.dumps({"data": [{"url": link}]})}),
        lambda link: json.dumps({"Output": link}),
        lambda link: json.dumps({"Output": f"your clip: {link}"}),
        lambda link: link,
    ],
    ids=["texts in each other", "a link in a text", "words", "plain"],
)
async def test_plain_text_is_taken_at_either_level(
    studio: SharedStudio, vendor: CozeServer, written: Any
) -> None:
    link = vendor.made("any")["video"]
    vendor.will("poll", answers(200, record(execute_status="Success", output=written(link))))
    job = await run(studio)
    assert job["state"] == "succeeded"
    assert content_of(job) == CLIP


# ---- what stops at once, and what goes on ----


@pytest.mark.parametrize("message", STOPS)
async def test_the_sample_messages_that_tell_of_a_grave_fault_stop_at_once(
    studio: SharedStudio, vendor: CozeServer, message: str
) -> None:
    vendor.will("poll", refuses(UNKNOWN, message))
    job = await run(studio)
    assert (job["state"], job["error"]["rule"]) == ("failed", "coze.words")
    assert message in job["error"]["message"]
    assert (polls(vendor), job["errors_total"]) == (1, 1)
    # It was the asking that failed: the run's id is kept, and asking again costs nothing.
    assert (await requeued(studio, job))["remote_id"] == job["remote_id"]
    assert posts(vendor) == 1


async def test_the_sample_message_of_a_normal_error_goes_on(
    studio: SharedStudio, vendor: CozeServer
) -> None:
    vendor.will("poll", refuses(UNKNOWN, GOES_ON))
    job = await run(studio)
    assert (job["state"], job["errors_consecutive"], job["errors_total"]) == ("succeeded", 0, 1)
    assert posts(vendor) == 1


@pytest.mark.parametrize("status", ["Fail", "Failed", "FAILED"])
@pytest.mark.parametrize("code", [720701001, "720701001", 720701002, "720701002"])
async def test_a_run_that_failed_for_its_plugin_fails_at_once_in_either_spelling(
    studio: SharedStudio, vendor: CozeServer, status: str, code: int | str
) -> None:
    failed = record(execute_status=status, error_code=code, error_message="the plugin is away")
    vendor.will("poll", answers(200, failed))
    job = await run(studio)
    assert (job["state"], job["error"]["kind"]) == ("failed", "provider.failed")
    assert (job["error"]["code"], job["error"]["rule"]) == (str(code), f"coze.plugin-{code}")
    assert "the plugin is away" in job["error"]["message"]
    assert "requeue" in job["error"]["advice"]
    assert (polls(vendor), posts(vendor)) == (1, 1)


@pytest.mark.parametrize("code", [720701001, 720701002])
@pytest.mark.parametrize("route", ["submit", "poll"])
async def test_the_same_codes_as_an_answers_own_fail_at_once_too(
    studio: SharedStudio, vendor: CozeServer, route: str, code: int
) -> None:
    vendor.will(route, refuses(code, "the plugin is away"))
    job = await run(studio)
    assert (job["state"], job["error"]["phase"]) == ("failed", route)
    assert job["error"]["rule"] == f"coze.plugin-{code}"
    assert posts(vendor) == 1


@pytest.mark.parametrize("status", ["Fail", "Failed"])
async def test_a_run_that_failed_for_anything_else_is_over_too_and_a_requeue_runs_it_anew(
    studio: SharedStudio, vendor: CozeServer, status: str
) -> None:
    failed = record(execute_status=status, error_code="5001", error_message=GOES_ON)
    vendor.will("poll", answers(200, failed))
    job = await run(studio)
    assert (job["state"], job["error"]["rule"]) == ("failed", "shared.verdict")
    assert polls(vendor) == 1
    again = await requeued(studio, job)
    assert again["remote_id"] != job["remote_id"]
    assert posts(vendor) == 2


async def test_other_errors_of_the_provider_go_on_up_to_the_twentieth_in_a_row(
    studio: SharedStudio, vendor: CozeServer
) -> None:
    vendor.running = 0
    vendor.will("poll", *[refuses(UNKNOWN, GOES_ON)] * 19)
    job = await run(studio)
    assert (job["state"], job["errors_total"]) == ("succeeded", 19)
    vendor.running = 2
    vendor.will("poll", *[refuses(UNKNOWN, GOES_ON)] * 20)
    job = await run(studio)
    assert (job["state"], job["reason"]) == ("held", "poll_limit")
    assert (job["errors_consecutive"], job["errors_consecutive_max"]) == (20, 20)
    assert (await requeued(studio, job))["errors_consecutive"] == 0
    assert posts(vendor) == 2


# ---- our own network is no word of the provider ----


async def test_a_connection_that_times_out_while_polling_is_tolerated_whatever_its_name(
    studio: SharedStudio, vendor: CozeServer
) -> None:
    await studio.provider("hasty", vendor.origin, poll_timeout_s=0.5)
    vendor.will("poll", silent(), cut(b'{"code": 0, "msg": "timeout'), page(504, "timed out"))
    job = await run(studio, "hasty")
    assert (job["state"], job["errors_total"]) == ("succeeded", 3)
    assert posts(vendor) == 1


async def test_a_network_that_stays_away_leaves_the_run_to_be_asked_for_again(
    studio: SharedStudio, vendor: CozeServer
) -> None:
    # Twice as many, for a GET on a connection that was open is sent again below us.
    vendor.will("poll", *[hangs_up()] * 40)
    job = await run(studio)
    assert (job["state"], job["reason"]) == ("held", "poll_limit")
    assert job["error"]["kind"].startswith("transport.")
    assert job["remote_id"] in vendor.runs
    vendor.weather.clear()
    again = await requeued(studio, job)
    assert again["remote_id"] == job["remote_id"]
    assert (again["attempt"], posts(vendor)) == (1, 1)


async def test_after_twenty_polls_there_is_one_last_look_and_the_paid_run_is_kept(
    studio: SharedStudio, vendor: CozeServer
) -> None:
    await studio.provider("capped", vendor.origin, generate_timeout_s=20 * 0.02)
    vendor.running = 1_000_000
    job = await run(studio, "capped")
    assert (job["state"], job["reason"]) == ("held", "deadline")
    assert job["errors_total"] == 0
    assert 1 <= polls(vendor) <= 21
    vendor.running = 0
    assert (await requeued(studio, job))["remote_id"] == job["remote_id"]
    assert posts(vendor) == 1


async def test_a_lost_answer_is_a_doubt_and_the_workflow_is_not_run_again(
    studio: SharedStudio, vendor: CozeServer
) -> None:
    vendor.will("submit", page(504, "server error", accepts=True))
    job = await run(studio)
    assert (job["state"], job["billed"], job["error"]["rule"]) == ("in_doubt", "unknown", "guard")
    assert posts(vendor) == 1


# ---- the key ----


async def test_a_key_that_the_provider_echoes_is_nowhere_in_what_is_shown_or_written(
    studio: SharedStudio, vendor: CozeServer
) -> None:
    await studio.provider("echo", vendor.origin)
    await asyncio.to_thread(studio.genq.stop)
    await asyncio.to_thread(studio.genq.start, "--log-level", "debug")
    message = f"no plugin for Bearer {KEY}"
    plugin = record(execute_status="Fail", error_code=KEY, error_message=message)
    vendor.will("poll", page(502, f"gateway for {KEY}"), answers(200, plugin))
    failed = await run(studio, "echo")
    assert (failed["state"], failed["errors_total"]) == ("failed", 2)
    assert "no plugin for Bearer" in failed["error"]["message"]  # the echo was here
    done = record(execute_status="Success", output=json.dumps({"Output": f"for {KEY}"}))
    vendor.will("poll", answers(200, done))
    held = await run(studio, "echo")
    assert (held["state"], held["error"]["rule"]) == ("held", "coze.no-link")
    vendor.will("submit", page(502, f"gateway for {KEY}", accepts=True))
    doubted = await run(studio, "echo")
    assert doubted["state"] == "in_doubt"
    vendor.will("submit", answers(401, envelope(4100, f"bad token {KEY}")))
    last = await studio.add("echo", "--prompt", "a fox runs")
    await studio.paused("echo", "auth")
    jobs = (failed["id"], held["id"], doubted["id"], last)
    assert await leaks_of(studio, KEY, *jobs) == []
