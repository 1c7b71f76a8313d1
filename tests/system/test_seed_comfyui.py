"""The post-mortem of the ComfyUI server: servers that vanish, links without a host, endless polls.

Through genqd and genq, beside servers that this test begins and ends by hand.
"""

import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
from aiohttp import web

from tests.fakes.installation import ROOT
from tests.fakes.leaks import leaks_of
from tests.fakes.shared_studio import SharedStudio, eventually
from tests.fakes.vendors.comfyui import PICTURE, ComfyUIServer
from tests.fakes.vendors.server import Vendor, answers, cut, hangs_up, page, silent, stalls

TOKEN = "letmein-4711-comfy"
COMMON = {
    "engine": "comfyui",
    "workflow": str(ROOT / "examples" / "workflows" / "text-to-image.json"),
    "params": {"width": 64, "height": 48},
    "poll_interval_s": 0.05,
    "backoff_base_s": 0.01,
    "backoff_max_s": 0.02,
    "watch_interval_s": 60,
    "cancel_grace_s": 0,
    "submit_retries": 3,
}
TEN_FAILURES = (
    *[page(504)] * 4,
    answers(404, b"nothing here", mime="text/plain"),
    page(200, "welcome to the router"),
    stalls(),
    cut(),
    silent(),
    answers(503, {"error": "warming up"}),
)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedStudio]:
    made = SharedStudio(tmp_path_factory.mktemp("t"), COMMON, DOOR=TOKEN)
    yield made
    made.genq.kill()


@pytest.fixture
async def server() -> AsyncIterator[ComfyUIServer]:
    async with ComfyUIServer() as one:
        yield one
        assert one.complaints == []


@pytest.fixture
async def second() -> AsyncIterator[ComfyUIServer]:
    async with ComfyUIServer() as one:
        yield one
        assert one.complaints == []


def submits(server: Vendor) -> int:
    return server.seen.count(("POST", "/prompt"))


# ---- limits, tries, failures in a row ----


def test_the_shipped_limits_are_those_of_the_post_mortem(studio: SharedStudio) -> None:
    shown = studio.genq.genqd("config", "show", "--json", "--config", str(ROOT / "config.toml"))
    section = json.loads(shown.stdout)["providers"]["comfyui"]
    assert section["connect_timeout_s"] == 10
    assert section["submit_timeout_s"] == section["poll_timeout_s"] == 60
    assert section["submit_retries"] == 3
    assert (section["errors_consecutive_max"], section["on_limit"]) == (10, "fail")


@pytest.mark.parametrize(
    ("backlog", "kind"),
    [(None, "transport.connect"), (0, "transport.timeout.connect")],
    ids=["refused", "never taken"],
)
async def test_a_submit_that_reaches_nobody_is_tried_three_times_more_and_then_fails(
    studio: SharedStudio, backlog: int | None, kind: str
) -> None:
    with ExitStack() as stack:
        port = stack.enter_context(socket.socket())
        port.bind(("127.0.0.1", 0))
        if backlog is not None:  # one connection fills it; the next ones wait to be taken
            port.listen(backlog)
            stack.enter_context(socket.create_connection(port.getsockname()))
        base = f"http://127.0.0.1:{port.getsockname()[1]}"
        name = f"nobody_{backlog is None}".lower()
        await studio.provider(name, base, connect_timeout_s=0.1)
        number = await studio.add(name, "--prompt", "a fox")
        job = await studio.until(number, "failed")
    assert (job["retries"], job["retries_max"], len(job["attempts"])) == (3, 3, 4)
    assert (job["error"]["phase"], job["error"]["kind"]) == ("submit", kind)
    assert job["error"]["advice"]
    assert (job["billed"], job["remote_id"]) == ("no", None)


async def test_nine_failures_in_a_row_are_tolerated_and_a_good_answer_clears_them(
    studio: SharedStudio, server: ComfyUIServer
) -> None:
    server.will("queue", *TEN_FAILURES[1:])
    server.by_itself = True
    await studio.provider("nine", server.origin, poll_timeout_s=0.5)
    job = await studio.until(await studio.add("nine", "--prompt", "a fox"), "succeeded", "failed")
    assert job["state"] == "succeeded"
    assert (job["errors_consecutive"], job["errors_total"]) == (0, 9)
    assert list(server.accepted.values()) == [1]


@pytest.mark.parametrize(
    ("asked", "ends"),
    [({}, ("failed", None)), ({"on_limit": "hold"}, ("held", "poll_limit"))],
    ids=["as shipped", "hold"],
)
async def test_the_tenth_failure_in_a_row_ends_it_and_requeue_asks_again_and_pays_nothing(
    studio: SharedStudio, server: ComfyUIServer, asked: dict[str, str], ends: tuple[str, str | None]
) -> None:
    server.will("queue", *TEN_FAILURES)
    name = f"ten_{ends[0]}"
    await studio.provider(name, server.origin, poll_timeout_s=0.5, **asked)
    number = await studio.add(name, "--prompt", "a fox")
    job = await studio.until(number, "failed", "held", "succeeded")
    assert (job["state"], job["reason"]) == ends
    assert (job["errors_consecutive"], job["errors_consecutive_max"]) == (10, 10)
    assert (job["error"]["phase"], job["error"]["http"]) == ("poll", 503)
    assert job["error"]["advice"]
    assert job["remote_id"] in server.accepted
    server.by_itself = True
    await studio.told("requeue", str(number))
    assert (await studio.until(number, "succeeded"))["errors_consecutive"] == 0
    assert (submits(server), list(server.accepted.values())) == (1, [1])


async def test_a_job_that_failed_succeeds_by_itself_when_its_result_comes_late(
    studio: SharedStudio, server: ComfyUIServer
) -> None:
    server.will("queue", *[page(502)] * 10)
    await studio.provider("late", server.origin, watch_interval_s=0.1)
    number = await studio.add("late", "--prompt", "a fox")
    await studio.until(number, "failed")
    server.by_itself = True
    job = await studio.until(number, "succeeded")
    assert job["outputs"][0]["bytes"] == len(PICTURE)
    types = [event["type"] for event in await studio.events(number)]
    assert types.index("failed") < types.index("rescued") < types.index("succeeded")
    assert (submits(server), list(server.accepted.values())) == (1, [1])


# ---- links ----


async def test_a_link_without_a_host_is_fetched_from_the_server_that_made_it(
    studio: SharedStudio, server: ComfyUIServer
) -> None:
    await studio.provider("linked", server.origin)
    number = await studio.add("linked", "--prompt", "a fox", "--name", "fox")
    await eventually(lambda: server.pending)
    server.begin()
    odd = server.saved("../a b&type=temp#%41.png", subfolder="shots/1")
    server.end(**{"9": {"images": [odd, server.saved("雪_00001_.png")]}})
    job = await studio.until(number, "succeeded")
    assert [one["bytes"] for one in job["outputs"]] == [len(PICTURE)] * 2
    folder = studio.genq.folder / "outputs"
    assert all(one["path"].startswith(f"{folder}/") for one in job["outputs"])
    views = [path for method, path in server.seen if path.startswith("/view")]
    assert views == [
        "/view?filename=..%2Fa%20b%26type%3Dtemp%23%2541.png&subfolder=shots%2F1&type=output",
        "/view?filename=%E9%9B%AA_00001_.png&subfolder=&type=output",
    ]


# ---- files that are no results ----


async def test_a_latent_beside_a_picture_is_passed_over_and_alone_holds_the_job(
    studio: SharedStudio, server: ComfyUIServer
) -> None:
    await studio.provider("latent", server.origin)
    jobs = []
    for names in (("a.latent", "a.png"), ("b.latent",)):
        jobs.append(await studio.add("latent", "--prompt", names[0]))
        await eventually(lambda: server.pending)
        server.begin()
        latent, *saved = (server.saved(name) for name in names)
        server.files[latent["filename"], "", "output"] = b"\x40\0\0\0\0\0\0\0{}"
        server.end(**{"9": {"latents": [latent], "images": saved}})
    both = await studio.until(jobs[0], "succeeded", "held", "failed")
    assert (both["state"], len(both["outputs"])) == ("succeeded", 1)
    alone = await studio.until(jobs[1], "succeeded", "held", "failed")
    assert (alone["state"], alone["reason"], alone["outputs"]) == ("held", "operator", [])
    told = studio.genq.ask("why", str(jobs[1])).out
    assert "'b.latent'" in told
    assert "output folder" in told
    studio.genq.ask("cancel", str(jobs[1]))
    assert (await studio.until(jobs[1], "cancelled"))["billed"] != "yes"
    assert submits(server) == 2


# ---- servers that vanish ----


async def test_jobs_wait_for_a_server_that_vanished_and_go_on_by_themselves(
    studio: SharedStudio, server: ComfyUIServer
) -> None:
    limits = {"health_streak_max": 1, "errors_consecutive_max": 1_000, "concurrency": 4}
    await studio.provider("vanishing", server.origin, **limits)
    first = await studio.add("vanishing", "--prompt", "made while it was away")
    await eventually(lambda: server.pending)
    server.begin()
    await server.vanish()
    waiting = [await studio.add("vanishing", "--prompt", f"shot {n}") for n in range(3)]
    closure = await studio.paused("vanishing", "health")
    assert "reached nobody" in closure["reason"]

    def tries() -> int:
        return sum(len(studio.genq.show(number)["attempts"]) for number in waiting)

    await eventually(lambda: tries() > 6)  # twice the three retries that one job has
    await eventually(
        lambda: all(
            "is paused (health), it goes on" in studio.genq.ask("why", str(number)).out
            for number in waiting[1:]
        )
    )
    for number in waiting:
        job = await studio.job(number)
        assert job["state"] in ("queued", "preparing", "submitting")
        assert job["retries"] == 0
    assert (await studio.job(first))["state"] == "generating"
    server.by_itself = True
    await server.appear()
    for number in (first, *waiting):
        job = await studio.until(number, "succeeded", "failed", "held")
        assert (job["state"], job["retries"]) == ("succeeded", 0)
    assert (await studio.gate("vanishing"))["causes"] == []
    assert list(server.accepted.values()) == [1] * 4


async def test_a_task_that_its_server_forgot_in_a_restart_is_submitted_as_a_new_attempt(
    studio: SharedStudio, server: ComfyUIServer
) -> None:
    await studio.provider("restarted", server.origin)
    number = await studio.add("restarted", "--prompt", "a fox")
    await eventually(lambda: server.pending)
    server.by_itself = True
    await server.vanish()
    server.restart()
    await server.appear()
    job = await studio.until(number, "succeeded", "failed")
    assert (job["state"], job["retries"]) == ("succeeded", 1)
    lost, kept = job["attempts"]
    assert lost["result"] == "lost"
    assert {one["remote_id"]: 1 for one in (lost, kept)} == dict(server.accepted)


async def test_a_lost_answer_is_looked_up_and_its_task_adopted(
    studio: SharedStudio, server: ComfyUIServer
) -> None:
    lost = [page(504, accepts=True), hangs_up(accepts=True), cut(accepts=True)]
    server.will("submit", *lost, silent(accepts=True))
    await studio.provider("adopted", server.origin, concurrency=4, submit_timeout_s=1)
    added = await studio.told("add", "adopted", "--prompt", "a fox", "--count", "4")
    await eventually(lambda: submits(server) == 4)
    server.by_itself = True
    for number in added["ids"]:
        job = await studio.until(number, "succeeded", "failed", "held", "in_doubt")
        (attempt,) = job["attempts"]
        assert (job["state"], attempt["result"]) == ("succeeded", "succeeded")
        assert server.accepted[attempt["remote_id"]] == 1
        assert "doubted" in [event["type"] for event in await studio.events(number)]
    assert (submits(server), len(server.accepted)) == (4, 4)


async def test_a_request_that_never_arrived_is_sent_again_once_that_is_sure(
    studio: SharedStudio, server: ComfyUIServer
) -> None:
    server.will("submit", silent())
    server.by_itself = True
    await studio.provider("unheard", server.origin, submit_timeout_s=0.5, reconcile_grace_s=0.1)
    job = await studio.until(await studio.add("unheard", "--prompt", "a fox"), "succeeded")
    unheard, heard = job["attempts"]
    assert (unheard["result"], unheard["remote_id"], job["retries"]) == ("absent", None, 1)
    assert unheard["key"] != heard["key"]
    assert heard["submitted_at"] >= unheard["submitted_at"] + 0.6
    assert dict(server.accepted) == {heard["remote_id"]: 1}


# ---- several servers, cancelling, progress ----


async def test_the_least_busy_server_gets_the_job_and_keeps_it_over_a_restart(
    studio: SharedStudio, server: ComfyUIServer, second: ComfyUIServer
) -> None:
    strangers = [[n, f"stranger-{n}", {}, {}, []] for n in range(3)]
    server.pending += strangers[:1]
    await studio.provider("farm", server.origin, base_urls=[server.origin, second.origin])
    number = await studio.add("farm", "--prompt", "a fox")
    await eventually(lambda: second.pending)
    await studio.until(number, "generating")
    await studio.kill()
    second.pending += strangers  # by now the first one is the less busy
    seen = len(second.seen)
    await studio.start()
    await eventually(lambda: len(second.seen) > seen)
    second.begin()
    second.end()
    job = await studio.until(number, "succeeded")
    assert dict(second.accepted) == {job["remote_id"]: 1}
    assert {path for _, path in server.seen} == {"/prompt"}
    assert any(path.startswith("/view") for _, path in second.seen)


async def test_a_cancelled_task_leaves_its_server_whether_it_waits_or_runs(
    studio: SharedStudio, server: ComfyUIServer
) -> None:
    await studio.provider("stopped", server.origin)
    running = await studio.add("stopped", "--prompt", "runs")
    await eventually(lambda: server.pending)
    server.begin()
    pending = await studio.add("stopped", "--prompt", "waits")
    for number in (running, pending):
        await studio.until(number, "generating")
    await studio.told("cancel", str(running), str(pending))
    for number in (running, pending):
        job = await studio.until(number, "cancelled")
        assert (job["billed"], job["errors_total"]) == ("no", 0)
    assert server.interrupted == [(await studio.job(running))["remote_id"]]
    assert (server.running, server.pending) == ([], [])


async def test_progress_told_over_the_socket_is_shown(
    studio: SharedStudio, server: ComfyUIServer
) -> None:
    await studio.provider("shown", server.origin)
    number = await studio.add("shown", "--prompt", "a fox")
    await eventually(lambda: server.pending)
    remote_id = server.begin()
    await eventually(lambda: server.sockets)
    await server.tell("execution_cached", remote_id, nodes=["4", "5", "6"])
    await server.tell("progress", remote_id, node="3", value=10, max=20)
    await eventually(lambda: studio.genq.show(number)["progress"] == 0.5)
    assert "works on it at 50%" in await studio.why(number)
    server.end()
    await studio.until(number, "succeeded")
    told = [event["progress"] for event in await studio.events(number) if event["type"] == "polled"]
    assert told == [0.5]


# ---- secrets ----


class Elsewhere(Vendor):
    """Another host; it keeps what headers it was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[dict[str, str]] = []
        self.route("file", "GET", "/file.png", self._file)

    async def _file(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        return web.Response(body=PICTURE, content_type="image/png")


async def test_the_headers_for_a_reverse_proxy_go_to_no_other_host(
    studio: SharedStudio, server: ComfyUIServer
) -> None:
    async with Elsewhere() as elsewhere:
        server.will("view", answers(302, headers={"Location": f"{elsewhere.origin}/file.png"}))
        server.by_itself = True
        headers = {"X-Door": {"env": "DOOR"}}
        allowed = ["127.0.0.0/8"]
        await studio.provider("proxied", server.origin, headers=headers, allow_networks=allowed)
        job = await studio.until(await studio.add("proxied", "--prompt", "a fox"), "succeeded")
    assert job["outputs"][0]["bytes"] == len(PICTURE)
    (sent,) = elsewhere.headers
    assert TOKEN not in str(sent)


async def test_a_header_that_the_server_echoes_is_nowhere_in_what_is_written_or_shown(
    studio: SharedStudio, server: ComfyUIServer
) -> None:
    words = f"the door was opened with {TOKEN}"
    await studio.provider("echo", server.origin, headers={"X-Door": {"env": "DOOR"}}, concurrency=1)
    server.will("submit", answers(400, {"error": {"type": TOKEN, "message": words}}))
    refused = await studio.add("echo", "--prompt", "a fox")
    await studio.until(refused, "failed")
    half = "." * (300 - len(TOKEN) // 2)  # an excerpt ends in the middle of the token
    server.will("queue", page(502, words), page(502, half + TOKEN), *[page(502)] * 2)
    failing = await studio.add("echo", "--prompt", "a fox")
    await eventually(lambda: server.pending)
    await eventually(lambda: not server.weather["queue"])
    server.begin()
    server.fail(message=words)
    await studio.until(failing, "failed")
    server.will("view", answers(200, {"error": words}), answers(502, {"error": words}))
    server.by_itself = True
    fetched = await studio.add("echo", "--prompt", "a fox")
    await studio.until(fetched, "succeeded", "held")
    shown = [(await studio.job(number))["error"] for number in (refused, failing)]
    assert all("[hidden]" in error["message"] for error in shown)
    leaks = await leaks_of(studio, TOKEN[: len(TOKEN) // 2], refused, failing, fetched)
    assert leaks == []
