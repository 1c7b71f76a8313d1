"""The two ways to a provider, and what became of a request on its way.

A paid request gets a connection of its own: one that was kept alive may be dead, and then nobody
knows whether the request arrived. Polls and downloads share connections.
"""

import ssl
from types import SimpleNamespace

import aiohttp
from aiohttp import (
    ClientSession,
    DummyCookieJar,
    TCPConnector,
    TraceConfig,
    TraceRequestHeadersSentParams,
)

from daemon import failpoints
from daemon.core.outcomes import Effect
from daemon.engines.guard import ForbiddenAddressError, Guard, GuardedConnector

USER_AGENT = "genq"
FAILURES = (aiohttp.ClientError, ForbiddenAddressError, TimeoutError, OSError)
"""What a request over `Ways` raises when it fails; everything else is a mistake of ours."""


class ClosedError(Exception):
    """The engine was closed before the request was made: nothing was sent."""


class Trip:
    """One request on its way: whether it left (its headers did), whether an answer began."""

    __slots__ = ("answered", "sent")

    def __init__(self) -> None:
        self.sent = False
        self.answered = False

    @property
    def effect(self) -> Effect:
        """What a paid request may have done if it failed now."""
        return "unknown" if self.sent else "none"


class Ways:
    """The sessions to one provider, opened when first used, inside the loop that uses them.

    Without a guard (a proxy makes the connections) no address is checked. No session keeps
    cookies, reads proxies or passwords from the environment, or limits how many requests go at
    once: the provider's slots do, and a download must not make a poll wait.
    """

    def __init__(self, guard: Guard | None) -> None:
        self._guard = guard
        self._paid: ClientSession | None = None
        self._shared: ClientSession | None = None
        self._closed = False

    def paid(self) -> ClientSession:
        """A new connection for each request. Raises ClosedError."""
        self._check_open()
        if self._paid is None:
            self._paid = _session(TCPConnector(limit=0, force_close=True))
        return self._paid

    def shared(self) -> ClientSession:
        """Connections are used again, and lead only where the guard lets them. Raises
        ClosedError.
        """
        self._check_open()
        if self._shared is None:
            guard = self._guard
            connector = TCPConnector(limit=0) if guard is None else GuardedConnector(guard, limit=0)
            self._shared = _session(connector)
        return self._shared

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        self._closed = True
        for session in (self._paid, self._shared):
            if session is not None:
                await session.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError


def kind_of(error: BaseException, trip: Trip) -> str:
    """The kind of fault (resilience.md 1.2) that `error`, one of FAILURES, is.

    >>> kind_of(TimeoutError(), Trip())
    'transport.timeout.connect'
    """
    match error:
        case ForbiddenAddressError():
            return "local.address"
        case aiohttp.ClientConnectorDNSError():
            return "transport.dns"
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch() | ssl.SSLError():
            return "transport.tls"
        case aiohttp.ConnectionTimeoutError():
            return "transport.timeout.connect"
        case aiohttp.SocketTimeoutError():
            return "transport.timeout.read"
        case TimeoutError():
            return f"transport.timeout.{_waited_for(trip)}"
        case aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError():
            return "transport.connect"
        case aiohttp.ClientConnectionError() | OSError():
            return "transport.reset"
        case _:
            return "protocol"


_SENTENCES = {
    "transport.dns": "the name of {host} can't be resolved",
    "transport.tls": "no secure connection to {host}",
    "transport.timeout.connect": "no connection to {host} in time",
    "transport.timeout.read": "{host} was silent for too long",
    "transport.timeout.total": "the answer of {host} took too long",
    "transport.connect": "no connection to {host}",
    "transport.reset": "{host} closed the connection before the answer was complete",
    "protocol": "the answer of {host} can't be read",
}


def sentence_of(error: BaseException, kind: str, host: str) -> str:
    """What happened, for people. Never holds a URL: links are signed.

    >>> sentence_of(TimeoutError(), "transport.timeout.read", "api.example")
    'api.example was silent for too long'
    """
    if isinstance(error, ForbiddenAddressError):
        return str(error)
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return "this is no address on the web"
    sentence = _SENTENCES[kind].format(host=host)
    match error:
        case aiohttp.ClientHttpProxyError(status=status):
            return f"{sentence}: the proxy answered {status}"
        case aiohttp.ClientProxyConnectionError():
            return f"no connection to the proxy: {_reason(error)}"
        case aiohttp.ClientConnectorError() | OSError() if _reason(error):
            return f"{sentence}: {_reason(error)}"
        case aiohttp.ClientPayloadError():
            return f"{sentence}: it is cut"
        case _:
            return sentence


def _reason(error: BaseException) -> str:
    cause = getattr(error, "os_error", error)
    return getattr(cause, "strerror", None) or ""


def _waited_for(trip: Trip) -> str:
    """What the time ran out for: the limit is one over connecting, waiting and reading."""
    if not trip.sent:
        return "connect"
    return "total" if trip.answered else "read"


def _session(connector: TCPConnector) -> ClientSession:
    trace = TraceConfig()
    trace.on_request_headers_sent.append(_note_sent)
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        requote_redirect_url=False,
        trace_configs=[trace],
        trust_env=False,
    )


async def _note_sent(
    session: ClientSession,  # noqa: ARG001 - as aiohttp calls it
    context: SimpleNamespace,
    params: TraceRequestHeadersSentParams,  # noqa: ARG001 - as aiohttp calls it
) -> None:
    context.trace_request_ctx.sent = True
    failpoints.at("request_leaves")
