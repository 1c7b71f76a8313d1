from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from daemon.configuration.keys import Secret
from daemon.core.faults import Rule, classify
from daemon.core.job import Result
from daemon.core.outcomes import Accepted, Pending, Ready, Stopped
from daemon.core.policy import Abilities, Limits
from daemon.engines.coze import RETENTION_S, Coze
from daemon.engines.coze_output import covers_in, links_in
from daemon.engines.engine import Engine, Picture
from daemon.engines.settings import settings_for
from tests.fakes.clock import FakeClock
from tests.fakes.vendors import customer as customers
from tests.fakes.vendors.coze import CLIP, KEY, LOGID, WORKFLOW, CozeServer, envelope, record
from tests.fakes.vendors.customer import (
    HASTY,
    PATIENT,
    Bucket,
    failed,
    picture_file,
    request_of,
    settings_of,
)
from tests.fakes.vendors.server import Weather, answers, cut, hangs_up, page, silent, stalls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.fakes.replies import Replies

BASE = "http://vendor.test"
RUN = f"{BASE}/v1/workflow/run"
UPLOAD = f"{BASE}/v1/files/upload"
HISTORY = f"{BASE}/v1/workflows/{WORKFLOW}/run_histories/76"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


class Customer(customers.Customer[Coze]):
    """One of Coze, on a clock of its own."""

    first_id = "76"

    def __init__(self, base: str, spool: Path, *, limits: Limits = PATIENT, **more: Any) -> None:
        own = {"workflow_id": WORKFLOW, **more.pop("own", {})}
        settings = settings_of(base, key=KEY, limits=limits, own=own, **more)
        self.clock = FakeClock()
        engine = Coze(settings, clock=self.clock, spool=spool)
        super().__init__(engine, f"{base}/v1/workflows/{WORKFLOW}")


@pytest.fixture
async def vendor() -> AsyncIterator[CozeServer]:
    async with CozeServer() as server, server.store:
        yield server


@pytest.fixture
async def customer(vendor: CozeServer, tmp_path: Path) -> AsyncIterator[Customer]:
    hosts = (vendor.store.origin.removeprefix("http://"),)
    one = Customer(vendor.origin, tmp_path / "spool", download_hosts=hosts)
    yield one
    await one.engine.close()


@pytest.fixture
async def hasty(vendor: CozeServer, tmp_path: Path) -> AsyncIterator[Customer]:
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
    return classify(failed(fault), Coze.rules)


def only_run(vendor: CozeServer) -> dict[str, Any]:
    (run,) = vendor.runs.values()
    return run


def test_it_is_an_engine(tmp_path: Path) -> None:
    engine: Engine = Coze(settings_of(BASE), clock=FakeClock(), spool=tmp_path)
    assert engine.abilities == Abilities(retention_s=RETENTION_S)


def test_its_rules_have_names_of_their_own() -> None:
    names = [one.name for one in Coze.rules]
    assert len(set(names)) == len(names)
    assert all(name.startswith("coze.") for name in names)
    assert all(one.why for one in Coze.rules)


async def test_a_workflow_runs_and_its_clip_is_fetched(
    vendor: CozeServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    assert await customer.poll(remote_id) == Pending()
    ready = await customer.poll(remote_id)
    # The cover is no result.
    link = f"{vendor.store.origin}/clips/{remote_id}.mp4?sign=a%2Fb%3D"
    assert ready == Ready((Result(link),))
    bucket = Bucket()
    assert isinstance(ready, Ready)
    assert await customer.engine.fetch(ready.results[0], bucket, target=customer.target) is None
    assert bucket.content == CLIP
    assert vendor.complaints == vendor.store.complaints == []
    assert vendor.accepted == {"k1": 1}


# ---- what is asked ----


async def test_params_are_inputs_of_the_workflow_and_the_key_is_its_user(
    vendor: CozeServer, customer: Customer
) -> None:
    await customer.accepted(prompt="a fox", seed=7, style={"name": "ink"}, is_loop=False)
    assert only_run(vendor) == {
        "workflow_id": WORKFLOW,
        "parameters": {"prompt": "a fox", "seed": 7, "style": {"name": "ink"}, "is_loop": False},
        "is_async": True,
        "ext": {"user_id": "k1"},
    }


async def test_the_section_names_inputs_bot_and_ext(vendor: CozeServer, tmp_path: Path) -> None:
    own = {
        "prompt_key": "text",
        "image_key": "ref",
        "bot_id": "12",
        "app_id": "",
        "ext": {"latitude": "48.1", "user_id": "nobody"},
    }
    one = Customer(vendor.origin, tmp_path, own=own)
    link = Picture(source="http://a.test/b.png", url="http://a.test/b.png")
    request = ("a fox", link)
    assert isinstance(await one.submit(*request, ext={"longitude": "11.6"}), Accepted)
    await one.engine.close()
    assert only_run(vendor) == {
        "workflow_id": WORKFLOW,
        "parameters": {"text": "a fox", "ref": "http://a.test/b.png"},
        "is_async": True,
        "bot_id": "12",
        "ext": {"latitude": "48.1", "longitude": "11.6", "user_id": "k1"},
    }


async def test_a_job_may_belong_to_an_app(vendor: CozeServer, customer: Customer) -> None:
    await customer.accepted(app_id=7390)
    assert only_run(vendor)["app_id"] == "7390"


async def test_without_a_prompt_none_is_sent(vendor: CozeServer, customer: Customer) -> None:
    await customer.accepted(prompt="  ", topic="foxes")
    assert only_run(vendor)["parameters"] == {"topic": "foxes"}


@pytest.mark.parametrize("workflow", ["7390000000000000002", 7390000000000000002])
async def test_a_job_may_run_a_workflow_of_its_own_and_is_asked_for_there(
    vendor: CozeServer, customer: Customer, workflow: Any
) -> None:
    vendor.published.add("7390000000000000002")
    answer = await customer.submit(workflow_id=workflow)
    assert isinstance(answer, Accepted)
    assert answer.target == f"{vendor.origin}/v1/workflows/7390000000000000002"
    assert await customer.engine.poll(answer.remote_id, target=answer.target) == Pending()


async def test_a_bare_address_stands_for_the_sections_workflow(
    vendor: CozeServer, customer: Customer
) -> None:
    answer = await customer.engine.submit(request_of(), key="k1", target=f"{vendor.origin}/")
    assert isinstance(answer, Accepted)
    assert answer.target == customer.target
    assert await customer.engine.poll(answer.remote_id, target=vendor.origin) == Pending()


async def test_the_address_may_have_a_path(replies: Replies, tmp_path: Path) -> None:
    one = Customer("http://proxy.test/coze", tmp_path)
    replies.post("http://proxy.test/coze/v1/workflow/run", payload={"code": 0, "execute_id": "76"})
    replies.get(
        f"http://proxy.test/coze/v1/workflows/{WORKFLOW}/run_histories/76", payload=record()
    )
    assert await one.submit() == Accepted("76", one.target)
    assert await one.poll() == Pending()
    await one.engine.close()


# ---- pictures ----


async def test_a_file_is_uploaded_and_a_link_goes_as_it_is(
    vendor: CozeServer, customer: Customer, tmp_path: Path
) -> None:
    file = picture_file(tmp_path / "first frame.png", content=PNG)
    link = Picture(source="http://a.test/b.png", url="http://a.test/b.png")
    assert isinstance(await customer.submit("a fox", file), Accepted)
    assert isinstance(await customer.submit("a fox", file, link), Accepted)
    one, two = (run["parameters"]["image"] for run in vendor.runs.values())
    first, second = vendor.files
    assert one == json.dumps({"file_id": first}, separators=(",", ":"))
    assert (json.loads(two[0]), two[1]) == ({"file_id": second}, "http://a.test/b.png")
    assert vendor.files[first] == ("picture.png", "image/png", PNG)
    assert vendor.complaints == []


async def test_a_picture_that_is_gone_is_tried_again(
    vendor: CozeServer, customer: Customer, tmp_path: Path
) -> None:
    gone = Picture(source="first.png", path=tmp_path / "first.png", mime="image/png")
    fault = failed(await customer.submit("a fox", gone))
    assert (fault.kind, fault.effect, rule_for(fault).do) == ("local.io", "none", "retry")
    assert fault.message == "first.png: No such file or directory"
    assert vendor.seen == []


async def test_a_picture_that_is_nothing_is_never_sent(
    vendor: CozeServer, customer: Customer
) -> None:
    fault = failed(await customer.submit("a fox", Picture(source="first.png")))
    assert (fault.kind, rule_for(fault).name) == ("local.decode", "coze.picture")
    assert vendor.seen == []


@pytest.mark.parametrize(
    ("weather", "do"),
    [
        (page(504), "retry"),
        (page(200), "retry"),
        (hangs_up(), "retry"),
        (silent(), "retry"),
        (cut(accepts=True), "retry"),
        (answers(200, envelope()), "retry"),
        (answers(200, {**envelope(), "data": []}), "retry"),
        (answers(200, envelope(4302, "too large")), "fail"),
        (answers(400, envelope(4303, "no such type")), "fail"),
        (answers(200, envelope(4100, "bad token")), "pause"),
        (answers(429), "pause"),
    ],
)
async def test_an_upload_that_fails_costs_nothing_and_starts_no_run(
    vendor: CozeServer, hasty: Customer, tmp_path: Path, weather: Any, do: str
) -> None:
    vendor.will("upload", weather)
    fault = failed(await hasty.submit("a fox", picture_file(tmp_path / "a.png")))
    assert (fault.effect, rule_for(fault).do) == ("none", do)
    assert vendor.runs == {}


async def test_slow_uploads_end_while_there_is_time_for_the_run(
    vendor: CozeServer, customer: Customer, tmp_path: Path
) -> None:
    async def act(request: web.Request) -> web.Response:
        await customer.clock.advance(PATIENT.submit_timeout_s * 0.6)
        return web.json_response({**envelope(), "data": {"id": "1"}})

    vendor.will("upload", Weather(act))
    file = picture_file(tmp_path / "a.png")
    fault = failed(await customer.submit("a fox", file, file))
    assert (fault.kind, fault.effect) == ("transport.timeout.total", "none")
    assert vendor.seen == [("POST", "/v1/files/upload")]


# ---- checks ----


@pytest.mark.parametrize(
    ("params", "own", "field", "words"),
    [
        ({}, {"workflow_id": ""}, "params.workflow_id", "name a workflow"),
        ({"workflow_id": "../x"}, {}, "params.workflow_id", "an id of up to 64 letters"),
        ({"workflow_id": ["7"]}, {}, "params.workflow_id", "got a list"),
        ({"bot_id": "1", "app_id": "2"}, {}, "params.app_id", "never both"),
        ({"bot_id": "1"}, {"app_id": "2"}, "params.app_id", "never both"),
        ({"ext": {"latitude": 48.1}}, {}, "params.ext", "a table of texts"),
        ({"ext": {"user_id": "me"}}, {}, "params.ext", "set for each submit"),
        ({"prompt": "x"}, {}, "params.prompt", "as the job's prompt"),
        ({"text": "x"}, {"prompt_key": "text"}, "params.text", "as the job's prompt"),
        ({"image": "http://a.test"}, {}, "params.image", "as the job's images"),
        ({"is_async": False}, {}, "params.is_async", "always true"),
        ({"parameters": {}}, {}, "params.parameters", "as a param of its own"),
        ({"output_path": "a"}, {}, "params.output_path", "the provider's section"),
        ({}, {"prompt_key": ""}, "prompt", "no prompt_key"),
        ({}, {"image_key": ""}, "images", "no image_key"),
    ],
)
def test_what_can_never_work_is_named(
    tmp_path: Path, params: dict[str, Any], own: dict[str, Any], field: str, words: str
) -> None:
    (problem,) = Customer(BASE, tmp_path, own=own).engine.check("a fox", params, 1)
    assert problem.field == field
    assert words in problem.message


@pytest.mark.parametrize(
    ("params", "own"),
    [
        ({}, {}),
        ({"seed": 7, "duraton": 5, "deep": {"list": [1, None]}}, {}),
        ({"workflow_id": 7380000000000000001}, {"workflow_id": ""}),
        ({"bot_id": "1", "ext": {"latitude": "1"}}, {"app_id": ""}),
        ({"prompt": "x", "image": "y"}, {"prompt_key": "text", "image_key": "ref"}),
    ],
)
def test_what_the_workflow_may_know_is_taken(
    tmp_path: Path, params: dict[str, Any], own: dict[str, Any]
) -> None:
    assert Customer(BASE, tmp_path, own=own).engine.check("a fox", params, 2) == []


# ---- submits that fail ----

REFUSED = [4000, 4004, 4006, 4010, 4012, 4014, 4015, 4021, 4101, 4105, 4200, 720702011]
CODES = (
    [(code, ("fail", "", "quota")) for code in (*REFUSED, 720701001, 720701002)]
    + [(code, ("pause", "operator", "auth")) for code in (4011, 4019, 4022, 4100, 6003)]
    + [(700012006, ("pause", "operator", "auth"))]
    + [(code, ("retry", "", "quota")) for code in (4009, 4013, 4102, 5000)]
    + [(4020, ("pause", "", "quota")), (4008, ("pause", "daily", "quota"))]
)


@pytest.mark.parametrize(("status", "kind"), [(200, int), (200, str), (400, int), (500, int)])
@pytest.mark.parametrize(("code", "expected"), CODES)
async def test_a_code_without_a_run_is_a_refusal_whatever_the_status(
    replies: Replies,
    canned: Customer,
    code: int,
    expected: tuple[str, str, str],
    status: int,
    kind: Any,
) -> None:
    replies.post(RUN, status=status, payload={**envelope(code, "no"), "code": kind(code)})
    fault = failed(await canned.submit())
    assert (fault.kind, fault.http, fault.code) == ("provider.error", status, str(code))
    assert (fault.effect, fault.message) == ("none", f"no (logid {LOGID})")
    rule = rule_for(fault)
    assert (rule.do, rule.until, rule.cause) == expected
    assert rule.name.startswith("coze.")


@pytest.mark.parametrize(
    ("message", "do"),
    [
        ("Access plugin server url timed out", "fail"),
        ("Server timeout", "fail"),
        ("Request timed out", "fail"),
        ("Internal server error", "fail"),
        ("Normal error that should retry", "retry"),
    ],
)
async def test_the_words_of_a_refusal_decide_where_its_code_says_nothing(
    replies: Replies, canned: Customer, message: str, do: str
) -> None:
    replies.post(RUN, payload=envelope(987654, message))
    assert rule_for(await canned.submit()).do == do


async def test_a_busy_system_is_tried_again_whatever_its_words(
    replies: Replies, canned: Customer
) -> None:
    replies.post(RUN, payload=envelope(5000, "Internal server error"))
    assert rule_for(await canned.submit()).name == "coze.fault-5000"


@pytest.mark.parametrize("code", [0, "0", None, 4009])
async def test_a_run_that_is_named_was_accepted(
    replies: Replies, canned: Customer, code: Any
) -> None:
    replies.post(RUN, payload={"code": code, "msg": "", "execute_id": "76"})
    assert await canned.submit() == Accepted("76", canned.target)


@pytest.mark.parametrize("status", [400, 429, 500])
async def test_a_refusal_that_names_a_run_is_a_doubt_with_its_id(
    replies: Replies, canned: Customer, status: int
) -> None:
    replies.post(RUN, status=status, payload={**envelope(4009, "busy"), "execute_id": "76"})
    fault = failed(await canned.submit())
    assert rule_for(fault).name == "guard"
    assert "the run 76 may have begun" in fault.message


async def test_an_id_that_is_a_number_is_an_id(replies: Replies, canned: Customer) -> None:
    replies.post(RUN, payload={"code": 0, "execute_id": 7600000000000000001})
    assert await canned.submit() == Accepted("7600000000000000001", canned.target)


@pytest.mark.parametrize(
    "body", [{}, envelope(), {"code": "0", "data": "{}"}, {"execute_id": ""}, {"code": None}, []]
)
async def test_a_good_answer_without_an_id_leaves_a_doubt(
    replies: Replies, canned: Customer, body: Any
) -> None:
    replies.post(RUN, payload=body)
    assert rule_for(await canned.submit()).name == "guard"


@pytest.mark.parametrize(
    ("status", "rule"),
    [
        (401, "shared.auth"),
        (403, "shared.forbidden"),
        (429, "shared.quota"),
        (404, "shared.refused"),
        (408, "guard"),
        (500, "guard"),
        (504, "guard"),
    ],
)
async def test_without_a_code_the_status_decides(
    replies: Replies, canned: Customer, status: int, rule: str
) -> None:
    replies.post(RUN, status=status, body=b"<p>gateway time-out: timed out</p>")
    assert rule_for(await canned.submit()).name == rule


@pytest.mark.parametrize(
    "weather",
    [
        page(504, accepts=True),
        page(200, accepts=True),
        hangs_up(accepts=True),
        silent(accepts=True),
        stalls(accepts=True),
        cut(b'{"code": 0, "execute_id": "76', accepts=True),
    ],
)
async def test_a_lost_answer_is_a_doubt_and_nothing_is_sent_twice(
    vendor: CozeServer, hasty: Customer, weather: Any
) -> None:
    vendor.will("submit", weather)
    assert rule_for(await hasty.submit()).name == "guard"
    assert vendor.accepted == {"k1": 1}
    assert len(vendor.seen) == 1


async def test_a_wrong_key_is_never_repeated(replies: Replies, canned: Customer) -> None:
    replies.post(RUN, status=401, payload=envelope(4100, f"token {KEY} is wrong"))
    fault = failed(await canned.submit())
    assert KEY not in fault.message
    assert rule_for(fault).name == "coze.key-4100"


# ---- polls ----


@pytest.mark.parametrize(
    "weather",
    [
        page(504, "Gateway Time-out: server error, timed out"),
        hangs_up(),
        silent(),
        stalls(),
        cut(),
        page(200),
        answers(502, b""),
    ],
)
async def test_a_poll_whose_answer_is_lost_is_tolerated(
    vendor: CozeServer, customer: Customer, hasty: Customer, weather: Any
) -> None:
    remote_id = await customer.accepted()
    vendor.will("poll", weather, weather)  # aiohttp itself asks twice where a connection was idle
    fault = failed(await hasty.poll(remote_id))
    assert (fault.effect, rule_for(fault).name) == ("accepted", "shared.poll")


@pytest.mark.parametrize("status", ["Running", "running", "Interrupted", "a new status"])
async def test_a_status_that_is_no_end_goes_on(
    replies: Replies, canned: Customer, status: str
) -> None:
    replies.get(HISTORY, payload=record(execute_status=status))
    assert await canned.poll() == Pending()


@pytest.mark.parametrize("status", ["Fail", "Failed", "fail", "FAILED"])
@pytest.mark.parametrize(
    ("code", "message", "rule"),
    [
        ("720701002", "Access plugin server url timed out", "coze.plugin-720701002"),
        (720701001, "", "coze.plugin-720701001"),
        ("5000", "Internal server error", "coze.words"),
        ("", "Request timed out", "coze.words"),
        ("0", "something else", "shared.verdict"),
        (None, None, "shared.verdict"),
        ("4008", "the model's use of the day is up", "shared.verdict"),
        ("4020", "the model is asked too often", "shared.verdict"),
        ("4100", "a plugin's token is wrong", "shared.verdict"),
        ("4314", "a plugin found nothing", "shared.verdict"),
    ],
)
async def test_a_failed_run_is_a_verdict(
    replies: Replies, canned: Customer, status: str, code: Any, message: Any, rule: str
) -> None:
    body = record(execute_status=status, error_code=code, error_message=message)
    replies.get(HISTORY, payload=body)
    fault = failed(await canned.poll())
    assert (fault.kind, fault.effect) == ("provider.failed", "accepted")
    assert fault.message == f"{message or 'the provider gave no reason'} (logid {LOGID})"
    assert (rule_for(fault).name, rule_for(fault).do) == (rule, "fail")


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    ("code", "message", "rule", "do"),
    [
        (720701002, "no", "coze.plugin-720701002", "fail"),
        ("720701001", "no", "coze.plugin-720701001", "fail"),
        (987654, "Access plugin server url timed out", "coze.words", "fail"),
        (987654, "Server timeout", "coze.words", "fail"),
        (987654, "Request timed out", "coze.words", "fail"),
        (5000, "Internal server error", "coze.words", "fail"),
        (987654, "Normal error that should retry", "shared.poll", "tolerate"),
        (5000, "busy", "shared.poll", "tolerate"),
        (4009, "busy", "shared.poll", "tolerate"),
        (4315, "already over", "shared.poll", "tolerate"),
        (4020, "too many", "coze.busy", "pause"),
        (4008, "too many today", "coze.daily", "pause"),
        (4100, "no", "coze.key-4100", "pause"),
        (4314, "not found", "coze.not-visible-4314", "tolerate"),
    ],
)
async def test_an_error_while_polling_has_its_rule(
    replies: Replies,
    canned: Customer,
    status: int,
    code: Any,
    message: str,
    rule: str,
    do: str,
) -> None:
    replies.get(HISTORY, status=status, payload={**envelope(), "code": code, "msg": message})
    fault = failed(await canned.poll())
    assert (fault.kind, fault.code, fault.effect) == ("provider.error", str(code), "accepted")
    assert (rule_for(fault).name, rule_for(fault).do) == (rule, do)


@pytest.mark.parametrize("data", [[], None, {}])
async def test_a_run_that_is_not_visible_yet_is_asked_for_a_few_times(
    replies: Replies, canned: Customer, data: Any
) -> None:
    replies.get(HISTORY, payload={**envelope(), "data": data})
    rule = rule_for(await canned.poll())
    assert (rule.do, rule.limit) == ("tolerate", 3)


@pytest.mark.parametrize(
    "body", [{**envelope(), "data": ["x"]}, record(execute_status=None), record(execute_status=[])]
)
async def test_an_answer_without_a_status_is_asked_again(
    replies: Replies, canned: Customer, body: Any
) -> None:
    replies.get(HISTORY, payload=body)
    assert rule_for(await canned.poll()).name == "shared.poll"


async def test_a_run_that_waits_for_somebody_fails_with_its_id_kept(
    replies: Replies, canned: Customer
) -> None:
    question = {"event_id": "7/1", "type": 2, "data": "which timeout?"}
    replies.get(HISTORY, payload=record(interrupt_data=question))
    fault = failed(await canned.poll())
    assert (fault.kind, rule_for(fault).name) == ("provider.error", "coze.needs-input")
    assert "which timeout?" in fault.message


@pytest.mark.parametrize("status", ["Success", "Succeeded", "success"])
async def test_success_comes_in_two_words(replies: Replies, canned: Customer, status: str) -> None:
    body = record(execute_status=status, output='{"Output": "https://a.test/v.mp4"}')
    replies.get(HISTORY, payload=body)
    assert await canned.poll() == Ready((Result("https://a.test/v.mp4"),))


@pytest.mark.parametrize("output", ["", None, "{}", '{"Output": "server error"}', 7])
async def test_an_output_without_a_link_is_held_for_the_operator(
    replies: Replies, canned: Customer, output: Any
) -> None:
    replies.get(HISTORY, payload=record(execute_status="Success", output=output))
    rule = rule_for(await canned.poll())
    assert (rule.name, rule.do, rule.reason) == ("coze.no-link", "hold", "operator")


async def test_only_what_is_at_the_output_path_counts(replies: Replies, tmp_path: Path) -> None:
    one = Customer(BASE, tmp_path, own={"output_path": "data.video"})
    inner = json.dumps({"data": {"image": "http://a.test/i.png", "video": "http://a.test/v.mp4"}})
    body = record(execute_status="Success", output=json.dumps({"Output": inner}))
    replies.get(HISTORY, payload=body)
    assert await one.poll() == Ready((Result("http://a.test/v.mp4"),))
    body = record(execute_status="Success", output='{"Output": "http://a.test/i.png"}')
    replies.get(HISTORY, payload=body)
    fault = failed(await one.poll())
    assert "no link at 'data.video': " in fault.message
    body = record(execute_status="Success", output='{"Output": "http://a.test/i?x-signature=5ec"}')
    replies.get(HISTORY, payload=body)
    assert "5ec" not in failed(await one.poll()).message
    assert rule_for(fault).name == "coze.no-link"
    await one.engine.close()


async def test_a_link_passed_over_for_its_key_is_told_with_the_way_to_it(
    replies: Replies, canned: Customer, tmp_path: Path
) -> None:
    inner = json.dumps({"data": {"poster_url": "http://a.test/p.png?sign=5ec", "text": "done"}})
    body = record(execute_status="Success", output=json.dumps({"Output": inner}))
    replies.get(HISTORY, payload=body)
    fault = failed(await canned.poll())
    assert rule_for(fault).name == "coze.no-link"
    assert fault.message.startswith(
        "the output has no link, but those passed over because of their key, as covers are: "
        "'data.poster_url'; output_path can name the one that is wanted: "
    )
    assert "5ec" not in fault.message
    one = Customer(BASE, tmp_path, own={"output_path": "data.poster_url"})
    replies.get(HISTORY, payload=body)
    assert await one.poll() == Ready((Result("http://a.test/p.png?sign=5ec"),))
    await one.engine.close()


async def test_an_id_cannot_leave_its_place_in_the_address(
    vendor: CozeServer, customer: Customer
) -> None:
    await customer.poll("../../secret?x=1#y")
    place = f"/v1/workflows/{WORKFLOW}/run_histories/..%2F..%2Fsecret%3Fx%3D1%23y"
    assert vendor.seen == [("GET", place)]


# ---- outputs ----

V, W = "https://a.test/v.mp4", "https://a.test/w.mp4?sign=a%2Fb&x=1"


@pytest.mark.parametrize(
    ("output", "links"),
    [
        (json.dumps({"Output": json.dumps({"video": V})}), (V,)),
        (json.dumps({"Output": json.dumps(json.dumps({"video": V}))}), (V,)),
        (json.dumps({"Output": {"video": V}}), (V,)),
        (json.dumps({"Output": V}), (V,)),
        (json.dumps({"Output": json.dumps([W, V, W])}), (W, V)),
        (json.dumps({"Output": json.dumps({"text": "see http://b.test", "video": V})}), (V,)),
        (json.dumps({"node_1": "http://b.test", "Output": V}), (V,)),
        (json.dumps({"node_1": V, "Output": "done"}), (V,)),
        (json.dumps({"Output": json.dumps({"cover_url": "http://b.test/c.png", "url": V})}), (V,)),
        (json.dumps({"Output": f"![clip]({W})"}), (W,)),
        (json.dumps({"Output": f"视频 {V}。"}), (V,)),
        ({"Output": {"video": V}}, (V,)),
        (V, (V,)),
        (f"made {V}, and {W}!", (V, W)),
        ('{"Output": "{\\"video\\": \\"' + V + '\\", \\"more', (V,)),
        ('{"url": "https:\\/\\/a.test\\/w.mp4?sign=a%2Fb\\u0026x=1", ', (W,)),
        ("[" * 500 + "]" * 500, ()),
        ("ftp://a.test/v.mp4", ()),
        ("", ()),
        (None, ()),
    ],
)
def test_links_are_found_in_whatever_a_workflow_returns(
    output: Any, links: tuple[str, ...]
) -> None:
    assert links_in(output) == links


@pytest.mark.parametrize(
    ("path", "links"),
    [
        ("data.videos", (V, W)),
        ("Output.data.videos", (V, W)),
        ("data.videos.1.url", (W,)),
        ("data.videos.url", (V, W)),
        ("data.text", ("http://b.test/t.mp4",)),
        ("node_1", ("http://b.test/n.mp4",)),
        ("data.videos.7.url", ()),
        ("data.nothing", ()),
        ("data.text.deeper", ()),
    ],
)
def test_a_path_leads_through_tables_and_lists(path: str, links: tuple[str, ...]) -> None:
    inner = {"data": {"videos": [{"url": V}, {"url": W}], "text": "at http://b.test/t.mp4."}}
    output = json.dumps({"Output": json.dumps(inner), "node_1": "http://b.test/n.mp4"})
    assert links_in(output, path) == links


@pytest.mark.parametrize(
    ("value", "path", "covers"),
    [
        ({"cover": V}, "", ("cover",)),
        ({"data": [{"Preview": {"url": V}}, {"Preview": f"at {W}"}]}, "", ("data.Preview",)),
        ({"data": {"poster": V}, "cover": W}, "data", ("data.poster",)),
        ({"preview": {"thumb": V}, "debug_url": W}, "", ("preview.thumb", "debug_url")),
        ({"cover": "none was made"}, "", ()),
        ({"image": "none was made"}, "", ()),
        ("none was made", "", ()),
    ],
)
def test_what_is_passed_over_is_found_at_the_path_that_is_told(
    value: Any, path: str, covers: tuple[str, ...]
) -> None:
    output = json.dumps({"Output": json.dumps(value)})
    assert links_in(output, path) == ()
    assert covers_in(output, path) == covers
    assert all(links_in(output, cover) for cover in covers)


def test_a_cover_of_another_node_is_told_too() -> None:
    output = {"Output": "done", "node_1": {"cover": V}}
    assert covers_in(output) == ("node_1.cover",)
    assert links_in(output, "node_1.cover") == (V,)


def test_a_link_that_was_cut_is_none() -> None:
    assert links_in(f"{V} {W[:-3]}", trimmed=True) == (V,)
    assert links_in(f"{V} {W[:-3]}") == (V, W[:-3])


# ---- downloads, and what it can't do ----


async def test_a_link_into_a_private_network_is_held(vendor: CozeServer, hasty: Customer) -> None:
    result = Result(f"{vendor.store.origin}/clips/t.mp4")
    fault = await hasty.engine.fetch(result, Bucket(), target=hasty.target)
    rule = rule_for(fault)
    assert (rule.name, rule.do) == ("shared.private-link", "hold")
    assert vendor.store.seen == []


async def test_an_expired_link_asks_for_a_fresh_one(vendor: CozeServer, customer: Customer) -> None:
    vendor.store.will("clip", answers(403, b""))
    result = Result(f"{vendor.store.origin}/clips/t.mp4")
    fault = await customer.engine.fetch(result, Bucket(), target=customer.target)
    assert rule_for(fault).reason == "link_expired"


async def test_it_can_neither_cancel_nor_look_up(tmp_path: Path) -> None:
    one = Customer(BASE, tmp_path)
    assert await one.engine.cancel("76", target=one.target) == Stopped("unknown")
    fault = failed(await one.engine.lookup("k1", target=one.target))
    assert rule_for(fault).name == "guard"
    assert "the user k1" in fault.message


async def test_runs_do_not_disturb_each_other(vendor: CozeServer, customer: Customer) -> None:
    answers_ = await asyncio.gather(*(customer.submit(f"fox {n}") for n in range(20)))
    ids = {one.remote_id for one in answers_ if isinstance(one, Accepted)}
    assert len(ids) == 20
    assert all(count == 1 for count in vendor.accepted.values())


def test_settings_come_from_a_providers_section(tmp_path: Path) -> None:
    from daemon.config import parse

    text = """
    [providers.coze]
    engine = "coze"
    workflow_id = "7380"
    prompt_key = "text"
    output_path = "data.video"
    bot_id = "12"
    ext = { latitude = "48.1" }
    """
    section = parse(text).config.providers["coze"]
    engine = Coze(settings_for(section, Secret("abc"), {}), clock=FakeClock(), spool=tmp_path)
    (problem,) = engine.check("a fox", {"text": "x"}, 0)
    assert problem.field == "params.text"
