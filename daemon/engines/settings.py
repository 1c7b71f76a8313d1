"""What an engine over HTTP is told: its provider's addresses, key, limits, and its own keys.

Engines don't know the configuration; they take plain values, and secrets that show themselves to
nobody but who calls `reveal`.
"""

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Protocol

from msgspec import Struct

from daemon.core.policy import Limits

Network = IPv4Network | IPv6Network


class Hidden(Protocol):
    """A key, or a header's value."""

    def reveal(self) -> str:
        """The text itself: for a request's header, and for nothing else."""


class Section(Protocol):
    """A provider's section, as far as engines need it."""

    @property
    def base_urls(self) -> tuple[str, ...]:
        """Every address of the provider; the first is where new requests go."""

    @property
    def model(self) -> str:
        """What is asked for where a job names nothing else."""

    @property
    def proxy(self) -> str:
        """An HTTP proxy's URL, or empty."""

    @property
    def limits(self) -> Limits:
        """Time limits, and the size of a download."""

    @property
    def download_hosts(self) -> tuple[str, ...]:
        """`host` or `host:port` that results may come from, whatever their addresses."""

    @property
    def allow_networks(self) -> tuple[Network, ...]:
        """Private networks that results may come from."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The keys that only this engine has."""


class EngineSettings(Struct, frozen=True, kw_only=True):
    """What an engine over HTTP is made with.

    `own` holds the keys that only it has, `places` where each stands in the configuration.
    """

    base_urls: tuple[str, ...]
    key: Hidden | None = None
    headers: Mapping[str, Hidden] = {}
    model: str = ""
    proxy: str = ""
    limits: Limits = Limits()
    download_hosts: tuple[str, ...] = ()
    allow_networks: tuple[Network, ...] = ()
    own: Mapping[str, Any] = {}
    places: Mapping[str, str] = {}


def settings_for(
    section: Section,
    key: Hidden | None,
    headers: Mapping[str, Hidden],
    places: Mapping[str, str] = {},
) -> EngineSettings:
    """The settings of the engine that plays `section`, with the key and headers that were read."""
    return EngineSettings(
        base_urls=tuple(url.rstrip("/") for url in section.base_urls),
        key=key,
        headers=headers,
        model=section.model,
        proxy=section.proxy,
        limits=section.limits,
        download_hosts=section.download_hosts,
        allow_networks=section.allow_networks,
        own=section.settings,
        places=places,
    )
