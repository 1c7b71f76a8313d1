from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import FormData, web

from daemon.core.faults import classify
from daemon.core.outcomes import Fault
from daemon.core.policy import renewed
from daemon.engines.answers import Answer, Dialect, Said
from daemon.engines.http import Call, Http
from tests.fakes.clock import FakeClock
from tests.fakes.vendors.customer import HASTY, PATIENT, settings_of
from tests.fakes.vendors.server import (
    RawServer,
    Vendor,
    answers,
    cut,
    drips,
    endless,
    hangs_up,
    page,
    read_request,
    silent,
    stalls,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.replies import Replies

KEY = "key-of-a-test-0815"
SUBMIT = Call(phase="submit", method="POST", path="/make", body=b'{"prompt": "a fox"}', paid=True)
POLL = Call(phase="poll", path="/tasks/t-1")


def read_error(body: Any, now: float) -> Said | None:
    error = body.get("error") if isinstance(body, dict) else None
    return Said(str(error["code"]), error["message"]) if isinstance(error, dict) else None


DIALECT = Dialect(read_error, frozenset({"BUSY"}))


class Service(Vendor):
    """Takes submits and polls; keeps the last request of each."""

    def __init__(self) -> None:
        super().__init__()
        self.last: web.Request | None = None
        self.body = b""
        self.route("submit", "POST", "/make", self._answer)
        self.route("poll", "GET", "/tasks/", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        self.last, self.body = request, await request.read()
        return web.json_response({"id": "t-1"})


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as server:
        yield server


def http_at(target: str, **more: Any) -> Http:
    return Http(settings_of(target, key=KEY, **more), clock=FakeClock(), dialect=DIALECT)


async def outcome_of(call: Call, target: str, **more: Any) -> dict[str, Any] | Fault:
    http = http_at(target, **more)
    try:
        return await http.ask(call, target=target)
    finally:
        await http.close()


async def fault_of(call: Call, target: str, **more: Any) -> Fault:
    outcome = await outcome_of(call, target, **more)
    assert isinstance(outcome, Fault), outcome
    return outcome


async def test_an_answer_is_a_json_object(service: Service) -> None:
    assert await outcome_of(SUBMIT, service.origin) == {"id": "t-1"}
    assert service.last is not None
    assert service.body == b'{"prompt": "a fox"}'
    assert service.last.headers["Authorization"] == f"Bearer {KEY}"
    assert service.last.headers["Content-Type"] == "application/json"
    assert service.last.headers["Accept-Encoding"] == "identity"


async def test_headers_of_the_section_go_along_and_may_replace_the_key(service: Service) -> None:
    headers = {"X-Proxy": "lan", "Authorization": "Basic abc"}
    await outcome_of(POLL, service.origin, headers=headers)
    assert service.last is not None
    assert service.last.headers["X-Proxy"] == "lan"
    assert service.last.headers["Authorization"] == "Basic abc"


async def test_the_environment_sets_no_proxy(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert await outcome_of(POLL, service.origin) == {"id": "t-1"}


async def test_a_configured_proxy_carries_every_request(service: Service) -> None:
    # To the proxy, the request of a plain http URL names that URL whole.
    service.route("proxied", "POST", "http://vendor.test/make", service._answer)  # noqa: SLF001
    service.route("proxied", "GET", "http://vendor.test/tasks/", service._answer)  # noqa: SLF001
    for call in (SUBMIT, POLL):
        answer = await outcome_of(call, "http://vendor.test", proxy=service.origin)
        assert answer == {"id": "t-1"}


async def test_each_paid_request_has_a_connection_of_its_own(service: Service) -> None:
    http = http_at(service.origin)
    for _ in range(3):
        await http.ask(SUBMIT, target=service.origin)
    assert len(service.connections) == 3
    await http.close()


async def test_polls_share_a_connection(service: Service) -> None:
    http = http_at(service.origin)
    for _ in range(3):
        await http.ask(POLL, target=service.origin)
    assert len(service.connections) == 1
    await http.close()


async def test_a_form_is_sent_as_one(service: Service) -> None:
    form = FormData()
    form.add_field("image", b"PNG", filename="a.png", content_type="image/png")
    call = Call(phase="submit", method="POST", path="/make", body=form)
    assert await outcome_of(call, service.origin) == {"id": "t-1"}
    assert service.last is not None
    assert service.last.content_type == "multipart/form-data"
    assert b'filename="a.png"' in service.body


async def test_a_large_body_is_sent_without_a_complaint(service: Service) -> None:
    call = Call(phase="submit", method="POST", path="/make", body=b"x" * 3_000_000, paid=True)
    assert await outcome_of(call, service.origin) == {"id": "t-1"}
    assert len(service.body) == 3_000_000


async def test_an_answer_that_is_no_json_can_be_had_as_it_is(service: Service) -> None:
    service.will("poll", answers(204, b"", headers={"X-Serial": "7"}))
    http = http_at(service.origin)
    answer = await http.send(POLL, target=service.origin)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.headers["x-serial"], answer.body) == (204, "7", b"")
    await http.close()


# ---- what never reached anybody ----


async def test_a_refused_connection_reached_nobody() -> None:
    async with RawServer(_closes_at_once) as server:
        pass
    fault = await fault_of(SUBMIT, server.origin)
    assert (fault.kind, fault.effect) == ("transport.connect", "none")
    assert "no connection to 127.0.0.1" in fault.message


async def test_a_hanging_tls_handshake_reached_nobody() -> None:
    async with RawServer(_waits) as server:
        limits = renewed(PATIENT, connect_timeout_s=0.05)
        fault = await fault_of(SUBMIT, f"https://{server.host}", limits=limits)
    assert (fault.kind, fault.effect) == ("transport.timeout.connect", "none")


async def test_plain_http_behind_an_https_address_reached_nobody(service: Service) -> None:
    target = service.origin.replace("http:", "https:")
    fault = await fault_of(SUBMIT, target)
    assert (fault.kind, fault.effect) == ("transport.tls", "none")


async def test_a_name_that_cannot_be_resolved_reached_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def getaddrinfo(*args: Any, **named: Any) -> Any:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    fault = await fault_of(SUBMIT, "http://vendor.test")
    assert (fault.kind, fault.effect) == ("transport.dns", "none")
    assert "vendor.test" in fault.message


async def test_a_name_that_is_never_resolved_reached_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def getaddrinfo(*args: Any, **named: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    limits = renewed(PATIENT, connect_timeout_s=0.05)
    fault = await fault_of(SUBMIT, "http://vendor.test", limits=limits)
    assert (fault.kind, fault.effect) == ("transport.timeout.connect", "none")


async def test_a_proxy_that_refuses_to_connect_reached_nobody() -> None:
    async with RawServer(_answers(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")) as one:
        fault = await fault_of(SUBMIT, "https://vendor.test", proxy=one.origin)
    assert (fault.kind, fault.effect) == ("transport.connect", "none")
    assert "the proxy answered 502" in fault.message


async def test_a_request_made_out_to_the_mock_is_not_sent_and_stays_a_doubt() -> None:
    fault = await fault_of(SUBMIT, "mock:")
    assert (fault.kind, fault.effect) == ("local.target", "unknown")
    assert fault.message == "it was made out to the mock, and a real provider stands in its place"


# ---- what may have arrived ----


async def test_a_connection_closed_right_after_accept_leaves_a_doubt() -> None:
    async with RawServer(_closes_at_once) as server:
        fault = await fault_of(SUBMIT, server.origin)
    assert (fault.kind, fault.effect) == ("transport.reset", "unknown")
    assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", "transport.reset"),
        (b"HTTP/1.1 200 OK\r\nContent-", "transport.reset"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "protocol"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "protocol"),
    ],
)
async def test_a_request_that_was_read_leaves_a_doubt(answer: bytes, kind: str) -> None:
    async with RawServer(_answers(answer)) as server:
        fault = await fault_of(SUBMIT, server.origin)
    assert (fault.kind, fault.effect) == (kind, "unknown")
    assert server.connections == 1
    assert classify(fault, ()).name == "guard"


async def test_a_reset_after_acceptance_leaves_a_doubt(service: Service) -> None:
    service.will("submit", hangs_up(accepts=True))
    fault = await fault_of(SUBMIT, service.origin)
    assert (fault.kind, fault.effect) == ("transport.reset", "unknown")
    assert len(service.seen) == 1


async def test_silence_ends_at_the_limit(service: Service) -> None:
    service.will("submit", silent(accepts=True))
    fault = await fault_of(SUBMIT, service.origin, limits=HASTY)
    assert (fault.kind, fault.effect) == ("transport.timeout.read", "unknown")


@pytest.mark.parametrize("weather", [stalls(), drips()])
async def test_an_answer_that_never_ends_is_cut_at_the_limit(
    service: Service, weather: Any
) -> None:
    service.will("submit", weather)
    fault = await fault_of(SUBMIT, service.origin, limits=HASTY)
    assert (fault.kind, fault.effect) == ("transport.timeout.total", "unknown")


async def test_an_endless_answer_is_cut_at_its_size(service: Service) -> None:
    service.will("submit", endless())
    fault = await fault_of(SUBMIT, service.origin)
    assert (fault.kind, fault.http, fault.effect) == ("protocol", 200, "unknown")
    assert "more than 4,194,304 bytes" in fault.message


@pytest.mark.parametrize(
    ("body", "quoted"),
    [
        (b"<html><title>Welcome</title></html>", "Welcome"),
        (b"", "an empty body"),
        (b"[]", "expected a JSON object"),
        (b"null", "expected a JSON object"),
        (b'{"id": NaN}', "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (b'{"id": "\xff\xfe"}', "expected JSON"),
        (b"\0\1\2", "3 bytes that are no text"),
    ],
)
async def test_what_is_no_json_object_leaves_a_doubt(
    service: Service, body: bytes, quoted: str
) -> None:
    service.will("submit", answers(200, body))
    fault = await fault_of(SUBMIT, service.origin)
    assert (fault.kind, fault.http, fault.effect) == ("protocol", 200, "unknown")
    assert quoted in fault.message


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 599, 302, 303])
async def test_a_status_that_says_nothing_sure_leaves_a_doubt(
    service: Service, status: int
) -> None:
    service.will("submit", page(status, "Gateway Time-out"))
    fault = await fault_of(SUBMIT, service.origin)
    assert (fault.kind, fault.http, fault.effect) == ("http", status, "unknown")


# ---- what was surely refused ----


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 422, 429, 301, 307, 308])
async def test_a_refusal_has_no_effect(service: Service, status: int) -> None:
    service.will("submit", answers(status, {"error": {"code": "E1", "message": "no"}}))
    fault = await fault_of(SUBMIT, service.origin)
    assert (fault.kind, fault.http, fault.code, fault.effect) == ("http", status, "E1", "none")


async def test_a_busy_503_has_no_effect_where_the_vendor_says_so(service: Service) -> None:
    service.will("submit", answers(503, {"error": {"code": "BUSY", "message": "no"}}))
    fault = await fault_of(SUBMIT, service.origin)
    assert (fault.http, fault.code, fault.effect) == (503, "BUSY", "none")


@pytest.mark.parametrize(
    ("weather", "flaw"),
    [
        (cut(status=429), "the body was cut"),
        (stalls(status=429), "the body didn't come in time"),
        (endless(status=429), "the body has more than 65,536 bytes"),
    ],
)
async def test_a_refusal_counts_even_if_its_words_are_not_all_there(
    service: Service, weather: Any, flaw: str
) -> None:
    service.will("submit", weather)
    fault = await fault_of(SUBMIT, service.origin, limits=HASTY)
    assert (fault.kind, fault.http, fault.effect) == ("http", 429, "none")
    assert flaw in fault.message
    assert "empty" not in fault.message


async def test_a_code_in_a_body_that_was_cut_does_not_make_a_doubt_a_refusal(
    service: Service,
) -> None:
    words = b'{"error": {"code": "BUSY", "message": "no"}}'
    service.will("submit", stalls(words, status=503))
    fault = await fault_of(SUBMIT, service.origin, limits=HASTY)
    assert (fault.http, fault.code, fault.effect) == (503, None, "unknown")
    assert "BUSY" in fault.message


async def test_of_a_long_refusal_the_beginning_is_told(service: Service) -> None:
    service.will(
        "submit", answers(400, f"no\x1b such model: {KEY} ".encode() + b"a word " * 10_000)
    )
    fault = await fault_of(SUBMIT, service.origin)
    assert (fault.http, fault.effect) == (400, "none")
    assert fault.message.startswith("no such model: [hidden] ")
    assert fault.message.endswith(" (the body has more than 65,536 bytes)")


async def test_of_a_refusal_that_was_cut_no_half_of_a_key_is_told(service: Service) -> None:
    service.will("submit", stalls(f"bad key: {KEY[:-3]}".encode(), status=401))
    fault = await fault_of(SUBMIT, service.origin, limits=HASTY)
    assert fault.message == "bad key: (the body didn't come in time)"


async def test_a_paid_request_follows_no_redirect(service: Service) -> None:
    service.will("submit", answers(307, b"", headers={"Location": f"{service.origin}/make"}))
    fault = await fault_of(SUBMIT, service.origin)
    assert len(service.seen) == 1
    assert "correct base_url" in fault.message


async def test_an_upload_costs_nothing(service: Service) -> None:
    upload = Call(phase="submit", method="POST", path="/make", body=b"{}")
    service.will("submit", page(504))
    assert (await fault_of(upload, service.origin)).effect == "none"


async def test_a_look_for_a_request_proves_nothing_by_failing(service: Service) -> None:
    lookup = Call(phase="submit", path="/tasks/t-1", effect="unknown")
    service.will("poll", answers(404, b""))
    assert (await fault_of(lookup, service.origin)).effect == "unknown"


# ---- polls ----


@pytest.mark.parametrize(
    ("weather", "kind"),
    [
        (page(504), "http"),
        (page(200), "protocol"),
        (hangs_up(), "transport.reset"),
        (silent(), "transport.timeout.read"),
        (cut(), "protocol"),
        (answers(404, b"{}"), "http"),
    ],
)
async def test_whatever_happens_to_a_poll_the_task_lives(
    service: Service, weather: Any, kind: str
) -> None:
    service.will("poll", weather, weather)  # aiohttp repeats a GET once, by itself
    fault = await fault_of(POLL, service.origin, limits=HASTY)
    assert (fault.phase, fault.kind, fault.effect) == ("poll", kind, "accepted")


# ---- words ----


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "Mon, 12 Jan 1970 13:48:20 GMT"}, 100.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"Retry-After": "tomorrow"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "inf"}, None),
        ({}, None),
    ],
)
async def test_the_time_to_wait_is_read_from_the_headers(
    replies: Replies, headers: dict[str, str], wait_s: float | None
) -> None:
    replies.post("http://vendor.test/make", status=429, headers=headers, payload={})
    fault = await fault_of(SUBMIT, "http://vendor.test")  # it is 13:46:40 on that 12th of January
    assert fault.retry_after_s == wait_s


async def test_our_key_never_comes_back_in_a_message(replies: Replies) -> None:
    echo = {"error": {"code": f"bad:{KEY}", "message": f"no such key: {KEY} " + "x" * 5_000}}
    replies.post("http://vendor.test/make", status=401, payload=echo)
    fault = await fault_of(SUBMIT, "http://vendor.test")
    assert KEY not in f"{fault.code}{fault.message}"
    assert fault.message.startswith("no such key: [hidden] x")
    assert len(fault.message) == 2_000


async def test_a_key_in_a_header_of_the_section_is_hidden_too(replies: Replies) -> None:
    replies.post("http://vendor.test/make", status=403, body=b"<p>door-code-4711 is wrong</p>")
    fault = await fault_of(SUBMIT, "http://vendor.test", headers={"X-Door": "door-code-4711"})
    assert fault.message == "[hidden] is wrong"


@pytest.mark.parametrize(
    ("headers", "echo"),
    [
        ({}, "bad: 0123abcd.half%2Bof%2Fa-key%3D"),
        ({}, "bad: half+of/a-key="),
        ({"Authorization": "Bearer door-code-4711"}, "bad: door-code-4711"),
        ({"Authorization": "Basic ZG9vcjpjb2RlLz8/"}, "bad: ZG9vcjpjb2RlLz8%2F"),
    ],
)
async def test_a_key_is_hidden_in_part_and_percent_encoded(
    replies: Replies, headers: dict[str, str], echo: str
) -> None:
    replies.post("http://vendor.test/make", status=401, body=echo.encode())
    settings = settings_of("http://vendor.test", key="0123abcd.half+of/a-key=", headers=headers)
    http = Http(settings, clock=FakeClock(), dialect=DIALECT)
    fault = await http.ask(SUBMIT, target="http://vendor.test")
    await http.close()
    assert isinstance(fault, Fault)
    assert fault.message == "bad: [hidden]"


async def test_what_signs_a_link_never_comes_back_in_a_message(replies: Replies) -> None:
    link = "https://bucket.test/a.png?X-Tos-Signature=5ec&q-sign-time=1"
    escaped = link.replace("/", "\\/")
    words = f"can't read {link}, nor {escaped}"
    echo = {"error": {"code": "E1", "message": words}}
    replies.post("http://vendor.test/make", status=400, payload=echo)
    fault = await fault_of(SUBMIT, "http://vendor.test")
    assert "5ec" not in fault.message
    assert fault.message.startswith("can't read https://bucket.test/a.png?[hidden] nor ")


async def test_a_page_of_a_gateway_is_told_by_its_title(replies: Replies) -> None:
    body = b"<html><head><title>504 Gateway&nbsp;Time-out</title></head><body>\x1b[2J</body></html>"
    replies.post("http://vendor.test/make", status=504, body=body)
    assert (await fault_of(SUBMIT, "http://vendor.test")).message == "504 Gateway Time-out"


# ---- ends ----


async def test_a_cancelled_request_leaves_nothing_open(service: Service) -> None:
    service.will("submit", silent())
    http = http_at(service.origin)
    task = asyncio.create_task(http.ask(SUBMIT, target=service.origin))
    while not service.seen:
        await asyncio.wait({task}, timeout=0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await http.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [one for one in others if "daemon/engines" in str(one.get_coro())]
    gc.collect()  # what was left open would warn now, and fail this test


async def test_closing_twice_is_harmless_and_a_call_after_it_sends_nothing(
    service: Service,
) -> None:
    http = http_at(service.origin)
    await http.ask(POLL, target=service.origin)
    await http.close()
    await http.close()
    fault = await http.ask(SUBMIT, target=service.origin)
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.effect) == ("internal", "none")
    assert len(service.seen) == 1


async def _closes_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def _answers(what: bytes) -> Any:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(what)
        await writer.drain()

    return talk
