import ipaddress
from pathlib import Path

import pytest

from daemon.config import (
    Change,
    Config,
    Ground,
    KeySource,
    ProviderSection,
    changed,
    next_reset,
    parse,
    played,
    policy_for,
)
from daemon.core.faults import GUARD, Rule, classify
from daemon.core.outcomes import Fault
from daemon.core.policy import Abilities, Limits

GROUND = Ground(Path("/cfg/config.toml"), Path("/cfg"), Path("/cwd"))


def config(text: str) -> Config:
    return parse(text, GROUND).config


def provider(lines: str, engine: str = "cogvideox") -> ProviderSection:
    return config(f"[providers.p]\nengine = '{engine}'\n{lines}").providers["p"]


def test_an_empty_file_is_a_configuration() -> None:
    empty = config("")
    assert empty.daemon.state_dir == Path("/cfg/state")
    assert empty.daemon.output_dir == Path("/cfg/outputs")
    assert empty.daemon.log_dir == Path("/cfg/logs")
    assert (empty.daemon.socket_mode, empty.daemon.output_mode) == (0o660, 0o640)
    assert (empty.daemon.stop_grace_s, empty.daemon.keep_days) == (30.0, 30.0)
    assert not empty.daemon.mock
    assert empty.http.listen is None
    assert empty.http.token_file == Path("/cfg/state/http.token")
    assert empty.notify.urls_file is None
    assert empty.notify.on == ("failed", "in_doubt", "provider_paused", "batch_done")
    assert empty.pictures.image_max_kb == 300
    assert empty.providers == {}


def test_every_value_arrives_in_the_form_the_daemon_works_with() -> None:
    section = provider(
        """
        base_url = "https://api.example/v1/"
        api_key = { file = "keys/p" }
        headers = { X-One = "1", X-Two = { env = "TWO" } }
        price = "0.75 USD"
        poll_interval_s = 0.05
        download_hosts = ["Media.LAN:9000", "[::1]:80"]
        allow_networks = ["192.168.1.0/24", "10.0.0.7"]
        params = { duration = 5, tags = ["a", { b = 1.5 }] }
        image_max_kb = 100
        """
    )
    assert section.base_url == "https://api.example/v1"
    assert section.base_urls == ("https://api.example/v1",)
    assert section.key == KeySource("file", "/cfg/keys/p")
    assert section.headers == {"X-One": "1", "X-Two": KeySource("env", "TWO")}
    assert section.limits == Limits(poll_interval_s=0.05)
    assert section.download_hosts == ("media.lan:9000", "[::1]:80")
    assert section.allow_networks == (
        ipaddress.ip_network("192.168.1.0/24"),
        ipaddress.ip_network("10.0.0.7/32"),
    )
    assert section.params == {"duration": 5, "tags": ["a", {"b": 1.5}]}
    assert (section.image_max_kb, section.image_max_side) == (100, 1280)


@pytest.mark.parametrize(
    ("listen", "pair"),
    [
        ("127.0.0.1:8001", ("127.0.0.1", 8001)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:80", ("::1", 80)),
        ("", None),
    ],
)
def test_where_to_listen_is_a_host_and_a_port(listen: str, pair: tuple[str, int] | None) -> None:
    assert config(f"[http]\nlisten = '{listen}'").http.listen == pair


def test_a_provider_takes_the_limits_of_pictures_unless_it_has_its_own() -> None:
    both = config(
        """
        [pictures]
        image_max_side = 640
        [providers.a]
        engine = "mock"
        [providers.b]
        engine = "mock"
        image_max_side = 320
        """
    )
    assert both.providers["a"].image_max_side == 640
    assert both.providers["b"].image_max_side == 320


@pytest.mark.parametrize(
    ("engine", "url", "reset"),
    [
        ("cogvideox", "https://open.bigmodel.cn/api/paas/v4", "00:00 Asia/Shanghai"),
        ("veo", "https://aiplatform.googleapis.com/v1beta1", "00:00 America/Los_Angeles"),
        ("coze", "https://api.coze.cn", "00:00 Asia/Shanghai"),
        ("jiekou", "https://api.jiekou.ai", "00:00 Asia/Shanghai"),
        ("comfyui", "http://127.0.0.1:8188", "00:00 UTC"),
        ("mock", "", "00:00 UTC"),
    ],
)
def test_an_engine_knows_its_address_and_its_day(engine: str, url: str, reset: str) -> None:
    section = provider("", engine)
    assert (section.base_url, section.quota_daily_reset) == (url, reset)


def test_the_developer_variant_of_veo_has_an_address_and_a_model_of_its_own() -> None:
    section = provider("variant = 'developer'", "veo")
    assert section.base_url == "https://generativelanguage.googleapis.com/v1beta"
    assert section.model == "veo-3.1-generate-preview"
    assert section.settings == {"variant": "developer"}


def test_comfyui_fails_at_the_tenth_error_unless_told_otherwise() -> None:
    limits = provider("", "comfyui").limits
    assert (limits.errors_consecutive_max, limits.on_limit) == (10, "fail")
    limits = provider("on_limit = 'hold'", "comfyui").limits
    assert (limits.errors_consecutive_max, limits.on_limit) == (10, "hold")


def test_comfyui_takes_one_address_or_many() -> None:
    many = provider("base_urls = ['http://a:1/', 'http://b:1']", "comfyui")
    assert many.base_urls == ("http://a:1", "http://b:1")
    both = provider("base_url = 'http://c'\nbase_urls = ['http://a', 'http://c/']", "comfyui")
    assert both.base_urls == ("http://c", "http://a")
    assert both.base_url == "http://c"


def test_a_path_that_an_engine_needs_is_relative_to_the_file() -> None:
    assert provider("workflow = 'w/a.json'", "comfyui").settings["workflow"] == Path(
        "/cfg/w/a.json"
    )
    assert provider("script = 'weather.toml'", "mock").settings["script"] == Path(
        "/cfg/weather.toml"
    )
    assert provider("", "mock").settings["script"] is None


def test_the_mock_takes_a_number_or_a_range_of_seconds() -> None:
    assert provider("generate_s = 2", "mock").settings["generate_s"] == (2.0, 2.0)
    assert provider("generate_s = [0.05, 1]", "mock").settings["generate_s"] == (0.05, 1.0)


def test_with_mock_every_provider_is_played_by_it_enabled_and_without_a_key() -> None:
    text = """
        [providers.veo]
        engine = "veo"
        enabled = false
        concurrency = 7
        api_key = { env = "K" }
        """
    assert played(config(text)) == config(text).providers
    weather = f"{text}\ngenerate_s = 0.5\n[daemon]\nmock = true"
    section = played(config(weather))["veo"]
    assert (section.engine, section.enabled, section.key) == ("mock", True, None)
    assert section.limits.concurrency == 7
    assert section.settings["generate_s"] == (0.5, 0.5)
    assert section.settings["outputs"] == 1


RULES = """
    [[providers.p.rules]]
    phase = "poll"
    http = 504
    kind = "http*"
    code = 1302
    message = "time(d )?out"
    do = "tolerate"
    wait_s = 10
    limit = 5
    why = "slow"
    [[providers.p.rules]]
    http = "5XX"
    do = "pause"
    until = "operator"
    [[providers.p.rules]]
    kind = "local.nospace"
    do = "pause"
    until = "space"
    [[providers.p.rules]]
    phase = "submit"
    effect = "none"
    do = "retry"
    [[providers.p.rules]]
    do = "resubmit"
    limit = 1
    """


def test_rules_are_named_by_their_provider_and_counted_from_one() -> None:
    rules = provider(RULES).rules
    assert rules == (
        Rule(
            name="p.1",
            phase="poll",
            http="504",
            kind="http*",
            code="1302",
            message="time(d )?out",
            do="tolerate",
            wait_s=10.0,
            limit=5,
            why="slow",
        ),
        Rule(name="p.2", http="5xx", do="pause", until="operator", cause="operator"),
        Rule(name="p.3", kind="local.nospace", do="pause", until="space", cause="space"),
        Rule(name="p.4", phase="submit", effect="none", do="retry"),
        Rule(name="p.5", do="resubmit", limit=1),
    )


def test_a_rule_that_matches_everything_stands_before_the_engines_but_never_before_the_guard() -> (
    None
):
    section = provider("[[providers.p.rules]]\ndo = 'resubmit'\nlimit = 3")
    built_in = Rule(name="engine.1", do="fail")
    abilities = Abilities(lookup=True)
    policy = policy_for(section, (built_in,), abilities)
    assert policy.rules == (*section.rules, built_in)
    assert (policy.limits, policy.abilities) == (section.limits, abilities)
    lost = Fault("submit", "http", http=504, effect="unknown")
    assert classify(lost, policy.rules) == GUARD
    assert classify(Fault("poll", "http", http=504), policy.rules).name == "p.1"


def test_a_change_is_named_by_its_key_and_says_whether_it_needs_a_restart() -> None:
    old = config("[providers.a]\nengine='mock'\n[providers.b]\nengine='mock'\n")
    new = config(
        """
        [daemon]
        state_dir = "elsewhere"
        keep_days = 3
        [providers.a]
        engine = "veo"
        concurrency = 1
        api_key = { env = "K" }
        [providers.c]
        engine = "mock"
        """
    )
    assert changed(old, old) == []
    found = {str(change) for change in changed(old, new)}
    assert {
        "daemon.state_dir (needs a restart)",
        "daemon.keep_days",
        "providers.a.engine",
        "providers.a.concurrency",
        "providers.a.api_key",
        "providers.b",
        "providers.c",
    } <= found
    assert Change("providers.b", False) in changed(old, new)


@pytest.mark.parametrize(
    ("reset", "now", "at"),
    [
        ("00:00 UTC", 0.0, 86_400.0),
        ("01:30 UTC", 0.0, 5_400.0),
        ("00:00 Asia/Shanghai", 0.0, 57_600.0),
        ("08:00 Asia/Shanghai", 0.0, 86_400.0),
        # On 2026-03-08 clocks went from 02:00 to 03:00: that day had 23 hours.
        ("00:00 America/Los_Angeles", 1_772_956_800.0, 1_772_956_800.0 + 23 * 3600),
    ],
)
def test_the_next_reset_follows_the_zones_own_calendar(reset: str, now: float, at: float) -> None:
    assert next_reset(reset, now) == at


def test_a_reset_that_was_never_checked_is_an_error_of_ours() -> None:
    with pytest.raises(ValueError, match="not a daily reset"):
        next_reset("noon", 0.0)
