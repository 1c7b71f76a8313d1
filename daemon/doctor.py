"""`genqd doctor`: what could keep the daemon from its work, looked at one step after the other.

Works with and without a running daemon. Nothing is changed; a provider's address is connected to,
and nothing is sent there, so nothing can cost.
"""

import os
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from PIL import features

import daemon
from daemon import lock
from daemon.assembly import script_problems, workflow_problem
from daemon.config import (
    ConfigError,
    Flags,
    KeyProblem,
    Loaded,
    ProviderSection,
    load,
    played,
    provider_key,
)
from daemon.printing import say
from daemon.space import FREE_BYTES_MIN
from daemon.store import installing, opening, schema
from daemon.store.connections import told
from daemon.store.port import StoreError
from daemon.wire.client import Client, ProtocolMismatchError, ServerError, UnreachableError
from daemon.wire.messages import Status

Result = Literal["ok", "warn", "fail"]

CONNECT_S_MAX = 5.0
AT_ONCE_MAX = 8
FREE_BYTES_GOOD = 1024**3
"""With less than this free a night of videos may fill the disk."""
NAME_CELLS = 20
PORTS = {"http": 80, "https": 443}


class Step(Struct, frozen=True):
    """What one look found (interfaces.md 2, `doctor`). `advice` is empty when all is well."""

    name: str
    result: Result
    message: str
    advice: str = ""


def diagnose(flags: Flags, environ: Mapping[str, str], cwd: Path) -> Iterator[Step]:
    """Every step in order. What needs the configuration isn't looked at without one."""
    yield _program()
    try:
        loaded = load(flags, environ, cwd)
    except ConfigError as error:
        yield _misconfigured([str(problem) for problem in error.problems])
        return
    if problems := script_problems(loaded):
        yield _misconfigured(problems)
        return
    path = loaded.path or "no file was found; these are the built-in defaults"
    yield Step("configuration", "ok", str(path))
    section = loaded.config.daemon
    for name in ("state", "output", "log"):
        yield _folder(name, getattr(section, f"{name}_dir"))
    in_use = lock.held(section.state_dir)
    step, status = _running(loaded, in_use=in_use)
    yield step
    for problem in status.get("daemon", {}).get("problems", []):
        yield Step("daemon", "warn", problem, "`genq status` shows it until it is over")
    yield _journal(section.state_dir, in_use=in_use)
    yield _pictures()
    gates = {row["name"]: row["gate"] for row in status.get("providers", [])}
    yield from _providers(loaded, environ, gates)


def report(steps: Iterable[Step], *, as_json: bool) -> int:
    """Print the steps, a line each, or as interfaces.md 2 has them: 1 if one failed, else 0."""
    seen = []
    for step in steps:
        seen.append(step)
        if not as_json:
            say(f"{step.result:<4}  {step.name:<{NAME_CELLS}}  {step.message}")
            if step.advice:
                say(f"{'':<{NAME_CELLS + 6}}  -> {step.advice}")
    if as_json:
        say(msgspec.json.encode({"steps": seen}).decode())
    return 1 if any(step.result == "fail" for step in seen) else 0


# ---- this machine ----


def _program() -> Step:
    python = ".".join(map(str, sys.version_info[:3]))
    where = Path(daemon.__file__).parent
    return Step("program", "ok", f"genq {daemon.__version__} in {where}, Python {python}")


def _misconfigured(problems: Sequence[str]) -> Step:
    first, *more = problems
    message = first + (f" (and {len(more)} more)" if more else "")
    return Step("configuration", "fail", message, "`genqd config check` lists every problem")


def _folder(name: str, folder: Path) -> Step:
    """Whether `folder` can be written, or made, and has room."""
    title = f"{name} folder"
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return Step(title, "fail", f"{there} is a file", f"name another folder: {name}_dir")
    if not os.access(there, os.W_OK | os.X_OK):
        advice = f"give the daemon's user write access to it, or change {name}_dir"
        return Step(title, "fail", f"{there} can't be written", advice)
    free = shutil.disk_usage(there).free
    room = f"{folder}, {free / 1e9:,.1f} GB free"
    if free < FREE_BYTES_MIN:
        return Step(title, "fail", room, "free some room: nothing is submitted until then")
    if free < FREE_BYTES_GOOD:
        return Step(title, "warn", room, "free some room before the next large batch")
    return Step(title, "ok", room)


def _running(loaded: Loaded, *, in_use: bool) -> tuple[Step, dict[str, Any]]:
    """Whether a daemon answers, and its status if one does."""
    try:
        with Client.connect(loaded.socket) as client:
            status: dict[str, Any] = client.request(Status())
    except ProtocolMismatchError as error:
        return Step("daemon", "fail", str(error), "restart it, so that both are of one version"), {}
    except UnreachableError as error:
        return _silent(error, in_use=in_use), {}
    except ServerError as error:
        return Step("daemon", "fail", str(error), "close some clients, or wait"), {}
    there = status["daemon"]
    message = f"it runs as pid {there['pid']} on {there['socket']}"
    if there["version"] != daemon.__version__:
        advice = "restart the daemon"
        return Step("daemon", "warn", f"{message}, as version {there['version']}", advice), status
    return Step("daemon", "ok", message), status


def _silent(error: UnreachableError, *, in_use: bool) -> Step:
    """Nobody answers at the socket; `in_use`: a daemon works on the state folder all the same."""
    place = f"{error.path}: {error.why}"
    if in_use:
        advice = "are you in the socket's group? does the daemon bind another socket?"
        return Step("daemon", "fail", f"it runs, and can't be reached ({place})", advice)
    advice = "`systemctl start genqd`, or `genqd run` in the foreground"
    return Step("daemon", "warn", f"it doesn't run ({place})", advice)


def _journal(state_dir: Path, *, in_use: bool) -> Step:
    """Whether the journal is whole; one that is in use was checked when it was opened."""
    journal = state_dir / installing.JOURNAL_FILE
    if not journal.exists():
        return Step("journal", "ok", "there is none yet: the first start makes it")
    if in_use:
        return Step("journal", "ok", f"{journal}, in use")
    try:
        with told(journal):
            opening.check(journal, len(schema.steps()), thorough=True)
    except StoreError as error:
        return Step("journal", "fail", str(error), "`genqd restore FILE` with the last backup")
    return Step("journal", "ok", f"{journal} is whole")


def _pictures() -> Step:
    """Whether Pillow has what pictures and the mock's clips need."""
    missing = [name for name in ("jpg", "zlib", "webp") if not features.check(name)]
    if missing:
        advice = "install Pillow from a wheel, which has all of them"
        return Step("pictures", "fail", f"Pillow was built without {', '.join(missing)}", advice)
    return Step("pictures", "ok", f"Pillow {features.version('pil')}")


# ---- the providers ----


def _providers(
    loaded: Loaded, environ: Mapping[str, str], gates: Mapping[str, Any]
) -> Iterator[Step]:
    """A step for each provider; all addresses are tried at once."""
    sections = played(loaded.config)
    with ThreadPoolExecutor(AT_ONCE_MAX) as pool:
        looks = {
            name: pool.submit(_provider, section, loaded, environ, gates.get(name))
            for name, section in sections.items()
        }
        for look in looks.values():
            yield look.result()


def _provider(
    section: ProviderSection, loaded: Loaded, environ: Mapping[str, str], gate: Any
) -> Step:
    title = f"provider {section.name}"
    if not section.enabled:
        return Step(title, "ok", "isn't enabled")
    key = provider_key(section, environ, where=loaded.where("providers", section.name, "api_key"))
    if isinstance(key, KeyProblem):
        return Step(title, "warn", "its gate stays closed, and its jobs wait", key.message)
    if problem := workflow_problem(section, loaded):
        return Step(title, "warn", problem, "until it is there, jobs need a workflow of their own")
    for url in (section.proxy,) if section.proxy else section.base_urls:
        if problem := _unreachable(url):
            advice = "check the address, the network and the proxy; its jobs wait until it is back"
            return Step(title, "warn", problem, advice)
    if gate is not None and gate["state"] != "open":
        message = f"its gate is {gate['state']}: {gate['reason'] or 'no reason was given'}"
        return Step(title, "warn", message, f"`genq providers`; `genq resume {section.name}`")
    return Step(title, "ok", ", ".join(section.base_urls) or "nothing to reach")


def _unreachable(url: str) -> str | None:
    """Why no connection to the address of `url` can be had, or None."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or PORTS.get(parts.scheme, 443))
    try:
        socket.create_connection(address, timeout=CONNECT_S_MAX).close()
    except OSError as error:
        return f"{address[0]}:{address[1]} can't be reached: {error.strerror or error}"
    return None
