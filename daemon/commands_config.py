"""`genqd config init | check | show`: each prints, and returns the exit code (interfaces.md 1)."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from daemon import config
from daemon.config import ConfigError, Flags, KeyProblem, Loaded, ProviderSection
from daemon.configuration.build import Entry
from daemon.core.faults import GUARD, LAST_RESORT, SHARED, Rule
from daemon.core.toml_lines import Path as KeyPath
from daemon.printing import cleaned, complain, say

BAD_CONFIG = 78
HIDDEN = "(hidden)"

EngineRules = Callable[[str], tuple[Rule, ...]]
"""The built-in rules of an engine, by its name."""
FileProblems = Callable[[Loaded], list[str]]
"""What is wrong with the files that a good configuration names."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def init(to: Path | None) -> int:
    """Print the commented default, or write it to `to`, which must not be there yet (else 1)."""
    text = config.template()
    if to is None:
        sys.stdout.write(text)
        return 0
    try:
        with to.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        complain(f"{to} is there already, and is left as it is")
        return 1
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        complain(f"{to} can't be written: {reason}")
        return 1
    say(f"{to} written; `genqd config check {to}` checks it")
    return 0


def check(
    file: Path | None,
    engine_rules: EngineRules,
    file_problems: FileProblems,
    *,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> int:
    """List every problem (78), or tell that all is well, with the rules of each provider."""
    try:
        loaded = config.load(Flags(config=file), environ, cwd or Path.cwd())
    except ConfigError as error:
        return _bad([str(problem) for problem in error.problems])
    if problems := file_problems(loaded):
        return _bad(problems)
    say(f"ok: {loaded.path or 'no file was found; these are the built-in defaults'}")
    say(f"the daemon's socket: {loaded.socket}")
    for name, section in config.played(loaded.config).items():
        say("")
        say(f"[providers.{name}]  {_summary(section, loaded, environ)}")
        own = section.rules
        for rule in (GUARD, *own, *engine_rules(section.engine), *SHARED, LAST_RESORT):
            say(_line(rule))
    return 0


def _bad(problems: Sequence[str]) -> int:
    for problem in problems:
        say(problem)
    complain(f"bad configuration: {len(problems)} problem{'s' * (len(problems) > 1)}")
    return BAD_CONFIG


def show(
    flags: Flags,
    *,
    sources: bool,
    as_json: bool,
    environ: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> int:
    """Print the effective values; with `sources` also where each came from. Bad ones: 78.

    As JSON: the tables of the file; with `sources` each value as `{"value":, "source":}`.
    """
    try:
        loaded = config.load(flags, environ, cwd or Path.cwd())
    except ConfigError as error:
        complain(str(error))
        return BAD_CONFIG
    if as_json:
        say(json.dumps(_tree(loaded, sources=sources), indent=2))
        return 0
    say(f"# {loaded.path or 'no file was found: the built-in defaults'}")
    table: KeyPath = ()
    for path, entry in loaded.entries.items():
        if path[:-1] != table:
            table = path[:-1]
            say(f"\n[{'.'.join(map(str, table))}]")
        line = f"{path[-1]} = {as_toml(_shown(path, entry))}"
        say(f"{line:<44}  # {entry.origin}" if sources else line)
    return 0


def _summary(section: ProviderSection, loaded: Loaded, environ: Mapping[str, str]) -> str:
    """A provider in a line: its engine, and whether it can work."""
    parts = [section.engine] + ["disabled"] * (not section.enabled)
    where = loaded.where("providers", section.name, "api_key")
    key = config.provider_key(section, environ, where=where)
    if isinstance(key, KeyProblem):
        parts.append(f"its gate stays closed: {key}")
    elif key is not None:
        parts.append(f"its key is read from {section.key}")
    return ", ".join(parts)


def _line(rule: Rule) -> str:
    """A rule as one line of a table: name, when, what; a mark where it pays again."""
    when = " ".join(_conditions(rule)) or "anything else"
    then: list[str] = [rule.do]
    if rule.until:
        then.append(f"until {rule.until}")
    if rule.wait_s:
        then.append(f"at least {rule.wait_s:g} s")
    if rule.limit is not None:
        then.append(f"{rule.limit} at most")
    if rule.do == "resubmit":
        then.append("PAYS AGAIN")
    return f"  {rule.name:<24} {when:<44} {', '.join(then)}"


def _conditions(rule: Rule) -> Iterator[str]:
    if rule.phase != "any":
        yield rule.phase
    for field in ("http", "kind", "code", "message", "effect"):
        if (value := getattr(rule, field)) is not None:
            yield f"{field}={value}"


def _tree(loaded: Loaded, *, sources: bool) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, entry in loaded.entries.items():
        here = tree
        for part in path[:-1]:
            here = here.setdefault(str(part), {})
        value = _shown(path, entry)
        here[str(path[-1])] = {"value": value, "source": str(entry.origin)} if sources else value
    return tree


def _shown(path: KeyPath, entry: Entry) -> Any:
    """A value as it may be seen: what stands in a header is somebody's secret."""
    if path[0] == "providers" and path[-1] == "headers":
        return {
            name: HIDDEN if isinstance(value, str) else value for name, value in entry.value.items()
        }
    return entry.value


def as_toml(value: Any) -> str:
    """A value as TOML on one line, without control codes."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _quoted(value)
        case list() | tuple():
            return f"[{', '.join(map(as_toml, value))}]"
        case dict():
            pairs = ", ".join(f"{_key(key)} = {as_toml(one)}" for key, one in value.items())
            return f"{{ {pairs} }}" if pairs else "{}"
        case _:
            return str(value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _quoted(key)


def _quoted(text: str) -> str:
    return cleaned(json.dumps(text, ensure_ascii=False))
