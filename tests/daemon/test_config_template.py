"""The shipped file and the page for people, against the schema and the figures they stand for."""

import re
import tomllib
from pathlib import Path

import pytest

from daemon.assembly import mock_settings
from daemon.config import Flags, Ground, Loaded, load, parse, template
from daemon.configuration.rules import FIELDS
from daemon.configuration.schema import ENGINES, PROVIDER, SECTIONS
from daemon.core.policy import Limits
from daemon.engines.mock_settings import MockSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text()
GROUND = Ground(ROOT / "config.toml", ROOT, ROOT)


@pytest.fixture(scope="module")
def shipped() -> Loaded:
    return parse(template(), GROUND)


def test_the_shipped_file_works_from_a_fresh_checkout(tmp_path: Path, shipped: Loaded) -> None:
    assert template() == (ROOT / "config.toml").read_text()
    loaded = load(Flags(config=ROOT / "config.toml"), {}, tmp_path)
    assert loaded.config == shipped.config
    assert loaded.config.daemon.state_dir == ROOT / "state"


def test_the_mock_is_enabled_and_the_others_wait_for_their_key(shipped: Loaded) -> None:
    providers = shipped.config.providers
    assert list(providers) == ["mock", "cogvideox", "veo", "coze", "jiekou", "comfyui"]
    assert all(name == section.engine for name, section in providers.items())
    assert providers["mock"].enabled
    assert providers["mock"].settings["generate_s"] == (1.0, 3.0)
    for name in ("cogvideox", "veo", "coze", "jiekou"):
        assert providers[name].key is not None, name
    assert not providers["comfyui"].enabled


def test_what_stands_in_the_shipped_file_is_what_would_count_without_it(shipped: Loaded) -> None:
    bare = parse("[providers.cogvideox]\nengine = 'cogvideox'\n", GROUND).config
    assert shipped.config.daemon == bare.daemon
    assert shipped.config.http == bare.http
    assert shipped.config.notify == bare.notify
    assert shipped.config.pictures == bare.pictures
    assert shipped.config.providers["cogvideox"].limits == Limits()
    mock = parse("[providers.mock]\nengine = 'mock'\n", GROUND).config.providers["mock"]
    assert shipped.config.providers["mock"].settings == mock.settings


KEYS = [
    *(key for table in SECTIONS.values() for key in table),
    *PROVIDER,
    *(key for engine in ENGINES.values() for key in engine.own),
    *FIELDS,
]


@pytest.mark.parametrize("key", sorted(set(KEYS) - {"rules"}))
def test_every_key_stands_in_the_shipped_file(key: str) -> None:
    assert re.search(rf"^(# )?{key} = ", template(), re.MULTILINE)


@pytest.mark.parametrize("key", sorted(set(KEYS)))
def test_every_key_stands_on_the_page_for_people(key: str) -> None:
    assert re.search(rf"^\|[^|]*(\|[^|]*)?`{key}`", PAGE, re.MULTILINE)


def test_the_shipped_file_explains_every_section_and_most_keys() -> None:
    lines = [line for line in template().splitlines() if re.match(r"(# )?[a-z_0-9]+ = ", line)]
    explained = [line for line in lines if re.search(r"  # \S", line)]
    assert len(explained) > len(lines) / 2


COMMENTED = re.findall(r"^# ([a-z_]+ = .+)", template(), re.MULTILINE)


@pytest.mark.parametrize("line", [line for line in COMMENTED if not line.startswith("until")])
def test_what_is_commented_out_in_the_shipped_file_would_work_too(line: str) -> None:
    loaded = parse(template().replace(f"# {line}", line), GROUND)
    assert loaded.path == GROUND.file


def test_the_defaults_on_the_page_are_those_of_the_schema() -> None:
    row = re.compile(
        r"^\|(?: \w*)? \| ?`(\w+)` \| `([^`]*)`|^\| `(\w+)` \| `([^`]*)`", re.MULTILINE
    )
    engines = [engine.own for engine in ENGINES.values()]
    keys = {
        name: key
        for table in (PROVIDER, *SECTIONS.values(), *engines)
        for name, key in table.items()
    }
    tables = PAGE.partition("## Keys\n")[0]
    told = {one[0] or one[2]: one[1] or one[3] for one in row.findall(tables)}
    assert len(told) > len(keys) - 10
    for name, text in told.items():
        assert tomllib.loads(f"value = {text}")["value"] == keys[name].default, name


def test_the_examples_on_the_page_are_good_configurations() -> None:
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert examples
    for example in examples:
        assert parse(example, GROUND).config.providers


def test_the_mocks_own_defaults_are_those_of_its_engine() -> None:
    settings = (
        parse("[providers.mock]\nengine = 'mock'\n", GROUND).config.providers["mock"].settings
    )
    assert mock_settings(settings) == MockSettings()
    assert set(settings) == set(MockSettings.__struct_fields__)
