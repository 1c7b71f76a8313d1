"""The configuration (interfaces.md 3): `parse` a text, `load` the file, compare two of them.

Everything that is wrong is told at once, each with its file and line, or its variable or flag.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from daemon.configuration import layers, search
from daemon.configuration.build import Builder, Entries, Entry
from daemon.configuration.daily import next_reset
from daemon.configuration.keys import (
    KeyProblem,
    KeySource,
    Secret,
    read_headers,
    read_key,
)
from daemon.configuration.layers import Flags
from daemon.configuration.places import ConfigError, Ground, Origin, Problem, Reading
from daemon.configuration.schema import ENGINES
from daemon.configuration.sections import (
    Config,
    DaemonSection,
    HttpSection,
    NotifySection,
    PicturesSection,
    ProviderSection,
)
from daemon.core.faults import Rule
from daemon.core.policy import Abilities, Policy
from daemon.core.toml_lines import locate, spell

__all__ = [
    "Change",
    "Config",
    "ConfigError",
    "DaemonSection",
    "Flags",
    "Ground",
    "HttpSection",
    "KeyProblem",
    "KeySource",
    "Loaded",
    "NotifySection",
    "PicturesSection",
    "Problem",
    "ProviderSection",
    "Secret",
    "changed",
    "load",
    "next_reset",
    "parse",
    "played",
    "policy_for",
    "provider_key",
    "read_headers",
    "read_key",
    "template",
]

SOCKET_NAME = "genq.sock"
SOCKET_BYTES_MAX = 107
"""What the kernel takes as a Unix socket's path, less the NUL at its end."""

_PLACE = re.compile(r" \((?:at line (\d+), column (\d+)|at end of document)\)$")
_RESTART = frozenset(
    {
        ("daemon", "state_dir"),
        ("daemon", "output_dir"),
        ("daemon", "output_mode"),
        ("daemon", "log_dir"),
        ("daemon", "socket"),
        ("daemon", "socket_mode"),
        ("daemon", "mock"),
        ("http", "listen"),
        ("pictures", "image_workers"),
    }
)
"""What is opened, bound or started once."""


class Loaded(Struct, frozen=True, kw_only=True):
    """A configuration, and where it comes from.

    `path` is None for the built-in defaults. `socket` is where the daemon binds, unless it
    inherits a socket. `entries` has each key's value as TOML could hold it, and its origin.
    """

    config: Config
    path: Path | None
    socket: Path
    entries: Entries

    @property
    def sources(self) -> dict[str, str]:
        """By key (`providers.veo.concurrency`): `default`, `FILE:LINE`, `env NAME`, `flag NAME`."""
        return {spell(path): str(entry.origin) for path, entry in self.entries.items()}

    def where(self, *path: str) -> str:
        """The place to correct a key: file and line, variable or flag; "" for a default."""
        entry = self.entries.get(path)
        return "" if entry is None else entry.origin.place


def parse(
    text: str,
    ground: Ground = Ground(),  # noqa: B008 - a frozen value
    *,
    flags: Flags = Flags(),  # noqa: B008 - a frozen value
    environ: Mapping[str, str] = {},
) -> Loaded:
    """The configuration in a TOML text, under what variables and flags say. Opens no file.

    Raises ConfigError with every problem, in the order of the lines.
    """
    tree, reading = _read_toml(text, ground)
    providers = tree.get("providers")
    names = tuple(providers) if isinstance(providers, dict) else ()
    for setting in layers.settings(flags, environ, names, reading):
        layers.lay(setting, tree, reading)
    builder = Builder(reading)
    config = builder.build(tree)
    socket, origin = Path(), Origin("default")
    if config is not None:
        socket, origin = _socket(config, environ, ground.cwd, builder.entries)
        _check_socket(socket, origin, environ, reading)
    if config is None or reading.problems:
        raise ConfigError(_in_order(reading.problems))
    return Loaded(config=config, path=ground.file, socket=socket, entries=builder.entries)


def load(
    flags: Flags,
    environ: Mapping[str, str],
    cwd: Path,
    *,
    path: Path | None = None,
    etc: Path = search.ETC,
) -> Loaded:
    """The configuration that counts; the built-in defaults if there is no file.

    `path` is read instead of looking for a file: give it to reload what was loaded. Raises
    ConfigError. Reads files: not for the event loop.
    """
    if path is None:
        path = search.find(flags, environ, cwd, etc=etc)
    text = template() if path is None else search.read(path)
    ground = search.ground_of(path, environ, cwd, etc=etc)
    return parse(text, ground, flags=flags, environ=environ)


def template() -> str:
    """The commented default: config.toml of the checkout, which a wheel carries in this package."""
    here = Path(__file__).parent
    packaged = here / search.FILE_NAME
    source = packaged if packaged.is_file() else here.parent / search.FILE_NAME
    return source.read_text(encoding="utf-8")


class Change(Struct, frozen=True):
    """A key whose value is another one now; `restart`: it counts only after a restart."""

    key: str
    restart: bool

    def __str__(self) -> str:
        return f"{self.key} (needs a restart)" if self.restart else self.key


def changed(old: Config, new: Config) -> list[Change]:
    """What differs from `old` in `new`, key by key; providers that came or went by their name."""
    pairs: list[tuple[tuple[str, ...], Any, Any]] = [
        ((section,), getattr(old, section), getattr(new, section))
        for section in ("daemon", "http", "notify", "pictures")
    ]
    names = dict.fromkeys((*old.providers, *new.providers))
    pairs += [
        (("providers", name), old.providers.get(name), new.providers.get(name)) for name in names
    ]
    return [Change(spell(path), path in _RESTART) for pair in pairs for path in _differences(*pair)]


def _differences(path: tuple[str, ...], old: Any, new: Any) -> Iterable[tuple[str, ...]]:
    if old is None or new is None:
        return [path] if old is not new else []
    found: list[tuple[str, ...]] = []
    for field in old.__struct_fields__:
        one, other = getattr(old, field), getattr(new, field)
        if field == "limits":
            found += _differences(path, one, other)
        elif one != other:
            found.append((*path, "api_key" if field == "key" else field))
    return found


def played(config: Config) -> dict[str, ProviderSection]:
    """The providers as they run: with `mock = true` each by the mock, enabled, without a key."""
    if not config.daemon.mock:
        return dict(config.providers)
    return {
        name: msgspec.structs.replace(
            section, engine="mock", enabled=True, key=None, headers={}, base_url="", base_urls=()
        )
        for name, section in config.providers.items()
    }


def policy_for(
    section: ProviderSection, engine_rules: tuple[Rule, ...], abilities: Abilities
) -> Policy:
    """What decides about a provider's jobs: the operator's rules stand before the engine's."""
    return Policy(rules=(*section.rules, *engine_rules), limits=section.limits, abilities=abilities)


def provider_key(
    section: ProviderSection, environ: Mapping[str, str], *, where: str = ""
) -> Secret | KeyProblem | None:
    """A provider's key, or why it can't be had; None for an engine without one.

    `where` is `Loaded.where("providers", name, "api_key")`. Reads a file: not for the event loop.
    """
    if not ENGINES[section.engine].needs_key:
        return None
    if section.key is None:
        table = f"[providers.{section.name}]"
        return KeyProblem(f'no key is named: add api_key = {{ env = "NAME" }} below {table}')
    folder = environ.get("CREDENTIALS_DIRECTORY")
    return read_key(section.key, environ, Path(folder) if folder else None, where=where)


def _read_toml(text: str, ground: Ground) -> tuple[dict[str, Any], Reading]:
    """The tree of a TOML text, and a reading that knows its lines. Raises ConfigError."""
    reading = Reading(ground)
    try:
        tree = tomllib.loads(text)
        return tree, Reading(ground, locate(text))
    except RecursionError:
        problem = "something is nested too deeply"
    except ValueError as error:
        problem = str(error)
    line = None
    if place := _PLACE.search(problem):
        line = int(place[1] or text.rstrip().count("\n") + 1)
        column = f" (column {place[2]})" if place[2] else " at the end of the file"
        problem = problem[: place.start()] + column
    elif "digits" in problem:  # Python's own limit, told without a place
        problem = "a number has too many digits"
    file = reading.origin(())
    origin = Origin(file.kind, file.name, line)
    raise ConfigError([Problem(origin, "", f"not TOML: {problem}")])


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda one: (one.line is None, one.line or 0))


def _socket(
    config: Config, environ: Mapping[str, str], cwd: Path, entries: Entries
) -> tuple[Path, Origin]:
    """Where the daemon binds, and what says so (interfaces.md 1, "Which socket")."""
    if config.daemon.socket is not None:
        return config.daemon.socket, entries["daemon", "socket"].origin
    if folder := layers.first_folder(environ, "RUNTIME_DIRECTORY"):
        return cwd / folder / SOCKET_NAME, Origin("env", "RUNTIME_DIRECTORY")
    entry: Entry = entries["daemon", "state_dir"]
    return config.daemon.state_dir / SOCKET_NAME, entry.origin


def _check_socket(
    socket: Path, origin: Origin, environ: Mapping[str, str], reading: Reading
) -> None:
    size = len(str(socket).encode(errors="surrogateescape"))
    if size > SOCKET_BYTES_MAX and "LISTEN_FDS" not in environ:
        message = (
            f"the path has {size} bytes, more than the {SOCKET_BYTES_MAX} that a socket's may "
            'have: name a shorter one, such as socket = "/run/genq/genq.sock", or --socket'
        )
        reading.problems.append(Problem(origin, "daemon.socket", message))
