"""Every key of the configuration: its check and its default. docs/configuration.md is for people.

Defaults are written as they would stand in the file, and pass the same checks.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from daemon.configuration.addresses import host, listen, network, optional_url, url
from daemon.configuration.daily import daily_reset
from daemon.configuration.keys import headers, key_source
from daemon.configuration.kinds import (
    Check,
    choice,
    each,
    folder,
    matching,
    mode,
    number,
    optional_path,
    params,
    seconds,
    share,
    span,
    state_folder,
    switch,
    text,
    texts,
    whole,
)
from daemon.configuration.rules import rules
from daemon.core.policy import Limits


class Key(Struct, frozen=True):
    """One key: how its value is checked, and what it is where it isn't set.

    UNSET: the default depends on the provider, or there is none.
    """

    check: Check
    default: Any | UnsetType = UNSET


Table = Mapping[str, Key]
NOTIFIED = ("failed", "in_doubt", "provider_paused", "batch_done")

DAEMON: Table = {
    "state_dir": Key(state_folder, "state"),
    "output_dir": Key(folder, "outputs"),
    "log_dir": Key(folder, "logs"),
    "socket": Key(optional_path, ""),
    "socket_mode": Key(mode, "0660"),
    "output_mode": Key(mode, "0640"),
    "stop_grace_s": Key(seconds(), 30),
    "mock": Key(switch, False),
    "keep_days": Key(number(0, 36_500), 30),
    "start_paused_after_crash": Key(switch, False),
}
HTTP: Table = {"listen": Key(listen, ""), "token_file": Key(optional_path, "")}
NOTIFY: Table = {
    "urls_file": Key(optional_path, ""),
    "on": Key(each(choice(*NOTIFIED), f"a list of {', '.join(NOTIFIED)}"), list(NOTIFIED)),
}
PICTURES: Table = {
    "image_max_kb": Key(whole(1, 65_536), 300),
    "image_max_side": Key(whole(16, 65_535), 1280),
    "image_max_mpixel": Key(number(0, 1_000, above=True), 40),
    "image_workers": Key(whole(1, 64), 4),
}
SECTIONS: Mapping[str, Table] = {
    "daemon": DAEMON,
    "http": HTTP,
    "notify": NOTIFY,
    "pictures": PICTURES,
}

_TRIES = whole(0, 1_000)
_STREAK = whole(1, 1_000)
_A_MINUTE = whole(0, 100_000)
_LIMIT_CHECKS: Mapping[str, Check] = {
    "concurrency": whole(1, 1_000),
    "submits_per_minute": _A_MINUTE,
    "polls_per_minute": _A_MINUTE,
    "connect_timeout_s": seconds(zero=False),
    "submit_timeout_s": seconds(zero=False),
    "poll_timeout_s": seconds(zero=False),
    "poll_interval_s": seconds(zero=False),
    "generate_timeout_s": seconds(zero=False),
    "download_timeout_s": seconds(zero=False),
    "download_retries": _TRIES,
    "submit_retries": _TRIES,
    "errors_consecutive_max": _STREAK,
    "on_limit": choice("hold", "fail"),
    "on_unknown": choice("ask", "resubmit"),
    "reconcile_grace_s": seconds(),
    "watch_interval_s": seconds(zero=False),
    "cancel_grace_s": seconds(),
    "download_max_mb": whole(1, 1_000_000),
    "backoff_base_s": seconds(),
    "backoff_max_s": seconds(),
    "quota_pause_s": seconds(zero=False),
    "quota_streak_max": _STREAK,
    "quota_reset_s": seconds(zero=False),
    "health_streak_max": _STREAK,
}
LIMITS: Table = {
    field.name: Key(_LIMIT_CHECKS[field.name], field.default)
    for field in msgspec.structs.fields(Limits)
}
PROVIDER: Table = {
    "engine": Key(text),
    "base_url": Key(optional_url),
    "api_key": Key(key_source),
    "model": Key(
        matching(r"[A-Za-z0-9][\w.:@-]*(?:/[\w:@-][\w.:@-]*)*", 'a model\'s name such as "veo-3"'),
        "",
    ),
    "proxy": Key(optional_url, ""),
    "headers": Key(headers, {}),
    "price": Key(
        matching(r"\d{1,9}(?:\.\d{1,6})? [A-Za-z]{1,10}", 'a price such as "0.75 USD"'), ""
    ),
    "enabled": Key(switch, True),
    **LIMITS,
    "quota_daily_reset": Key(daily_reset, "00:00 UTC"),
    "download_hosts": Key(each(host, 'a list such as ["media.lan:9000"]'), []),
    "allow_networks": Key(each(network, 'a list such as ["192.168.1.0/24"]'), []),
    "params": Key(params, {}),
    "rules": Key(rules, []),
    "image_max_kb": Key(PICTURES["image_max_kb"].check),
    "image_max_side": Key(PICTURES["image_max_side"].check),
    "image_max_mpixel": Key(PICTURES["image_max_mpixel"].check),
}
"""Keys of every provider, whatever its engine."""


class EngineKeys(Struct, frozen=True):
    """What is particular to an engine: its own keys, and what it sets for those of everybody."""

    own: Table = {}
    defaults: Mapping[str, Any] = {}
    needs_key: bool = True


BEIJING = "00:00 Asia/Shanghai"
ENGINES: Mapping[str, EngineKeys] = {
    "cogvideox": EngineKeys(
        defaults={
            "base_url": "https://open.bigmodel.cn/api/paas/v4",
            "model": "cogvideox-flash",
            "quota_daily_reset": BEIJING,
        }
    ),
    "veo": EngineKeys(
        own={"variant": Key(choice("platform", "developer"), "platform")},
        defaults={
            "base_url": "https://aiplatform.googleapis.com/v1beta1",
            "model": "veo-3.1-generate-001",
            "quota_daily_reset": "00:00 America/Los_Angeles",
        },
    ),
    "comfyui": EngineKeys(
        own={
            "base_urls": Key(each(url, 'a list such as ["http://gpu-1:8188"]'), []),
            "workflow": Key(optional_path, ""),
        },
        defaults={
            "base_url": "http://127.0.0.1:8188",
            "errors_consecutive_max": 10,
            "on_limit": "fail",
        },
        needs_key=False,
    ),
    "coze": EngineKeys(
        own={
            "workflow_id": Key(text, ""),
            "prompt_key": Key(text, "prompt"),
            "image_key": Key(text, "image"),
            "output_path": Key(text, ""),
            "bot_id": Key(text, ""),
            "app_id": Key(text, ""),
            "ext": Key(texts, {}),
        },
        defaults={"base_url": "https://api.coze.cn", "quota_daily_reset": BEIJING},
    ),
    "jiekou": EngineKeys(
        defaults={
            "base_url": "https://api.jiekou.ai",
            "model": "seedream-4.5",
            "quota_daily_reset": BEIJING,
        }
    ),
    "mock": EngineKeys(
        own={
            "submit_s": Key(seconds(), 0.2),
            "register_s": Key(seconds(), 0),
            "generate_s": Key(span, [1, 3]),
            "download_s": Key(seconds(), 0),
            "polls_504": Key(share, 0.0),
            "submit_refused": Key(share, 0.0),
            "lost_answers": Key(share, 0.0),
            "failures": Key(share, 0.0),
            "quota_every": Key(whole(0), 0),
            "quota_for_s": Key(seconds(), 5),
            "outputs": Key(whole(0, 100), 1),
            "seed": Key(whole(-(1 << 63), (1 << 63) - 1), 0),
            "script": Key(optional_path, ""),
            "lookup": Key(switch, False),
            "cancel": Key(switch, True),
        },
        defaults={"base_url": ""},
        needs_key=False,
    ),
}
DEVELOPER_VEO: Mapping[str, Any] = {
    "base_url": "https://generativelanguage.googleapis.com/v1beta",
    "model": "veo-3.1-generate-preview",
}
"""What the other variant of veo sets (veo-gemini.md, "Developer API")."""

OWN_KEYS: Mapping[str, str] = {key: name for name, engine in ENGINES.items() for key in engine.own}
"""The keys that only one engine has, each with this engine."""


def find_key(path: tuple[str | int, ...]) -> Key | None:
    """The key at `path`, such as `("providers", "veo", "variant")`; None if there is none."""
    match path:
        case (str(section), str(name)) if section in SECTIONS:
            return SECTIONS[section].get(name)
        case ("providers", str(), str(name)) if name in OWN_KEYS:
            return ENGINES[OWN_KEYS[name]].own[name]
        case ("providers", str(), str(name)):
            return PROVIDER.get(name)
        case _:
            return None
