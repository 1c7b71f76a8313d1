"""From the tree of a TOML text to a Config: every key checked, every problem noted."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import UNSET, Struct

from daemon.configuration import schema
from daemon.configuration.places import DEFAULT, Origin, Place, Reading
from daemon.configuration.schema import ENGINES, LIMITS, OWN_KEYS, PROVIDER, SECTIONS, Table
from daemon.configuration.sections import (
    Config,
    DaemonSection,
    HttpSection,
    NotifySection,
    PicturesSection,
    ProviderSection,
)
from daemon.core import toml_lines
from daemon.core.policy import Limits
from daemon.core.suggest import did_you_mean, shown

PROVIDERS_MAX = 200
PROVIDER_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
TOKEN_FILE = "http.token"  # noqa: S105 - a file's name


class Entry(Struct, frozen=True):
    """What a key came to: its value as TOML could hold it, and where it came from."""

    value: Any
    origin: Origin


Entries = dict[toml_lines.Path, Entry]


class Builder:
    """Builds one Config. `entries` has every key afterwards; problems are in the reading."""

    def __init__(self, reading: Reading) -> None:
        self.entries: Entries = {}
        self._reading = reading
        self._top = Place(reading)

    def build(self, tree: Mapping[str, Any]) -> Config | None:
        """The configuration, or None if there are problems."""
        for section in tree:
            if section not in (*SECTIONS, "providers"):
                self._top.below(section).refuse(_unknown_section(section))
        values = {
            section: self._fill(self._top.below(section), tree.get(section, {}), table)
            for section, table in SECTIONS.items()
        }
        self._default_token_file(values)
        providers = self._providers(tree.get("providers", {}), values)
        if self._reading.problems:
            return None
        return Config(
            daemon=DaemonSection(**values["daemon"]),
            http=HttpSection(**values["http"]),
            notify=NotifySection(**values["notify"]),
            pictures=PicturesSection(**values["pictures"]),
            providers={name: _section(name, filled) for name, filled in providers.items()},
        )

    def _fill(
        self,
        place: Place,
        raw: Any,
        table: Table,
        defaults: Mapping[str, Entry] = {},
    ) -> dict[str, Any]:
        """The checked value of each key of `table`: from `raw`, else its default."""
        if not isinstance(raw, dict):
            place.refuse(f"expected a table [{toml_lines.spell(place.path)}], got {shown(raw)}")
            raw = {}
        values: dict[str, Any] = {}
        for name, key in table.items():
            at = place.below(name)
            default = defaults.get(name, Entry(key.default, DEFAULT))
            entry = Entry(raw[name], at.origin) if name in raw else default
            if entry.value is UNSET:
                values[name] = None
                continue
            values[name] = checked = key.check(entry.value, at)
            if isinstance(checked, Path):
                entry = Entry(str(checked), entry.origin)
            self.entries[at.path] = entry
        for name in raw:
            if name not in table:
                place.below(name).refuse(_unknown_key(name, table, place.path))
        return values

    def _default_token_file(self, values: Mapping[str, dict[str, Any]]) -> None:
        state, http = values["daemon"]["state_dir"], values["http"]
        if http["token_file"] is None and state is not None:
            http["token_file"] = state / TOKEN_FILE
            self.entries["http", "token_file"] = Entry(str(http["token_file"]), DEFAULT)

    def _providers(
        self, raw: Any, values: Mapping[str, dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        place = self._top.below("providers")
        if not isinstance(raw, dict):
            place.refuse(f"expected tables [providers.NAME], got {shown(raw)}")
            return {}
        if len(raw) > PROVIDERS_MAX:
            place.refuse(f"has {len(raw):,} providers; the limit is {PROVIDERS_MAX}")
            return {}
        mock = values["daemon"]["mock"] is True
        return {name: self._provider(place.below(name), one, mock) for name, one in raw.items()}

    def _provider(self, place: Place, raw: Any, mock: bool) -> dict[str, Any]:
        name = str(place.path[-1])
        if not PROVIDER_NAME.fullmatch(name) or "__" in name:
            place.refuse(
                "a provider's name is of small letters, digits and single _, starts with a "
                "letter, and has 64 characters at most"
            )
        if not isinstance(raw, dict):
            place.refuse(f"expected a table [{toml_lines.spell(place.path)}], got {shown(raw)}")
            return {}
        engine = self._engine(place, raw)
        table = {**PROVIDER, **_own(engine, mock, raw)}
        filled = self._fill(place, raw, table, self._defaults(engine, raw))
        _check_together(engine, raw, place)
        return filled

    def _engine(self, place: Place, raw: Mapping[str, Any]) -> str | None:
        """The section's engine, or None if it has no right one."""
        engine = raw.get("engine")
        if isinstance(engine, str) and engine in ENGINES:
            return engine
        known = ", ".join(ENGINES)
        if engine is None:
            hint = did_you_mean(str(place.path[-1]), ENGINES)
            place.refuse(f"engine is missing: one of {known}{hint}")
        elif isinstance(engine, str):
            hint = did_you_mean(engine, ENGINES)
            place.below("engine").refuse(f"expected one of {known}; got {shown(engine)}{hint}")
        return None

    def _defaults(self, engine: str | None, raw: Mapping[str, Any]) -> dict[str, Entry]:
        """Defaults that depend on the engine, and those that `[pictures]` gives."""
        found: dict[str, Entry] = {}
        for key in ("image_max_kb", "image_max_side", "image_max_mpixel"):
            entry = self.entries["pictures", key]
            found[key] = Entry(entry.value, Origin("default", f"[pictures] {entry.origin}"))
        if engine is not None:
            figures = dict(ENGINES[engine].defaults)
            if engine == "veo" and raw.get("variant") == "developer":
                figures |= schema.DEVELOPER_VEO
            if raw.get("base_urls"):
                figures["base_url"] = ""
            found |= {key: Entry(value, DEFAULT) for key, value in figures.items()}
        return found


def _own(engine: str | None, mock: bool, raw: Iterable[str]) -> Table:
    """The keys that this engine has for itself; of an unknown engine those that are there."""
    if engine is None:
        return {key: ENGINES[OWN_KEYS[key]].own[key] for key in raw if key in OWN_KEYS}
    own = ENGINES[engine].own
    return {**own, **ENGINES["mock"].own} if mock else own


def _unknown_section(name: str) -> str:
    for section, table in SECTIONS.items():
        if name in table:
            return f"belongs below a line [{section}]"
    if name in PROVIDER or name in OWN_KEYS:
        return "belongs below a line [providers.NAME]"
    return f"unknown section{did_you_mean(name, (*SECTIONS, 'providers'))}"


def _unknown_key(name: str, table: Table, path: toml_lines.Path) -> str:
    if path[0] == "providers" and name in OWN_KEYS:
        return f"belongs to the engine {OWN_KEYS[name]}, not to this provider's"
    hint = did_you_mean(name, table)
    if not hint:
        for section, other in SECTIONS.items():
            if name in other:
                return f"unknown key: it belongs below a line [{section}]"
        if name in PROVIDER:
            return "unknown key: it belongs to a provider"
    return f"unknown key{hint}"


def _check_together(engine: str | None, raw: Mapping[str, Any], place: Place) -> None:
    """Refuse keys that are right each for itself, and not with one another."""
    if engine not in (None, "mock") and raw.get("base_url") == "" and not raw.get("base_urls"):
        place.below("base_url").refuse("must not be empty: leave the key out for the usual one")
    if engine == "coze" and raw.get("bot_id") and raw.get("app_id"):
        place.below("app_id").refuse("a workflow has bot_id or app_id, never both")
    if engine == "comfyui" and "api_key" in raw:
        place.below("api_key").refuse(
            "ComfyUI has no key; one for a reverse proxy goes into headers"
        )


def _section(name: str, filled: dict[str, Any]) -> ProviderSection:
    own = {key: filled.pop(key) for key in OWN_KEYS if key in filled}
    limits = Limits(**{key: filled.pop(key) for key in LIMITS})
    urls = [filled.pop("base_url"), *own.pop("base_urls", ())]
    base_urls = tuple(dict.fromkeys(url for url in urls if url))
    return ProviderSection(
        name=name,
        base_url=base_urls[0] if base_urls else "",
        base_urls=base_urls,
        key=filled.pop("api_key"),
        limits=limits,
        settings=own,
        **filled,
    )
