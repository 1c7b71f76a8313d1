from __future__ import annotations

import asyncio
import errno
import ipaddress
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from daemon.core.outcomes import Fault
from daemon.core.policy import renewed
from daemon.engines.answers import Dialect
from daemon.engines.guard import ForbiddenAddressError, Guard
from daemon.engines.http import Http
from daemon.media.downloads import Filing, TooLargeError, WrongContentError
from daemon.media.downloads import Sink as FileSink
from tests.fakes.clock import FakeClock
from tests.fakes.vendors.customer import HASTY, PATIENT, Bucket, settings_of
from tests.fakes.vendors.server import (
    Vendor,
    answers,
    cut,
    endless,
    hangs_up,
    page,
    silent,
    stalls,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KEY = "key-of-a-test-0815"
CLIP = b"\0\0\0\x18ftypmp42" + b"frame" * 50_000
DIALECT = Dialect(lambda body, now: None)


class Store(Vendor):
    """Serves one clip at every path below /files/, and keeps the headers of each request."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[Any] = []
        self.route("file", "GET", "/files/", self._file)

    async def _file(self, request: web.Request) -> web.Response:
        self.headers.append(request.headers)
        return web.Response(body=CLIP, content_type="video/mp4")

    def redirects(self, *places: str, status: int = 302) -> None:
        """Lead from the next requests to `places`, one after the other."""
        for place in places:
            self.will("file", answers(status, b"", headers={"Location": place}))


@pytest.fixture
async def own() -> AsyncIterator[Store]:
    """The provider's own server."""
    async with Store() as server:
        yield server


@pytest.fixture
async def other() -> AsyncIterator[Store]:
    """Somebody else's server, at a private address."""
    async with Store() as server:
        yield server


async def fetch(
    link: str, target: str, *, sink: Any = None, keyed: bool = False, **more: Any
) -> Fault | None:
    settings = settings_of(target, key=KEY, headers={"X-Lan": "yes"}, **more)
    http = Http(settings, clock=FakeClock(), dialect=DIALECT, key_header=("X-Key", ""))
    try:
        return await http.fetch_to(sink or Bucket(), link, target=target, keyed=keyed)
    finally:
        await http.close()


async def fault_of(link: str, target: str, **more: Any) -> Fault:
    fault = await fetch(link, target, **more)
    assert fault is not None
    assert (fault.phase, fault.effect) == ("download", "accepted")
    return fault


async def test_a_result_is_streamed_into_the_sink(own: Store) -> None:
    bucket = Bucket()
    assert await fetch(f"{own.origin}/files/a.mp4", own.origin, sink=bucket) is None
    assert bucket.content == CLIP
    assert own.headers[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("link", ["/files/a.mp4", "files/a.mp4", "//{host}/files/a.mp4"])
async def test_a_relative_link_belongs_to_the_providers_origin(own: Store, link: str) -> None:
    target = f"{own.origin}/api/v1"
    assert await fetch(link.format(host=own.origin.removeprefix("http://")), target) is None
    assert own.seen == [("GET", "/files/a.mp4")]


async def test_a_signed_link_is_sent_as_it_was_written(own: Store) -> None:
    path = "/files/a%2Fb~%7E.mp4?q-sign=a%3Bb%2Fc%7Ed&x=1+2&y"
    assert await fetch(own.origin + path, own.origin) is None
    assert own.seen == [("GET", path)]


async def test_a_link_with_other_letters_is_quoted(own: Store) -> None:
    assert await fetch(f"{own.origin}/files/狐 1.mp4", own.origin) is None
    assert own.seen == [("GET", "/files/%E7%8B%90%201.mp4")]


async def test_other_letters_in_a_signed_link_leave_its_signature_alone(own: Store) -> None:
    query = "?q-sign=a%3Bb%2Fc%7Ed&x=1+2"
    assert await fetch(f"{own.origin}/files/狐 1.mp4{query}", own.origin) is None
    assert own.seen == [("GET", f"/files/%E7%8B%90%201.mp4{query}")]


async def test_a_line_break_in_a_link_adds_no_header(own: Store) -> None:
    assert await fetch(f"{own.origin}/files/a\r\nX-Evil: 1", own.origin) is None
    assert "X-Evil" not in own.headers[0]


NO_LINKS = """
    ftp://vendor.test/a  file:///etc/passwd  data:video/mp4;base64,AA  gs://b/o
    http://[::1  http://vendor.test:99999/  javascript:alert(1)
"""


@pytest.mark.parametrize("link", [*NO_LINKS.split(), "http://vendor.test/" + "a" * 20_000])
async def test_what_is_no_web_link_is_not_fetched(own: Store, link: str) -> None:
    assert (await fault_of(link, own.origin)).kind == "protocol"
    assert own.seen == []


# ---- keys ----


async def test_only_the_own_origin_gets_headers_and_only_if_asked_the_key(
    own: Store, other: Store
) -> None:
    await fetch(f"{own.origin}/files/a", own.origin)
    await fetch(f"{own.origin}/files/a", own.origin, keyed=True)
    hosts = (other.origin.removeprefix("http://"),)
    await fetch(f"{other.origin}/files/a", own.origin, keyed=True, download_hosts=hosts)
    assert [one.get("X-Lan") for one in (*own.headers, *other.headers)] == ["yes", "yes", None]
    assert [one.get("X-Key") for one in (*own.headers, *other.headers)] == [None, KEY, None]


async def test_a_key_does_not_follow_a_redirect_to_another_origin(own: Store, other: Store) -> None:
    own.redirects(f"{other.origin}/files/b")
    hosts = (other.origin.removeprefix("http://"),)
    link = f"{own.origin}/files/a"
    assert await fetch(link, own.origin, keyed=True, download_hosts=hosts) is None
    assert "X-Key" not in other.headers[0]
    assert "X-Lan" not in other.headers[0]


async def test_a_relative_redirect_stays_and_keeps_the_key(own: Store) -> None:
    own.redirects("b", status=307)
    assert await fetch(f"{own.origin}/files/a", own.origin, keyed=True) is None
    assert own.seen == [("GET", "/files/a"), ("GET", "/files/b")]
    assert own.headers[0]["X-Key"] == KEY


async def test_three_redirects_are_followed_and_no_more(own: Store) -> None:
    own.redirects("/files/b", "/files/c", "/files/d")
    assert await fetch("/files/a", own.origin) is None
    own.redirects("/files/b", "/files/c", "/files/d", "/files/e")
    fault = await fault_of("/files/a", own.origin)
    assert (fault.kind, len(own.seen)) == ("protocol", 8)
    assert "more than 3 redirects" in fault.message


@pytest.mark.parametrize("place", ["", "file:///etc/passwd", "http://[::1"])
async def test_a_redirect_that_leads_nowhere_is_a_fault(own: Store, place: str) -> None:
    own.redirects(place)
    assert (await fault_of("/files/a", own.origin)).kind == "protocol"


# ---- addresses ----


async def test_a_link_to_a_private_address_is_refused_and_nobody_is_connected_to(
    own: Store, other: Store
) -> None:
    fault = await fault_of(f"{other.origin}/files/a", own.origin)
    assert fault.kind == "local.address"
    assert "download_hosts" in fault.message
    assert other.seen == []


async def test_a_redirect_to_a_private_address_is_refused(own: Store, other: Store) -> None:
    own.redirects(f"{other.origin}/files/a")
    assert (await fault_of("/files/a", own.origin)).kind == "local.address"
    assert other.seen == []


async def test_what_the_operator_named_is_allowed(own: Store, other: Store) -> None:
    link = f"{other.origin}/files/a"
    networks = (ipaddress.ip_network("127.0.0.0/8"),)
    assert await fetch(link, own.origin, allow_networks=networks) is None
    assert await fetch(link, own.origin, download_hosts=("127.0.0.1",)) is None
    fault = await fault_of(link, own.origin, download_hosts=("127.0.0.1:1",))
    assert fault.kind == "local.address"


PRIVATE = """
    127.0.0.1  localhost  [::1]  [::ffff:127.0.0.1]  [::ffff:7f00:1]  0x7f000001  169.254.169.254
    10.0.0.1  192.168.1.1  172.16.0.1  100.64.0.1  0.0.0.0  [fe80::1]  [fd00::1]  224.0.0.1  [::]
    [64:ff9b::7f00:1]  [2002:7f00:1::]  [::127.0.0.1]  [fec0::1]
"""


# What aiohttp connects with, whatever was written: its connector resolves by a private method.
@pytest.mark.parametrize("host", PRIVATE.split())
async def test_no_spelling_of_a_private_address_is_connected_to(own: Store, host: str) -> None:
    port = own.origin.rpartition(":")[2]
    fault = await fault_of(f"http://{host}:{port}/files/a", "http://203.0.113.1")
    assert fault.kind == "local.address", fault.message
    assert own.seen == []


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0177.0.0.1"])
async def test_an_odd_number_for_an_address_is_not_connected_to(own: Store, host: str) -> None:
    port = own.origin.rpartition(":")[2]
    fault = await fault_of(f"http://{host}:{port}/files/a", "http://203.0.113.1")
    assert fault.kind in ("local.address", "protocol")
    assert own.seen == []


async def test_a_name_is_judged_by_the_address_that_is_connected_to(
    own: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def getaddrinfo(*args: Any, **named: Any) -> Any:
        return [(2, 1, 6, "", ("127.0.0.1", int(other.origin.rpartition(":")[2])))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    link = f"http://cdn.test:{other.origin.rpartition(':')[2]}/files/a"
    assert (await fault_of(link, own.origin)).kind == "local.address"
    assert await fetch(link, own.origin, download_hosts=("cdn.test",)) is None


# The proxy's own resolver reads the odd numbers, and it may well run on this machine.
ODD = "2130706433 127.1 0177.0.0.1 0x7f.1 0x7f000001 0 %31%32%37.0.0.1 127.0.0.1."


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", *ODD.split()])
async def test_a_proxy_is_not_sent_to_a_private_address(other: Store, host: str) -> None:
    fault = await fault_of(f"http://{host}/files/a", "http://203.0.113.1", proxy=other.origin)
    assert fault.kind == "local.address"
    assert other.seen == []


def test_public_addresses_are_let_through_and_embedded_ones_are_judged_by_what_they_embed() -> None:
    guard = Guard(networks=[ipaddress.ip_network("10.1.0.0/16")])
    for address in ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "10.1.2.3"):
        guard.check("cdn.test", 443, address)
    with pytest.raises(ForbiddenAddressError, match=r"cdn\.test:443"):
        guard.check("cdn.test", 443, "10.2.2.3")
    with pytest.raises(ForbiddenAddressError):
        guard.check("cdn.test", 443, "64:ff9b::a02:203")


# ---- weather ----


@pytest.mark.parametrize(
    ("weather", "kind"),
    [
        (cut(b"\0\0\0\x18ftyp"), "protocol"),
        (stalls(b"\0\0\0\x18ftyp"), "transport.timeout.read"),
        (silent(), "transport.timeout.read"),
        (hangs_up(), "transport.reset"),
    ],
)
async def test_a_download_that_breaks_off_is_a_fault(own: Store, weather: Any, kind: str) -> None:
    own.will("file", weather, weather)
    assert (await fault_of("/files/a", own.origin, limits=HASTY)).kind == kind


async def test_an_expired_link_says_so_in_the_stores_words(own: Store) -> None:
    body = (
        b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>expired</Message></Error>"
    )
    own.will("file", answers(403, body, mime="application/xml"))
    fault = await fault_of("/files/a", own.origin)
    assert (fault.kind, fault.http, fault.message) == ("http", 403, "AccessDenied expired")


async def test_a_busy_store_tells_when_to_come_again(own: Store) -> None:
    own.will("file", answers(429, b"", headers={"Retry-After": "9"}))
    assert (await fault_of("/files/a", own.origin)).retry_after_s == 9.0


async def test_a_gateways_page_is_no_result(own: Store) -> None:
    own.will("file", page(502, "Bad Gateway"))
    fault = await fault_of("/files/a", own.origin)
    assert (fault.http, fault.message) == (502, "Bad Gateway")


async def test_a_page_in_place_of_a_result_is_not_filed(own: Store, tmp_path: Path) -> None:
    own.will("file", page(200, "Please log in"))
    filing = Filing(tmp_path)
    part = await filing.part(1, 1, 0)
    async with FileSink(part, 1_000_000) as sink:
        assert await fetch("/files/a", own.origin, sink=sink) is None
    with pytest.raises(WrongContentError, match="Please log in"):
        await filing.file(part, job_id=1, name=None, folder="b", index=0)


async def test_a_task_of_the_mock_has_no_address_to_fetch_from(own: Store) -> None:
    assert (await fault_of("mock:t/0", "mock:")).kind == "local.target"


async def test_the_sinks_limit_ends_an_endless_download(own: Store, tmp_path: Path) -> None:
    own.will("file", endless())
    with pytest.raises(TooLargeError):
        async with FileSink(tmp_path / "a.part", 1_000_000) as sink:
            await fetch("/files/a", own.origin, sink=sink)


async def test_the_disks_error_passes_through(own: Store) -> None:
    for error in (OSError(errno.ENOSPC, "full"), TimeoutError(errno.ETIMEDOUT, "slow disk")):
        with pytest.raises(type(error)) as caught:
            await fetch("/files/a", own.origin, sink=Bucket(1, error))
        assert caught.value is error


async def test_a_slow_sink_is_not_taken_for_a_silent_server(own: Store) -> None:
    own.will("file", answers(200, CLIP * 20))
    bucket, pause = Bucket(), asyncio.Event()

    class Slow:
        async def write(self, chunk: bytes) -> None:
            if not bucket.content:  # longer than a silence may last
                asyncio.get_running_loop().call_later(0.15, pause.set)
                await pause.wait()
            await bucket.write(chunk)

    limits = renewed(PATIENT, download_timeout_s=0.1)
    assert await fetch("/files/a", own.origin, sink=Slow(), limits=limits) is None
    assert len(bucket.content) == len(CLIP) * 20


async def test_a_closed_engine_fetches_nothing(own: Store) -> None:
    http = Http(settings_of(own.origin), clock=FakeClock(), dialect=DIALECT)
    await http.close()
    fault = await http.fetch_to(Bucket(), "/files/a", target=own.origin)
    assert fault is not None
    assert fault.kind == "internal"
    assert own.seen == []
