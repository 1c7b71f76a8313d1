"""The figures that the five post-mortems came to, and those of the contract, as they are shipped.

What counts is the effective configuration: the shipped file, checked, over the built-in defaults.
"""

from pathlib import Path
from typing import Any

import pytest

from daemon.config import Config, Flags, load
from daemon.core.policy import Limits
from daemon.media.pictures import PictureLimits
from tests.fakes.installation import ROOT

POST_MORTEMS: dict[str, dict[str, Any]] = {
    "CogVideoX, the 504s": {
        "providers.cogvideox.poll_interval_s": 10,
        "providers.cogvideox.generate_timeout_s": 20 * 60,
        "providers.cogvideox.errors_consecutive_max": 5,
        "providers.cogvideox.submit_timeout_s": 10 * 60,
        "providers.cogvideox.submit_retries": 5,
        "providers.cogvideox.concurrency": 3,
    },
    "the first frames": {
        "providers.jiekou.submit_timeout_s": 180,
        "providers.jiekou.download_timeout_s": 60,
        "providers.jiekou.concurrency": 4,
        "providers.jiekou.image_max_kb": 300,
        "pictures.image_max_kb": 300,
        "pictures.image_workers": 4,
    },
    "the Coze workflows": {
        "providers.coze.poll_interval_s": 60,
        "providers.coze.generate_timeout_s": 20 * 60,
        "providers.coze.errors_consecutive_max": 20,
    },
    "the ComfyUI servers": {
        "providers.comfyui.connect_timeout_s": 10,
        "providers.comfyui.poll_timeout_s": 60,
        "providers.comfyui.submit_timeout_s": 60,
        "providers.comfyui.submit_retries": 3,
        "providers.comfyui.download_retries": 3,
        "providers.comfyui.errors_consecutive_max": 10,
        "providers.comfyui.on_limit": "fail",
    },
    "Veo's quota": {
        "providers.veo.quota_pause_s": 5 * 60,
        "providers.veo.quota_reset_s": 60 * 60,
        "providers.veo.quota_streak_max": 3,
        "providers.veo.submit_retries": 3,
        "providers.veo.backoff_base_s": 30,
        "providers.veo.quota_daily_reset": "00:00 America/Los_Angeles",
    },
}
"""By key, and by what it was that taught it."""

CONTRACT: dict[str, Any] = {
    "daemon.stop_grace_s": 30,
    "daemon.mock": False,
    "daemon.keep_days": 30,
    "daemon.socket_mode": 0o660,
    "daemon.output_mode": 0o640,
    "daemon.start_paused_after_crash": False,
    "http.listen": None,
    "notify.urls_file": None,
    "notify.on": ("failed", "in_doubt", "provider_paused", "batch_done"),
    "pictures.image_max_kb": 300,
    "pictures.image_max_side": 1280,
    "pictures.image_max_mpixel": 40,
    "pictures.image_workers": 4,
    "providers.cogvideox.concurrency": 3,
    "providers.cogvideox.submits_per_minute": 0,
    "providers.cogvideox.polls_per_minute": 0,
    "providers.cogvideox.connect_timeout_s": 10,
    "providers.cogvideox.submit_timeout_s": 600,
    "providers.cogvideox.poll_timeout_s": 30,
    "providers.cogvideox.poll_interval_s": 10,
    "providers.cogvideox.generate_timeout_s": 1200,
    "providers.cogvideox.download_timeout_s": 60,
    "providers.cogvideox.download_retries": 3,
    "providers.cogvideox.submit_retries": 5,
    "providers.cogvideox.errors_consecutive_max": 5,
    "providers.cogvideox.on_limit": "hold",
    "providers.cogvideox.on_unknown": "ask",
    "providers.cogvideox.reconcile_grace_s": 30,
    "providers.cogvideox.watch_interval_s": 300,
    "providers.cogvideox.cancel_grace_s": 300,
    "providers.cogvideox.download_max_mb": 2048,
    "providers.cogvideox.backoff_base_s": 2,
    "providers.cogvideox.backoff_max_s": 60,
    "providers.cogvideox.quota_pause_s": 300,
    "providers.cogvideox.quota_streak_max": 3,
    "providers.cogvideox.quota_reset_s": 3600,
    "providers.cogvideox.quota_daily_reset": "00:00 Asia/Shanghai",
    "providers.cogvideox.health_streak_max": 5,
    "providers.cogvideox.base_url": "https://open.bigmodel.cn/api/paas/v4",
    "providers.cogvideox.model": "cogvideox-flash",
    "providers.veo.model": "veo-3.1-generate-001",
    "providers.coze.base_url": "https://api.coze.cn",
    "providers.jiekou.base_url": "https://api.jiekou.ai",
    "providers.comfyui.base_url": "http://127.0.0.1:8188",
}
"""interfaces.md 3."""

REAL = ("cogvideox", "veo", "coze", "jiekou", "comfyui")


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Config:
    elsewhere = tmp_path_factory.mktemp("t")
    return load(Flags(config=ROOT / "config.toml"), {}, elsewhere, etc=elsewhere).config


def figure(config: Config, key: str) -> Any:
    """The value at `key`, as whoever goes by it gets it."""
    section, *path = key.split(".")
    if section != "providers":
        return getattr(getattr(config, section), *path)
    name, field = path
    provider = config.providers[name]
    return getattr(provider.limits if field in Limits.__struct_fields__ else provider, field)


@pytest.mark.parametrize(
    ("seed", "key"), [(seed, key) for seed, figures in POST_MORTEMS.items() for key in figures]
)
def test_the_shipped_file_has_what_each_post_mortem_came_to(
    shipped: Config, seed: str, key: str
) -> None:
    assert figure(shipped, key) == POST_MORTEMS[seed][key]


@pytest.mark.parametrize("key", CONTRACT)
def test_the_shipped_file_has_what_the_contract_says(shipped: Config, key: str) -> None:
    assert figure(shipped, key) == CONTRACT[key]


def test_twenty_minutes_are_as_many_polls_as_the_post_mortem_counted(shipped: Config) -> None:
    limits = shipped.providers["coze"].limits
    assert limits.generate_timeout_s / limits.poll_interval_s == 20


def test_a_504_of_cogvideox_waits_ten_seconds_and_stops_at_the_fifth(shipped: Config) -> None:
    (rule,) = shipped.providers["cogvideox"].rules
    assert (rule.phase, rule.http, rule.do) == ("poll", "5xx", "tolerate")
    assert (rule.wait_s, rule.limit) == (10, 5)


def test_no_provider_ships_with_a_way_to_pay_twice_by_itself(shipped: Config) -> None:
    for name in REAL:
        provider = shipped.providers[name]
        assert provider.limits.on_unknown == "ask", name
        assert all(rule.do != "resubmit" for rule in provider.rules), name


@pytest.mark.parametrize("name", [name for name in REAL if name != "comfyui"])
def test_a_provider_that_costs_waits_for_a_key_from_the_environment(
    shipped: Config, name: str
) -> None:
    key = shipped.providers[name].key
    assert key is not None
    assert (key.kind, key.name.isupper()) == ("env", True)


def test_only_the_mock_works_without_anything(shipped: Config) -> None:
    assert shipped.providers["mock"].enabled
    assert not shipped.providers["comfyui"].enabled


def test_whoever_writes_no_number_gets_the_contracts(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[providers.cogvideox]\nengine = "cogvideox"\n')
    bare = load(Flags(config=file), {}, tmp_path, etc=tmp_path).config
    for key, value in CONTRACT.items():
        if not key.startswith("providers.") or key.startswith("providers.cogvideox."):
            assert figure(bare, key) == value, key
    assert PictureLimits() == PictureLimits(max_kb=300, max_side=1280, max_mpixel=40)
