"""Which addresses a result may be fetched from: nobody's link leads into the private network.

Providers name the links, so what is behind them is checked when the connection is made, by
address: a name that resolves to something else a moment later gains nothing (resilience.md 6.4).
"""

import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.parse import unquote, urlsplit

from aiohttp import TCPConnector
from aiohttp.abc import ResolveResult
from aiohttp.tracing import Trace
from yarl import URL

from daemon.engines.settings import Network

Address = IPv4Address | IPv6Address
_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: its last four bytes are an IPv4 address. So are those of ::/96, long deprecated."""
_COMPATIBLE = IPv6Network("::/96")
_SITE_LOCAL = IPv6Network("fec0::/10")
"""RFC 3879: deprecated, and private where it is still routed; Python takes it for global."""


class ForbiddenAddressError(Exception):
    """A link leads to an address that results may not come from; the message tells the way out."""


class Guard:
    """What may be connected to: public addresses, and what the operator named.

    `hosts` are `host` or `host:port`; `trust` adds the origins of the provider itself.
    """

    def __init__(self, hosts: Iterable[str] = (), networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)
        self._endpoints: set[tuple[str, int | None]] = set(map(_endpoint, hosts))

    def trust(self, url: str) -> None:
        """Let through whatever is at the host and port of `url`."""
        if not url:
            return
        origin = URL(url)
        self._endpoints.add((_plain(origin.host or ""), origin.port))

    def check(self, host: str, port: int, address: str) -> None:
        """Return if `address`, which `host` stands for, may be connected to.

        Raises ForbiddenAddressError.
        """
        name = _plain(host)
        if (name, port) in self._endpoints or (name, None) in self._endpoints:
            return
        found = _parsed(address)
        if found is None or not self._allows(found):
            raise ForbiddenAddressError(
                f"the link leads to a private address, {name}:{port}: if results may come from "
                "there, name it in download_hosts or allow_networks"
            )

    def check_written(self, url: URL) -> None:
        """Return unless `url` itself names a forbidden address: all that can be seen when a proxy
        resolves names. Raises ForbiddenAddressError.
        """
        host = _plain(unquote(url.host or ""))
        if host == "localhost" or host.endswith(".localhost"):
            self.check(host, url.port or 0, "127.0.0.1")
        elif _parsed(host) is not None:
            self.check(host, url.port or 0, host)

    def _allows(self, address: Address) -> bool:
        reached = _reached(address)
        if any(one in network for network in self._networks for one in (address, reached)):
            return True
        return _is_public(reached)


class GuardedConnector(TCPConnector):
    """Connects only where its guard allows it, whether a link has a name or a bare address."""

    def __init__(self, guard: Guard, **options: Any) -> None:
        super().__init__(**options)
        self._guard = guard

    async def _resolve_host(
        self, host: str, port: int, traces: Sequence[Trace] | None = None
    ) -> list[ResolveResult]:
        # aiohttp asks its resolver for names only; this method sees bare addresses too.
        found = await super()._resolve_host(host, port, traces)
        for one in found:
            self._guard.check(host, port, one["host"])
        return found


def _endpoint(text: str) -> tuple[str, int | None]:
    """Host and port of `host`, `host:port`, `::1` or `[::1]:port`.

    >>> _endpoint("Media.lan:9000"), _endpoint("::1"), _endpoint("[::1]:80")
    (('media.lan', 9000), ('::1', None), ('::1', 80))
    """
    if text.count(":") > 1 and not text.startswith("["):
        return _plain(text), None
    parts = urlsplit(f"//{text}")
    return _plain(parts.hostname or ""), parts.port


def _plain(host: str) -> str:
    return host.lower().rstrip(".").strip("[]")


def _parsed(text: str) -> Address | None:
    """The address that is written, also as the systems' resolvers read it.

    >>> _parsed("127.1"), _parsed("0x7f000001"), _parsed("cdn.test")
    (IPv4Address('127.0.0.1'), IPv4Address('127.0.0.1'), None)
    """
    try:
        return ip_address(text)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(text))
    except (OSError, ValueError):
        return None


def _reached(address: Address) -> Address:
    """The IPv4 address that an IPv6 one carries and leads to; else `address` itself.

    >>> _reached(ip_address("::ffff:10.0.0.1")), _reached(ip_address("64:ff9b::808:808"))
    (IPv4Address('10.0.0.1'), IPv4Address('8.8.8.8'))
    """
    if isinstance(address, IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is not None:
        return inner
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or address in _COMPATIBLE:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_public(address: Address) -> bool:
    """Whether anybody on the internet may be meant: neither private, local, shared nor reserved."""
    return address.is_global and not (
        address.is_multicast
        or address.is_reserved
        or address.is_link_local
        or address in _SITE_LOCAL
    )
