"""What lies over the file: the service's folders, `GENQ_…` variables, flags; later ones win."""

import datetime
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from daemon.configuration.places import Origin, Place, Problem, Reading
from daemon.configuration.schema import OWN_KEYS, PROVIDER, SECTIONS, Key, find_key
from daemon.core import toml_lines
from daemon.core.suggest import did_you_mean

PREFIX = "GENQ_"
BETWEEN = "__"
VALUE_CHARS_MAX = 64 * 1024
VARIABLE_CHARS_MAX = 100
"""So much of a variable's name is repeated in a message."""


class Flags(Struct, frozen=True, kw_only=True):
    """What `genqd`'s command line says. Relative paths are relative to the working folder."""

    config: Path | None = None
    state_dir: str | None = None
    output_dir: str | None = None
    log_dir: str | None = None
    socket: str | None = None
    mock: bool = False


class Setting(Struct, frozen=True):
    """A value that lies over the one of the file."""

    path: toml_lines.Path
    value: Any
    origin: Origin


def settings(
    flags: Flags, environ: Mapping[str, str], providers: Iterable[str], reading: Reading
) -> Iterator[Setting]:
    """Everything that lies over the file, the weakest first; unknown variables are problems."""
    for variable, key in (("STATE_DIRECTORY", "state_dir"), ("LOGS_DIRECTORY", "log_dir")):
        if folder := first_folder(environ, variable):
            yield Setting(("daemon", key), folder, Origin("env", variable))
    yield from _from_environment(environ, providers, reading)
    for key in ("state_dir", "output_dir", "log_dir", "socket"):
        value = getattr(flags, key)
        if value is not None:
            yield Setting(("daemon", key), value, Origin("flag", f"--{key.replace('_', '-')}"))
    if flags.mock:
        yield Setting(("daemon", "mock"), True, Origin("flag", "--mock"))


def first_folder(environ: Mapping[str, str], variable: str) -> str:
    """The first folder of a service's variable; it may hold several, with colons between."""
    return environ.get(variable, "").partition(":")[0]


def lay(setting: Setting, tree: dict[str, Any], reading: Reading) -> None:
    """Put a setting over the tree of the file. What stands in its way is the file's problem."""
    *tables, last = map(str, setting.path)
    here: Any = tree
    for part in tables:
        here = here.setdefault(part, {})
        if not isinstance(here, dict):
            return
    here[last] = setting.value
    reading.lay_over(setting.path, setting.origin)


def _from_environment(
    environ: Mapping[str, str], providers: Iterable[str], reading: Reading
) -> Iterator[Setting]:
    names = variables(providers)
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or BETWEEN not in variable:
            continue
        origin = Origin("env", variable)
        path = names.get(variable)
        key = None if path is None else find_key(path)
        if path is None or key is None:
            hint = did_you_mean(variable, names)
            message = f"this variable would set nothing{hint}"
            told = repr(variable[:VARIABLE_CHARS_MAX])[1:-1]
            reading.problems.append(Problem(Origin("env", told), "", message))
        else:
            yield Setting(path, _value(environ[variable], key, path, reading), origin)


def variables(providers: Iterable[str]) -> dict[str, toml_lines.Path]:
    """Every variable that overrides a key, with the key's path."""
    paths = [(section, key) for section, table in SECTIONS.items() for key in table]
    keys = [*PROVIDER, *OWN_KEYS]
    inside = [("providers", name, key) for name in providers for key in keys]
    return {PREFIX + BETWEEN.join(path).upper(): path for path in (*paths, *inside)}


def _value(text: str, key: Key, path: toml_lines.Path, reading: Reading) -> Any:
    """A TOML value if the variable holds one that fits, else its text as it is."""
    value = _toml(text)
    if value is None or isinstance(value, datetime.date | datetime.time):
        return text
    fits = _fits(value, key, path, reading) or not _fits(text, key, path, reading)
    return value if fits else text


def _toml(text: str) -> Any:
    if len(text) > VALUE_CHARS_MAX or "\n" in text.strip():
        return None
    try:
        return tomllib.loads(f"value = {text.strip()}").get("value")
    except (ValueError, RecursionError):
        return None


def _fits(value: Any, key: Key, path: toml_lines.Path, reading: Reading) -> bool:
    trial = Reading(reading.ground)
    key.check(value, Place(trial, path))
    return not trial.problems
