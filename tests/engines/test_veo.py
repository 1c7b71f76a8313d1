from __future__ import annotations

import base64
import errno
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from daemon.core.faults import Rule, classify
from daemon.core.gate import Gate
from daemon.core.job import Intent, Job, Result, Submitting
from daemon.core.judge import Moment, judge
from daemon.core.outcomes import Accepted, Fault, Pending, Ready, Stopped
from daemon.core.policy import Limits, Policy, rule_on
from daemon.engines.engine import Engine, Picture
from daemon.engines.veo import INLINE_BYTES_MAX, STORE, Veo
from daemon.engines.veo_request import FULL_S, INLINE_4K_MAX
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
from tests.fakes.vendors.server import Vendor, answers, cut, endless, hangs_up, page, silent, stalls
from tests.fakes.vendors.veo import (
    CLIP,
    KEY,
    MODEL,
    VeoServer,
    error_body,
    quota_failure,
    retry_info,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.replies import Replies

PLATFORM = "http://vendor.test/v1beta1"
DEVELOPER = "http://vendor.test/v1beta"
SUBMIT = f"{PLATFORM}/publishers/google/models/{MODEL}:predictLongRunning"
FETCH = f"{PLATFORM}/publishers/google/models/{MODEL}:fetchPredictOperation"
OPERATION = f"publishers/google/models/{MODEL}/operations/op1"
DEVELOPERS = f"models/{MODEL}/operations/op1"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


class Customer(customers.Customer[Veo]):
    """One of Veo."""

    first_id = OPERATION

    def __init__(
        self,
        target: str,
        spool: Path,
        *,
        variant: str = "platform",
        limits: Limits = PATIENT,
        **more: Any,
    ) -> None:
        self.spool = spool
        settings = settings_of(
            target, key=KEY, model=MODEL, limits=limits, own={"variant": variant}, **more
        )
        super().__init__(Veo(settings, clock=FakeClock(), spool=spool), target)


def rule_for(fault: object) -> Rule:
    return classify(failed(fault), Veo.rules)


@pytest.fixture
async def platform() -> AsyncIterator[VeoServer]:
    async with VeoServer("platform") as server:
        yield server


@pytest.fixture
async def developer() -> AsyncIterator[VeoServer]:
    async with VeoServer("developer") as server, server.store:
        yield server


@pytest.fixture
async def customer(platform: VeoServer, tmp_path: Path) -> AsyncIterator[Customer]:
    one = Customer(platform.target, tmp_path / "spool")
    yield one
    await one.engine.close()


@pytest.fixture
async def hasty(platform: VeoServer, tmp_path: Path) -> AsyncIterator[Customer]:
    one = Customer(platform.target, tmp_path / "spool", limits=HASTY)
    yield one
    await one.engine.close()


@pytest.fixture
async def developers(developer: VeoServer, tmp_path: Path) -> AsyncIterator[Customer]:
    hosts = (developer.store.origin.removeprefix("http://"),)
    one = Customer(developer.target, tmp_path / "spool", variant="developer", download_hosts=hosts)
    yield one
    await one.engine.close()


@pytest.fixture
async def canned(replies: Replies, tmp_path: Path) -> AsyncIterator[Customer]:
    one = Customer(PLATFORM, tmp_path / "spool")
    yield one
    await one.engine.close()


def test_it_is_an_engine(tmp_path: Path) -> None:
    engine: Engine = Veo(settings_of(PLATFORM), clock=FakeClock(), spool=tmp_path)
    assert engine.abilities.retention_s == 172_800
    names = [one.name for one in Veo.rules]
    assert len(set(names)) == len(names)
    assert all(one.startswith("veo.") for one in names)


# ---- the platform ----


async def test_a_clip_inside_the_answer_is_on_disk_before_it_is_ready(
    platform: VeoServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    assert await customer.poll(remote_id) == Pending()
    ready = await customer.poll(remote_id)
    assert isinstance(ready, Ready)
    (result,) = ready.results
    assert result.url.startswith("spool:veo-")
    (file,) = customer.spool.iterdir()
    assert file.read_bytes() == CLIP
    assert file.name == result.url.removeprefix("spool:")
    assert await customer.fetched(result) == CLIP
    assert platform.complaints == []
    assert platform.accepted == {"a fox": 1}


async def test_polling_again_gives_the_same_files(customer: Customer) -> None:
    remote_id = await customer.accepted(sampleCount=3)
    await customer.poll(remote_id)
    first, second = await customer.poll(remote_id), await customer.poll(remote_id)
    assert isinstance(first, Ready)
    assert first == second
    assert len(first.results) == len(set(first.results)) == len(list(customer.spool.iterdir())) == 3


async def test_a_clip_in_a_bucket_is_fetched_without_the_key(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote_id = await customer.accepted(storageUri="gs://films/a b")
    await customer.poll(remote_id)
    ready = await customer.poll(remote_id)
    assert ready == Ready((Result("gs://films/a b/sample_0.mp4"),))
    asked: list[Any] = []

    async def fetch_to(sink: Any, link: str, *, target: str, keyed: bool = False) -> Fault:
        asked.append((link, keyed))
        return Fault("download", "http", 403, message="no access", effect="accepted")

    monkeypatch.setattr(customer.engine._http, "fetch_to", fetch_to)  # noqa: SLF001 - no network
    assert isinstance(ready, Ready)
    fault = failed(await customer.engine.fetch(ready.results[0], Bucket(), target=customer.target))
    assert asked == [(f"{STORE}/films/a%20b/sample_0.mp4", False)]
    assert fault.message == "the clip is at gs://films/a b/sample_0.mp4: no access"


async def test_within_a_project_the_key_is_a_token(tmp_path: Path) -> None:
    from tests.fakes.replies import Replies

    target = f"{PLATFORM}/projects/p-1/locations/us-central1"
    name = f"projects/p-1/locations/us-central1/{OPERATION}"
    one = Customer(target, tmp_path)
    with Replies() as replies:
        submit = f"{target}/publishers/google/models/{MODEL}:predictLongRunning"
        replies.post(submit, payload={"name": name})
        assert await one.submit() == Accepted(name, target)
        ((call, *_),) = replies.requests.values()
        replies.post(
            submit.replace("predictLongRunning", "fetchPredictOperation"), payload={"name": name}
        )
        assert await one.poll(name) == Pending()
    assert call.kwargs["headers"]["Authorization"] == f"Bearer {KEY}"
    assert "x-goog-api-key" not in call.kwargs["headers"]
    await one.engine.close()


# ---- the developer variant ----


async def test_a_clip_behind_a_link_is_fetched_with_the_key_which_goes_no_further(
    developer: VeoServer, developers: Customer
) -> None:
    remote_id = await developers.accepted(durationSeconds=8, resolution="1080p")
    assert remote_id.startswith(f"models/{MODEL}/operations/")
    assert await developers.poll(remote_id) == Pending()
    ready = await developers.poll(remote_id)
    assert isinstance(ready, Ready)
    assert ready.results[0].expires_at == FakeClock().now() + 172_800
    assert await developers.fetched(ready.results[0]) == CLIP
    assert developer.complaints == developer.store.complaints == []


async def test_behind_a_reverse_proxy_googles_link_is_asked_of_the_proxy(
    developer: VeoServer, developers: Customer
) -> None:
    link = "https://generativelanguage.googleapis.com/v1beta/files/vid0001:download?alt=media"
    assert await developers.fetched(Result(link)) == CLIP
    assert developer.seen == [("GET", "/v1beta/files/vid0001:download?alt=media")]


async def test_an_operation_is_asked_about_as_its_name_says(
    replies: Replies, canned: Customer
) -> None:
    replies.get(f"{PLATFORM}/{DEVELOPERS}", payload={"name": DEVELOPERS, "metadata": {}})
    assert await canned.poll(DEVELOPERS) == Pending()


# ---- pictures ----


async def test_pictures_are_frames_or_references(
    platform: VeoServer, customer: Customer, tmp_path: Path
) -> None:
    file = picture_file(tmp_path / "a.png", content=PNG)
    assert isinstance(await customer.submit("", file), Accepted)
    assert isinstance(await customer.submit("a fox", file, file), Accepted)
    answer = await customer.submit("a fox", file, file, file, image_role="reference")
    assert isinstance(answer, Accepted)
    shown = {"bytesBase64Encoded": base64.b64encode(PNG).decode(), "mimeType": "image/png"}
    reference = {"image": shown, "referenceType": "ASSET"}
    assert [one["instances"][0] for one in platform.operations.values()] == [
        {"image": shown},
        {"prompt": "a fox", "image": shown, "lastFrame": shown},
        {"prompt": "a fox", "referenceImages": [reference] * 3},
    ]
    assert all("parameters" not in one for one in platform.operations.values())
    assert platform.complaints == []


class Album(Vendor):
    """Serves a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.route("picture", "GET", "/", self._none)

    async def _none(self, request: Any) -> Any:
        raise AssertionError


@pytest.fixture
async def album() -> AsyncIterator[Album]:
    async with Album() as server:
        yield server


@pytest.mark.parametrize(
    ("content", "mime"), [(PNG, "image/png"), (b"\xff\xd8\xff\xe0", "image/jpeg")]
)
async def test_a_picture_that_is_a_link_is_fetched_and_sent(
    platform: VeoServer, album: Album, tmp_path: Path, content: bytes, mime: str
) -> None:
    album.will("picture", answers(200, content, mime="text/plain"))
    hosts = (album.origin.removeprefix("http://"),)
    one = Customer(platform.target, tmp_path, download_hosts=hosts)
    link = Picture(source="link", url=f"{album.origin}/a.png")
    assert isinstance(await one.submit("a fox", link), Accepted)
    (body,) = platform.operations.values()
    assert body["instances"][0]["image"]["mimeType"] == mime
    assert base64.b64decode(body["instances"][0]["image"]["bytesBase64Encoded"]) == content
    await one.engine.close()


@pytest.mark.parametrize(
    ("weather", "kind", "words"),
    [
        (answers(404, b""), "local.decode", "HTTP 404"),
        (page(200), "local.decode", "PNG or JPEG only"),
        (endless(), "local.decode", "more than 20,971,520 bytes"),
        (page(502, "Bad Gateway"), "local.io", "Bad Gateway"),
        (answers(429, b"slow down"), "local.io", "HTTP 429: slow down"),
        (answers(408, b""), "local.io", "HTTP 408"),
        (cut(PNG), "local.io", "it is cut"),
        (stalls(), "local.io", "silent"),
    ],
)
async def test_a_linked_picture_that_cannot_be_had_costs_nothing_and_blames_nobody(
    platform: VeoServer, album: Album, tmp_path: Path, weather: Any, kind: str, words: str
) -> None:
    album.will("picture", weather)
    hosts = (album.origin.removeprefix("http://"),)
    limits = Limits(download_timeout_s=0.1)
    one = Customer(platform.target, tmp_path, download_hosts=hosts, limits=limits)
    fault = failed(await one.submit("a fox", Picture(source="a link", url=f"{album.origin}/a.png")))
    assert (fault.kind, fault.effect) == (kind, "none")
    assert fault.message.startswith("a link: ")
    assert words in fault.message
    assert rule_for(fault).do == ("fail" if kind == "local.decode" else "retry")
    assert platform.seen == []
    await one.engine.close()


async def test_the_host_of_a_linked_picture_says_when_to_come_again(
    platform: VeoServer, album: Album, tmp_path: Path
) -> None:
    album.will("picture", answers(429, b"", headers={"Retry-After": "90"}))
    hosts = (album.origin.removeprefix("http://"),)
    one = Customer(platform.target, tmp_path, download_hosts=hosts)
    fault = failed(await one.submit("a fox", Picture(source="l", url=f"{album.origin}/a.png")))
    assert (fault.kind, fault.retry_after_s) == ("local.io", 90.0)
    await one.engine.close()


@pytest.mark.parametrize("link", ["ftp://a.test/b.png", "http://[::1"])
async def test_a_picture_whose_link_is_none_is_not_tried_again(
    customer: Customer, link: str
) -> None:
    fault = failed(await customer.submit("a fox", Picture(source="l", url=link)))
    assert rule_for(fault).name == "veo.picture"


async def test_a_linked_picture_at_a_private_address_is_not_fetched(
    platform: VeoServer, album: Album, customer: Customer
) -> None:
    fault = failed(await customer.submit("a fox", Picture(source="l", url=f"{album.origin}/a.png")))
    assert rule_for(fault).name == "veo.picture"
    assert album.seen == platform.seen == []


async def test_an_earlier_result_is_extended(platform: VeoServer, customer: Customer) -> None:
    uri = "https://generativelanguage.googleapis.com/v1beta/files/vid0001:download?alt=media"
    await customer.accepted(video=uri)
    await customer.accepted(video="gs://films/a.mp4")
    assert [one["instances"][0]["video"] for one in platform.operations.values()] == [
        {"uri": uri},
        {"gcsUri": "gs://films/a.mp4", "mimeType": "video/mp4"},
    ]
    assert platform.complaints == []


async def test_parameters_are_sent_as_they_are(platform: VeoServer, customer: Customer) -> None:
    params = {"durationSeconds": 8, "seed": 7, "generateAudio": False, "negativePrompt": "blur"}
    await customer.accepted(**params, model=MODEL)
    (body,) = platform.operations.values()
    assert body == {"instances": [{"prompt": "a fox"}], "parameters": params}


# ---- checks ----


@pytest.mark.parametrize(
    ("variant", "prompt", "params", "images", "field", "words"),
    [
        ("platform", "", {}, 0, "prompt", "is needed"),
        ("platform", "", {"image_role": "reference"}, 2, "prompt", "is needed"),
        ("platform", "a", {"durationSeconds": 5}, 0, "params.durationSeconds", "4, 6 or 8, got 5"),
        ("platform", "a", {"durationSeconds": "8"}, 0, "params.durationSeconds", "got '8'"),
        ("platform", "a", {"aspectRatio": "1:1"}, 0, "params.aspectRatio", '"16:9" or "9:16"'),
        ("platform", "a", {"resolution": "2k"}, 0, "params.resolution", '"720p", "1080p" or "4k"'),
        ("platform", "a", {"sampleCount": 5}, 0, "params.sampleCount", "from 1 to 4"),
        ("platform", "a", {"seed": -1}, 0, "params.seed", "from 0 to 4294967295"),
        ("platform", "a", {"storageUri": "s3://a"}, 0, "params.storageUri", "gs:// address"),
        ("platform", "a", {"video": "file:///a"}, 0, "params.video", "https:// or gs://"),
        ("platform", "a", {"video": "gs://a"}, 1, "images", "takes no pictures"),
        ("platform", "a", {}, 3, "images", "image_role=reference takes three"),
        ("platform", "a", {"image_role": "reference"}, 4, "images", "1 to 3 pictures"),
        ("platform", "a", {"image_role": "reference"}, 0, "images", "1 to 3 pictures"),
        ("platform", "a", {"image_role": "last"}, 1, "params.image_role", '"frame" or "reference"'),
        ("platform", "a", {"aspectratio": "16:9"}, 0, "params.aspectratio", "'aspectRatio'?"),
        ("platform", "a", {"lastFrame": "x"}, 0, "params.lastFrame", "give two images"),
        ("platform", "a", {"model": "../x"}, 0, "params.model", "a model's name"),
        ("developer", "a", {"sampleCount": 2}, 0, "params.sampleCount", "expected 1, got 2"),
        ("developer", "a", {"seed": 1}, 0, "params.seed", "only the platform variant"),
        ("developer", "a", {"video": "gs://a"}, 0, "params.video", "https:// link"),
    ],
)
def test_what_the_documented_limits_refuse_is_named(
    tmp_path: Path,
    variant: str,
    prompt: str,
    params: dict[str, Any],
    images: int,
    field: str,
    words: str,
) -> None:
    engine = Customer(PLATFORM, tmp_path, variant=variant).engine
    (problem,) = engine.check(prompt, params, images)
    assert problem.field == field
    assert words in problem.message


@pytest.mark.parametrize(
    ("params", "images"),
    [
        ({"resolution": "1080p"}, 0),
        ({"resolution": "4k"}, 1),
        ({"image_role": "reference"}, 2),
        ({"video": "https://a.test/v"}, 0),
    ],
)
def test_what_needs_eight_seconds_says_so(
    tmp_path: Path, params: dict[str, Any], images: int
) -> None:
    engine = Customer(PLATFORM, tmp_path).engine
    assert engine.check("a fox", params, images) == []
    assert engine.check("a fox", {**params, "durationSeconds": 8}, images) == []
    (problem,) = engine.check("a fox", {**params, "durationSeconds": 4}, images)
    assert problem.field == "params.durationSeconds"
    assert problem.message.endswith(": expected 8")


def test_no_more_large_clips_are_asked_for_than_one_answer_can_bring(tmp_path: Path) -> None:
    engine = Customer(PLATFORM, tmp_path).engine
    large = {"resolution": "4k", "sampleCount": INLINE_4K_MAX + 1}
    (problem,) = engine.check("a fox", large, 0)
    assert problem.field == "params.sampleCount"
    assert "at most 2" in problem.message
    assert "storageUri" in problem.message
    for fewer in (
        {"sampleCount": INLINE_4K_MAX},
        {"resolution": "1080p"},
        {"storageUri": "gs://a"},
    ):
        assert engine.check("a fox", {**large, **fewer}, 0) == []


def test_the_clips_of_an_answer_fit_into_it_at_fifty_megabits_a_second() -> None:
    clip_bytes = FULL_S * 50_000_000 / 8
    assert INLINE_4K_MAX * clip_bytes * 4 / 3 < INLINE_BYTES_MAX


def test_an_extension_is_720p_only(tmp_path: Path) -> None:
    engine = Customer(PLATFORM, tmp_path).engine
    (problem,) = engine.check("a", {"video": "gs://a", "resolution": "1080p"}, 0)
    assert problem.field == "params.resolution"


# ---- refusals ----


@pytest.mark.parametrize(
    ("message", "details", "rule", "retry_after_s"),
    [
        ("Resource has been exhausted (e.g. check quota).", [], "veo.quota", None),
        ("Please retry in 37.54s.", [], "veo.quota", 37.54),
        ("Please retry in 10h17m5.7s.", [], "veo.quota", 37025.7),
        ("quota", [retry_info("37.5s")], "veo.quota", 37.5),
        ("retry in 9s", [retry_info("37.5s")], "veo.quota", 37.5),
        ("quota", [quota_failure(("RequestsPerMinutePerProject", "10"))], "veo.quota", 60.0),
        ("q", [quota_failure(("APerMinute", "10")), retry_info("7s")], "veo.quota", 7.0),
        ("q", [quota_failure(("APerDayPerProject", "10")), retry_info("57s")], "veo.daily", 57.0),
        ("q", [quota_failure(("APerMinute", "9"), ("BPerDay", "50"))], "veo.daily", 60.0),
        ("q", [quota_failure(("APerDay", "0"))], "veo.no-quota", None),
        ("quota exceeded, limit: 0, model: veo", [], "veo.no-quota", None),
        ("quota exceeded, limit: 0.5, model: veo", [], "veo.quota", None),
        ("You reached a spend-based limit", [], "veo.spending", None),
    ],
)
async def test_a_429_pauses_as_long_as_its_details_say(
    replies: Replies,
    canned: Customer,
    message: str,
    details: list[Any],
    rule: str,
    retry_after_s: float | None,
) -> None:
    body = error_body(429, "RESOURCE_EXHAUSTED", message, details)
    replies.post(SUBMIT, status=429, payload=body)
    fault = failed(await canned.submit())
    assert (fault.code, fault.effect) == ("RESOURCE_EXHAUSTED", "none")
    assert fault.retry_after_s == pytest.approx(retry_after_s)
    assert (rule_for(fault).name, rule_for(fault).do) == (rule, "pause")


async def test_a_quota_of_the_day_pauses_until_its_reset_whatever_retry_info_says(
    replies: Replies, canned: Customer
) -> None:
    details = [quota_failure(("APerDay", "10")), retry_info("57s")]
    body = error_body(429, "RESOURCE_EXHAUSTED", "x" * 5_000, details)
    replies.post(SUBMIT, status=429, payload=body)
    fault = failed(await canned.submit())
    job = Job(id=1, provider="veo", created_at=0.0, updated_at=0.0, attempt=1)
    policy = Policy(rules=Veo.rules)
    ruling = rule_on(job, fault, policy, jitter=0.0)
    work = Submitting(Intent(1, "k", PLATFORM, "", 0.0))
    at = Moment(100.0, daily_at=5_000.0)
    (event,) = judge(
        Gate(), msgspec.structs.replace(job, work=work), fault, ruling.verdict, policy.limits, at
    )
    assert isinstance(event.gate, Gate)
    assert event.gate.causes[0].until_at == 5_000.0


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize(
    ("status", "name", "message", "rule"),
    [
        (400, "INVALID_ARGUMENT", "bad field", "veo.invalid: fail"),
        (400, "FAILED_PRECONDITION", "billing", "veo.billing: pause"),
        (401, "UNAUTHENTICATED", "key", "veo.key-unknown: pause"),
        (403, "PERMISSION_DENIED", "key", "veo.key-rights: pause"),
        (402, "", "prepaid balance", "shared.balance: pause"),
        (404, "NOT_FOUND", "model is no longer available", "veo.model-gone: pause"),
        (403, "OTHER", "You exceeded your current quota", "veo.quota-words: pause"),
        (500, "INTERNAL", "oops", "guard: reconcile"),
        (503, "UNAVAILABLE", "busy", "guard: reconcile"),
        (504, "DEADLINE_EXCEEDED", "late", "guard: reconcile"),
        (503, "RESOURCE_EXHAUSTED", "exceeded your current quota", "guard: reconcile"),
    ],
)
async def test_a_refused_submit_has_its_rule(
    replies: Replies,
    canned: Customer,
    status: int,
    name: str,
    message: str,
    rule: str,
    wrapped: bool,
) -> None:
    body = error_body(status, name, message)
    replies.post(SUBMIT, status=status, payload=[body] if wrapped else body)
    found = rule_for(await canned.submit())
    assert f"{found.name}: {found.do}" == rule


@pytest.mark.parametrize(
    ("body", "rule"),
    [(b"<html><title>404</title></html>", "veo.model"), (b'{"error": "gone"}', "veo.model")],
)
async def test_a_404_of_whatever_form_means_that_the_model_is_gone(
    replies: Replies, canned: Customer, body: bytes, rule: str
) -> None:
    replies.post(SUBMIT, status=404, body=body)
    assert rule_for(await canned.submit()).name == rule


async def test_a_bad_key_is_known_by_its_reason(replies: Replies, canned: Customer) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    body = error_body(400, "INVALID_ARGUMENT", f"key {KEY} not valid", [info])
    replies.post(SUBMIT, status=400, payload=body)
    fault = failed(await canned.submit())
    assert (fault.message, rule_for(fault).cause) == ("key [hidden] not valid", "auth")
    replies.post(FETCH, status=400, payload=body)
    assert rule_for(await canned.poll()).name == "veo.poll-key"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "models/../../files"},
        {"name": "operations/op1"},
        {"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}},
        {"error": "busy"},
    ],
)
async def test_a_good_answer_without_an_operation_leaves_a_doubt(
    replies: Replies, canned: Customer, body: Any
) -> None:
    replies.post(SUBMIT, payload=body)
    assert rule_for(await canned.submit()).name == "guard"


async def test_a_refusal_in_a_good_answer_is_one(replies: Replies, canned: Customer) -> None:
    replies.post(SUBMIT, payload=error_body(429, "RESOURCE_EXHAUSTED", "quota"))
    fault = failed(await canned.submit())
    assert (fault.kind, fault.http, fault.effect) == ("provider.error", 200, "none")
    assert rule_for(fault).name == "veo.quota"


@pytest.mark.parametrize(
    "weather",
    [
        page(504, accepts=True),
        page(200, accepts=True),
        hangs_up(accepts=True),
        silent(accepts=True),
        cut(accepts=True),
    ],
)
async def test_a_lost_answer_is_a_doubt_and_nothing_is_sent_twice(
    platform: VeoServer, hasty: Customer, weather: Any
) -> None:
    platform.will("submit", weather)
    assert rule_for(await hasty.submit()).name == "guard"
    assert platform.accepted == {"a fox": 1}
    assert len(platform.seen) == 1


# ---- polls ----


@pytest.mark.parametrize(
    ("operation", "code", "words"),
    [
        ({"error": {"code": 8, "message": "quota"}}, "8", "quota"),
        ({"error": {"code": 3}}, "3", "the provider gave no reason"),
        ({"error": {"code": 14, "message": "exceeded your current quota"}}, "14", "exceeded"),
        ({"response": {}}, "no_video", 'there is no video: {"name"'),
        ({}, "no_video", "there is no video"),
        ({"response": {"videos": []}}, "no_video", "there is no video"),
        ({"response": {"videos": [{}, None, {"bytesBase64Encoded": ""}]}}, "no_video", "there is"),
        ({"response": {"generateVideoResponse": {"generatedSamples": [{}]}}}, "no_video", "there"),
        (
            {"response": {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["violence"]}},
            "rai_filtered",
            "filtered by the provider, and not charged: violence",
        ),
        (
            {"response": {"generateVideoResponse": {"raiMediaFilteredCount": "2"}}},
            "rai_filtered",
            "no reason was given",
        ),
    ],
)
async def test_an_operation_that_made_nothing_is_a_verdict(
    replies: Replies, canned: Customer, operation: Any, code: str, words: str
) -> None:
    replies.post(FETCH, payload={"name": OPERATION, "done": True, **operation})
    fault = failed(await canned.poll())
    assert (fault.kind, fault.code, fault.effect) == ("provider.failed", code, "accepted")
    assert words in fault.message
    assert rule_for(fault).name == "shared.verdict"


async def test_what_was_not_filtered_is_kept(replies: Replies, canned: Customer) -> None:
    clip = {"gcsUri": "gs://b/o.mp4"}
    response = {"videos": [clip], "raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["x"]}
    replies.post(FETCH, payload={"done": "true", "response": response})
    assert await canned.poll() == Ready((Result("gs://b/o.mp4"),))


@pytest.mark.parametrize(
    "body", [{"name": OPERATION}, {"done": False}, {"name": OPERATION, "metadata": {"a": 1}}]
)
async def test_an_operation_that_is_not_done_goes_on(
    replies: Replies, canned: Customer, body: Any
) -> None:
    replies.post(FETCH, payload=body)
    assert await canned.poll() == Pending()


@pytest.mark.parametrize(
    ("status", "body", "rule"),
    [
        (403, error_body(403, "PERMISSION_DENIED", "no"), "shared.poll-forbidden"),
        (404, error_body(404, "NOT_FOUND", "no"), "shared.lost"),
        (401, error_body(401, "UNAUTHENTICATED", "no"), "shared.poll-auth"),
        (429, error_body(429, "RESOURCE_EXHAUSTED", "no"), "shared.quota-later"),
        (503, error_body(503, "UNAVAILABLE", "no"), "shared.poll"),
        (200, error_body(429, "RESOURCE_EXHAUSTED", "no"), "veo.poll-quota"),
        (200, error_body(500, "INTERNAL", "no"), "shared.poll"),
        (200, {}, "shared.poll"),
        (200, [], "shared.poll"),
    ],
)
async def test_an_error_while_polling_has_its_rule(
    replies: Replies, canned: Customer, status: int, body: Any, rule: str
) -> None:
    replies.post(FETCH, status=status, payload=body)
    fault = failed(await canned.poll())
    assert (rule_for(fault).name, fault.effect) == (rule, "accepted")


@pytest.mark.parametrize("weather", [page(504), hangs_up(), silent(), stalls(), cut(), page(200)])
async def test_a_poll_whose_answer_is_lost_is_tolerated(
    platform: VeoServer, customer: Customer, hasty: Customer, weather: Any
) -> None:
    remote_id = await customer.accepted()
    platform.will("poll", weather)
    assert rule_for(await hasty.poll(remote_id)).name == "shared.poll"


@pytest.mark.parametrize("name", ["t-1", "models/a/operations/..?x=1", "models/a/b", "../x"])
async def test_an_id_that_is_no_operation_asks_nobody(canned: Customer, name: str) -> None:
    assert rule_for(await canned.poll(name)).name == "veo.no-operation"


async def test_a_clip_that_is_no_base64_is_asked_for_again(
    replies: Replies, canned: Customer
) -> None:
    response = {"videos": [{"bytesBase64Encoded": "***"}]}
    replies.post(FETCH, payload={"done": True, "response": response})
    fault = failed(await canned.poll())
    assert (fault.kind, rule_for(fault).name) == ("protocol", "shared.poll")
    assert list(canned.spool.iterdir()) == []


async def test_a_spool_that_cannot_be_written_keeps_the_operation(
    replies: Replies, tmp_path: Path
) -> None:
    (tmp_path / "spool").write_text("in the way")
    one = Customer(PLATFORM, tmp_path / "spool")
    response = {"videos": [{"bytesBase64Encoded": "AAAA"}]}
    replies.post(FETCH, payload={"done": True, "response": response})
    fault = failed(await one.poll())
    assert (fault.kind, fault.effect) == ("local.io", "accepted")
    assert rule_for(fault).do == "tolerate"
    await one.engine.close()


async def test_a_spooled_clip_that_is_gone_is_asked_for_again(canned: Customer) -> None:
    for url in ("spool:veo-1-0", "spool:../../etc/passwd"):
        fault = failed(await canned.engine.fetch(Result(url), Bucket(), target=PLATFORM))
        assert (rule_for(fault).do, rule_for(fault).reason) == ("hold", "link_expired")


async def test_the_sinks_error_passes_through_from_the_spool(customer: Customer) -> None:
    remote_id = await customer.accepted()
    await customer.poll(remote_id)
    ready = await customer.poll(remote_id)
    assert isinstance(ready, Ready)
    full = OSError(errno.ENOSPC, "full")
    with pytest.raises(OSError, match="full"):
        await customer.engine.fetch(ready.results[0], Bucket(1, full), target=customer.target)


async def test_it_can_neither_cancel_nor_look_up(canned: Customer) -> None:
    assert await canned.engine.cancel(OPERATION, target=PLATFORM) == Stopped("unknown")
    assert rule_for(await canned.engine.lookup("k1", target=PLATFORM)).name == "guard"
