from __future__ import annotations

import asyncio
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from daemon.core.faults import Rule, classify
from daemon.core.job import Result
from daemon.core.outcomes import Absent, Accepted, Fault, Pending, Ready, Stopped
from daemon.core.policy import Abilities, Limits
from daemon.engines.comfyui import RETENTION_S, ComfyUI
from daemon.engines.comfyui_answers import MEDIA, Spot
from daemon.engines.comfyui_progress import SOCKETS_MAX, Progress, Tally
from daemon.engines.engine import Engine, Picture
from daemon.media.sniff import _TYPES
from tests.fakes.clock import FakeClock
from tests.fakes.vendors import customer as customers
from tests.fakes.vendors.comfyui import PICTURE, ComfyUIServer
from tests.fakes.vendors.customer import (
    HASTY,
    PATIENT,
    Bucket,
    failed,
    picture_file,
    request_of,
    settings_of,
)
from tests.fakes.vendors.server import (
    Vendor,
    answers,
    cut,
    hangs_up,
    page,
    silent,
    stalls,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.replies import Replies

TARGET = "http://gpu.test:8188"
EXAMPLES = Path(__file__).parents[2] / "examples" / "workflows"
STILL = str(EXAMPLES / "text-to-image.json")
CHANGED = str(EXAMPLES / "image-to-image.json")
SIZE = {"width": 640, "height": 480}
DEAD = "http://127.0.0.1:9"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def key_of(number: int) -> str:
    return f"{number:032x}"


def task_of(number: int) -> str:
    return str(uuid.UUID(int=number))


class Customer(customers.Customer[ComfyUI]):
    """One of some servers."""

    first_id = task_of(1)

    def __init__(
        self, *targets: str, workflow: Any = STILL, limits: Limits = PATIENT, **more: Any
    ) -> None:
        settings = settings_of(*targets, limits=limits, own={"workflow": workflow}, **more)
        engine = ComfyUI(settings, clock=FakeClock(), spool=Path("/nowhere"))
        super().__init__(engine, targets[0])

    def key_of(self, number: int) -> str:
        return key_of(number)

    async def submit(
        self, prompt: str = "a fox", *pictures: Picture, key: str = "", **params: Any
    ) -> Accepted | Ready | Fault:
        return await super().submit(prompt, *pictures, key=key, **(params or SIZE))

    async def lookup(self, number: int = 1) -> Accepted | Absent | Fault:
        return await self.engine.lookup(key_of(number), target=self.target)

    async def cancel(self, remote_id: str = first_id) -> Stopped | Ready | Fault:
        return await self.engine.cancel(remote_id, target=self.target)


@pytest.fixture
async def vendor() -> AsyncIterator[ComfyUIServer]:
    async with ComfyUIServer() as server:
        yield server


@pytest.fixture
async def customer(vendor: ComfyUIServer) -> AsyncIterator[Customer]:
    one = Customer(vendor.origin)
    yield one
    await one.engine.close()


@pytest.fixture
async def hasty(vendor: ComfyUIServer) -> AsyncIterator[Customer]:
    """One that waits for nothing."""
    one = Customer(vendor.origin, limits=HASTY)
    yield one
    await one.engine.close()


@pytest.fixture
async def canned(replies: Replies) -> AsyncIterator[Customer]:
    """One at a server with canned replies."""
    one = Customer(TARGET)
    yield one
    await one.engine.close()


def rule_for(fault: object) -> Rule:
    return classify(failed(fault), ComfyUI.rules)


def sent(vendor: ComfyUIServer) -> dict[str, Any]:
    """The inputs of the only graph in the queue, by node."""
    (graph,) = vendor.graphs
    return {node: one["inputs"] for node, one in graph.items()}


async def until(done: Any) -> None:
    """Let the loop turn until `done()`; what comes over a socket comes soon."""
    async with asyncio.timeout(5):
        while not done():
            await asyncio.to_thread(lambda: None)


def test_it_is_an_engine() -> None:
    engine: Engine = Customer(TARGET).engine
    assert engine.abilities == Abilities(
        lookup=True, cancel=True, progress=True, retention_s=RETENTION_S
    )


def test_its_rules_have_names_of_their_own() -> None:
    names = [one.name for one in ComfyUI.rules]
    assert len(set(names)) == len(names)
    assert all(name.startswith("comfyui.") for name in names)
    assert all(rule.why for rule in ComfyUI.rules)


# ---- a picture is made ----


async def test_a_picture_is_made_and_fetched(vendor: ComfyUIServer, customer: Customer) -> None:
    remote_id = await customer.accepted()
    assert remote_id == task_of(1)
    assert await customer.poll(remote_id) == Pending()
    vendor.begin()
    assert await customer.poll(remote_id) == Pending()
    vendor.end("shot 01&+#_00001_.png")
    ready = await customer.poll(remote_id)
    url = "/view?filename=shot%2001%26%2B%23_00001_.png&subfolder=&type=output"
    assert ready == Ready((Result(url),))
    bucket = Bucket()
    fault = await customer.engine.fetch(Result(url), bucket, target=customer.target)
    assert (fault, bucket.content) == (None, PICTURE)
    assert vendor.complaints == []
    assert vendor.accepted == {remote_id: 1}


async def test_the_graph_holds_what_was_asked(vendor: ComfyUIServer, customer: Customer) -> None:
    params = {**SIZE, "seed": 2**63, "negative_prompt": "rain", "3.steps": 4}
    await customer.accepted(**params)
    inputs = sent(vendor)
    assert (inputs["3"]["seed"], inputs["3"]["steps"]) == (2**63, 4)
    assert (inputs["5"]["width"], inputs["5"]["height"]) == (640, 480)
    assert (inputs["6"]["text"], inputs["7"]["text"]) == ("a fox", "rain")
    assert inputs["9"]["filename_prefix"] == "shot-01"
    assert vendor.complaints == []


async def test_without_a_seed_each_request_has_its_own_and_keeps_it(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    for number in (1, 2, 1):
        assert isinstance(await customer.submit(key=key_of(number)), Accepted)
    one, two, again = (graph["3"]["inputs"]["seed"] for graph in vendor.graphs)
    assert one == again != two


async def test_a_workflow_may_be_part_of_the_job(vendor: ComfyUIServer) -> None:
    loader = {"class_type": "LoadImage", "inputs": {"image": "there.png"}}
    saver = {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["1", 0]}}
    vendor.uploads["there.png"] = PNG
    one = Customer(vendor.origin, workflow="")
    answer = await one.submit("", workflow={"1": loader, "2": saver})
    assert isinstance(answer, Accepted), answer
    assert vendor.graphs == [{"1": loader, "2": saver}]
    await one.engine.close()


async def test_pictures_are_uploaded_and_named_as_the_server_names_them(
    vendor: ComfyUIServer, customer: Customer, tmp_path: Path
) -> None:
    file = picture_file(tmp_path / "../odd name.png", content=PNG)
    for _ in range(2):
        assert isinstance(await customer.submit("a fox", file, workflow=CHANGED), Accepted)
    ((name, content),) = vendor.uploads.items()
    assert content == PNG
    assert [graph["10"]["inputs"]["image"] for graph in vendor.graphs] == [name, name]
    vendor.uploads[name] = b"another"
    await customer.submit("a fox", file, workflow=CHANGED)
    assert vendor.graphs[-1]["10"]["inputs"]["image"] == name.replace(".png", " (1).png")
    assert vendor.complaints == []


async def test_a_picture_that_is_a_link_is_fetched_and_uploaded(vendor: ComfyUIServer) -> None:
    async with PictureStore() as store:
        one = Customer(vendor.origin, download_hosts=(store.origin.removeprefix("http://"),))
        link = f"{store.origin}/picture.png"
        picture = Picture(source=link, url=link)
        answer = await one.submit("a fox", picture, workflow=CHANGED)
        assert isinstance(answer, Accepted), answer
        assert list(vendor.uploads.values()) == [PNG]
        await one.engine.close()


class PictureStore(Vendor):
    def __init__(self) -> None:
        super().__init__()
        self.route("picture", "GET", "/picture.png", answers(200, PNG, mime="image/png").act)


async def test_headers_for_a_reverse_proxy_go_to_the_server_under_its_own_path(
    replies: Replies,
) -> None:
    target = f"{TARGET}/comfy"
    one = Customer(target, headers={"X-Door": "letmein-4711"})
    replies.post(f"{target}/prompt", payload={"prompt_id": task_of(1), "node_errors": {}})
    replies.get(f"{target}/queue", payload={"queue_running": [], "queue_pending": []})
    file = {"filename": "a.png", "subfolder": "b", "type": "output"}
    entry = {"outputs": {"9": {"images": [file]}}, "status": {"status_str": "success"}}
    replies.get(f"{target}/history/{task_of(1)}", payload={task_of(1): entry})
    assert await one.submit() == Accepted(task_of(1), target)
    found = Result("/comfy/view?filename=a.png&subfolder=b&type=output")
    assert await one.poll() == Ready((found,))
    calls = [call for made in replies.requests.values() for call in made]
    assert all(call.kwargs["headers"]["X-Door"] == "letmein-4711" for call in calls)
    await one.engine.close()


# ---- checks ----


def test_a_job_is_checked_against_its_workflow() -> None:
    engine = Customer(TARGET).engine
    assert engine.check("a fox", SIZE, 0) == []
    assert engine.check("a fox", {"workflow": CHANGED}, 1) == []
    (problem,) = engine.check("a fox", {**SIZE, "3.stops": 4}, 0)
    assert problem.field == "params.3.stops"
    assert problem.message.endswith("did you mean 'steps'?")


@pytest.mark.parametrize(
    ("workflow", "words"),
    [
        ("", "give the path of a workflow"),
        (None, "give the path of a workflow"),
        (3, "give the path of a workflow"),
        ("flows/a.json", "'a.json': expected an absolute path"),
        ("/nowhere/a.json", "it can't be read: No such file"),
        ("/", "it is no regular file"),
        ("/dev/null", "it is no regular file"),
        ({}, "it has no nodes"),
        ({"nodes": [], "links": []}, "Export (API)"),
    ],
)
def test_a_workflow_that_cannot_be_used_is_named(workflow: Any, words: str) -> None:
    (problem,) = Customer(TARGET, workflow="").engine.check("", {"workflow": workflow}, 0)
    assert problem.field == "params.workflow"
    assert words in problem.message


def test_a_pipe_or_a_huge_file_is_no_workflow(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(3 * 1024 * 1024)
    engine = Customer(TARGET).engine
    for name, words in (("pipe", "no regular file"), ("huge", "more than 2,097,152 bytes")):
        (problem,) = engine.check("", {"workflow": str(tmp_path / name)}, 0)
        assert words in problem.message


def test_a_workflow_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "flow.json"
    engine = Customer(TARGET, workflow=path).engine
    node = '{"1": {"class_type": "T", "inputs": {"text": "%s"}}}'
    path.write_text("{")
    for _ in range(2):
        (problem,) = engine.check("a fox", {}, 0)
        assert problem.field == "provider"
        assert problem.message.startswith(f"'{path}': it is no JSON")
    path.write_text(node % "{{prompt}}")
    assert engine.check("a fox", {}, 0) == []
    path.write_text(node % "{{name}}")
    (problem,) = engine.check("a fox", {}, 0)
    assert problem.field == "prompt"


def test_many_workflows_do_not_fill_the_memory(tmp_path: Path) -> None:
    engine = Customer(TARGET).engine
    for number in range(70):
        path = tmp_path / f"{number}.json"
        path.write_text('{"1": {"class_type": "T", "inputs": {}}}')
        assert engine.check("", {"workflow": str(path)}, 0) == []
    assert len(engine._files._kept) == 64  # noqa: SLF001 - a bound can't be seen from outside


# ---- which server ----


async def test_the_server_with_the_shortest_queue_is_chosen() -> None:
    async with ComfyUIServer() as one, ComfyUIServer() as two:
        engine = Customer(one.origin, two.origin).engine
        one.pending.append([0, "a", {}, {}, []])
        assert await engine.choose(request_of()) == two.origin
        two.running.append([0, "b", {}, {}, []])
        two.pending.append([0, "c", {}, {}, []])
        assert await engine.choose(request_of()) == one.origin
        await engine.close()


async def test_equal_servers_take_turns() -> None:
    async with ComfyUIServer() as one, ComfyUIServer() as two:
        engine = Customer(one.origin, two.origin).engine
        chosen = await asyncio.gather(*(engine.choose(request_of()) for _ in range(4)))
        assert sorted(chosen) == sorted([one.origin, two.origin] * 2)
        await engine.close()


@pytest.mark.parametrize("weather", [page(200), page(502), silent(), answers(200, {"a": 1})])
async def test_a_server_that_does_not_answer_is_passed_over(weather: Any) -> None:
    async with ComfyUIServer() as one, ComfyUIServer() as two:
        one.will("length", weather)
        two.pending.append([0, "a", {}, {}, []])
        engine = Customer(DEAD, one.origin, two.origin, limits=HASTY).engine
        assert await engine.choose(request_of()) == two.origin
        await engine.close()


async def test_where_no_server_answers_the_first_is_chosen_and_says_why() -> None:
    one = Customer(DEAD, "http://127.0.0.1:19")
    assert await one.engine.choose(request_of()) == DEAD
    fault = failed(await one.submit())
    assert (fault.kind, fault.effect) == ("transport.connect", "none")
    assert rule_for(fault).name == "shared.submit"
    await one.engine.close()


async def test_an_only_server_is_not_asked(vendor: ComfyUIServer, customer: Customer) -> None:
    assert await customer.engine.choose(request_of()) == vendor.origin
    assert vendor.seen == []


async def test_a_task_stays_with_the_server_that_has_it() -> None:
    async with ComfyUIServer() as one, ComfyUIServer() as two:
        customer = Customer(one.origin, two.origin)
        request = request_of("a fox", **SIZE)
        answer = await customer.engine.submit(request, key=key_of(1), target=two.origin)
        assert answer == Accepted(task_of(1), two.origin)
        assert await customer.engine.poll(task_of(1), target=two.origin) == Pending()
        assert one.seen == []
        await customer.engine.close()


# ---- submits that fail ----


async def test_a_refusal_names_the_node(vendor: ComfyUIServer, customer: Customer) -> None:
    params: dict[str, Any] = {**SIZE, "4.ckpt_name": "x.safetensors"}
    fault = failed(await customer.submit(**params))
    assert (fault.http, fault.code) == (400, "prompt_outputs_failed_validation")
    assert fault.message == (
        "node '4' ('CheckpointLoaderSimple'): Value not in list: "
        "ckpt_name: 'x.safetensors' not in ['sd_xl_base_1.0.safetensors']"
    )
    assert (fault.effect, rule_for(fault).do) == ("none", "fail")
    assert vendor.accepted == {}


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"error": "no prompt", "node_errors": {}}, None, "no prompt"),
        ({"error": {"type": "no_prompt", "message": "No prompt"}}, "no_prompt", "No prompt"),
        ({"error": {"type": "t", "message": "bad", "details": "bad: x"}}, "t", "bad: x"),
        ({"error": {"type": "t"}, "node_errors": {"3": {}}}, "t", "node '3': refused"),
        ({"error": {"type": "t"}, "node_errors": {"3": 1, "4": []}}, "t", "node '3': refused; n"),
        ({"error": {}, "node_errors": {str(n): 1 for n in range(9)}}, None, "node '0': refused; "),
        ([1], None, "[1]"),
    ],
)
async def test_every_refusal_fails_in_the_servers_own_words(
    replies: Replies, canned: Customer, body: Any, code: str | None, message: str
) -> None:
    replies.post(f"{TARGET}/prompt", status=400, payload=body)
    fault = failed(await canned.submit())
    assert (fault.code, fault.message[: len(message)]) == (code, message)
    assert rule_for(fault).do == "fail"


async def test_a_task_that_is_only_queued_in_part_fails_and_is_taken_back(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    loader = {"class_type": "LoadImage", "inputs": {"image": "there.png"}}
    vendor.uploads["there.png"] = PNG
    graph = {
        "1": loader,
        "2": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["1", 0]}},
        "3": {"class_type": "PreviewImage", "inputs": {}},
    }
    fault = failed(await customer.submit("", workflow=graph))
    assert (fault.kind, fault.effect) == ("provider.failed", "accepted")
    assert fault.message.startswith("node '3' ('PreviewImage'): Required input is missing")
    assert rule_for(fault).do == "fail"
    assert vendor.pending == []
    assert sum(vendor.accepted.values()) == 1


@pytest.mark.parametrize("weather", [page(500), page(502), page(504), answers(408, b"")])
async def test_a_status_that_proves_nothing_leaves_a_doubt_that_a_lookup_settles(
    vendor: ComfyUIServer, customer: Customer, weather: Any
) -> None:
    vendor.will("submit", weather)
    assert rule_for(await customer.submit()).name == "guard"
    assert await customer.lookup() == Absent()
    assert vendor.accepted == {}


@pytest.mark.parametrize(
    "weather",
    [
        page(504, accepts=True),
        page(200, accepts=True),
        hangs_up(accepts=True),
        silent(accepts=True),
        stalls(accepts=True),
        cut(accepts=True),
        answers(200, {}, accepts=True),
        answers(200, {"prompt_id": None}, accepts=True),
    ],
)
async def test_a_lost_answer_is_a_doubt_and_the_lookup_finds_the_task(
    vendor: ComfyUIServer, customer: Customer, hasty: Customer, weather: Any
) -> None:
    vendor.will("submit", weather)
    assert rule_for(await hasty.submit()).name == "guard"
    assert await customer.lookup() == Accepted(task_of(1), vendor.origin)
    assert vendor.accepted == {task_of(1): 1}
    assert vendor.complaints == []


@pytest.mark.parametrize(
    ("status", "do"), [(401, "pause"), (403, "pause"), (429, "pause"), (413, "fail")]
)
async def test_what_a_reverse_proxy_says_has_the_shared_rules(
    replies: Replies, canned: Customer, status: int, do: str
) -> None:
    replies.post(f"{TARGET}/prompt", status=status, body=b"<p>no</p>")
    rule = rule_for(await canned.submit())
    assert (rule.do, rule.name[:7]) == (do, "shared.")


@pytest.mark.parametrize(
    ("weather", "kind"),
    [
        (page(502), "http"),
        (page(200), "protocol"),
        (hangs_up(), "transport.reset"),
        (answers(200, {"name": ""}), "protocol"),
    ],
)
async def test_an_upload_that_fails_has_cost_nothing_and_is_tried_again(
    vendor: ComfyUIServer, customer: Customer, tmp_path: Path, weather: Any, kind: str
) -> None:
    vendor.will("upload", weather)
    file = picture_file(tmp_path / "a.png", content=PNG)
    fault = failed(await customer.submit("a fox", file, workflow=CHANGED))
    assert (fault.phase, fault.kind, fault.effect) == ("submit", kind, "none")
    assert rule_for(fault).do == "retry"
    assert vendor.accepted == {}


async def test_pictures_that_take_too_long_to_upload_leave_time_for_no_request(
    vendor: ComfyUIServer, hasty: Customer, tmp_path: Path
) -> None:
    vendor.will("upload", silent())
    file = picture_file(tmp_path / "a.png", content=PNG)
    fault = failed(await hasty.submit("a fox", file, workflow=CHANGED))
    assert (fault.kind, fault.effect) == ("transport.timeout.total", "none")
    assert fault.message == "the pictures took too long to upload"
    assert vendor.accepted == {}


async def test_a_picture_that_cannot_be_sent_fails_before_anything_is(
    vendor: ComfyUIServer, customer: Customer, tmp_path: Path
) -> None:
    file = picture_file(tmp_path / "a.gif", mime="image/gif")
    fault = failed(await customer.submit("a fox", file, workflow=CHANGED))
    assert (rule_for(fault).name, fault.effect) == ("comfyui.unusable", "none")
    assert "PNG or JPEG or WEBP only" in fault.message
    assert vendor.seen == []


async def test_a_workflow_that_changed_since_the_add_is_checked_again(
    vendor: ComfyUIServer, tmp_path: Path
) -> None:
    path = tmp_path / "flow.json"
    customer = Customer(vendor.origin, workflow=path)
    lost = failed(await customer.submit())
    assert (lost.kind, rule_for(lost).do) == ("local.io", "retry")
    for content, words in (
        ("{", "the workflow: 'flow.json': it is no JSON"),
        ('{"1": {"class_type": "T", "inputs": {"t": "{{promt}}"}}}', "params.workflow: unknown"),
    ):
        path.write_text(content)
        fault = failed(await customer.submit("", seed=1, key=key_of(1)))
        assert fault.message.startswith(words)
        assert rule_for(fault).name == "comfyui.unusable"
    assert vendor.seen == []
    await customer.engine.close()


# ---- lookups ----


async def test_a_task_is_found_wherever_it_is(vendor: ComfyUIServer, customer: Customer) -> None:
    assert await customer.lookup() == Absent()
    found = Accepted(await customer.accepted(), vendor.origin)
    assert await customer.lookup() == found
    vendor.begin()
    assert await customer.lookup() == found
    vendor.end()
    assert await customer.lookup() == found
    assert await customer.lookup(2) == Absent()
    vendor.restart()
    assert await customer.lookup() == Absent()


async def test_a_task_that_an_old_server_named_itself_is_found_too() -> None:
    async with ComfyUIServer(uuids=False, names=True) as vendor:
        customer = Customer(vendor.origin)
        vendor.will("submit", page(504, accepts=True))
        await customer.submit(key=key_of(77))
        found = Accepted(task_of(1), vendor.origin)
        assert await customer.lookup(77) == found
        vendor.begin()
        vendor.end()
        assert await customer.lookup(77) == found
        assert await customer.lookup(78) == Absent()
        assert isinstance(await customer.poll(task_of(1)), Ready)
        assert await customer.submit(key=key_of(79)) == Accepted(task_of(2), vendor.origin)
        await customer.engine.close()


@pytest.mark.parametrize("route", ["queue", "history", "recent"])
@pytest.mark.parametrize(
    "weather", [page(200), page(404), page(504), hangs_up(), silent(), cut(), answers(200, [1])]
)
async def test_a_lookup_whose_answer_is_lost_proves_nothing(
    vendor: ComfyUIServer, hasty: Customer, route: str, weather: Any
) -> None:
    vendor.will(route, weather, weather)
    fault = failed(await hasty.lookup())
    assert (fault.phase, fault.effect, rule_for(fault).name) == ("submit", "unknown", "guard")


@pytest.mark.parametrize(
    "body", [{}, {"queue_running": []}, {"queue_running": [], "queue_pending": [7]}]
)
async def test_a_queue_that_is_none_proves_nothing(
    replies: Replies, canned: Customer, body: Any
) -> None:
    replies.get(f"{TARGET}/queue", payload=body, repeat=True)
    replies.get(f"{TARGET}/history/{task_of(1)}", payload={}, repeat=True)
    replies.get(f"{TARGET}/history?max_items=100", payload={}, repeat=True)
    assert rule_for(await canned.lookup()).name == "guard"
    assert rule_for(await canned.poll()).name == "shared.poll"


@pytest.mark.parametrize("body", [{"error": "x"}, {"detail": {}}, {task_of(1): None}])
async def test_a_history_that_is_none_proves_nothing(
    replies: Replies, canned: Customer, body: Any
) -> None:
    replies.get(f"{TARGET}/queue", payload={"queue_running": [], "queue_pending": []}, repeat=True)
    replies.get(f"{TARGET}/history/{task_of(1)}", payload=body, repeat=True)
    replies.get(f"{TARGET}/history?max_items=100", payload={}, repeat=True)
    assert rule_for(await canned.lookup()).name == "guard"
    assert rule_for(await canned.poll()).name == "shared.poll"


# ---- polls ----


async def test_a_burst_of_504s_is_tolerated_and_the_task_goes_on(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    vendor.will("queue", *[page(504, "504 Gateway Time-out")] * 4)
    for _ in range(4):
        fault = failed(await customer.poll(remote_id))
        assert (fault.http, fault.effect, rule_for(fault).do) == (504, "accepted", "tolerate")
    assert await customer.poll(remote_id) == Pending()


@pytest.mark.parametrize("route", ["queue", "history"])
@pytest.mark.parametrize("weather", [hangs_up(), silent(), stalls(), cut(), page(200), page(502)])
async def test_a_poll_whose_answer_is_lost_is_tolerated_and_never_means_gone(
    vendor: ComfyUIServer, hasty: Customer, route: str, weather: Any
) -> None:
    vendor.will(route, weather, weather)
    assert rule_for(await hasty.poll()).name == "shared.poll"


async def test_a_404_is_somebody_elses_and_tolerated(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    vendor.will("queue", page(404))
    rule = rule_for(await customer.poll())
    assert (rule.name, rule.do) == ("comfyui.poll-404", "tolerate")


async def test_a_server_that_cannot_be_reached_is_tolerated() -> None:
    one = Customer(DEAD)
    fault = failed(await one.poll())
    assert (fault.kind, rule_for(fault).do) == ("transport.connect", "tolerate")
    await one.engine.close()


async def test_a_server_that_was_started_again_has_lost_the_task(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    vendor.begin()
    vendor.restart()
    vendor.will("queue", page(502))
    assert rule_for(await customer.poll(remote_id)).do == "tolerate"
    assert await customer.poll(remote_id) == Absent()


async def test_a_task_that_ends_between_two_questions_is_not_missed(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    vendor.begin()
    vendor.end()
    assert isinstance(await customer.poll(remote_id), Ready)
    looks = [path.split("/")[1] for method, path in vendor.seen if method == "GET"]
    assert looks == ["queue", "history"]


async def test_a_run_like_one_before_has_its_outputs(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    outcomes = []
    for number in (1, 2):
        await customer.accepted(**SIZE, seed=5)
        vendor.begin()
        vendor.end()
        outcomes.append(await customer.poll(task_of(number)))
    assert isinstance(outcomes[0], Ready)
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("RuntimeError", "shared.verdict"),
        ("torch.OutOfMemoryError", "comfyui.memory-1"),
        ("torch.cuda.OutOfMemoryError", "comfyui.memory-2"),
    ],
)
async def test_a_run_that_failed_is_a_verdict_with_the_node_named(
    vendor: ComfyUIServer, customer: Customer, kind: str, rule: str
) -> None:
    remote_id = await customer.accepted()
    vendor.begin()
    vendor.fail(kind, "Allocation on device")
    fault = failed(await customer.poll(remote_id))
    assert (fault.kind, fault.code, fault.effect) == ("provider.failed", kind, "accepted")
    assert fault.message == "node '3' ('KSampler'): Allocation on device"
    assert (rule_for(fault).name, rule_for(fault).do) == (rule, "fail")


async def test_a_run_that_somebody_interrupted_says_so(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    vendor.begin()
    await customer.cancel(remote_id)
    fault = failed(await customer.poll(remote_id))
    assert (fault.kind, fault.code) == ("provider.failed", "interrupted")
    assert fault.message == "interrupted at the server, at node '3' ('KSampler')"


@pytest.mark.parametrize(
    "status", [{"status_str": "error"}, {"status_str": "error", "messages": [1, ["a"], ["b", 2]]}]
)
async def test_a_run_that_failed_without_a_word_is_a_verdict_too(
    vendor: ComfyUIServer, customer: Customer, status: Any
) -> None:
    vendor.history[task_of(1)] = {"outputs": {}, "status": status}
    fault = failed(await customer.poll())
    assert (fault.kind, fault.message) == ("provider.failed", "the server gave no reason")


@pytest.mark.parametrize(
    "outputs", [None, {}, [], {"9": None}, {"9": {"images": None}}, {"9": {"text": ["a fox"]}}]
)
async def test_a_run_without_outputs_is_a_verdict(
    vendor: ComfyUIServer, customer: Customer, outputs: Any
) -> None:
    status = {"status_str": "success", "completed": True, "messages": []}
    vendor.history[task_of(1)] = {"outputs": outputs, "status": status}
    fault = failed(await customer.poll())
    assert (fault.kind, rule_for(fault).do) == ("provider.failed", "fail")


async def test_outputs_of_every_kind_are_taken_and_previews_are_not(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    still, clip = vendor.saved("a.png"), vendor.saved("b.mp4", subfolder="video")
    loose = {"filename": "c.gif"}
    preview = vendor.saved("p.png", kind="temp")
    outputs = {
        "8": {"images": [preview]},
        "9": {"images": [still, still], "animated": [True]},
        "10": {"gifs": [clip], "text": ["a fox"], "videos": [loose]},
    }
    vendor.history[task_of(1)] = {"outputs": outputs, "status": None}
    ready = await customer.poll()
    assert isinstance(ready, Ready)
    assert [one.url for one in ready.results] == [
        "/view?filename=a.png&subfolder=&type=output",
        "/view?filename=b.mp4&subfolder=video&type=output",
        "/view?filename=c.gif&subfolder=&type=output",
    ]
    vendor.history[task_of(1)]["outputs"] = {"8": {"images": [preview]}}
    only = await customer.poll()
    assert only == Ready((Result("/view?filename=p.png&subfolder=&type=temp"),))


@pytest.mark.parametrize("name", ["a.latent", "a.svg", "a.exr", "a.txt", "a.safetensors", "a"])
async def test_what_can_not_be_filed_is_passed_over_beside_a_picture(
    vendor: ComfyUIServer, customer: Customer, name: str
) -> None:
    remote_id = await customer.accepted()
    vendor.begin()
    vendor.end(name, "b.PNG")
    ready = await customer.poll(remote_id)
    assert ready == Ready((Result("/view?filename=b.PNG&subfolder=&type=output"),))


async def test_a_preview_counts_where_nothing_that_was_saved_can_be_filed(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    outputs = [vendor.saved("a.latent"), vendor.saved("p.png", kind="temp")]
    vendor.history[task_of(1)] = {"outputs": {"8": {"images": outputs}}, "status": None}
    ready = await customer.poll()
    assert ready == Ready((Result("/view?filename=p.png&subfolder=&type=temp"),))


async def test_a_run_that_saved_nothing_that_can_be_filed_is_held_and_says_what_it_saved(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    vendor.begin()
    vendor.end(*(f"{number}.latent" for number in range(1, 8)))
    fault = failed(await customer.poll(remote_id))
    assert (fault.kind, fault.effect) == ("provider.error", "accepted")
    assert fault.message == (
        "the run is over, but what it saved is no picture, clip, sound or model: "
        "'1.latent', '2.latent', '3.latent', '4.latent', '5.latent', and 2 more"
    )
    rule = rule_for(fault)
    assert (rule.name, rule.do) == ("comfyui.no-media", "hold")
    assert "output folder" in rule.why
    assert await customer.cancel(remote_id) == Stopped("no")


def test_every_type_that_can_be_filed_is_known_by_its_name() -> None:
    assert {extension for _, extension, _, _ in _TYPES} <= MEDIA


async def test_an_id_cannot_leave_its_place_in_the_address(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    await customer.poll("../../secret?x=1#y")
    assert vendor.seen[1] == ("GET", "/history/..%2F..%2Fsecret%3Fx%3D1%23y")


async def test_a_queue_may_be_long(vendor: ComfyUIServer, customer: Customer) -> None:
    graph = {"1": {"class_type": "T", "inputs": {"text": "x" * 100_000}}}
    vendor.pending = [[n, task_of(n), graph, {}, []] for n in range(60)]  # 6 MB
    assert await customer.poll(task_of(59)) == Pending()


# ---- progress ----


async def test_progress_is_heard_while_a_task_runs(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    await customer.poll(remote_id)
    assert vendor.sockets == {}
    vendor.begin()
    assert await customer.poll(remote_id) == Pending(None)
    await until(lambda: vendor.sockets)
    await vendor.tell("execution_cached", remote_id, nodes=["4", "6", "7"])
    await vendor.tell("progress", remote_id, node="3", value=10, max=20)
    await heard(customer, remote_id, Pending(3.5 / 7))
    vendor.end()
    assert isinstance(await customer.poll(remote_id), Ready)
    await until(lambda: not vendor.sockets)


async def heard(customer: Customer, remote_id: str, expected: Pending) -> None:
    async with asyncio.timeout(5):
        while await customer.poll(remote_id) != expected:
            pass


async def test_a_socket_that_breaks_is_opened_again_and_polling_goes_on(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    vendor.begin()
    vendor.will("socket", hangs_up(), page(502))
    async with asyncio.timeout(5):
        while remote_id not in vendor.sockets:
            assert await customer.poll(remote_id) == Pending(None)
    await vendor.sockets[remote_id].send_str("no JSON")
    await vendor.sockets[remote_id].send_bytes(b"\0\0\0\1\0\0\0\1preview")
    await vendor.tell("executing", remote_id, node="4")
    await vendor.tell("executing", remote_id, node="3")
    await heard(customer, remote_id, Pending(1 / 7))


async def test_a_socket_follows_no_redirect_for_its_headers_may_be_secret(
    vendor: ComfyUIServer,
) -> None:
    async with ComfyUIServer() as other:
        vendor.will("socket", answers(302, headers={"Location": f"{other.origin}/ws"}))
        progress = Progress(settings_of(vendor.origin, headers={"X-Gateway-Token": "secret"}))
        spot = Spot(task_of(1), "", running=True, nodes=frozenset("1"))
        progress.of(spot, target=vendor.origin)
        await until(progress._listening[spot.remote_id].done)  # noqa: SLF001 - nothing else tells
        await progress.close()
        assert len(vendor.seen) == 1
        assert other.seen == []


async def test_a_socket_that_never_opens_is_given_up_and_opened_again(
    vendor: ComfyUIServer,
) -> None:
    vendor.will("socket", silent())
    progress = Progress(settings_of(vendor.origin, limits=HASTY))
    spot = Spot(task_of(1), "", running=True, nodes=frozenset("1"))
    # Each look opens it if nobody listens any more.
    await until(lambda: progress.of(spot, target=vendor.origin) or vendor.sockets)
    await progress.close()


async def test_no_more_than_so_many_runs_are_listened_to() -> None:
    progress = Progress(settings_of(DEAD))
    for number in range(SOCKETS_MAX + 8):
        spot = Spot(task_of(number), "", running=True, nodes=frozenset("1"))
        assert progress.of(spot, target=DEAD) is None
    assert len(progress._listening) == SOCKETS_MAX  # noqa: SLF001 - a bound can't be seen
    await progress.close()


def test_the_states_of_nodes_tell_the_share_that_is_done() -> None:
    tally = Tally("a", ["1", "2", "3", "4"])
    states = {"1": {"state": "finished"}, "2": {"state": "running", "value": 1, "max": 2}}
    tally.hear({"type": "progress_state", "data": {"prompt_id": "a", "nodes": states}})
    assert tally.share == 1.5 / 4
    tally.hear({"type": "progress", "data": {"prompt_id": "a", "value": 0, "max": 2}})
    assert tally.share == 1.5 / 4, "it never goes back"


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        {},
        {"type": "progress"},
        {"type": "progress", "data": {"prompt_id": "b", "value": 1, "max": 2}},
        {"type": "progress_state", "data": {"prompt_id": "b", "nodes": {}}},
        {"type": "unheard of", "data": {"prompt_id": "a"}},
    ],
)
def test_an_event_that_says_nothing_of_the_task_changes_nothing(event: Any) -> None:
    tally = Tally("a", ["1"])
    tally.hear(event)
    assert tally.share is None


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("progress", {"value": 5, "max": 0}),
        ("progress", {"value": "x", "max": None}),
        ("progress", {"value": 10**400, "max": 1}),
        ("progress", {"value": 0.5, "max": 10**400}),
        ("progress_state", {"nodes": [1]}),
        ("progress_state", {"nodes": {"1": 1, "9": {"state": "finished"}}}),
        ("execution_cached", {"nodes": [["x"], 3]}),
        ("executing", {"node": None}),
    ],
)
def test_an_odd_event_is_no_progress(kind: str, content: Any) -> None:
    tally = Tally("a", ["1"])
    tally.hear({"type": kind, "data": {"prompt_id": "a", **content}})
    assert tally.share == 0.0


# ---- cancel ----


async def test_a_waiting_task_is_taken_out_of_the_queue(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    first, second = await customer.accepted(), await customer.accepted()
    vendor.begin()
    assert await customer.cancel(second) == Stopped("no")
    assert (vendor.pending, vendor.interrupted) == ([], [])
    assert vendor.running[0][1] == first


async def test_a_running_task_is_interrupted_by_its_id(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    vendor.begin()
    assert await customer.cancel(remote_id) == Stopped("no")
    assert vendor.interrupted == [remote_id]
    assert vendor.complaints == []


async def test_a_task_that_begins_while_it_is_cancelled_is_interrupted(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    late = answers(200, {"queue_running": [], "queue_pending": list(vendor.pending)})
    vendor.begin()
    vendor.will("queue", late)
    assert await customer.cancel(remote_id) == Stopped("no")
    assert vendor.interrupted == [remote_id]


async def test_an_old_server_is_never_told_to_stop_somebody_elses_task() -> None:
    async with ComfyUIServer(targets=False) as vendor:
        customer = Customer(vendor.origin)
        mine, other = await customer.accepted(), await customer.accepted()
        vendor.begin()
        vendor.end()
        vendor.begin()
        assert isinstance(await customer.cancel(mine), Ready)
        assert vendor.running[0][1] == other
        await customer.engine.close()


async def test_a_result_that_is_there_already_is_kept(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    vendor.begin()
    vendor.end()
    assert isinstance(await customer.cancel(remote_id), Ready)


async def test_what_failed_or_is_gone_needs_no_stop(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    vendor.begin()
    vendor.fail()
    assert await customer.cancel(remote_id) == Stopped("no")
    vendor.restart()
    assert await customer.cancel(remote_id) == Stopped("no")


async def test_a_task_that_cannot_be_taken_out_may_go_on(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    vendor.will("delete", *[answers(200, b"")] * 3)
    assert await customer.cancel(remote_id) == Stopped("unknown")


@pytest.mark.parametrize("route", ["queue", "delete"])
@pytest.mark.parametrize("weather", [page(504), hangs_up(), silent()])
async def test_a_cancel_that_cannot_be_told_is_a_fault(
    vendor: ComfyUIServer, customer: Customer, hasty: Customer, route: str, weather: Any
) -> None:
    remote_id = await customer.accepted()
    vendor.will(route, weather, weather)
    fault = failed(await hasty.cancel(remote_id))
    assert (fault.phase, fault.effect) == ("poll", "accepted")


# ---- downloads ----


async def test_a_file_that_is_gone_asks_for_a_fresh_link(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    result = Result("/view?filename=a.png&subfolder=&type=output")
    fault = await customer.engine.fetch(result, Bucket(), target=customer.target)
    assert rule_for(fault).reason == "link_expired"


@pytest.mark.parametrize("weather", [cut(b"\x89PNG"), hangs_up(), page(502)])
async def test_a_download_that_breaks_is_tried_again(
    vendor: ComfyUIServer, hasty: Customer, weather: Any
) -> None:
    vendor.saved("a.png")
    vendor.will("view", weather, weather)
    result = Result("/view?filename=a.png&subfolder=&type=output")
    fault = await hasty.engine.fetch(result, Bucket(), target=hasty.target)
    assert rule_for(fault).do == "retry"


async def test_closing_twice_is_safe_and_ends_every_socket(
    vendor: ComfyUIServer, customer: Customer
) -> None:
    remote_id = await customer.accepted()
    vendor.begin()
    await customer.poll(remote_id)
    await until(lambda: vendor.sockets)
    await customer.engine.close()
    await customer.engine.close()
    await until(lambda: not vendor.sockets)
    assert failed(await customer.poll(remote_id)).kind == "internal"


async def test_tasks_do_not_disturb_each_other(vendor: ComfyUIServer, customer: Customer) -> None:
    found = await asyncio.gather(*(customer.submit(f"fox {n}") for n in range(20)))
    ids = {one.remote_id for one in found if isinstance(one, Accepted)}
    assert len(ids) == 20
    assert all(count == 1 for count in vendor.accepted.values())


def test_settings_come_from_a_providers_section() -> None:
    from daemon.config import parse
    from daemon.engines.settings import settings_for

    text = f"""
    [providers.gpu]
    engine = "comfyui"
    base_urls = ["http://127.0.0.1:8188/", "http://127.0.0.1:8189"]
    workflow = "{STILL}"
    """
    section = parse(text).config.providers["gpu"]
    settings = settings_for(section, None, {})
    engine = ComfyUI(settings, clock=FakeClock(), spool=Path("/nowhere"))
    assert engine.check("a fox", SIZE, 0) == []
    assert section.limits.errors_consecutive_max == 10
