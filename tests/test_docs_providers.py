"""docs/providers.md: its sections are loaded, its tables are held against the engines' own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from daemon import commands_config
from daemon.assembly import REAL, engine_class, engine_rules, script_problems
from daemon.config import Ground, parse, template
from daemon.core.faults import SHARED
from daemon.core.policy import Limits
from daemon.engines import cogvideox, comfyui, coze_request, jiekou_models, veo_request
from daemon.engines.comfyui_workflow import PARAMS as COMFYUI
from daemon.engines.comfyui_workflow import PLACEHOLDERS
from daemon.engines.engine import Engine
from daemon.engines.mock_settings import EXPECTED as MOCK
from daemon.engines.params import Param
from daemon.engines.settings import settings_for
from daemon.media.sniff import PICTURES
from tests.fakes.clock import FakeClock
from tests.fakes.vendors.customer import settings_of

PAGE = (Path(__file__).parents[1] / "docs" / "providers.md").read_text(encoding="utf-8")
HEADINGS = {
    "cogvideox": "CogVideoX (Zhipu)",
    "veo": "Veo (Google)",
    "coze": "Coze",
    "jiekou": "jiekou.ai",
    "comfyui": "ComfyUI",
    "mock": "The mock",
}
GRAPH = {"6": {"class_type": "Text", "inputs": {"text": "{{prompt}}"}}}
ENGINES = [*REAL, "mock"]


def part(title: str) -> str:
    found = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, title
    return found


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the rows of every table in `text` whose first column has this heading."""
    tables = re.findall(rf"(?m)^\| {heading} \|.*\n\|.*\n((?:\|.*\n?)+)", text)
    lines = [line for one in tables for line in one.strip().splitlines()]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def told(kind: str) -> dict[str, str]:
    """The params of an engine, as the page tells them."""
    return {names(row[0])[0]: row[1] for row in rows(part(HEADINGS[kind]), "param")}


def words(table: Mapping[str, Param]) -> dict[str, str]:
    return {name: param.expected for name, param in table.items()}


def sections() -> list[tuple[str, str]]:
    titles = {title: kind for kind, title in HEADINGS.items()}
    found = []
    for chapter in PAGE.split("\n## ")[1:]:
        title = chapter.partition("\n")[0]
        blocks = re.findall(r"(?ms)^```toml\n(.+?)^```$", chapter)
        found += [(titles.get(title, "veo"), block) for block in blocks]
    return found


def engine_of(kind: str, folder: Path, **more: Any) -> Engine:
    made: Engine = engine_class(kind)(
        settings_of("http://127.0.0.1:9", **more), clock=FakeClock(), spool=folder
    )
    return made


@pytest.mark.parametrize(("kind", "text"), sections())
def test_every_section_of_the_page_works(kind: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "portrait.json").write_text(json.dumps(GRAPH))
    file = tmp_path / "config.toml"
    file.write_text(text)
    assert commands_config.check(file, engine_rules, script_problems, environ={}, cwd=tmp_path) == 0
    (section,) = parse(text, Ground(file, tmp_path, tmp_path)).config.providers.values()
    assert section.engine == kind
    if kind != "mock":
        made = engine_class(kind)(settings_for(section, None, {}), clock=FakeClock(), spool=file)
        assert made.check("a fox", section.params, 0) == []


def test_the_page_has_a_chapter_and_a_section_for_each_engine() -> None:
    assert set(HEADINGS) == set(ENGINES)
    assert {kind for kind, _ in sections()} == set(ENGINES)


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("cogvideox", words(cogvideox.PARAMS)),
        ("veo", words(veo_request.TABLES["platform"])),
        ("coze", words(coze_request.PARAMS)),
        ("comfyui", words(COMFYUI)),
        ("mock", dict(MOCK)),
    ],
)
def test_the_params_of_an_engine_are_those_of_its_own_table(
    kind: str, table: dict[str, str]
) -> None:
    assert told(kind) == table


def test_the_page_says_what_the_developers_veo_does_not_take() -> None:
    platform, developer = (veo_request.TABLES[one] for one in ("platform", "developer"))
    only = sorted(set(platform) - set(developer), key=list(platform).index)
    assert set(developer) <= set(platform)
    *most, last = (f"`{name}`" for name in only)
    assert f"{', '.join(most)} and {last} are the platform's only" in PAGE


def test_the_models_of_jiekou_are_those_of_its_table() -> None:
    chapter = part(HEADINGS["jiekou"])
    found = {names(row[0])[0]: (row[1], names(row[2])) for row in rows(chapter, "model") if row[2:]}
    assert list(found) == list(jiekou_models.ROUTES)
    for model, (pictures, params) in found.items():
        route = jiekou_models.ROUTES[model]
        assert params == list(route.params or ()), model
        if route.params is not None:
            assert pictures == counted(route), model


def counted(route: jiekou_models.Route) -> str:
    if route.most is None:
        return f"{route.least} or more"
    if route.most == 0:
        return "none"
    return str(route.most) if route.least == route.most else f"{route.least} to {route.most}"


def test_the_params_of_jiekou_are_those_of_its_models() -> None:
    chapter = part(HEADINGS["jiekou"])
    sizes = {names(row[0])[0]: row[1] for row in rows(chapter, "model") if not row[2:]}
    others = told("jiekou")
    free = {"quality", "output_format", "background"}
    for model, route in jiekou_models.ROUTES.items():
        for name, param in (route.params or {}).items():
            if name == "size":
                assert sizes[model] == param.expected, model
            elif name not in free:
                assert others[name] == param.expected, (model, name)
    known = {name for route in jiekou_models.ROUTES.values() for name in route.params or ()}
    assert set(others) | {"size"} | free == known


def test_the_numbers_in_the_words_are_those_of_the_engines() -> None:
    assert f"A prompt has {cogvideox.PROMPT_CHARS_MAX} characters" in PAGE
    for size in cogvideox.OLDER_SIZES[len(cogvideox.SIZES) :]:
        assert f'`"{size}"`' in part(HEADINGS["cogvideox"])
    assert f"are {veo_request.FULL_S} seconds long" in PAGE
    assert veo_request.REFERENCES_MAX == 3
    assert f"make at most {jiekou_models.OUTPUTS_MAX} pictures" in PAGE
    assert comfyui.CHOOSE_S_MAX == 5.0
    assert all(f"`{{{{{name}}}}}`" in PAGE for name in PLACEHOLDERS)
    assert all(f"`{model}`" in PAGE for model in cogvideox.MODELS)


def test_the_table_of_abilities_is_what_the_engines_declare(tmp_path: Path) -> None:
    table = rows(part("What each can do"), "engine")
    assert {names(row[0])[0] for row in table} == set(REAL)
    for row in table:
        kind, *model = names(row[0])
        can = engine_of(kind, tmp_path, model=model[0] if model else "").abilities
        flags = [can.lookup, can.cancel, can.progress, can.synchronous]
        assert row[1:5] == ["yes" if one else "no" for one in flags], row
        days = int(can.retention_s // 86_400)
        assert row[5] == f"{days} day{'s' * (days > 1)}"


def test_the_table_of_picture_types_is_what_the_engines_take(tmp_path: Path) -> None:
    table = rows(part("Params, pictures, addresses"), "engine")
    assert {names(row[0])[0] for row in table} == set(REAL)
    for row in table:
        kind, *model = names(row[0])
        usual = "nano-banana-pro-light-i2i" if kind == "jiekou" else ""
        types = engine_of(kind, tmp_path, model=model[0] if model else usual).picture_types({})
        shown = {one.removeprefix("image/").upper() for one in (types or ()) if one in PICTURES}
        assert set(row[1].split(", ")) == (shown or {"any"}), row


def test_the_table_of_limits_is_the_shipped_configuration() -> None:
    providers = parse(template(), Ground(None, Path("/"), Path("/"))).config.providers
    text = part("Limits, timeouts and polling as shipped")
    columns = re.findall(r"(\w+) \|", text.partition("| key |")[2].partition("\n")[0])
    assert set(columns) == set(REAL)
    told: dict[str, list[str]] = {names(row[0])[0]: row[1:] for row in rows(text, "key")}
    for key, cells in told.items():
        owner = "limits" if key in Limits.__struct_fields__ else ""
        for column, cell in zip(columns, cells, strict=True):
            section = providers[column]
            value = getattr(section.limits if owner else section, key)
            assert cell == (f"{value:g}" if isinstance(value, int | float) else value), (
                key,
                column,
            )
    for key in Limits.__struct_fields__:
        values = {getattr(providers[name].limits, key) for name in columns}
        assert key in told or len(values) == 1, f"{key} differs and isn't on the page"


def test_every_code_on_the_page_has_a_rule_or_is_said_to_have_none() -> None:
    for kind in ("cogvideox", "coze", "jiekou"):
        codes = {rule.code for rule in (*engine_rules(kind), *SHARED)}
        for code in re.findall(r"`(\d{4,}|[A-Z]+(?:_[A-Z]+)+)`", part(HEADINGS[kind])):
            assert code in codes, (kind, code)
