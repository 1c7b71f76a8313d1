"""The house rules that no linter knows, over every file that git would take.

A rule is a pure function from a file's path and text to the problems in it. Each is shown to bite
on a planted sample; samples and patterns are written so that they don't trip their own rule.
"""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import daemon

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Rule = Callable[[str, str], Iterator[str]]

ROOT = Path(__file__).parent.parent
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 300
LONGER_FILES = {"daemon/config.py": 350, "daemon/core/machine.py": 350, "tui/monitor/app.py": 350}
TEST_WORDS_MIN = 4
EMPTY_NAMES = {"base", "common", "data", "helper", "helpers", "info", "manager", "util", "utils"}
HOSTS = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(?:com|org)|crates\.io|proxy\.golang\.org|rubygems\.org"
    r"|anaconda\.(?:com|org)|maven\.org|deb\.debian\.org|--(?:extra-)?index-url|--find[-]links"
)
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:work|root|(?:home|Users)/[a-z][\w.-]*)/")
KEYS = re.compile(
    r"\bsk[-_][A-Za-z0-9_-]{20,}|\bAKIA[0-9A-Z]{16}\b|\bAIza[\w-]{35}|\bgh[oprsu]_[A-Za-z0-9]{36}"
    r"|\bgithub_pat_\w{20,}|\bhf_[A-Za-z0-9]{30,}|\bpat_[A-Za-z0-9]{40,}|\bxox[abprs]-[\w-]{10,}"
    r"|\b[0-9a-f]{32}\.[A-Za-z0-9]{16}\b|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\."
    r"|-BEGIN [A-Z ]*PRIVATE KEY-"
    r"|(?i:api_?key|secret|token|password)[\"']?\s*[:=]\s*"
    r"[\"'](?=[^\"']*[0-9])[A-Za-z0-9+/_.=-]{24,}[\"']"
)
UNFINISHED = re.compile(
    r"\bTOD[O]\b|\bFIXM[E]\b|\bNotImplementedErro[r]\b|(?i:\bnot implemente[d]\b)"
)


def is_test(path: str) -> bool:
    return path.startswith("tests/")


def nodes(path: str, text: str) -> Iterator[ast.AST]:
    """Yield every node of a Python file; of another file, none."""
    if path.endswith(".py"):
        yield from ast.walk(ast.parse(text, path))


def definitions(path: str, text: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in nodes(path, text):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def found(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        if match := pattern.search(line):
            yield f"line {number}: {match.group()}"


def functions_are_short(path: str, text: str) -> Iterator[str]:
    for node in definitions(path, text):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            yield f"{node.name} has {lines} lines, more than {FUNCTION_LINES_MAX}"


def files_are_short(path: str, text: str) -> Iterator[str]:
    limit = LONGER_FILES.get(path, FILE_LINES_MAX)
    lines = len(text.splitlines())
    if path.endswith(".py") and not is_test(path) and lines > limit:
        yield f"{lines} lines, more than {limit}"


def names_say_something(path: str, text: str) -> Iterator[str]:
    if path.endswith(".py") and not Path(path).name.startswith("test_"):
        for part in Path(path).with_suffix("").parts:
            if EMPTY_NAMES & set(part.lower().split("_")):
                yield f"a module called {part}"
    for node in nodes(path, text):
        if isinstance(node, ast.ClassDef):
            words = {word.lower() for word in re.findall(r"[A-Z][a-z0-9]*", node.name)}
            if EMPTY_NAMES & words:
                yield f"a class called {node.name}"


def mocks_are_not_used(path: str, text: str) -> Iterator[str]:
    for node in nodes(path, text):
        match node:
            case ast.Import(names=names):
                modules = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), names=names):
                modules = [module, *(f"{module}.{alias.name}" for alias in names)]
            case ast.arg(arg="mocker"):
                modules = ["mock"]
            case _:
                continue
        if {"mock", "unittest.mock", "pytest_mock"} & set(modules):
            yield f"line {node.lineno}: a mock"


def names_of_tests_are_sentences(path: str, text: str) -> Iterator[str]:
    if not (is_test(path) and Path(path).name.startswith("test_")):
        return
    for node in definitions(path, text):
        words = node.name.removeprefix("test_").split("_")
        if node.name.startswith("test_") and len(words) < TEST_WORDS_MIN:
            yield f"{node.name} says too little"


def no_host_of_a_package_registry(path: str, text: str) -> Iterator[str]:
    yield from found(HOSTS, text)


def no_path_of_one_machine(path: str, text: str) -> Iterator[str]:
    yield from found(MACHINE_PATHS, text)


def no_text_shaped_like_a_key(path: str, text: str) -> Iterator[str]:
    yield from found(KEYS, text)


def nothing_is_left_unfinished(path: str, text: str) -> Iterator[str]:
    yield from found(UNFINISHED, text)


def the_lock_pins_and_names_no_host(path: str, text: str) -> Iterator[str]:
    if path != "requirements.lock":
        return
    for requirement in re.split(r"\n(?=\S)", text.strip()):
        name, *hashes = requirement.split(" \\\n")
        if not re.match(r"[a-z0-9-]+==[\w.]+( ; .+)?$", name):
            yield f"not a pinned name: {name}"
        if not hashes or not all(re.match(r" +--hash=sha256:[0-9a-f]{64}$", h) for h in hashes):
            yield f"not held by hashes alone: {name}"
        if name.startswith("python-daemon=="):
            yield "python-daemon would take the import name `daemon`"
    if "://" in text or text.lstrip().startswith("#"):
        yield "an address, or a header"


RULES: tuple[Rule, ...] = (
    functions_are_short,
    files_are_short,
    names_say_something,
    mocks_are_not_used,
    names_of_tests_are_sentences,
    no_host_of_a_package_registry,
    no_path_of_one_machine,
    no_text_shaped_like_a_key,
    nothing_is_left_unfinished,
    the_lock_pins_and_names_no_host,
)


def mentioned(text: str) -> Iterator[str]:
    """Yield the dotted names that a module imports, or names in a string to import later."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Constant(value=str(value)):
                yield value.partition(":")[0]
            case _:
                pass


def unreached(modules: Mapping[str, str], entries: Iterable[str]) -> set[str]:
    """Return the modules (dotted name to source) that no entry point imports, however far away."""
    seen: set[str] = set()
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        key = name if name in modules else f"{name}.__init__"
        if key in modules and key not in seen:
            seen.add(key)
            waiting += [name.rpartition(".")[0], *mentioned(modules[key])]
    return {name for name in modules if name not in seen and not name.endswith(".__init__")}


@cache
def tree() -> dict[str, str]:
    """Return path and text of each file that is tracked, or would be; pictures are left out."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    texts: dict[str, str] = {}
    for name in filter(None, names.split("\0")):
        path = ROOT / name
        content = path.read_bytes() if path.is_file() else b"\0"
        if b"\0" not in content:
            texts[name] = content.decode()
    return texts


def entry_points() -> list[str]:
    scripts: dict[str, str] = tomllib.loads(tree()["pyproject.toml"])["project"]["scripts"]
    started = re.findall(r"\bmodule ([\w.]+)", tree()["dev"])
    return [*(target.partition(":")[0] for target in scripts.values()), *started]


@pytest.mark.parametrize("rule", RULES)
def test_every_file_keeps_the_rule(rule: Rule) -> None:
    problems = [f"{path}: {text}" for path in tree() for text in rule(path, tree()[path])]
    assert not problems, "\n".join(problems)


def test_every_module_is_reached_from_an_entry_point() -> None:
    modules = {
        path.removesuffix(".py").replace("/", "."): text
        for path, text in tree().items()
        if path.startswith(("daemon/", "tui/")) and path.endswith(".py")
    }
    mains = [name for name in modules if name.endswith(".__main__")]
    dead = sorted(unreached(modules, [*entry_points(), *mains]))
    assert not dead, "\n".join(dead)


def test_the_lock_holds_every_dependency_of_the_project() -> None:
    project = tomllib.loads(tree()["pyproject.toml"])["project"]
    asked = project["dependencies"] + project["optional-dependencies"]["dev"]
    locked = set(re.findall(r"(?m)^([a-z0-9-]+)==", tree()["requirements.lock"]))
    assert {re.split(r"[<>=]", requirement)[0] for requirement in asked} <= locked


def test_the_name_daemon_imports_this_project() -> None:
    assert Path(str(daemon.__file__)) == ROOT / "daemon" / "__init__.py"


def lines(count: int, first: str = "") -> str:
    return first + "    x = 1\n" * count


SAMPLES: tuple[tuple[Rule, str, str], ...] = (
    (functions_are_short, "daemon/a.py", lines(70, "def long():\n")),
    (functions_are_short, "tests/test_a.py", lines(70, "async def long():\n")),
    (files_are_short, "daemon/a.py", "x = 1\n" * 301),
    (files_are_short, "daemon/core/machine.py", "x = 1\n" * 351),
    (names_say_something, "daemon/utils.py", ""),
    (names_say_something, "tests/fakes/http_helpers.py", ""),
    (names_say_something, "daemon/common/job.py", ""),
    (names_say_something, "daemon/a.py", "class JobManager: ..."),
    (names_say_something, "tests/test_a.py", "class BaseEngine: ..."),
    (mocks_are_not_used, "tests/test_a.py", "from unittest.mock import patch"),
    (mocks_are_not_used, "tests/test_a.py", "from unittest import mock"),
    (mocks_are_not_used, "tests/test_a.py", "import unittest.mock as m"),
    (mocks_are_not_used, "tests/test_a.py", "def test_a(mocker): ..."),
    (names_of_tests_are_sentences, "tests/core/test_a.py", "def test_submit_works(): ..."),
    (
        names_of_tests_are_sentences,
        "tests/test_a.py",
        "class TestA:\n async def test_it(self): ...",
    ),
    (no_host_of_a_package_registry, "a.md", "see https://pypi" + ".org/project/genq"),
    (no_host_of_a_package_registry, "requirements.lock", "--index" + "-url x".replace("x", "/a")),
    (no_path_of_one_machine, "a.toml", 'dir = "/home' + '/ada/pictures"'),
    (no_path_of_one_machine, "a.md", "cd /wor" + "k/main"),
    (no_text_shaped_like_a_key, "a.toml", 'api_key = "' + "a1" * 16 + '"'),
    (no_text_shaped_like_a_key, "a.md", "sk-" + "a1B2" * 8),
    (no_text_shaped_like_a_key, "a.md", "0a" * 16 + "." + "aB" * 8),
    (no_text_shaped_like_a_key, "a.pem", "-----BEGIN RSA " + "PRIVATE KEY-----"),
    (nothing_is_left_unfinished, "a.py", "# TO" + "DO: later"),
    (nothing_is_left_unfinished, "a.py", "raise NotImplemented" + "Error"),
    (nothing_is_left_unfinished, "a.md", "Not " + "implemented yet."),
    (the_lock_pins_and_names_no_host, "requirements.lock", "yarl>=1.25"),
    (the_lock_pins_and_names_no_host, "requirements.lock", "yarl==1.25.1"),
    (the_lock_pins_and_names_no_host, "requirements.lock", "yarl @ https://x.test/yarl.whl"),
    (
        the_lock_pins_and_names_no_host,
        "requirements.lock",
        "python-daemon==3.1.2 \\\n    --hash=sha256:" + "0" * 64,
    ),
)
HARMLESS: tuple[tuple[Rule, str, str], ...] = (
    (functions_are_short, "daemon/a.py", lines(69, "def long():\n")),
    (files_are_short, "daemon/core/machine.py", "x = 1\n" * 350),
    (files_are_short, "tests/test_a.py", "x = 1\n" * 301),
    (names_say_something, "daemon/database.py", "class Database: ..."),
    (names_say_something, "tests/test_base_url.py", ""),
    (mocks_are_not_used, "daemon/app.py", "from daemon.engines import mock"),
    (names_of_tests_are_sentences, "tests/fakes/a.py", "def test_it(): ..."),
    (no_path_of_one_machine, "a.md", "a service without access to /home, /network/roots/"),
    (no_text_shaped_like_a_key, "a.toml", 'api_key = "$COGVIDEOX_API_KEY"  # sk-...'),
    (nothing_is_left_unfinished, "a.py", "return NotImplemented"),
    (
        the_lock_pins_and_names_no_host,
        "requirements.lock",
        "colorama==0.4.6 ; sys_platform == 'win32' \\\n    --hash=sha256:" + "0" * 64,
    ),
)


@pytest.mark.parametrize(("rule", "path", "text"), SAMPLES)
def test_a_planted_fault_is_found(rule: Rule, path: str, text: str) -> None:
    assert list(rule(path, text))


@pytest.mark.parametrize(("rule", "path", "text"), HARMLESS)
def test_a_lookalike_is_left_alone(rule: Rule, path: str, text: str) -> None:
    assert list(rule(path, text)) == []


def test_every_rule_has_a_planted_fault() -> None:
    assert {rule for rule, _, _ in SAMPLES} == set(RULES)


def test_modules_that_only_import_each_other_are_unreached() -> None:
    modules = {
        "tui.__init__": "",
        "tui.cli": 'VERBS = {"add": "tui.commands.add:run"}\nfrom daemon import wire',
        "tui.commands.__init__": "import tui.verbs",
        "tui.commands.add": "",
        "tui.verbs": "",
        "daemon.wire.__init__": "from daemon.wire.codec import decode",
        "daemon.wire.codec": "",
        "daemon.old": "import daemon.older",
        "daemon.older": "from daemon import old",
    }
    assert unreached(modules, ["tui.cli"]) == {"daemon.old", "daemon.older"}
