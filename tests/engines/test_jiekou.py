from __future__ import annotations

import asyncio
import base64
import errno
from typing import TYPE_CHECKING, Any

import pytest

from daemon.configuration.keys import Secret
from daemon.core.faults import Rule, classify
from daemon.core.job import Result
from daemon.core.outcomes import Accepted, Fault, Pending, Ready, Stopped
from daemon.core.policy import Abilities, Limits, Policy
from daemon.engines.engine import Engine, Picture
from daemon.engines.jiekou import PICTURE_BYTES_MAX, Jiekou
from daemon.engines.jiekou_models import ROUTES
from daemon.engines.settings import settings_for
from tests.core.jobs import after, generating
from tests.fakes.clock import FakeClock
from tests.fakes.vendors import customer as customers
from tests.fakes.vendors.customer import (
    HASTY,
    PATIENT,
    Bucket,
    failed,
    picture_file,
    settings_of,
)
from tests.fakes.vendors.jiekou import KEY, PICTURE, JiekouServer, error_body, result
from tests.fakes.vendors.server import answers, cut, endless, hangs_up, page, silent, stalls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.replies import Replies

BASE = "http://vendor.test"
SYNC = f"{BASE}/v3/seedream-4.5"
POLL = f"{BASE}/v3/async/task-result?task_id=t-1"
TASKS = "async/qwen-image-edit"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
B64 = base64.b64encode(PNG).decode()
URI = f"data:image/png;base64,{B64}"
LINK = Picture(source="http://a.test/b.png", url="http://a.test/b.png")


class Customer(customers.Customer[Jiekou]):
    """One of jiekou, on a clock of its own."""

    def __init__(self, target: str, spool: Path, *, limits: Limits = PATIENT, **more: Any) -> None:
        self.spool = spool
        self.clock = FakeClock()
        model = more.pop("model", "seedream-4.5")
        settings = settings_of(target, key=KEY, model=model, limits=limits, **more)
        super().__init__(Jiekou(settings, clock=self.clock, spool=spool), target)


@pytest.fixture
async def vendor() -> AsyncIterator[JiekouServer]:
    async with JiekouServer() as server, server.store:
        yield server


@pytest.fixture
async def customer(vendor: JiekouServer, tmp_path: Path) -> AsyncIterator[Customer]:
    hosts = (vendor.store.origin.removeprefix("http://"),)
    one = Customer(vendor.origin, tmp_path / "spool", download_hosts=hosts)
    yield one
    await one.engine.close()


@pytest.fixture
async def hasty(vendor: JiekouServer, tmp_path: Path) -> AsyncIterator[Customer]:
    """One that waits for nothing."""
    one = Customer(vendor.origin, tmp_path / "spool", limits=HASTY)
    yield one
    await one.engine.close()


@pytest.fixture
async def canned(replies: Replies, tmp_path: Path) -> AsyncIterator[Customer]:
    """One at a vendor with canned replies."""
    one = Customer(BASE, tmp_path / "spool")
    yield one
    await one.engine.close()


def rule_for(fault: object) -> Rule:
    return classify(failed(fault), Jiekou.rules)


def ready(outcome: object) -> tuple[Result, ...]:
    assert isinstance(outcome, Ready), outcome
    return outcome.results


@pytest.mark.parametrize(
    ("model", "synchronous"),
    [
        ("seedream-4.5", True),
        ("of-our-own", True),
        ("async/qwen-image-edit", False),
        ("video/create", False),
    ],
)
def test_the_sections_model_tells_whether_it_is_synchronous(
    tmp_path: Path, model: str, synchronous: bool
) -> None:
    engine: Engine = Customer(BASE, tmp_path, model=model).engine
    assert engine.abilities == Abilities(synchronous=synchronous, progress=not synchronous)


def test_its_rules_have_names_of_their_own() -> None:
    names = [one.name for one in Jiekou.rules]
    assert len(set(names)) == len(names)
    assert all(name.startswith("jiekou.") for name in names)
    assert all(one.why for one in Jiekou.rules)


# ---- results ----


@pytest.mark.parametrize(
    "model", ["seedream-4.5", "gemini-2.5-flash-image-edit", "nano-banana-pro-light-i2i"]
)
async def test_a_synchronous_answer_is_the_result(
    vendor: JiekouServer, customer: Customer, model: str
) -> None:
    (one,) = ready(await customer.submit("a fox", LINK, model=model))
    assert one == Result(vendor.link, customer.clock.now() + 3600)
    assert await customer.fetched(one) == PICTURE
    assert vendor.complaints == vendor.store.complaints == []
    assert vendor.accepted == {"a fox": 1}


async def test_a_picture_inside_the_answer_is_on_disk_before_it_counts(
    vendor: JiekouServer, customer: Customer
) -> None:
    model = "nano-banana-pro-light-t2i"
    found = ready(await customer.submit(model=model, response_format="b64_json", n=2))
    assert len(found) == 2
    for one in found:
        file = customer.spool / one.url.removeprefix("spool:")
        assert file.read_bytes() == await customer.fetched(one) == PICTURE
    other = ready(await customer.submit(model=model, response_format="b64_json"))
    assert set(other).isdisjoint(found)


async def test_a_task_is_asked_for_until_it_is_done(
    vendor: JiekouServer, customer: Customer
) -> None:
    answer = await customer.submit("a fox", LINK, model=TASKS)
    assert answer == Accepted("t-0", vendor.origin)
    assert await customer.poll("t-0") == Pending(0.4)
    (one,) = ready(await customer.poll("t-0"))
    assert one == Result(vendor.link, customer.clock.now() + 60)
    assert await customer.fetched(one) == PICTURE
    assert vendor.complaints == vendor.store.complaints == []


async def test_the_video_route_keeps_the_name_of_its_model(
    vendor: JiekouServer, tmp_path: Path
) -> None:
    one = Customer(vendor.origin, tmp_path, model="video/create")
    assert one.engine.check("a fox", {"model": "veo-3", "duration": 5}, 0) == []
    assert isinstance(await one.submit(model="veo-3", duration=5), Accepted)
    assert vendor.requests == [
        ("video/create", {"model": "veo-3", "duration": 5, "prompt": "a fox"})
    ]
    assert await one.poll("t-0") == Pending(0.4)
    assert await one.poll("t-0") == Ready((Result(vendor.link, one.clock.now() + 600),))
    await one.engine.close()


@pytest.mark.parametrize(
    ("body", "links"),
    [
        ({"images": ["http://a.test/1.png", {"url": "http://a.test/2.png"}]}, "12"),
        ({"images": [{"image_url": "http://a.test/1.png", "image_url_ttl": "3600"}]}, "1"),
        ({"image_urls": ["http://a.test/1.png", "http://a.test/2.png"]}, "12"),
        ({"created": 1, "data": [{"url": "http://a.test/1.png", "b64_json": None}]}, "1"),
        ({"images": [None, {}, "", "http://a.test/1.png"]}, "1"),
        ({"code": 0, "message": "ok", "images": ["http://a.test/1.png"]}, "1"),
    ],
)
async def test_every_family_of_answers_is_taken(
    replies: Replies, canned: Customer, body: Any, links: str
) -> None:
    replies.post(SYNC, payload=body)
    found = ready(await canned.submit())
    assert [one.url for one in found] == [f"http://a.test/{n}.png" for n in links]


@pytest.mark.parametrize(
    "item", [B64, URI, {"b64_json": B64}, {"url": URI}, {"url": "http://a/b", "b64_json": B64}]
)
async def test_content_is_taken_wherever_it_stands(
    replies: Replies, canned: Customer, item: Any
) -> None:
    replies.post(SYNC, payload={"images": [item]})
    (one,) = ready(await canned.submit())
    assert await canned.fetched(one) == PNG


@pytest.mark.parametrize("body", [{"images": []}, {"data": [], "created": 1}, {"image_urls": []}])
async def test_an_answer_without_a_picture_fails_and_shows_itself(
    replies: Replies, canned: Customer, body: Any
) -> None:
    replies.post(SYNC, payload={**body, "id": "trace-1"})
    fault = failed(await canned.submit())
    assert (fault.kind, fault.effect) == ("provider.failed", "accepted")
    assert rule_for(fault).name == "shared.verdict"
    assert "trace-1" in fault.message


async def test_an_empty_answer_that_says_it_went_well_failed_all_the_same(
    replies: Replies, canned: Customer
) -> None:
    replies.post(SYNC, payload={"code": 0, "message": "ok", "images": []})
    assert rule_for(await canned.submit()).name == "shared.verdict"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"created": 1},
        {"images": None},
        {"images": [{}]},
        {"images": [{"b64_json": "no base64!"}]},
        {"images": ["data:image/png;base64,"]},
        {"task_id": None},
        {"code": 500, "reason": "", "message": "light model failed"},
        {"code": 408, "reason": "", "message": "too slow"},
        {"code": 0, "message": "ok"},
        {"error": "out of order"},
        {"error": ["out of order"]},
        [],
    ],
)
async def test_a_good_answer_that_brings_nothing_usable_leaves_a_doubt(
    replies: Replies, canned: Customer, body: Any
) -> None:
    replies.post(SYNC, payload=body)
    assert rule_for(await canned.submit()).name == "guard"


async def test_a_picture_that_cannot_be_kept_is_never_asked_for_again(
    replies: Replies, tmp_path: Path
) -> None:
    (tmp_path / "spool").write_text("a file where the folder should be")
    one = Customer(BASE, tmp_path / "spool")
    replies.post(SYNC, payload={"images": [B64]})
    fault = failed(await one.submit())
    assert (fault.kind, fault.effect) == ("local.io", "accepted")
    assert fault.message.endswith(OSError(errno.EEXIST, "File exists").strerror or "")
    assert rule_for(fault).do == "reconcile"
    await one.engine.close()


# ---- what is asked ----


@pytest.mark.parametrize(
    ("model", "field", "file", "link"),
    [
        ("seedream-4.5", "image", [URI], ["http://a.test/b.png"]),
        ("seedream-5.0-lite", "image", [URI], ["http://a.test/b.png"]),
        ("seedream-4.0", "images", [URI], ["http://a.test/b.png"]),
        ("nano-banana-pro-light-i2i", "images", [B64], ["http://a.test/b.png"]),
        ("gpt-image-2-edit", "image", B64, "http://a.test/b.png"),
        ("async/qwen-image-edit", "image", B64, "http://a.test/b.png"),
        ("async/flux-2-flex", "images", [B64], ["http://a.test/b.png"]),
    ],
)
async def test_pictures_stand_where_the_route_has_them(
    vendor: JiekouServer,
    customer: Customer,
    tmp_path: Path,
    model: str,
    field: str,
    file: Any,
    link: Any,
) -> None:
    path = picture_file(tmp_path / "first.png", content=PNG)
    for picture in (path, LINK):
        assert not isinstance(await customer.submit("a fox", picture, model=model), Fault)
    assert vendor.requests == [
        (model, {"prompt": "a fox", field: file}),
        (model, {"prompt": "a fox", field: link}),
    ]
    assert vendor.complaints == []


async def test_gemini_has_a_field_for_files_and_one_for_links_and_never_both(
    vendor: JiekouServer, customer: Customer, tmp_path: Path
) -> None:
    model = "gemini-3-pro-image-edit"
    path = picture_file(tmp_path / "first.png", content=PNG)
    near = Picture(source=vendor.link, url=vendor.link)
    for pictures in ((path, path), (LINK, LINK), (path, near)):
        assert isinstance(await customer.submit("a fox", *pictures, model=model), Ready)
    made = base64.b64encode(PICTURE).decode()
    assert [body for _, body in vendor.requests] == [
        {"prompt": "a fox", "image_base64s": [B64, B64]},
        {"prompt": "a fox", "image_urls": [LINK.url, LINK.url]},
        {"prompt": "a fox", "image_base64s": [B64, made]},
    ]
    assert vendor.complaints == vendor.store.complaints == []


async def test_the_request_holds_what_was_asked_and_no_more(
    vendor: JiekouServer, customer: Customer
) -> None:
    await customer.submit("a fox", size="2560x1440", watermark=False)
    body = {"prompt": "a fox", "size": "2560x1440", "watermark": False}
    assert vendor.requests == [("seedream-4.5", body)]


async def test_seven_pictures_go_along_in_order(
    vendor: JiekouServer, customer: Customer, tmp_path: Path
) -> None:
    contents = [PNG + bytes([n]) * 300_000 for n in range(7)]
    files = [picture_file(tmp_path / f"{n}.png", content=one) for n, one in enumerate(contents)]
    assert isinstance(await customer.submit("a fox", *files), Ready)
    sent = [one.partition(",")[2] for one in vendor.requests[0][1]["image"]]
    assert [base64.b64decode(one) for one in sent] == contents


@pytest.mark.parametrize(
    ("model", "mime", "size", "words"),
    [
        ("seedream-4.0", "image/webp", 9, "JPEG or PNG only"),
        ("seedream-4.5", "image/heic", 9, "JPEG or PNG or WEBP or BMP or TIFF or GIF only"),
        ("seedream-4.5", "image/png", PICTURE_BYTES_MAX + 1, "10,485,760 bytes"),
        ("nano-banana-pro-light-t2i", "image/png", 9, "takes no pictures"),
    ],
)
async def test_a_picture_that_the_route_does_not_take_is_never_sent(
    vendor: JiekouServer,
    customer: Customer,
    tmp_path: Path,
    model: str,
    mime: str,
    size: int,
    words: str,
) -> None:
    file = picture_file(tmp_path / "first", mime=mime, content=b"x" * size)
    fault = failed(await customer.submit("a fox", file, model=model))
    assert (fault.kind, fault.effect) == ("local.decode", "none")
    assert fault.message.startswith("first: ")
    assert words in fault.message
    assert rule_for(fault).name == "jiekou.picture"
    assert vendor.seen == []


async def test_a_picture_that_takes_too_long_to_fetch_is_tried_again(
    vendor: JiekouServer, tmp_path: Path
) -> None:
    hosts = (vendor.store.origin.removeprefix("http://"),)
    limits = Limits(submit_timeout_s=0.2)
    one = Customer(vendor.origin, tmp_path / "s", limits=limits, download_hosts=hosts)
    vendor.store.will("picture", silent())
    near = Picture(source="far.png", url=vendor.link)
    file = picture_file(tmp_path / "a.png")
    fault = failed(await one.submit("a fox", file, near, model="gemini-3-pro-image-edit"))
    assert (fault.effect, rule_for(fault).do) == ("none", "retry")
    assert vendor.seen == []
    await one.engine.close()


# ---- checks ----


@pytest.mark.parametrize(
    ("model", "params", "images", "field", "words"),
    [
        ("seedream-4.5", {"size": "1280x720"}, 1, "size", "3,686,400 to 16,777,216 pixels"),
        ("seedream-4.5", {"size": "1280x720"}, 1, "size", "2560x1440 for 16:9"),
        ("seedream-4.5", {"size": "3K"}, 1, "size", "2K, 4K, or"),
        ("seedream-4.5", {"size": "400x9300"}, 1, "size", "got '400x9300'"),
        ("seedream-4.5", {"size": 2048}, 1, "size", "got 2048"),
        ("seedream-5.0-lite", {"size": "4096x4096"}, 1, "size", "10,404,496"),
        ("seedream-4.0", {"size": "1280x720"}, 1, "size", "1,048,576 to 16,777,216"),
        ("seedream-4.5", {"watermark": 1}, 1, "watermark", "true or false"),
        ("seedream-4.5", {"max_images": 3}, 1, "max_images", "unknown param"),
        ("seedream-4.5", {"sequential_image_generation": "on"}, 1, "sequential_image_gen", "auto"),
        ("seedream-4.5", {"optimize_prompt_options": {"mode": "fast"}}, 1, "optimize", "standard"),
        ("seedream-4.0", {"max_images": 16}, 1, "max_images", "1 to 15"),
        ("seedream-4.5", {"watermrk": True}, 1, "watermrk", "did you mean 'watermark'?"),
        ("seedream-4.5", {"image": "http://a.test"}, 1, "image", "as the job's images"),
        ("seedream-4.5", {"prompt": "x"}, 1, "prompt", "as the job's prompt"),
        ("gemini-2.5-flash-image-edit", {"aspect_ratio": "2:1"}, 1, "aspect_ratio", '"16:9"'),
        ("gemini-2.5-flash-image-edit", {"size": "2K"}, 1, "size", "unknown param"),
        ("gemini-3-pro-image-edit", {"size": "8K"}, 1, "size", '"4K"'),
        ("nano-banana-pro-light-i2i", {"size": "16:9"}, 1, "size", "16x9"),
        ("nano-banana-pro-light-i2i", {"n": 11}, 1, "n", "1 to 10"),
        ("nano-banana-pro-light-i2i", {"response_format": "png"}, 1, "response_format", "b64_json"),
        ("gpt-image-2-edit", {"size": "1280x720"}, 1, "size", '"1536x1024"'),
        ("async/qwen-image-edit", {"seed": -2}, 1, "seed", "-1 to 2147483647"),
        ("async/qwen-image-edit", {"output_format": "gif"}, 1, "output_format", '"webp"'),
        ("async/qwen-image-txt2img", {"size": "1024x1024"}, 0, "size", "1024*1024"),
        ("async/qwen-image-txt2img", {"size": "255*1024"}, 0, "size", "256 to 1536"),
        ("async/z-image-turbo", {"enable_base64_output": 1}, 0, "enable_base64", "true or false"),
    ],
)
def test_a_value_that_a_route_does_not_take_is_named(
    tmp_path: Path, model: str, params: dict[str, Any], images: int, field: str, words: str
) -> None:
    (problem,) = Customer(BASE, tmp_path, model=model).engine.check("a fox", params, images)
    assert problem.field.startswith(f"params.{field}")
    assert words in problem.message


@pytest.mark.parametrize(
    ("model", "images", "words"),
    [
        ("seedream-4.5", 15, "takes up to 14 pictures, got 15"),
        ("seedream-4.0", 11, "takes up to 10 pictures, got 11"),
        ("gemini-3-pro-image-edit", 0, "needs a picture"),
        ("gpt-image-2-edit", 2, "takes up to 1 pictures, got 2"),
        ("async/qwen-image-txt2img", 1, "takes no pictures, got 1"),
        ("async/flux-2-flex", 4, "takes up to 3 pictures, got 4"),
        ("of-our-own", 1, "isn't documented to take pictures"),
    ],
)
def test_too_many_or_too_few_pictures_are_named(
    tmp_path: Path, model: str, images: int, words: str
) -> None:
    (problem,) = Customer(BASE, tmp_path, model=model).engine.check("a fox", {}, images)
    assert problem.field == "images"
    assert words in problem.message


def test_pictures_given_and_made_are_counted_together(tmp_path: Path) -> None:
    engine = Customer(BASE, tmp_path).engine
    params = {"sequential_image_generation_options": {"max_images": 10}}
    assert engine.check("a fox", params, 5) == []
    (problem,) = engine.check("a fox", params, 6)
    assert problem.field == "params.sequential_image_generation_options"
    assert "15 at most, got 6 and 10" in problem.message
    (problem,) = engine.check("a fox", {"sequential_image_generation_options": {"max": 3}}, 1)
    assert "max_images from 1 to 15" in problem.message


def test_a_prompt_is_needed(tmp_path: Path) -> None:
    (problem,) = Customer(BASE, tmp_path).engine.check(" ", {}, 1)
    assert (problem.field, problem.message) == ("prompt", "every model needs one")


@pytest.mark.parametrize(
    "model",
    ["seedream-9", "", 5, "gemini-*-text-to-image", "gemini-/../openai/x-text-to-image", "/x"],
)
def test_a_model_that_is_not_there_is_named(tmp_path: Path, model: Any) -> None:
    (problem,) = Customer(BASE, tmp_path).engine.check("a fox", {"model": model}, 0)
    assert problem.field == "params.model"
    assert "seedream-4.5" in problem.message


def test_a_synchronous_model_needs_a_section_that_is(tmp_path: Path) -> None:
    """Else a stop of the daemon wouldn't wait for its answer."""
    engine = Customer(BASE, tmp_path, model=TASKS).engine
    (problem,) = engine.check("a fox", {"model": "seedream-4.5"}, 0)
    assert problem.field == "params.model"
    assert "its own section" in problem.message
    assert engine.check("a fox", {"model": "async/flux-2-flex"}, 3) == []


@pytest.mark.parametrize(
    ("model", "params", "images"),
    [
        ("seedream-4.5", {"size": "2560x1440", "watermark": False}, 0),
        ("seedream-4.5", {"size": "4K", "sequential_image_generation": "auto"}, 14),
        ("seedream-5.0-lite", {"size": "3K", "optimize_prompt_options": {"mode": "standard"}}, 1),
        ("seedream-4.0", {"size": "1024x1024", "max_images": 15}, 10),
        ("seedream-4.5", {"model": "async/qwen-image-edit", "seed": -1}, 1),
        ("gemini-2.5-flash-image-edit", {"aspect_ratio": "21:9"}, 3),
        ("gemini-2.5-flash-image-text-to-image", {"aspect_ratio": "16:9"}, 0),
        ("gemini-3-pro-image-text-to-image", {"aspect_ratio": "16:9", "size": "2K"}, 0),
        ("nano-banana-pro-light-i2i", {"size": "16x9", "quality": "2k", "n": 10, "mask": "x"}, 10),
        ("gpt-image-2-edit", {"n": 2, "quality": "high", "background": "opaque"}, 1),
        ("async/qwen-image-edit", {"seed": 2147483647, "output_format": "webp"}, 1),
        ("async/z-image-turbo", {"size": "256*1536", "seed": 1, "enable_base64_output": True}, 0),
        ("async/flux-1-kontext-pro", {"guidance_scale": 3.5}, 0),
        ("of-our-own", {"whatever": [1]}, 0),
    ],
)
def test_what_is_documented_is_taken(
    tmp_path: Path, model: str, params: dict[str, Any], images: int
) -> None:
    assert Customer(BASE, tmp_path, model=model).engine.check("a fox", params, images) == []


async def test_the_fake_vendor_knows_every_route(vendor: JiekouServer, tmp_path: Path) -> None:
    """So that no route's requests go unchecked."""
    stands_for = {
        "gemini-3-*-text-to-image": "",
        "gemini-*-text-to-image": "gemini-2.5-flash-image-text-to-image",
        "async/flux-1-kontext-*": "async/flux-1-kontext-pro",
    }
    for model in filter(None, (stands_for.get(one, one) for one in ROUTES)):
        one = Customer(vendor.origin, tmp_path, model=model)
        answer = await one.submit(
            "a fox", *[LINK] * (ROUTES[model].least if model in ROUTES else 0)
        )
        assert isinstance(answer, Accepted if "async/" in model or "video/" in model else Ready)
        await one.engine.close()
    assert vendor.complaints == []


# ---- submits that fail ----

REASONS = [
    (400, "INVALID_REQUEST_BODY", "fail", "quota"),
    (401, "FAILED_TO_AUTH", "pause", "auth"),
    (403, "INVALID_API_KEY", "pause", "auth"),
    (403, "ACCESS_DENY", "pause", "auth"),
    (403, "NOT_ENOUGH_BALANCE", "pause", "auth"),
    (402, "NOT_ENOUGH_BALANCE", "pause", "auth"),
    (404, "MODEL_NOT_FOUND", "pause", "auth"),
    (429, "RATE_LIMIT_EXCEEDED", "pause", "quota"),
    (429, "TOKEN_LIMIT_EXCEEDED", "pause", "quota"),
    (503, "SERVICE_NOT_AVAILABLE", "retry", "quota"),
    (400, "PROHIBITED_CONTENT", "fail", "quota"),
    (500, "PROHIBITED_CONTENT", "fail", "quota"),
]


@pytest.mark.parametrize("in_a_good_answer", [False, True])
@pytest.mark.parametrize(("status", "reason", "do", "cause"), REASONS)
async def test_the_reason_in_an_error_decides_what_follows(
    vendor: JiekouServer,
    customer: Customer,
    status: int,
    reason: str,
    do: str,
    cause: str,
    in_a_good_answer: bool,
) -> None:
    body = error_body(status, reason, "no", "trace 1")
    vendor.will("submit", answers(200 if in_a_good_answer else status, body))
    fault = failed(await customer.submit())
    assert (fault.code, fault.effect, fault.message) == (reason, "none", "no: trace 1")
    assert fault.kind == ("provider.error" if in_a_good_answer else "http")
    rule = rule_for(fault)
    assert (rule.do, rule.cause) == (do, cause)
    assert rule.name.startswith("jiekou.")


async def test_refused_content_is_known_by_its_word_wherever_it_stands(
    replies: Replies, canned: Customer
) -> None:
    body = error_body(500, "INTERNAL", "rejected: PROHIBITED_CONTENT")
    replies.post(SYNC, status=500, payload=body)
    assert rule_for(await canned.submit()).name == "jiekou.content-prohibited-content"


@pytest.mark.parametrize(
    ("status", "body", "rule"),
    [
        (401, b"<p>no</p>", "shared.auth"),
        (402, b"", "shared.balance"),
        (403, b"<p>no</p>", "shared.forbidden"),
        (404, b"page not found", "jiekou.route"),
        (413, b"too large", "shared.refused"),
        (429, b"server overload", "shared.quota"),
        (408, b"", "guard"),
        (500, b"", "guard"),
        (502, b"<p>bad</p>", "guard"),
        (503, b"<p>no server</p>", "guard"),
        (504, b"<p>time-out</p>", "guard"),
        (500, b'{"code": 500, "reason": "", "message": "light model failed"}', "guard"),
    ],
)
async def test_without_a_reason_the_status_decides(
    replies: Replies, canned: Customer, status: int, body: bytes, rule: str
) -> None:
    replies.post(SYNC, status=status, body=body)
    assert rule_for(await canned.submit()).name == rule


@pytest.mark.parametrize("words", ["RPM limit exceeded", "server overload, try again"])
async def test_an_overload_in_a_good_answer_is_no_error_of_the_job(
    replies: Replies, canned: Customer, words: str
) -> None:
    replies.post(SYNC, payload={"code": 429, "message": words})
    assert rule_for(await canned.submit()).name == "jiekou.overloaded"


@pytest.mark.parametrize("model", ["seedream-4.5", "async/qwen-image-txt2img"])
@pytest.mark.parametrize(
    "weather",
    [
        page(504, accepts=True),
        page(200, accepts=True),
        answers(500, error_body(500, "", "peak"), accepts=True),
        hangs_up(accepts=True),
        silent(accepts=True),
        stalls(b'{"images": [', accepts=True),
        cut(b'{"task_id": "t', accepts=True),
    ],
)
async def test_a_lost_answer_is_a_doubt_and_nothing_is_sent_twice(
    vendor: JiekouServer, hasty: Customer, weather: Any, model: str
) -> None:
    vendor.will("submit", weather)
    assert rule_for(await hasty.submit(model=model)).name == "guard"
    assert vendor.accepted == {"a fox": 1}
    assert len(vendor.seen) == 1


async def test_nobody_listening_costs_nothing(tmp_path: Path) -> None:
    async with JiekouServer() as gone:
        origin = gone.origin
    one = Customer(origin, tmp_path)
    fault = failed(await one.submit())
    assert (fault.kind, fault.effect) == ("transport.connect", "none")
    assert rule_for(fault).do == "retry"
    await one.engine.close()


async def test_a_wrong_key_is_never_repeated(replies: Replies, canned: Customer) -> None:
    replies.post(SYNC, status=403, payload=error_body(403, "INVALID_API_KEY", f"{KEY} is wrong"))
    assert failed(await canned.submit()).message == "[hidden] is wrong"


# ---- polls ----


@pytest.mark.parametrize(
    ("status", "percent", "progress"),
    [
        ("TASK_STATUS_QUEUED", 0, 0.0),
        ("TASK_STATUS_PROCESSING", "55", 0.55),
        ("TASK_STATUS_PROCESSING", None, None),
        ("TASK_STATUS_ON_HOLD", 130, 1.0),
    ],
)
async def test_a_status_that_is_no_end_goes_on(
    replies: Replies, canned: Customer, status: str, percent: Any, progress: float | None
) -> None:
    replies.get(POLL, payload=result("t-1", status, percent=percent))
    assert await canned.poll() == Pending(progress)


@pytest.mark.parametrize(
    "weather",
    [page(504), hangs_up(), silent(), stalls(), cut(), page(200), answers(500, b""), answers(200)],
)
async def test_a_poll_whose_answer_is_lost_is_tolerated(
    vendor: JiekouServer, customer: Customer, hasty: Customer, weather: Any
) -> None:
    assert isinstance(await customer.submit(model="async/z-image-turbo"), Accepted)
    vendor.will("poll", weather, weather)  # aiohttp itself asks twice where a connection was idle
    fault = failed(await hasty.poll("t-0"))
    assert (fault.effect, rule_for(fault).name) == ("accepted", "shared.poll")


@pytest.mark.parametrize(
    ("reason", "code", "message"),
    [
        ("", None, "the provider gave no reason"),
        ("out of luck", None, "out of luck"),
        ("PROHIBITED_CONTENT", "PROHIBITED_CONTENT", "PROHIBITED_CONTENT"),
    ],
)
async def test_a_failed_task_is_a_verdict(
    replies: Replies, canned: Customer, reason: str, code: str | None, message: str
) -> None:
    replies.get(POLL, payload=result("t-1", "TASK_STATUS_FAILED", reason=reason))
    fault = failed(await canned.poll())
    assert (fault.kind, fault.code, fault.effect) == ("provider.failed", code, "accepted")
    assert (fault.message, rule_for(fault).do) == (message, "fail")


async def test_a_task_may_bring_content(replies: Replies, canned: Customer) -> None:
    body = result("t-1", "TASK_STATUS_SUCCEED") | {"images": [{"image_url": URI}]}
    replies.get(POLL, payload=body)
    (one,) = ready(await canned.poll())
    assert await canned.fetched(one) == PNG


async def test_sounds_count_where_there_is_nothing_to_see(
    replies: Replies, canned: Customer
) -> None:
    sound = {"audios": [{"audio_url": "http://a.test/1.mp3"}]}
    seen = {"videos": [{"video_url": "http://a.test/1.mp4", "video_url_ttl": "x"}]}
    for more, link in ((sound, "http://a.test/1.mp3"), (sound | seen, "http://a.test/1.mp4")):
        replies.get(POLL, payload=result("t-1", "TASK_STATUS_SUCCEED") | more)
        assert [one.url for one in ready(await canned.poll())] == [link]


async def test_a_number_without_meaning_costs_no_result(replies: Replies, canned: Customer) -> None:
    body = result("t-1", "TASK_STATUS_SUCCEED")
    link = {"image_url": "http://a.test/1.png", "image_url_ttl": 10**400}
    replies.get(POLL, payload=body | {"images": [link]})
    assert [one.url for one in ready(await canned.poll())] == ["http://a.test/1.png"]
    body = result("t-1", "TASK_STATUS_PROCESSING")
    body["task"]["progress_percent"] = 10**400
    replies.get(POLL, payload=body)
    assert await canned.poll() == Pending()


async def test_success_without_a_result_is_asked_again(replies: Replies, canned: Customer) -> None:
    replies.get(POLL, payload=result("t-1", "TASK_STATUS_SUCCEED"))
    fault = failed(await canned.poll())
    assert (fault.kind, rule_for(fault).name) == ("protocol", "shared.poll")


@pytest.mark.parametrize(
    ("status", "reason", "message", "rule"),
    [
        (404, "TASK_NOT_FOUND", "task not found", "jiekou.not-visible"),
        (404, "", "page not found", "shared.lost"),
        (200, "TASK_NOT_FOUND", "task not found", "jiekou.not-visible"),
        (429, "RATE_LIMIT_EXCEEDED", "slow down", "jiekou.quota-rate-limit-exceeded"),
        (200, "RATE_LIMIT_EXCEEDED", "slow down", "jiekou.quota-rate-limit-exceeded"),
        (429, "", "RPM limit exceeded", "shared.quota-later"),
        (401, "FAILED_TO_AUTH", "no", "shared.poll-auth"),
        (403, "ACCESS_DENY", "no", "shared.poll-forbidden"),
        (500, "", "peak", "shared.poll"),
        (503, "SERVICE_NOT_AVAILABLE", "no", "shared.poll"),
        (200, "PROHIBITED_CONTENT", "no", "shared.verdict"),
        (400, "X", "PROHIBITED_CONTENT", "shared.verdict"),
    ],
)
async def test_an_error_while_polling_has_its_rule(
    replies: Replies, canned: Customer, status: int, reason: str, message: str, rule: str
) -> None:
    replies.get(POLL, status=status, payload=error_body(status, reason, message))
    fault = failed(await canned.poll())
    assert (rule_for(fault).name, fault.effect) == (rule, "accepted")


@pytest.mark.parametrize("on_limit", ["hold", "fail"])
@pytest.mark.parametrize("status", [200, 404])
async def test_a_task_that_is_not_found_is_asked_for_three_times_more_and_then_held_as_lost(
    replies: Replies, canned: Customer, status: int, on_limit: Any
) -> None:
    body = error_body(status, "TASK_NOT_FOUND", "task not found")
    replies.get(POLL, status=status, payload=body)
    fault = failed(await canned.poll())
    policy = Policy(limits=Limits(on_limit=on_limit), rules=Jiekou.rules)
    job, states = generating(), []
    for _ in range(4):
        job = after(job, fault, policy).job
        states.append(job.state)
    assert states == ["generating"] * 3 + ["held"]
    assert (job.reason, job.remote_id) == ("lost", "remote-1")


@pytest.mark.parametrize("body", [{}, {"task": None}, {"task": {"status": ""}}, {"task": []}])
async def test_an_answer_without_a_status_is_asked_again(
    replies: Replies, canned: Customer, body: Any
) -> None:
    replies.get(POLL, payload=body)
    assert rule_for(await canned.poll()).name == "shared.poll"


async def test_an_id_cannot_leave_its_place_in_the_address(
    vendor: JiekouServer, customer: Customer
) -> None:
    await customer.poll("x&y=1#z/../w")
    assert vendor.seen == [("GET", "/v3/async/task-result?task_id=x%26y%3D1%23z%2F..%2Fw")]


# ---- downloads, and what it can't do ----


async def test_a_link_into_a_private_network_is_held(vendor: JiekouServer, hasty: Customer) -> None:
    fault = await hasty.engine.fetch(Result(vendor.link), Bucket(), target=hasty.target)
    assert (rule_for(fault).name, rule_for(fault).do) == ("shared.private-link", "hold")
    assert vendor.store.seen == []


@pytest.mark.parametrize(
    ("weather", "do"), [(answers(403, b""), "hold"), (page(502), "retry"), (cut(PNG), "retry")]
)
async def test_a_download_that_fails_has_its_rule(
    vendor: JiekouServer, customer: Customer, weather: Any, do: str
) -> None:
    vendor.store.will("picture", weather)
    fault = await customer.engine.fetch(Result(vendor.link), Bucket(), target=customer.target)
    assert rule_for(fault).do == do


async def test_an_answer_without_end_is_cut(vendor: JiekouServer, hasty: Customer) -> None:
    vendor.will("submit", endless())
    assert rule_for(await hasty.submit()).name == "guard"


async def test_it_can_neither_cancel_nor_look_up(tmp_path: Path) -> None:
    engine = Customer(BASE, tmp_path).engine
    assert await engine.cancel("t-1", target=BASE) == Stopped("unknown")
    assert rule_for(await engine.lookup("k1", target=BASE)).name == "guard"


async def test_requests_do_not_disturb_each_other(vendor: JiekouServer, customer: Customer) -> None:
    model = "async/z-image-turbo"
    answers_ = await asyncio.gather(*(customer.submit(f"fox {n}", model=model) for n in range(20)))
    ids = {one.remote_id for one in answers_ if isinstance(one, Accepted)}
    assert len(ids) == 20
    assert all(count == 1 for count in vendor.accepted.values())


def test_settings_come_from_a_providers_section(tmp_path: Path) -> None:
    from daemon.config import parse

    text = """
    [providers.jiekou]
    engine = "jiekou"
    model = "async/qwen-image-edit"
    submit_timeout_s = 180
    """
    section = parse(text).config.providers["jiekou"]
    settings = settings_for(section, Secret("abc"), {})
    assert settings.base_urls == ("https://api.jiekou.ai",)
    engine = Jiekou(settings, clock=FakeClock(), spool=tmp_path)
    assert engine.abilities.synchronous is False
    assert settings.limits.submit_timeout_s == 180
