"""The configuration as values: what the daemon works with. Everything is checked and absolute."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from daemon.configuration.addresses import Network
from daemon.configuration.keys import KeySource
from daemon.core.faults import Rule
from daemon.core.policy import Limits


class DaemonSection(Struct, frozen=True, kw_only=True):
    """`[daemon]`. `socket` is None where it isn't set; modes are numbers; times in seconds."""

    state_dir: Path
    output_dir: Path
    log_dir: Path
    socket: Path | None
    socket_mode: int
    output_mode: int
    stop_grace_s: float
    mock: bool
    keep_days: float
    start_paused_after_crash: bool


class HttpSection(Struct, frozen=True, kw_only=True):
    """`[http]`. `listen` is (host, port), None: off."""

    listen: tuple[str, int] | None
    token_file: Path


class NotifySection(Struct, frozen=True, kw_only=True):
    """`[notify]`. `on` names what is told about."""

    urls_file: Path | None
    on: tuple[str, ...]


class PicturesSection(Struct, frozen=True, kw_only=True):
    """`[pictures]`. Sizes as `PictureLimits` takes them."""

    image_max_kb: int
    image_max_side: int
    image_max_mpixel: float
    image_workers: int


class ProviderSection(Struct, frozen=True, kw_only=True):
    """`[providers.NAME]`.

    `base_urls` are all addresses, `base_url` the first ("" for the mock). `key` is None where none
    is named. `image_…` are the provider's own or those of `[pictures]`. `settings` holds the keys
    that only this engine has, every one of them.
    """

    name: str
    engine: str
    base_url: str
    base_urls: tuple[str, ...]
    key: KeySource | None
    model: str
    proxy: str
    headers: Mapping[str, str | KeySource]
    price: str
    enabled: bool
    limits: Limits
    quota_daily_reset: str
    download_hosts: tuple[str, ...]
    allow_networks: tuple[Network, ...]
    params: Mapping[str, Any]
    rules: tuple[Rule, ...]
    image_max_kb: int
    image_max_side: int
    image_max_mpixel: float
    settings: Mapping[str, Any]


class Config(Struct, frozen=True, kw_only=True):
    """The whole configuration."""

    daemon: DaemonSection
    http: HttpSection
    notify: NotifySection
    pictures: PicturesSection
    providers: Mapping[str, ProviderSection]
