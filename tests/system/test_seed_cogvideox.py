"""The first post-mortem: gateways that answer 504 while the job goes on. Through genqd and genq."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.studio import Studio
from tests.fakes.vendors.cogvideox import CLIP, KEY, CogVideoXServer
from tests.fakes.vendors.server import answers, page

CONFIG = """
[providers.cogvideox]
engine = "cogvideox"
base_url = "{base}"
api_key = {{ env = "ZHIPU_API_KEY" }}
allow_networks = ["127.0.0.0/8"]
poll_interval_s = 0.05
backoff_base_s = 0.01
backoff_max_s = 0.02
watch_interval_s = 60
cancel_grace_s = 0.05
{more}
"""


@pytest.fixture
async def vendor() -> AsyncIterator[CogVideoXServer]:
    async with CogVideoXServer(processing=2) as server, server.store:
        yield server


@pytest.fixture
async def studio(
    tmp_path: Path, vendor: CogVideoXServer, request: pytest.FixtureRequest
) -> AsyncIterator[Studio]:
    config = CONFIG.format(base=vendor.target, more=getattr(request, "param", ""))
    made = Studio(tmp_path, config, ZHIPU_API_KEY=KEY)
    await made.start()
    yield made
    await made.kill()


async def test_four_504s_in_a_row_are_tolerated_and_a_good_answer_clears_them(
    studio: Studio, vendor: CogVideoXServer
) -> None:
    vendor.will("poll", *[page(504)] * 4)
    await studio.run("add", "cogvideox", "--prompt", "a fox runs")
    await studio.settled()
    job = await studio.job()
    assert job["state"] == "succeeded"
    assert (job["errors_consecutive"], job["errors_total"]) == (0, 4)
    assert job["outputs"][0]["mime"] == "video/mp4"
    assert job["outputs"][0]["bytes"] == len(CLIP)
    assert list(vendor.accepted.values()) == [1]
    assert vendor.complaints == []


async def test_the_fifth_504_in_a_row_stops_with_advice_and_requeue_pays_nothing(
    studio: Studio, vendor: CogVideoXServer
) -> None:
    vendor.will("poll", *[page(504)] * 5)
    await studio.run("add", "cogvideox", "--prompt", "a fox runs")
    await studio.settled()
    job = await studio.job()
    assert (job["state"], job["reason"]) == ("held", "poll_limit")
    assert job["errors_consecutive"] == 5
    assert job["error"]["http"] == 504
    assert job["error"]["advice"]
    await studio.run("requeue", "1")
    await studio.settled()
    assert (await studio.job())["state"] == "succeeded"
    assert list(vendor.accepted.values()) == [1]


@pytest.mark.parametrize("studio", ["generate_timeout_s = 0.2"], indirect=True)
async def test_after_the_cap_there_is_one_last_look_and_the_paid_task_is_kept(
    studio: Studio, vendor: CogVideoXServer
) -> None:
    vendor.processing = 1_000_000
    await studio.run("add", "cogvideox", "--prompt", "a fox runs")
    await studio.settled()
    job = await studio.job()
    assert (job["state"], job["reason"]) == ("held", "deadline")
    assert job["remote_id"]
    vendor.processing = 0
    await studio.run("release", "1")
    await studio.settled()
    assert (await studio.job())["state"] == "succeeded"
    assert list(vendor.accepted.values()) == [1]


@pytest.mark.parametrize("studio", ["concurrency = 3"], indirect=True)
async def test_at_most_three_are_at_the_vendor_at_once(
    studio: Studio, vendor: CogVideoXServer
) -> None:
    vendor.processing = 1_000_000
    await studio.run("add", "cogvideox", "--prompt", "a fox runs", "--count", "5")
    await studio.run("wait", "--timeout", "1", check=False)
    assert len(vendor.accepted) == 3
    vendor.processing = 0
    await studio.settled()
    assert len(vendor.accepted) == 5


async def test_a_lost_answer_is_a_doubt_and_never_sent_again(
    studio: Studio, vendor: CogVideoXServer
) -> None:
    vendor.will("submit", page(504, accepts=True))
    await studio.run("add", "cogvideox", "--prompt", "a fox runs")
    await studio.settled()
    assert (await studio.job())["state"] == "in_doubt"
    submits = [path for method, path in vendor.seen if method == "POST"]
    assert len(submits) == 1


async def test_a_cancelled_job_is_left_cleanly_and_its_id_is_kept(
    studio: Studio, vendor: CogVideoXServer
) -> None:
    vendor.processing = 1_000_000
    await studio.run("add", "cogvideox", "--prompt", "a fox runs")
    while not vendor.accepted:
        await studio.run("ping")
    await studio.run("cancel", "1")
    await studio.settled()
    job = await studio.job()
    assert (job["state"], job["billed"]) == ("cancelled", "unknown")
    assert job["remote_id"]
    assert job["errors_total"] == 0


async def test_the_key_is_nowhere_in_what_is_written(
    studio: Studio, vendor: CogVideoXServer
) -> None:
    echo = {"error": {"code": "1000", "message": f"bad key {KEY}"}}
    vendor.will("submit", answers(401, echo))
    await studio.run("add", "cogvideox", "--prompt", "a fox runs")
    await studio.run("wait", "--timeout", "0.5", check=False)
    assert "paused (auth)" in await studio.run("why", "1")
    await asyncio.to_thread(studio.genq.stop)
    for path in studio.genq.folder.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path
