"""Downloads: a link is followed, hop by hop, and its content streamed into a sink.

Links are the provider's words. Each hop is checked, a key goes to the provider's own origin and
nowhere else, and what a signed link says is sent as it was written.
"""

import asyncio
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from aiohttp import ClientResponse, ClientTimeout
from yarl import URL

from daemon.clock import Clock
from daemon.core.outcomes import Fault
from daemon.engines.answers import excerpt, read_words
from daemon.engines.engine import Sink
from daemon.engines.guard import Guard
from daemon.engines.retry_after import header_s
from daemon.engines.transport import FAILURES, Trip, Ways, kind_of, sentence_of

REDIRECTS_MAX = 3
DOWNLOAD_S_MAX = 6 * 3600.0
"""Of a whole download: one that drips is over some day, too."""
LINK_CHARS_MAX = 16 * 1024
_WRITTEN = "".join(map(chr, range(0x21, 0x7F)))
_BREAKS = dict.fromkeys(map(ord, "\t\r\n"))
"""No part of any URL (WHATWG): `urlsplit` takes them away, too."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class LinkError(Exception):
    """A result's link can't be one."""


class Fetcher:
    """Fetches results. `proxy` makes the connections where there is one."""

    def __init__(
        self, ways: Ways, guard: Guard, *, clock: Clock, timeout: ClientTimeout, proxy: str | None
    ) -> None:
        self._ways = ways
        self._guard = guard
        self._clock = clock
        self._timeout = timeout
        self._proxy = proxy

    async def fetch_to(
        self, sink: Sink, link: str, *, target: str, headers: Mapping[str, str]
    ) -> Fault | None:
        """Stream what is behind `link` into `sink`; None when it is complete.

        A relative link is one of the origin of `target`, which alone gets `headers`. Errors of
        the sink pass through.
        """
        limit = asyncio.timeout(DOWNLOAD_S_MAX)
        try:
            async with limit:
                own = _origin(target)
                return await self._follow(sink, _joined(own, link), own, headers)
        except LinkError as error:
            return _fault("protocol", str(error))
        except TimeoutError:
            if not limit.expired():
                raise
            return _fault("transport.timeout.total", f"not complete after {DOWNLOAD_S_MAX:g} s")

    async def _follow(
        self, sink: Sink, url: URL, own: URL, headers: Mapping[str, str]
    ) -> Fault | None:
        for _ in range(REDIRECTS_MAX + 1):
            trip = Trip()
            try:
                response = await self._open(url, headers if url.origin() == own else {}, trip)
            except FAILURES as error:
                return _broken(error, trip, url)
            async with response:
                if response.status in _REDIRECTS:
                    url = _next(url, response.headers.get("Location", ""))
                elif response.status == 200:
                    return await self._stream(response, sink, trip, url)
                else:
                    return await self._refused(response)
        raise LinkError(f"the link leads through more than {REDIRECTS_MAX} redirects")

    async def _open(self, url: URL, headers: Mapping[str, str], trip: Trip) -> ClientResponse:
        if self._proxy is not None:
            self._guard.check_written(url)
        return await self._ways.shared().get(
            url,
            headers=headers,
            allow_redirects=False,
            timeout=self._timeout,
            proxy=self._proxy,
            trace_request_ctx=trip,
        )

    async def _stream(
        self, response: ClientResponse, sink: Sink, trip: Trip, url: URL
    ) -> Fault | None:
        while True:
            try:
                chunk = await response.content.readany()
            except FAILURES as error:
                return _broken(error, trip, url)
            if not chunk:
                return None
            await sink.write(chunk)

    async def _refused(self, response: ClientResponse) -> Fault:
        words = excerpt(*await read_words(response))
        headers = {name.lower(): value for name, value in response.headers.items()}
        wait_s = header_s(headers, self._clock.now())
        return Fault(
            "download",
            "http",
            response.status,
            None,
            words,
            retry_after_s=wait_s,
            effect="accepted",
        )


def url_of(link: str, target: str) -> URL:
    """The absolute URL of a result, as it was written: a signature covers every character.

    >>> str(url_of("/view?filename=a%2Fb.png", "http://gpu-1:8188/api"))
    'http://gpu-1:8188/view?filename=a%2Fb.png'

    Raises LinkError.
    """
    return _joined(_origin(target), link)


def _origin(target: str) -> URL:
    try:
        return URL(target).origin()
    except ValueError:
        raise LinkError("the task's address is none on the web") from None


def _next(url: URL, location: str) -> URL:
    if not location:
        raise LinkError("the link is redirected to nowhere")
    return _joined(url, location)


def _joined(start: URL, link: str) -> URL:
    if len(link) > LINK_CHARS_MAX:
        raise LinkError(f"the link has more than {LINK_CHARS_MAX:,} characters")
    try:
        url = start.join(_url(link))
        if url.scheme not in ("http", "https") or not url.host:
            raise LinkError("the result's link is no http or https URL")
    except ValueError:
        raise LinkError("the result's link is no URL") from None
    return url


def _url(link: str) -> URL:
    """`link` as it was written, but for what no URL may hold: that is quoted. Raises ValueError.

    >>> str(_url("https://a.test/狐 1.mp4?sign=b%2Fc+d"))
    'https://a.test/%E7%8B%90%201.mp4?sign=b%2Fc+d'
    """
    if not urlsplit(link).netloc.isascii():
        return URL(link)  # a host has another way to be written
    return URL(quote(link.translate(_BREAKS), safe=_WRITTEN), encoded=True)


def _broken(error: BaseException, trip: Trip, url: URL) -> Fault:
    kind = kind_of(error, trip)
    return _fault(kind, sentence_of(error, kind, url.host or "the host"))


def _fault(kind: str, message: str) -> Fault:
    return Fault("download", kind, message=message, effect="accepted")
