"""The second post-mortem: first frames that timed out, for compression blocked all. Through genqd.

Its figures are those of the shipped configuration; the sections here have the same, scaled down.
"""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.fakes.installation import ROOT, Answer
from tests.fakes.leaks import leaks_of
from tests.fakes.shared_studio import SharedStudio, eventually
from tests.fakes.vendors.jiekou import KEY, PICTURE, JiekouServer, error_body, result
from tests.fakes.vendors.server import answers, page, silent

COMMON = {
    "engine": "jiekou",
    "api_key": {"env": "JIEKOU_API_KEY"},
    "allow_networks": ["127.0.0.0/8"],
    "concurrency": 4,
    "poll_interval_s": 0.02,
    "backoff_base_s": 0.01,
    "backoff_max_s": 0.02,
    "watch_interval_s": 3600,
    "cancel_grace_s": 0,
}
TASKS = "async/qwen-image-edit"
"""A model that answers with a task, which is asked for."""
SEED_PICTURES = 7
"""Of one request in the post-mortem: the scene, and six characters."""
PINGS_A_PICTURE = 5
"""A loop that compression blocked would answer one between two pictures."""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStudio]:
    made = SharedStudio(tmp_path_factory.mktemp("t"), COMMON, JIEKOU_API_KEY=KEY)
    yield made
    made.genq.kill()


@pytest.fixture
async def vendor(studio: SharedStudio) -> AsyncIterator[JiekouServer]:
    """Whom the provider `frames` works with during one test."""
    async with JiekouServer() as server, server.store:
        await studio.provider("frames", server.origin)
        yield server
        assert server.complaints == server.store.complaints == []


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A picture of 5 megapixels that compresses badly: some megabytes."""
    noise = io.BytesIO()
    Image.effect_noise((2700, 1800), 60).convert("RGB").save(noise, "JPEG", quality=90)
    return noise.getvalue()


async def asked(studio: SharedStudio, *words: str) -> Answer:
    """What a command answers, while the vendor's loop goes on."""
    return await asyncio.to_thread(studio.genq.ask, *words)


async def ended(studio: SharedStudio, number: int) -> dict[str, Any]:
    """The job, once it goes no further by itself."""
    return await studio.until(number, "succeeded", "failed", "held", "in_doubt", "cancelled")


def content_of(job: dict[str, Any]) -> bytes:
    """What is in the job's one output."""
    (output,) = job["outputs"]
    return Path(output["path"]).read_bytes()


def kept(studio: SharedStudio, number: int) -> dict[str, Any]:
    """The job, once it has an output."""
    job = studio.genq.show(number)
    return job if job["outputs"] else {}


def posts(vendor: JiekouServer) -> int:
    """How many requests that cost money have reached the vendor."""
    return sum(method == "POST" for method, _ in vendor.seen)


async def uncollected(studio: SharedStudio) -> int:
    """How many jobs may have been paid for and have nothing yet, with nobody at it."""
    return int((await studio.told("status"))["uncollected"])


def effective(studio: SharedStudio, config: Path) -> dict[str, Any]:
    """The values that would count with the file `config`."""
    done = studio.genq.genqd("config", "show", "--json", "--config", str(config))
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


# ---- the figures as shipped ----


def test_the_shipped_configuration_has_the_figures_of_the_post_mortem(
    studio: SharedStudio,
) -> None:
    shown = effective(studio, ROOT / "config.toml")
    shipped = shown["providers"]["jiekou"]
    assert (shipped["submit_timeout_s"], shipped["download_timeout_s"]) == (180, 60)
    assert (shipped["concurrency"], shipped["on_unknown"]) == (4, "ask")
    assert shown["pictures"] == {
        "image_max_kb": 300,
        "image_max_side": 1280,
        "image_max_mpixel": 40,
        "image_workers": 4,
    }


def test_a_section_that_says_nothing_has_limits_too_and_no_shorter_ones(
    studio: SharedStudio, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.toml"
    bare.write_text('[providers.mine]\nengine = "jiekou"\n')
    section = effective(studio, bare)["providers"]["mine"]
    assert section["submit_timeout_s"] >= 180
    assert (section["download_timeout_s"], section["download_retries"]) == (60, 3)
    assert section["on_unknown"] == "ask"


# ---- what takes how long ----


@pytest.mark.parametrize(
    ("model", "stages"),
    [
        ("seedream-4.5", ["queue", "prepare", "submit", "download"]),
        (TASKS, ["queue", "prepare", "submit", "generate", "download"]),
    ],
)
async def test_every_stage_tells_how_long_it_took_and_no_time_is_left_out(
    studio: SharedStudio, vendor: JiekouServer, tmp_path: Path, model: str, stages: list[str]
) -> None:
    picture = tmp_path / "scene.png"
    Image.new("RGB", (512, 512), "teal").save(picture)
    await studio.provider("timed", vendor.origin, model=model)
    number = await studio.add("timed", "--prompt", "a fox", "--image", str(picture))
    job = await ended(studio, number)
    assert job["state"] == "succeeded"
    assert [(one["stage"], one["result"]) for one in job["stages"]] == [(s, "ok") for s in stages]
    now = job["created_at"]
    for one in job["stages"]:
        assert one["started_at"] == pytest.approx(now, abs=1e-3)
        now = one["started_at"] + one["duration_s"]
    assert now == pytest.approx(job["finished_at"], abs=1e-3)
    assert content_of(job) == PICTURE
    shown = (await asked(studio, "show", str(number))).out
    assert all(stage in shown for stage in stages)


async def test_large_pictures_are_made_to_fit_and_meanwhile_the_daemon_answers(
    studio: SharedStudio, vendor: JiekouServer, tmp_path: Path, large: bytes
) -> None:
    small = tmp_path / "small.png"
    Image.new("RGB", (512, 512), "teal").save(small)
    words = ["--image", str(small)]
    for index in range(SEED_PICTURES):
        path = tmp_path / f"{index}.jpg"
        path.write_bytes(large + bytes([index]))  # another file, so it is worked on too
        words += ["--image", str(path)]
    number = await studio.add("frames", "--prompt", "a fox", *words)
    pings = 0
    while not vendor.requests:
        assert (await asked(studio, "ping")).code == 0
        pings += 1
    assert pings > SEED_PICTURES * PINGS_A_PICTURE
    assert (await ended(studio, number))["state"] == "succeeded"
    (_, body), *others = vendor.requests
    contents = [base64.b64decode(uri.partition(",")[2]) for uri in body["image"]]
    assert not others
    assert contents[0] == small.read_bytes()
    assert len(contents) == 1 + SEED_PICTURES
    for content in contents[1:]:
        assert len(content) <= 300 * 1024
        with Image.open(io.BytesIO(content)) as picture:
            assert max(picture.size) <= 1280
            assert picture.width / picture.height == pytest.approx(2700 / 1800, rel=0.01)


async def test_four_are_made_at_once_and_no_more(
    studio: SharedStudio, vendor: JiekouServer
) -> None:
    vendor.ready.clear()
    added = await studio.told("add", "frames", "--prompt", "a fox", "--count", "7")
    numbers = added["ids"]
    await eventually(lambda: vendor.inside == 4)
    await asked(studio, "wait", "--timeout", "0.3")
    states = [(await studio.job(number))["state"] for number in numbers]
    assert states == ["submitting"] * 4 + ["queued"] * 3
    vendor.ready.set()
    assert {(await ended(studio, one))["state"] for one in numbers} == {"succeeded"}
    assert vendor.inside_most == 4
    assert posts(vendor) == 7


# ---- pictures that can't be used ----


async def test_a_picture_that_cannot_be_decoded_fails_at_once_with_its_reason(
    studio: SharedStudio, vendor: JiekouServer, tmp_path: Path, large: bytes
) -> None:
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(large[: len(large) // 2])
    number = await studio.add("frames", "--prompt", "a fox", "--image", str(cut))
    job = await ended(studio, number)
    assert (job["state"], job["error"]["phase"]) == ("failed", "prepare")
    assert (job["error"]["kind"], job["errors_total"]) == ("local.decode", 1)
    assert "truncated" in job["error"]["message"]
    assert "another one" in job["error"]["advice"]
    assert job["attempts"] == []
    assert posts(vendor) == 0
    assert job["error"]["message"] in await studio.why(number)


async def test_a_picture_beyond_all_measure_is_refused_before_it_is_decoded(
    studio: SharedStudio, vendor: JiekouServer, tmp_path: Path
) -> None:
    bomb = tmp_path / "bomb.png"
    Image.new("1", (10_000, 8_000)).save(bomb)
    job = await ended(studio, await studio.add("frames", "--prompt", "a fox", "--image", str(bomb)))
    assert (job["state"], job["error"]["kind"]) == ("failed", "local.decode")
    assert "80.0 megapixels, the limit is 40" in job["error"]["message"]
    assert posts(vendor) == 0


async def test_what_is_no_picture_is_not_even_queued(
    studio: SharedStudio, vendor: JiekouServer, tmp_path: Path
) -> None:
    before = await studio.told("ls", "--all")
    text = tmp_path / "scene.png"
    text.write_text("<html>no such picture</html>")
    answer = await asked(studio, "add", "frames", "--prompt", "a fox", "--image", str(text))
    assert answer.code == 2
    assert "is no picture" in answer.err
    assert len(await studio.told("ls", "--all")) == len(before)
    assert posts(vendor) == 0


# ---- money ----


async def test_a_submit_that_times_out_is_a_doubt_and_is_never_sent_again(
    studio: SharedStudio, vendor: JiekouServer
) -> None:
    await studio.provider("hasty", vendor.origin, submit_timeout_s=1)
    vendor.will("submit", silent(accepts=True))
    number = await studio.add("hasty", "--prompt", "a fox")
    job = await ended(studio, number)
    assert job["state"] == "in_doubt"
    assert job["error"]["kind"].startswith("transport.timeout")
    assert (job["billed"], job["error"]["rule"]) == ("unknown", "guard")
    refused = await asked(studio, "requeue", str(number), "--yes")
    assert refused.code == 1
    assert "resolve" in refused.out + refused.err
    assert (await asked(studio, "wait", str(number))).code == 1
    assert vendor.accepted == {"a fox": 1}
    assert posts(vendor) == 1


async def test_a_download_that_fails_is_tried_again_from_the_same_link(
    studio: SharedStudio, vendor: JiekouServer
) -> None:
    await studio.provider("slow", vendor.origin, download_timeout_s=0.5)
    vendor.store.will("picture", page(502), silent(), page(504))
    job = await ended(studio, await studio.add("slow", "--prompt", "a fox"))
    assert (job["state"], job["billed"]) == ("succeeded", "yes")
    assert job["errors_total"] == 3
    links = {path for _, path in vendor.store.seen}
    assert (len(vendor.store.seen), len(links)) == (4, 1)
    assert posts(vendor) == 1


async def test_a_download_that_never_works_keeps_the_paid_picture_for_a_requeue(
    studio: SharedStudio, vendor: JiekouServer
) -> None:
    owed = await uncollected(studio)
    vendor.store.will("picture", *[page(503)] * 4)
    number = await studio.add("frames", "--prompt", "a fox")
    job = await ended(studio, number)
    assert (job["state"], job["reason"]) == ("held", "download")
    assert (job["error"]["http"], job["error"]["rule"]) == (503, "shared.download")
    assert await uncollected(studio) == owed + 1
    assert (await studio.told("requeue", str(number)))["changed"] == [number]
    job = await studio.until(number, "succeeded")
    assert (job["error"], posts(vendor)) == (None, 1)


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_link_that_has_expired_leaves_the_job_held_and_never_pays_by_itself(
    studio: SharedStudio, vendor: JiekouServer, status: int
) -> None:
    owed = await uncollected(studio)
    vendor.store.will("picture", page(status))
    number = await studio.add("frames", "--prompt", "a fox")
    job = await ended(studio, number)
    assert (job["state"], job["reason"]) == ("held", "link_expired")
    assert (job["error"]["phase"], job["error"]["http"]) == ("download", status)
    assert job["attempts"][0]["accepted_at"] is not None
    assert await uncollected(studio) == owed + 1
    assert (await studio.told("requeue", str(number)))["changed"] == [number]
    assert (await studio.until(number, "succeeded"))["attempt"] == 1
    assert await uncollected(studio) == owed
    assert posts(vendor) == 1


async def test_a_job_that_is_cancelled_while_its_picture_is_made_keeps_what_comes(
    studio: SharedStudio, vendor: JiekouServer
) -> None:
    vendor.ready.clear()
    number = await studio.add("frames", "--prompt", "a fox")
    await eventually(lambda: vendor.inside)
    assert (await studio.told("cancel", str(number)))["changed"] == [number]
    assert (await studio.job(number))["state"] == "cancelling"
    vendor.ready.set()
    await studio.until(number, "cancelled")
    job = await eventually(lambda: kept(studio, number))
    assert (job["state"], job["billed"]) == ("cancelled", "kept")
    assert (job["errors_total"], job["error"]) == (0, None)
    assert content_of(job) == PICTURE
    assert posts(vendor) == 1


async def test_a_job_that_is_cancelled_before_its_turn_leaves_nothing_behind(
    studio: SharedStudio, vendor: JiekouServer
) -> None:
    vendor.ready.clear()
    added = await studio.told("add", "frames", "--prompt", "a fox", "--count", "5")
    *numbers, last = added["ids"]
    await eventually(lambda: vendor.inside == 4)
    assert (await studio.told("cancel", str(last)))["changed"] == [last]
    job = await studio.job(last)
    assert (job["state"], job["billed"], job["attempts"]) == ("cancelled", "no", [])
    vendor.ready.set()
    assert {(await ended(studio, one))["state"] for one in numbers} == {"succeeded"}
    assert posts(vendor) == 4


# ---- the key ----


async def test_a_key_that_the_provider_echoes_is_nowhere_in_what_is_shown_or_written(
    studio: SharedStudio, vendor: JiekouServer, tmp_path: Path
) -> None:
    await studio.provider("echo", vendor.origin)
    await studio.provider("echo_tasks", vendor.origin, model=TASKS)
    await asyncio.to_thread(studio.genq.stop)
    await asyncio.to_thread(studio.genq.start, "--log-level", "debug")
    details = f"Authorization: Bearer {KEY}"
    vendor.will(
        "submit",
        answers(400, error_body(400, "INVALID_REQUEST_BODY", "invalid", details)),
        answers(200, {"note": f"made for {KEY}"}),
    )
    refused = await ended(studio, await studio.add("echo", "--prompt", "a fox"))
    assert refused["state"] == "failed"
    assert "Authorization: Bearer" in refused["error"]["message"]  # the echo was here
    doubted = await ended(studio, await studio.add("echo", "--prompt", "a fox"))
    assert doubted["state"] == "in_doubt"
    vendor.will("poll", page(502, f"gateway for {KEY}"))
    vendor.will("poll", answers(200, result("t", "TASK_STATUS_FAILED", reason=f"{KEY}?")))
    picture = tmp_path / "scene.png"
    Image.new("RGB", (64, 64)).save(picture)
    number = await studio.add("echo_tasks", "--prompt", "a fox", "--image", str(picture))
    failed = await ended(studio, number)
    assert (failed["state"], failed["errors_total"]) == ("failed", 2)
    vendor.will("submit", answers(401, error_body(401, KEY, f"bad key {KEY}")))
    last = await studio.add("echo", "--prompt", "a fox")
    await studio.paused("echo", "auth")
    jobs = (refused["id"], doubted["id"], number, last)
    assert await leaks_of(studio, KEY, *jobs) == []
