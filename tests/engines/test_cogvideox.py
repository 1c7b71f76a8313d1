from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import pytest

from daemon.configuration.keys import Secret
from daemon.core.faults import Rule, classify
from daemon.core.job import Result
from daemon.core.outcomes import Accepted, Pending, Ready, Stopped
from daemon.core.policy import Abilities, Limits
from daemon.engines.cogvideox import CogVideoX
from daemon.engines.engine import Engine, Picture
from daemon.engines.settings import settings_for
from tests.fakes.clock import FakeClock
from tests.fakes.vendors import customer as customers
from tests.fakes.vendors.cogvideox import CLIP, KEY, CogVideoXServer
from tests.fakes.vendors.customer import (
    HASTY,
    PATIENT,
    Bucket,
    failed,
    picture_file,
    settings_of,
)
from tests.fakes.vendors.server import answers, cut, hangs_up, page, silent, stalls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.replies import Replies

TARGET = "http://vendor.test/api/paas/v4"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


class Customer(customers.Customer[CogVideoX]):
    """One of CogVideoX, on 1970-01-12 13:46:40 UTC."""

    def __init__(self, target: str, spool: Path, *, limits: Limits = PATIENT, **more: Any) -> None:
        model = more.pop("model", "cogvideox-flash")
        settings = settings_of(target, key=KEY, model=model, limits=limits, **more)
        super().__init__(CogVideoX(settings, clock=FakeClock(), spool=spool), target)


@pytest.fixture
async def vendor() -> AsyncIterator[CogVideoXServer]:
    async with CogVideoXServer() as server, server.store:
        yield server


@pytest.fixture
async def customer(vendor: CogVideoXServer, tmp_path: Path) -> AsyncIterator[Customer]:
    hosts = (vendor.store.origin.removeprefix("http://"),)
    one = Customer(vendor.target, tmp_path / "spool", download_hosts=hosts)
    yield one
    await one.engine.close()


@pytest.fixture
async def hasty(vendor: CogVideoXServer, tmp_path: Path) -> AsyncIterator[Customer]:
    """One that waits for nothing."""
    one = Customer(vendor.target, tmp_path / "spool", limits=HASTY)
    yield one
    await one.engine.close()


@pytest.fixture
async def canned(replies: Replies, tmp_path: Path) -> AsyncIterator[Customer]:
    """One at a vendor with canned replies."""
    one = Customer(TARGET, tmp_path / "spool")
    yield one
    await one.engine.close()


def rule_for(fault: object) -> Rule:
    return classify(failed(fault), CogVideoX.rules)


def test_it_is_an_engine(tmp_path: Path) -> None:
    engine: Engine = CogVideoX(settings_of(TARGET), clock=FakeClock(), spool=tmp_path)
    assert engine.abilities == Abilities()


def test_its_rules_have_names_of_their_own() -> None:
    names = [one.name for one in CogVideoX.rules]
    assert len(set(names)) == len(names)
    assert all(
        name.startswith("cogvideox.") and rule.why
        for name, rule in zip(names, CogVideoX.rules, strict=True)
    )


async def test_a_video_is_made_and_fetched(vendor: CogVideoXServer, customer: Customer) -> None:
    remote_id = await customer.accepted(duration=5, with_audio=False)
    assert await customer.poll(remote_id) == Pending()
    ready = await customer.poll(remote_id)
    assert ready == Ready((Result(f"{vendor.store.origin}/api/cogvideo/{remote_id}_0.mp4"),))
    bucket = Bucket()
    assert isinstance(ready, Ready)
    assert await customer.engine.fetch(ready.results[0], bucket, target=customer.target) is None
    assert bucket.content == CLIP
    assert vendor.complaints == vendor.store.complaints == []
    assert vendor.accepted == {"k1": 1}


async def test_the_request_holds_what_was_asked_and_no_more(
    vendor: CogVideoXServer, customer: Customer
) -> None:
    await customer.accepted(prompt="a fox", size="1920x1080", fps=60)
    assert next(iter(vendor.tasks.values())) == {
        "model": "cogvideox-flash",
        "prompt": "a fox",
        "size": "1920x1080",
        "fps": 60,
        "request_id": "k1",
    }


async def test_a_job_may_name_another_model(vendor: CogVideoXServer, customer: Customer) -> None:
    await customer.accepted(model="cogvideox-3")
    assert next(iter(vendor.tasks.values()))["model"] == "cogvideox-3"


async def test_pictures_go_along_as_files_or_links(
    vendor: CogVideoXServer, customer: Customer, tmp_path: Path
) -> None:
    file = picture_file(tmp_path / "first.png", content=PNG)
    link = Picture(source="http://a.test/b.png", url="http://a.test/b.png")
    assert isinstance(await customer.submit("", file), Accepted)
    assert isinstance(await customer.submit("a fox", file, link, model="cogvideox-3"), Accepted)
    one, two = vendor.tasks.values()
    encoded = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert (one["image_url"], "prompt" in one) == (encoded, False)
    assert two["image_url"] == [encoded, "http://a.test/b.png"]
    assert vendor.complaints == []


@pytest.mark.parametrize(
    ("mime", "size", "words"),
    [("image/webp", 9, "PNG or JPEG only"), ("image/png", 5_242_881, "5,242,880 bytes")],
)
async def test_a_picture_that_the_provider_does_not_take_is_never_sent(
    vendor: CogVideoXServer, customer: Customer, tmp_path: Path, mime: str, size: int, words: str
) -> None:
    file = picture_file(tmp_path / "first.webp", mime=mime, content=b"x" * size)
    fault = failed(await customer.submit("a fox", file))
    assert (fault.kind, fault.effect) == ("local.decode", "none")
    assert fault.message.startswith("first.webp: ")
    assert words in fault.message
    assert rule_for(fault).name == "cogvideox.picture"
    assert vendor.seen == []


async def test_a_picture_that_is_gone_is_tried_again(
    vendor: CogVideoXServer, customer: Customer, tmp_path: Path
) -> None:
    gone = Picture(source="first.png", path=tmp_path / "first.png", mime="image/png")
    fault = failed(await customer.submit("a fox", gone))
    assert (fault.kind, fault.effect) == ("local.io", "none")
    assert rule_for(fault).do == "retry"
    assert vendor.seen == []


async def test_the_international_address_is_asked_in_english(tmp_path: Path) -> None:
    from tests.fakes.replies import Replies

    target = "https://api.z.ai/api/paas/v4"
    with Replies() as replies:
        replies.post(f"{target}/videos/generations", payload={"id": "t-1"})
        one = Customer(target, tmp_path)
        assert await one.submit() == Accepted("t-1", target)
        ((call, *_),) = replies.requests.values()
        await one.engine.close()
    assert call.kwargs["headers"]["Accept-Language"] == "en-US,en"


# ---- checks ----


@pytest.mark.parametrize(
    ("prompt", "params", "images", "field", "words"),
    [
        ("", {}, 0, "prompt", "a prompt, a picture, or both"),
        ("x" * 513, {}, 0, "prompt", "expected up to 512 characters, got 513"),
        ("a fox", {}, 2, "images", "'cogvideox-flash' takes one picture, got 2 pictures"),
        ("a fox", {"model": "cogvideox-3"}, 3, "images", "takes a first and a last picture"),
        ("a fox", {"duration": 6}, 0, "params.duration", "expected 5 or 10, got 6"),
        ("a fox", {"duration": "5"}, 0, "params.duration", "expected 5 or 10, got '5'"),
        ("a fox", {"duration": True}, 0, "params.duration", "got true"),
        ("a fox", {"fps": 24}, 0, "params.fps", "expected 30 or 60"),
        ("a fox", {"quality": "best"}, 0, "params.quality", '"speed" or "quality"'),
        ("a fox", {"with_audio": 1}, 0, "params.with_audio", "expected true or false"),
        ("a fox", {"size": "640x480"}, 0, "params.size", '"1280x720"'),
        ("a fox", {"size": "720x480", "model": "cogvideox-3"}, 0, "params.size", "got '720x480'"),
        ("a fox", {"user_id": "me"}, 0, "params.user_id", "text of 6 to 128 characters"),
        ("a fox", {"model": "cogvideox-4"}, 0, "params.model", '"cogvideox-3"'),
        ("a fox", {"duraton": 5}, 0, "params.duraton", "did you mean 'duration'?"),
        ("a fox", {"image_url": "x"}, 0, "params.image_url", "as the job's images"),
        ("a fox", {"request_id": "x"}, 0, "params.request_id", "is set for each submit"),
    ],
)
def test_what_the_documented_limits_refuse_is_named(
    tmp_path: Path, prompt: str, params: dict[str, Any], images: int, field: str, words: str
) -> None:
    (problem,) = Customer(TARGET, tmp_path).engine.check(prompt, params, images)
    assert problem.field == field
    assert words in problem.message


@pytest.mark.parametrize(
    ("prompt", "params", "images"),
    [
        ("a fox", {}, 0),
        ("x" * 512, {"size": "720x480", "fps": 60, "quality": "speed", "duration": 10}, 1),
        ("", {"model": "cogvideox-3", "size": "3840x2160", "user_id": "studio"}, 2),
        ("a fox", {"model": "of-our-own", "watermark_enabled": False}, 0),
    ],
)
def test_what_is_documented_is_taken(
    tmp_path: Path, prompt: str, params: dict[str, Any], images: int
) -> None:
    engine = Customer(TARGET, tmp_path, model="of-our-own").engine
    assert engine.check(prompt, params, images) == []


# ---- submits that fail ----


AUTH = [*range(1000, 1005), 1110, 1111, 1112, 1113, 1121, 1211, 1221]
REQUEST = [1210, 1212, 1213, 1214, 1215, 1220, 1222, 1261, 1300, 1301]
QUOTA = [1302, 1303, 1305, 1308, 1310, 1312]
TEMPORARY = [1120, 1230, 1234, 500]
CODES = (
    [(code, "pause", "operator", "auth") for code in AUTH]
    + [(code, "fail", "", "quota") for code in REQUEST]
    + [(code, "pause", "", "quota") for code in QUOTA]
    + [(code, "retry", "", "quota") for code in TEMPORARY]
    + [(1304, "pause", "daily", "quota")]
)


@pytest.mark.parametrize("status", [400, 429])
@pytest.mark.parametrize(("code", "do", "until", "cause"), CODES)
async def test_the_inner_code_decides_before_the_status(
    replies: Replies, canned: Customer, code: int, do: str, until: str, cause: str, status: int
) -> None:
    body = {"error": {"code": str(code), "message": "no"}}
    replies.post(f"{TARGET}/videos/generations", status=status, payload=body)
    fault = failed(await canned.submit())
    assert (fault.kind, fault.http, fault.code, fault.effect) == ("http", status, str(code), "none")
    rule = rule_for(fault)
    assert (rule.do, rule.until, rule.cause) == (do, until, cause)
    assert rule.name.startswith("cogvideox.")


@pytest.mark.parametrize("code", [1302, 1303, 1305, 1312])
async def test_what_is_refused_for_being_too_many_was_not_accepted_even_with_a_503(
    replies: Replies, canned: Customer, code: int
) -> None:
    body = {"error": {"code": code, "message": "busy"}}  # a number where text is documented
    replies.post(f"{TARGET}/videos/generations", status=503, payload=body)
    fault = failed(await canned.submit())
    assert (fault.code, fault.effect) == (str(code), "none")
    assert rule_for(fault).do == "pause"


@pytest.mark.parametrize("code", [1230, 1234, 500, 1113, 9999])
async def test_any_other_5xx_leaves_a_doubt(replies: Replies, canned: Customer, code: int) -> None:
    body = {"error": {"code": str(code), "message": "fault"}}
    replies.post(f"{TARGET}/videos/generations", status=500, payload=body)
    assert rule_for(await canned.submit()).name == "guard"


@pytest.mark.parametrize(
    ("status", "do"), [(401, "pause"), (403, "pause"), (434, "fail"), (435, "fail"), (429, "pause")]
)
async def test_without_a_code_the_status_decides(
    replies: Replies, canned: Customer, status: int, do: str
) -> None:
    replies.post(f"{TARGET}/videos/generations", status=status, body=b"<p>no</p>")
    rule = rule_for(await canned.submit())
    assert (rule.do, rule.name[:7]) == (do, "shared.")


@pytest.mark.parametrize(
    "said",
    [
        *("1970-01-12 22:00:00", "1970-01-12T22:00", "1970-01-12 14:00:00Z"),
        *("1970-01-12T15:00:00.000+01:00", "1970-01-12 22:00:00 +0800 CST"),
    ],
)
async def test_a_periodic_cap_ends_when_its_message_says_in_beijing_unless_it_names_a_zone(
    replies: Replies, canned: Customer, said: str
) -> None:
    message = f"Usage limit reached for 5 hour. Your limit will reset at {said}"
    body = {"error": {"code": "1308", "message": message}}
    replies.post(f"{TARGET}/videos/generations", status=429, payload=body)
    fault = failed(await canned.submit())
    assert fault.retry_after_s == 13 * 60 + 20  # it is 21:46:40 there


async def test_a_request_that_is_known_already_did_arrive(
    vendor: CogVideoXServer, customer: Customer
) -> None:
    vendor.will("submit", page(504, accepts=True))
    lost = failed(await customer.submit(key="the-key"))
    assert (lost.effect, rule_for(lost).name) == ("unknown", "guard")
    fault = failed(await customer.submit(key="the-key"))
    assert (fault.code, fault.effect) == ("1231", "accepted")
    assert rule_for(fault).name == "cogvideox.duplicate"
    assert vendor.accepted == {"the-key": 1}


@pytest.mark.parametrize("code", ["1302", 1302, "1113", "1301"])
async def test_an_error_in_a_good_answer_is_an_error(
    replies: Replies, canned: Customer, code: Any
) -> None:
    body = {"error": {"code": code, "message": "no"}}
    replies.post(f"{TARGET}/videos/generations", status=200, payload=body)
    fault = failed(await canned.submit())
    assert (fault.kind, fault.http, fault.code) == ("provider.error", 200, str(code))
    assert fault.effect == "none"
    assert rule_for(fault).do in ("pause", "fail")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"id": None, "task_status": "PROCESSING"},
        {"id": "", "request_id": "k1"},
        {"id": ["t-1"]},
        {"code": 0, "msg": "ok"},
        {"error": {"code": "1234", "message": "network"}},
        {"error": {"code": "7777", "message": "never heard of"}},
        {"error": "something"},
    ],
)
async def test_a_good_answer_without_an_id_leaves_a_doubt(
    replies: Replies, canned: Customer, body: Any
) -> None:
    replies.post(f"{TARGET}/videos/generations", payload=body)
    assert rule_for(await canned.submit()).name == "guard"


@pytest.mark.parametrize("status", [200, 201])
async def test_an_id_that_is_a_number_is_an_id(
    replies: Replies, canned: Customer, status: int
) -> None:
    replies.post(f"{TARGET}/videos/generations", status=status, payload={"id": 2026010112000000})
    assert await canned.submit() == Accepted("2026010112000000", TARGET)


@pytest.mark.parametrize(
    "weather",
    [
        page(504, accepts=True),
        page(200, accepts=True),
        hangs_up(accepts=True),
        silent(accepts=True),
        stalls(accepts=True),
        cut(accepts=True),
    ],
)
async def test_a_lost_answer_is_a_doubt_and_nothing_is_sent_twice(
    vendor: CogVideoXServer, hasty: Customer, weather: Any
) -> None:
    vendor.will("submit", weather)
    assert rule_for(await hasty.submit()).name == "guard"
    assert vendor.accepted == {"k1": 1}
    assert len(vendor.seen) == 1


# ---- polls ----


async def test_a_burst_of_504s_is_tolerated_and_the_task_goes_on(
    vendor: CogVideoXServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    vendor.will("poll", *[page(504, "504 Gateway Time-out")] * 4)
    for _ in range(4):
        fault = failed(await customer.poll(remote_id))
        assert (fault.http, fault.effect, rule_for(fault).do) == (504, "accepted", "tolerate")
        assert fault.message == "504 Gateway Time-out"
    assert await customer.poll(remote_id) == Pending()


@pytest.mark.parametrize("weather", [hangs_up(), silent(), stalls(), cut(), page(200)])
async def test_a_poll_whose_answer_is_lost_is_tolerated(
    vendor: CogVideoXServer, customer: Customer, hasty: Customer, weather: Any
) -> None:
    remote_id = await customer.accepted()
    vendor.will("poll", weather, weather)
    assert rule_for(await hasty.poll(remote_id)).name == "shared.poll"


@pytest.mark.parametrize("state", ["PROCESSING", "processing", "QUEUED", "a new state"])
async def test_a_state_that_is_no_end_goes_on(
    replies: Replies, canned: Customer, state: str
) -> None:
    replies.get(f"{TARGET}/async-result/t-1", payload={"task_status": state})
    assert await canned.poll() == Pending()


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"task_status": "FAIL"}, None, "the provider gave no reason"),
        ({"task_status": "fail", "error": "out of luck"}, None, "out of luck"),
        ({"task_status": "FAIL", "error": {"code": 1301, "message": "bad"}}, "1301", "bad"),
        ({"task_status": "FAIL", "content_filter": [{"level": 1}]}, None, "the content filter"),
        ({"task_status": "FAIL", "error": {"code": "1302", "message": "busy"}}, "1302", "busy"),
        ({"task_status": "FAIL", "error": {"code": "1304", "message": "day"}}, "1304", "day"),
        ({"task_status": "FAIL", "error": {"code": "1305", "message": "load"}}, "1305", "load"),
    ],
)
async def test_a_failed_task_is_a_verdict(
    replies: Replies, canned: Customer, body: Any, code: str | None, message: str
) -> None:
    replies.get(f"{TARGET}/async-result/t-1", payload=body)
    fault = failed(await canned.poll())
    assert (fault.kind, fault.code, fault.effect) == ("provider.failed", code, "accepted")
    assert fault.message.startswith(message)
    assert rule_for(fault).do == "fail"


@pytest.mark.parametrize("status", [200, 400])
async def test_refused_content_while_polling_is_a_verdict(
    replies: Replies, canned: Customer, status: int
) -> None:
    body = {"error": {"code": "1301", "message": "sensitive"}}
    replies.get(f"{TARGET}/async-result/t-1", status=status, payload=body)
    fault = failed(await canned.poll())
    assert (fault.kind, rule_for(fault).do) == ("provider.failed", "fail")


@pytest.mark.parametrize(
    "found", [None, [], {}, "none", [{}], [{"url": ""}], [{"cover_image_url": "http://a/b.jpeg"}]]
)
async def test_success_without_a_video_is_asked_again(
    replies: Replies, canned: Customer, found: Any
) -> None:
    body = {"task_status": "SUCCESS", "video_result": found}
    replies.get(f"{TARGET}/async-result/t-1", payload=body)
    fault = failed(await canned.poll())
    assert (fault.kind, rule_for(fault).name) == ("protocol", "shared.poll")


@pytest.mark.parametrize("body", [{}, {"id": "t-1"}, {"task_status": None}, {"task_status": []}])
async def test_an_answer_without_a_state_is_asked_again(
    replies: Replies, canned: Customer, body: Any
) -> None:
    replies.get(f"{TARGET}/async-result/t-1", payload=body)
    assert rule_for(await canned.poll()).name == "shared.poll"


@pytest.mark.parametrize(
    ("status", "code", "rule"),
    [
        (429, "1302", "cogvideox.busy-1302"),
        (200, "1302", "cogvideox.busy-1302"),
        (429, "1113", "shared.quota-later"),
        (404, "1222", "shared.lost"),
        (400, "1210", "shared.poll-forbidden"),
        (401, "1002", "shared.poll-auth"),
        (500, "1234", "shared.poll"),
        (200, "1234", "shared.poll"),
    ],
)
async def test_an_error_while_polling_has_its_rule(
    replies: Replies, canned: Customer, status: int, code: str, rule: str
) -> None:
    body = {"error": {"code": code, "message": "no"}}
    replies.get(f"{TARGET}/async-result/t-1", status=status, payload=body)
    fault = failed(await canned.poll())
    assert (rule_for(fault).name, fault.effect) == (rule, "accepted")


async def test_an_id_cannot_leave_its_place_in_the_address(
    vendor: CogVideoXServer, customer: Customer
) -> None:
    await customer.poll("../../secret?x=1#y")
    assert vendor.seen == [
        ("GET", "/api/paas/v4/async-result/..%2F..%2Fsecret%3Fx%3D1%23y"),
    ]


# ---- downloads, and what it can't do ----


async def test_a_link_into_a_private_network_is_held(
    vendor: CogVideoXServer, hasty: Customer
) -> None:
    result = Result(f"{vendor.store.origin}/api/cogvideo/t_0.mp4")
    fault = await hasty.engine.fetch(result, Bucket(), target=hasty.target)
    rule = rule_for(fault)
    assert (rule.name, rule.do) == ("shared.private-link", "hold")
    assert vendor.store.seen == []


async def test_an_expired_link_asks_for_a_fresh_one(
    vendor: CogVideoXServer, customer: Customer
) -> None:
    vendor.store.will("clip", answers(404, b""))
    result = Result(f"{vendor.store.origin}/api/cogvideo/t_0.mp4")
    fault = await customer.engine.fetch(result, Bucket(), target=customer.target)
    assert rule_for(fault).reason == "link_expired"


async def test_it_can_neither_cancel_nor_look_up(tmp_path: Path) -> None:
    engine = Customer(TARGET, tmp_path).engine
    assert await engine.cancel("t-1", target=TARGET) == Stopped("unknown")
    assert rule_for(await engine.lookup("k1", target=TARGET)).name == "guard"


async def test_tasks_do_not_disturb_each_other(vendor: CogVideoXServer, customer: Customer) -> None:
    answers_ = await asyncio.gather(*(customer.submit(f"fox {n}") for n in range(20)))
    ids = {one.remote_id for one in answers_ if isinstance(one, Accepted)}
    assert len(ids) == 20
    assert all(count == 1 for count in vendor.accepted.values())


def test_settings_come_from_a_providers_section() -> None:
    from daemon.config import parse

    text = """
    [providers.zhipu]
    engine = "cogvideox"
    base_url = "http://127.0.0.1:8080/api/paas/v4/"
    api_key = { env = "ZHIPU_API_KEY" }
    model = "cogvideox-3"
    proxy = "http://127.0.0.1:7890"
    download_hosts = ["media.lan:9000"]
    allow_networks = ["192.168.1.0/24"]
    poll_timeout_s = 7
    """
    section = parse(text).config.providers["zhipu"]
    settings = settings_for(section, Secret("abc"), {"X-Door": Secret("4711")})
    assert settings.base_urls == ("http://127.0.0.1:8080/api/paas/v4",)
    assert (settings.model, settings.limits.poll_timeout_s) == ("cogvideox-3", 7)
    assert settings.download_hosts == ("media.lan:9000",)
    assert str(settings.allow_networks[0]) == "192.168.1.0/24"
    assert "abc" not in repr(settings)
    assert "4711" not in repr(settings)
