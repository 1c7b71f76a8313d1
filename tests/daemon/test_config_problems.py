"""Every mistake that a configuration can hold: found, placed, explained; all of them at once."""

import string
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from daemon.config import ConfigError, Flags, Ground, Loaded, Problem, parse
from daemon.configuration.schema import ENGINES, OWN_KEYS, PROVIDER, SECTIONS

GROUND = Ground(Path("/cfg/config.toml"), Path("/cfg"), Path("/cwd"))
KEY = "sk-live-51H8vXyZ"
VEO = "[providers.veo]\nengine = 'veo'\n"
MOCK = "[providers.mock]\nengine = 'mock'\n"
COMFY = "[providers.c]\nengine = 'comfyui'\n"
COZE = "[providers.coze]\nengine = 'coze'\n"
RULE = f"{VEO}[[providers.veo.rules]]\n"


def problems(text: str, **environ: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        parse(text, GROUND, environ=environ)
    return list(caught.value.problems)


Case = tuple[str, int | None, str, str]
"""A text, and the line, the key and the words of its only problem."""

SYNTAX: tuple[Case, ...] = (
    ("[daemon\n", 1, "", "not TOML"),
    ("[daemon]\nmock = tru\n", 2, "", "column 8"),
    ("[daemon]\nmock = \n", 2, "", "not TOML: Invalid value"),
    ("[daemon]\n\n[daemon]\n", 3, "", "twice"),
    ("[daemon]\nmock = true\nmock = true\n", 3, "", "Cannot overwrite a value"),
    ("[notify]\non = ['failed',\n", 2, "", "at the end of the file"),
    ("[daemon]\nlog_dir = 'a\0b'\n", 2, "", "\\x00"),
    (f"a = {'9' * 5000}", None, "", "too many digits"),
    (f"a = {'[' * 5000}{']' * 5000}", None, "", "nested too deeply"),
)
SECTION_CASES: tuple[Case, ...] = (
    ("[deamon]\n", 1, "deamon", "did you mean 'daemon'?"),
    ("[zzz]\n", 1, "zzz", "unknown section"),
    ("\nstate_dir = 'x'\n", 2, "state_dir", "belongs below a line [daemon]"),
    ("concurrency = 3\n", 1, "concurrency", "belongs below a line [providers.NAME]"),
    ("daemon = 5\n", 1, "daemon", "expected a table [daemon], got 5"),
    ("providers = []\n", 1, "providers", "expected tables [providers.NAME], got a list"),
    ("[daemon]\nkeepdays = 3\n", 2, "daemon.keepdays", "did you mean 'keep_days'?"),
    ("[daemon]\nimage_workers = 3\n", 2, "daemon.image_workers", "below a line [pictures]"),
    ("[daemon]\napi_key = 3\n", 2, "daemon.api_key", "it belongs to a provider"),
    ("[daemon]\nmock = 'yes'\n", 2, "daemon.mock", "expected true or false, got 'yes'"),
    ("[daemon]\nmock = 1\n", 2, "daemon.mock", "expected true or false, got 1"),
    ("[daemon]\nstate_dir = 5\n", 2, "daemon.state_dir", "expected a path in quotes, got 5"),
    ("[daemon]\nlog_dir = ''\n", 2, "daemon.log_dir", "must not be empty"),
    ("[daemon]\noutput_dir = '~/o'\n", 2, "daemon.output_dir", "'~' isn't expanded"),
    ('[daemon]\nlog_dir = "a\\u0000b"\n', 2, "daemon.log_dir", "NUL"),
    ('[daemon]\nlog_dir = "a\\u001b[2J"\n', 2, "daemon.log_dir", "control characters"),
    (f"[daemon]\nlog_dir = '{'x' * 1001}'\n", 2, "daemon.log_dir", "has 1,001 characters"),
    ("[daemon]\nsocket_mode = 660\n", 2, "daemon.socket_mode", "octal text"),
    ("[daemon]\nsocket_mode = '0680'\n", 2, "daemon.socket_mode", "octal text"),
    ("[daemon]\noutput_mode = '0040'\n", 2, "daemon.output_mode", "shut the daemon itself out"),
    ("[daemon]\noutput_mode = '4755'\n", 2, "daemon.output_mode", "octal text"),
    ("[daemon]\nstop_grace_s = -1\n", 2, "daemon.stop_grace_s", "from 0 to 31622400, got -1"),
    ("[daemon]\nstop_grace_s = nan\n", 2, "daemon.stop_grace_s", "got nan"),
    ("[daemon]\nkeep_days = inf\n", 2, "daemon.keep_days", "got inf"),
    ("[daemon]\nkeep_days = true\n", 2, "daemon.keep_days", "expected a number"),
    (f"[daemon]\nsocket = '/{'s' * 107}'\n", 2, "daemon.socket", "has 108 bytes, more than"),
    (f"[daemon]\nstate_dir = '/{'s' * 100}'\n", 2, "daemon.socket", "name a shorter one"),
    ("[http]\nlisten = '127.0.0.1'\n", 2, "http.listen", 'expected "host:port"'),
    ("[http]\nlisten = '127.0.0.1:99999'\n", 2, "http.listen", 'expected "host:port"'),
    ("[http]\nlisten = 8001\n", 2, "http.listen", "got 8001"),
    ("[http]\nlisten = '[::1'\n", 2, "http.listen", 'expected "host:port"'),
    ("[notify]\non = ['faild']\n", 2, "notify.on[0]", "did you mean 'failed'?"),
    ("[notify]\non = [\n 'failed',\n 7]\n", 4, "notify.on[1]", "expected one of failed"),
    ("[notify]\non = 'failed'\n", 2, "notify.on", "expected a list of failed"),
    ("[pictures]\nimage_max_kb = 0\n", 2, "pictures.image_max_kb", "from 1 to 65536, got 0"),
    ("[pictures]\nimage_workers = 2.0\n", 2, "pictures.image_workers", "got 2.0"),
    ("[pictures]\nimage_max_mpixel = 0\n", 2, "pictures.image_max_mpixel", "above 0"),
)
PROVIDER_CASES: tuple[Case, ...] = (
    ("[providers]\nveo = 3\n", 2, "providers.veo", "expected a table [providers.veo]"),
    ("[providers.Veo]\nengine = 'veo'\n", 1, "providers.Veo", "small letters"),
    ("[providers.a__b]\nengine = 'veo'\n", 1, "providers.a__b", "single _"),
    ("[providers.9a]\nengine = 'veo'\n", 1, "providers.9a", "starts with a letter"),
    ('[providers."x\\u001by"]\nengine = "veo"\n', 1, "providers.'x\\x1by'", "small letters"),
    ("[providers.veoo]\n", 1, "providers.veoo", "engine is missing: one of cogvideox"),
    ("[providers.x]\nengine = 'cogvideo'\n", 2, "providers.x.engine", "mean 'cogvideox'?"),
    ("[providers.x]\nengine = 7\n", 2, "providers.x.engine", "expected text in quotes, got 7"),
    (f"{VEO}concurency = 2\n", 3, "providers.veo.concurency", "mean 'concurrency'?"),
    (f"{VEO}concurrency = 0\n", 3, "providers.veo.concurrency", "from 1 to 1000, got 0"),
    (f"{VEO}concurrency = true\n", 3, "providers.veo.concurrency", "got true"),
    (f"{VEO}concurrency = '3'\n", 3, "providers.veo.concurrency", "got '3'"),
    (f"{VEO}concurrency = 0x{'f' * 30}\n", 3, "providers.veo.concurrency", "a huge number"),
    (f"{VEO}poll_interval_s = 0\n", 3, "providers.veo.poll_interval_s", "above 0"),
    (f"{VEO}submit_timeout_s = -0.5\n", 3, "providers.veo.submit_timeout_s", "got -0.5"),
    (f"{VEO}submit_retries = 1.5\n", 3, "providers.veo.submit_retries", "a whole number"),
    (f"{VEO}download_max_mb = 0\n", 3, "providers.veo.download_max_mb", "from 1"),
    (f"{VEO}on_limit = 'holt'\n", 3, "providers.veo.on_limit", "did you mean 'hold'?"),
    (f"{VEO}on_unknown = 'retry'\n", 3, "providers.veo.on_unknown", "one of ask, resubmit"),
    (f"{VEO}enabled = 'no'\n", 3, "providers.veo.enabled", "expected true or false"),
    (f"{VEO}generate_s = 3\n", 3, "providers.veo.generate_s", "belongs to the engine mock"),
    (f"{MOCK}variant = 'x'\n", 3, "providers.mock.variant", "belongs to the engine veo"),
    (f"{VEO}base_urls = []\n", 3, "providers.veo.base_urls", "belongs to the engine comfyui"),
    (f"{VEO}listen = ''\n", 3, "providers.veo.listen", "it belongs below a line [http]"),
    (f"{VEO}variant = 'vertex'\n", 3, "providers.veo.variant", "one of platform, developer"),
    (f"{VEO}base_url = 'ftp://x'\n", 3, "providers.veo.base_url", "starts with http://"),
    (f"{VEO}base_url = 'api.x.com'\n", 3, "providers.veo.base_url", "starts with http://"),
    (f"{VEO}base_url = 'https://'\n", 3, "providers.veo.base_url", "isn't a URL"),
    (f"{VEO}base_url = 'http://h:0x'\n", 3, "providers.veo.base_url", "isn't a URL"),
    (f"{VEO}base_url = 'http://[::1'\n", 3, "providers.veo.base_url", "isn't a URL"),
    (f"{VEO}base_url = ''\n", 3, "providers.veo.base_url", "must not be empty"),
    (f"{VEO}base_url = 5\n", 3, "providers.veo.base_url", "expected a URL in quotes"),
    (f"{VEO}base_url = 'https://h/?key=1'\n", 3, "providers.veo.base_url", "must not have a '?'"),
    (f"{VEO}proxy = 'http://a:b@h:1'\n", 3, "providers.veo.proxy", "isn't repeated here"),
    (f"{COMFY}base_urls = ['http://a', 'b']\n", 3, "providers.c.base_urls[1]", "http://"),
    (f"{COMFY}api_key = {{ env = 'K' }}\n", 3, "providers.c.api_key", "goes into headers"),
    (f"{COZE}app_id = '1'\nbot_id = '2'\n", 3, "providers.coze.app_id", "never both"),
    (f"{COZE}workflow_id = 123\n", 3, "providers.coze.workflow_id", "text in quotes, got 123"),
    (f"{COZE}ext = {{ a = 1 }}\n", 3, "providers.coze.ext.a", "expected text in quotes, got 1"),
    (f"{COZE}ext = 1\n", 3, "providers.coze.ext", "expected a table of texts, got 1"),
    (f"{VEO}model = '../x'\n", 3, "providers.veo.model", "a model's name"),
    (f"{VEO}model = 3\n", 3, "providers.veo.model", "a model's name"),
    (f"{VEO}price = '$3'\n", 3, "providers.veo.price", 'such as "0.75 USD"'),
    (f"{VEO}download_hosts = ['http://h']\n", 3, "providers.veo.download_hosts[0]", "without"),
    (f"{VEO}download_hosts = ['h:0']\n", 3, "providers.veo.download_hosts[0]", "host:port"),
    (f"{VEO}download_hosts = 'h'\n", 3, "providers.veo.download_hosts", "expected a list"),
    (
        f"{VEO}allow_networks = ['192.168.1.9/24']\n",
        3,
        "providers.veo.allow_networks[0]",
        "did you mean '192.168.1.0/24'?",
    ),
    (f"{VEO}allow_networks = ['lan']\n", 3, "providers.veo.allow_networks[0]", "got 'lan'"),
    (f"{VEO}allow_networks = [1]\n", 3, "providers.veo.allow_networks[0]", "network in quotes"),
    (f"{VEO}quota_daily_reset = '25:00 UTC'\n", 3, "providers.veo.quota_daily_reset", "a zone"),
    (f"{VEO}quota_daily_reset = '00:00'\n", 3, "providers.veo.quota_daily_reset", "a zone"),
    (
        f"{VEO}quota_daily_reset = '00:00 Asia/Shanghaj'\n",
        3,
        "providers.veo.quota_daily_reset",
        "did you mean 'Asia/Shanghai'?",
    ),
    (f"{VEO}quota_daily_reset = '00:00 America'\n", 3, "providers.veo.quota_daily_reset", "zone"),
    (f"{VEO}params = 3\n", 3, "providers.veo.params", "expected a table"),
    (f"{VEO}params = {{ a = nan }}\n", 3, "providers.veo.params.a", "nan is no number"),
    (f"{VEO}params = {{ a = 2026-01-01 }}\n", 3, "providers.veo.params.a", "sent as text"),
    (f'{VEO}params = {{ a = ["\\u0000"] }}\n', 3, "providers.veo.params.a[0]", "NUL"),
    (f"{VEO}params = {{ a = 0x{'f' * 20} }}\n", 3, "providers.veo.params.a", "too large"),
    (f"{VEO}image_max_side = 0\n", 3, "providers.veo.image_max_side", "from 16"),
    (f"{VEO}image_workers = 2\n", 3, "providers.veo.image_workers", "below a line [pictures]"),
    (f"{MOCK}generate_s = [3, 1]\n", 3, "providers.mock.generate_s", "[least, most]"),
    (f"{MOCK}generate_s = [1, 2, 3]\n", 3, "providers.mock.generate_s", "[least, most]"),
    (f"{MOCK}generate_s = [1, 'x']\n", 3, "providers.mock.generate_s[1]", "got 'x'"),
    (f"{MOCK}polls_504 = 1.1\n", 3, "providers.mock.polls_504", "from 0 to 1, got 1.1"),
)
KEY_CASES: tuple[Case, ...] = (
    (f"{VEO}api_key = '{KEY}'\n", 3, "providers.veo.api_key", "a key isn't written here"),
    (f"{VEO}api_key = {{ value = '{KEY}' }}\n", 3, "providers.veo.api_key", "is given as"),
    (f"{VEO}api_key = {{ evn = '{KEY}' }}\n", 3, "providers.veo.api_key", "did you mean 'env'?"),
    (f"{VEO}api_key = {{ env = '{KEY}' }}\n", 3, "providers.veo.api_key.env", "a variable"),
    (f"{VEO}api_key = {{ env = 'AIzaSyD4x8kQpLm2' }}\n", 3, "providers.veo.api_key.env", "not a"),
    (f"{VEO}api_key = {{ env = 'A', file = 'b' }}\n", 3, "providers.veo.api_key", "exactly one"),
    (f"{VEO}api_key = {{ }}\n", 3, "providers.veo.api_key", "exactly one"),
    (f"{VEO}api_key = {{ env = '' }}\n", 3, "providers.veo.api_key.env", "text in quotes"),
    (f"{VEO}api_key = {{ file = 7 }}\n", 3, "providers.veo.api_key.file", "text in quotes"),
    (f"{VEO}api_key = {{ credential = '../k' }}\n", 3, "providers.veo.api_key.credential", "name"),
    (f"{VEO}headers = '{KEY}'\n", 3, "providers.veo.headers", "expected a table of headers"),
    (f"{VEO}headers = {{ A = 5 }}\n", 3, "providers.veo.headers.A", "expected text in quotes"),
    (f'{VEO}headers = {{ A = "{KEY}\\n" }}\n', 3, "providers.veo.headers.A", "control"),
    (f"{VEO}headers = {{ A = '{KEY}é' }}\n", 3, "providers.veo.headers.A", "of ASCII"),
    (f"{VEO}headers = {{ A = {{ env = '{KEY}' }} }}\n", 3, "providers.veo.headers.A.env", "name"),
    (f"{VEO}headers = {{ 'a b' = 'x' }}\n", 3, "providers.veo.headers.'a b'", "isn't a header"),
    (f"{VEO}headers = {{ Host = 'x' }}\n", 3, "providers.veo.headers.Host", "isn't a header"),
    (f"{VEO}base_url = 'https://u:{KEY}@h'\n", 3, "providers.veo.base_url", "isn't repeated"),
    (f"{VEO}apikey = '{KEY}'\n", 3, "providers.veo.apikey", "did you mean 'api_key'?"),
    (f"{VEO}download_hosts = ['{KEY}@h']\n", 3, "providers.veo.download_hosts[0]", "host"),
)
RULE_CASES: tuple[Case, ...] = (
    (f"{VEO}[providers.veo.rules]\ndo = 'fail'\n", 3, "providers.veo.rules", "[[providers.veo"),
    (f"{VEO}rules = [5]\n", 3, "providers.veo.rules", "tables"),
    (f"{RULE}http = 500\n", 3, "providers.veo.rules[0]", "do is missing: one of tolerate"),
    (f"{RULE}do = 'retrry'\n", 4, "providers.veo.rules[0].do", "did you mean 'retry'?"),
    (f"{RULE}do = 'fail'\nphase = 'pol'\n", 5, "providers.veo.rules[0].phase", "mean 'poll'?"),
    (f"{RULE}do = 'fail'\nefect = 'none'\n", 5, "providers.veo.rules[0].efect", "mean 'effect'?"),
    (f"{RULE}do = 'fail'\nscope = 'x'\n", 5, "providers.veo.rules[0].scope", "unknown key"),
    (f"{RULE}do = 'fail'\nhttp = 99\n", 5, "providers.veo.rules[0].http", 'such as "5xx"'),
    (f"{RULE}do = 'fail'\nhttp = '6xx'\n", 5, "providers.veo.rules[0].http", 'such as "5xx"'),
    (f"{RULE}do = 'fail'\nhttp = [5]\n", 5, "providers.veo.rules[0].http", "got a list"),
    (f"{RULE}do = 'fail'\nkind = 'tranport.*'\n", 5, "providers.veo.rules[0].kind", "no kind"),
    (f"{RULE}do = 'fail'\nkind = 5\n", 5, "providers.veo.rules[0].kind", "text in quotes"),
    (f"{RULE}do = 'fail'\ncode = 1.5\n", 5, "providers.veo.rules[0].code", "text in quotes"),
    (f"{RULE}do = 'fail'\nmessage = '('\n", 5, "providers.veo.rules[0].message", "isn't a reg"),
    (f"{RULE}do = 'fail'\nmessage = '[[a]'\n", 5, "providers.veo.rules[0].message", "nested set"),
    (f"{RULE}do = 'fail'\nmessage = 'a{{99999999999}}'\n", 5, "providers.veo.rules[0].message", ""),
    (f"{RULE}do = 'fail'\nmessage = ''\n", 5, "providers.veo.rules[0].message", "is empty"),
    (f"{RULE}do = 'fail'\nmessage = 5\n", 5, "providers.veo.rules[0].message", "in quotes"),
    (f"{RULE}do = 'fail'\neffect = 'maybe'\n", 5, "providers.veo.rules[0].effect", "unknown"),
    (f"{RULE}do = 'pause'\nuntil = 'dayly'\n", 5, "providers.veo.rules[0].until", "'daily'?"),
    (f"{RULE}do = 'fail'\nuntil = 'daily'\n", 5, "providers.veo.rules[0].until", "only do"),
    (f"{RULE}do = 'fail'\nwait_s = -1\n", 5, "providers.veo.rules[0].wait_s", "got -1"),
    (f"{RULE}do = 'retry'\nlimit = 0\n", 5, "providers.veo.rules[0].limit", "from 1"),
    (f"{RULE}do = 'resubmit'\n", 4, "providers.veo.rules[0].do", "it needs a limit"),
    (f"{RULE}do = 'retry'\nphase = 'submit'\n", 4, "providers.veo.rules[0].do", "may pay again"),
    (
        f"{RULE}do = 'tolerate'\nphase = 'submit'\neffect = 'accepted'\n",
        4,
        "providers.veo.rules[0].do",
        "only where nothing can have been paid",
    ),
    (
        f"{RULE}do = 'fail'\nphase = 'submit'\neffect = 'unknown'\n",
        6,
        "providers.veo.rules[0].effect",
        "never a rule's matter",
    ),
    (
        f"{RULE}do = 'resubmit'\nphase = 'download'\nlimit = 1\n",
        4,
        "providers.veo.rules[0].do",
        "use retry",
    ),
    (f"{RULE}do = 'reconcile'\nphase = 'poll'\n", 4, "providers.veo.rules[0].do", "about a submit"),
    (f"{RULE}do = 'fail'\n[[providers.veo.rules]]\n", 5, "providers.veo.rules[1]", "do is missing"),
)
CASES = (*SYNTAX, *SECTION_CASES, *PROVIDER_CASES, *KEY_CASES, *RULE_CASES)


@pytest.mark.parametrize(("text", "line", "key", "words"), CASES)
def test_a_mistake_is_told_with_its_line_its_key_and_what_is_right(
    text: str, line: int | None, key: str, words: str
) -> None:
    found = problems(text)
    assert [(one.line, one.key) for one in found] == [(line, key)], found
    assert words in found[0].message
    assert found[0].message.isprintable()
    assert str(found[0]).startswith("/cfg/config.toml")


@pytest.mark.parametrize("text", [text for text, *_ in KEY_CASES if KEY in text])
def test_a_key_that_was_written_somewhere_is_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, GROUND)
    for shown in (str(caught.value), repr(caught.value.problems)):
        assert KEY not in shown
        assert KEY[3:] not in shown


def test_every_problem_is_told_at_once_in_the_order_of_the_lines() -> None:
    texts = [text for text, *_ in (*SECTION_CASES[6:7], *RULE_CASES[3:4])]
    found = problems("[http]\nport = 1\n" + "".join(texts), GENQ_DAEMON__MOCKK="1")
    assert [str(one) for one in found] == [
        "/cfg/config.toml:2: http.port: unknown key",
        "/cfg/config.toml:4: daemon.keepdays: unknown key; did you mean 'keep_days'?",
        "/cfg/config.toml:8: providers.veo.rules[0].do: expected one of tolerate, retry, "
        "resubmit, fail, pause, hold, reconcile; got 'retrry'; did you mean 'retry'?",
        "GENQ_DAEMON__MOCKK: this variable would set nothing; did you mean 'GENQ_DAEMON__MOCK'?",
    ]


def test_a_wrong_variable_is_named_and_what_it_holds_is_not_repeated_for_keys() -> None:
    found = problems(
        VEO,
        GENQ_PROVIDERS__VEO__SUBMIT_RETRIES="many",
        GENQ_PROVIDERS__VEO__API_KEY=KEY,
        GENQ_PROVIDERS__VEOO__ERRORS_CONSECUTIVE_MAX=KEY,
        **{"GENQ_\x1b__X": "1"},
    )
    texts = sorted(str(one) for one in found)
    assert texts[0].startswith(
        "GENQ_PROVIDERS__VEOO__ERRORS_CONSECUTIVE_MAX: this variable would set nothing"
    )
    assert texts[1].startswith("GENQ_PROVIDERS__VEO__API_KEY: providers.veo.api_key: a key isn't")
    assert texts[2].endswith("expected a whole number from 0 to 1000, got 'many'")
    assert texts[3].startswith("GENQ_\\x1b__X: ")
    assert KEY not in "".join(texts)


def test_a_wrong_flag_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("", GROUND, flags=Flags(state_dir=""))
    assert str(caught.value) == "--state-dir: daemon.state_dir: must not be empty"


def test_a_variable_for_what_the_file_has_wrong_leaves_the_problem_to_the_file() -> None:
    found = problems("daemon = 5\n", GENQ_DAEMON__MOCK="true")
    assert [str(one) for one in found] == [
        "/cfg/config.toml:1: daemon: expected a table [daemon], got 5"
    ]


def test_there_is_a_limit_to_everything() -> None:
    many = "".join(f"[providers.p{n}]\nengine = 'mock'\n" for n in range(201))
    assert "the limit is 200" in problems(many)[0].message
    assert "the limit is 200" in problems(VEO + "[[providers.veo.rules]]\n" * 201)[0].message
    hosts = tomli_w.dumps({"providers": {"veo": {"engine": "veo", "download_hosts": ["h"] * 1001}}})
    assert "the limit is 1,000" in problems(hosts)[0].message
    deep = "{ a = " * 25 + "1" + " }" * 25
    assert "too deeply nested" in problems(f"{VEO}params = {deep}\n")[0].message


def outcome(text: str) -> tuple[Loaded | None, list[Problem]]:
    """What a text comes to: a configuration, or its problems."""
    try:
        return parse(text, GROUND), []
    except ConfigError as error:
        return None, list(error.problems)


WORDS = [*SECTIONS, "providers", *PROVIDER, *OWN_KEYS, *ENGINES, "veo", "rules", "do", "mock"]
VALUES = ["1", "-1", "nan", "1e400", "true", "''", "'x'", "[]", "[1, 'a']", "{}", "2026-01-01"]
LINES = st.one_of(
    st.sampled_from(WORDS).map(lambda word: f"[{word}]"),
    st.sampled_from(WORDS).map(lambda word: f"[providers.{word}]"),
    st.sampled_from(WORDS).map(lambda word: f"[[providers.{word}.rules]]"),
    st.sampled_from(list(ENGINES)).map(lambda engine: f"engine = '{engine}'"),
    st.tuples(st.sampled_from(WORDS), st.sampled_from(VALUES)).map(" = ".join),
    st.text(string.printable, max_size=20),
)


@given(st.lists(LINES, max_size=12).map("\n".join))
def test_no_text_brings_anything_but_a_configuration_or_its_problems(text: str) -> None:
    loaded, found = outcome(text)
    assert (loaded is None) == bool(found)
    assert all(one.message for one in found)


VALUE = st.recursive(
    st.none().map(lambda _: "x")
    | st.booleans()
    | st.integers(-10, 10**30)
    | st.floats()
    | st.text(max_size=9)
    | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)


@given(
    st.dictionaries(st.sampled_from([*PROVIDER, *OWN_KEYS]), VALUE, max_size=8),
    st.sampled_from(list(ENGINES)),
)
def test_no_value_of_a_provider_brings_anything_else_either(
    table: dict[str, object], engine: str
) -> None:
    text = tomli_w.dumps({"providers": {"x": {"engine": engine, **table}}})
    _, found = outcome(text)
    lines = text.count("\n") + 1
    assert all(one.line is not None and one.line <= lines for one in found)
