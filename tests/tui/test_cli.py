"""The command line as such: exit codes, what stands on which stream, start-up, pipes, signals."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon import __version__
from daemon.wire.messages import Act, ErrorBody, Ls
from tests.fakes.console import FakeConsole, genq
from tests.fakes.daemon import NOW, FakeDaemon
from tui.cli import VERBS, main, parser_of, run

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs" / "commands.md"
NO_DAEMON = "/nonexistent/genq.sock"
GENQ = [sys.executable, "-m", "tui.cli"]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    fake = FakeDaemon(tmp_path / "s")
    fake.start()
    yield fake
    fake.stop()


# ---- bad command lines ----

BAD: tuple[tuple[str, str], ...] = (
    ("satus", "unknown command 'satus'; did you mean 'status'?"),
    ("xyzzy", "unknown command 'xyzzy'; `genq help` lists them"),
    ("--jsn status", "unknown option '--jsn'; did you mean '--json'?"),
    ("-x", "unknown option '-x'"),
    ("help satus", "did you mean 'status'?"),
    ("status now", "'now' is one word too many"),
    ("ls --statte failed", "unknown option '--statte'; did you mean '--state'?"),
    ("ls --state", "--state needs a value: --state S,.."),
    ("ls --state faild", "unknown state 'faild'; did you mean 'failed'?"),
    ("ls --state failed,,held", "--state: unknown state ''"),
    ("ls --state zzz", "the states are queued, preparing,"),
    ("ls --limit -3", "--limit: expected a whole number, got '-3'"),
    ("ls --limit x", "--limit: expected a whole number, got 'x'"),
    ("ls --sort errrs", "--sort: unknown sort key 'errrs'; did you mean 'errors'?"),
    ("ls --sort -nmae", "did you mean 'name'?"),
    ("ls --filter state:faild", "  state:faild\n        ^"),
    ('ls --filter "kite', "bad query: this quotation mark is never closed"),
    ("ls --filter err:>", "bad query: expected a whole number"),
    ("show", "the following arguments are required: ID"),
    ("show x", "'x' is no job's id; --filter name:"),
    ("show 0", "'0' is no job's id"),
    ("show 99999999999999999999", "is no job's id"),
    ("show 1 2", "'2' is one word too many"),
    ("why", "the following arguments are required: ID"),
    ("cancel", "which jobs? ID..., --all-failed or --filter QUERY"),
    ("cancel 1 --all-failed", "only one of these: ID..., --all-failed or --filter QUERY"),
    ("cancel --all-failed --filter x", "only one of these"),
    ("cancel --all-failed", "nobody can be asked here: --yes agrees"),
    ("cancel --filter state:faild --yes", "did you mean 'failed'?"),
    ("cancel 1 --fresh", "unknown option '--fresh'"),
    ("cancel 1 --yes=5", "--yes: ignored explicit argument '5'"),
    ("requeue 1.5", "'1.5' is no job's id"),
    ("approve", "the following arguments are required: ID"),
    ("priority 1", "the following arguments are required: N"),
    ("priority 1 2000", "N: expected a whole number from -1000 to 1000, got 2000"),
    ("priority 1 high", "expected a whole number, got 'high'"),
    ("resolve 1", "the following arguments are required: WAY"),
    ("resolve 1 atach r", "unknown way 'atach'; did you mean 'attach'?"),
    ("resolve 1 attach", "attach needs the REMOTE_ID that was found"),
    ("resolve 1 pay-again r", "pay-again takes no REMOTE_ID"),
    ("pause --until soon", "--until: expected ISO 8601, HH:MM"),
    ("pause --until 2001-01-01", "--until: 2001-01-01 00:00:00 is past"),
    ("resume --until +1h", "unknown option '--until'"),
    ("events --after 1 --tail 2", "--after and --tail exclude each other"),
    ("events --tail many", "--tail: expected a whole number, got 'many'"),
    ("wait 1 --batch b", "name jobs by ID, or a batch with --batch, not both"),
    ("wait --timeout -1", "--timeout: expected a number of seconds, got '-1'"),
    ("wait --timeout nan", "--timeout: expected a number of seconds, got 'nan'"),
    ("ping --wait soon", "--wait: expected a number of seconds, got 'soon'"),
    ("add", "name a provider, or a file of jobs with --file"),
    ("--config /nonexistent/genq.toml status", "--config: there is no file /nonexistent/genq.toml"),
)


@pytest.mark.parametrize(("words", "message"), BAD)
def test_a_bad_command_line_ends_with_2_and_the_way_out(words: str, message: str) -> None:
    console = FakeConsole()
    assert run([*words.split(" "), "--json"], console) == 2
    assert console.told == ""
    assert message in console.noted
    assert "\x1b" not in console.noted


def test_bytes_that_are_no_text_are_a_bad_command_line() -> None:
    console = FakeConsole()
    assert run(["add", "veo", "--prompt", "caf\udce9"], console) == 2
    assert "is not UTF-8" in console.noted


def test_the_place_in_a_query_is_marked_by_cells() -> None:
    console = FakeConsole()
    run(["ls", "--filter", "红风筝 state:faild"], console)
    assert "\n  红风筝 state:faild\n               ^\n" in console.noted


@pytest.mark.parametrize("words", ["ls --provider vio", "pause vio", "resume veo vio"])
def test_an_unknown_provider_is_refused_with_the_nearest(daemon: FakeDaemon, words: str) -> None:
    ran = genq(daemon.path, *words.split(), "--json")
    assert (ran.code, ran.out) == (2, "")
    assert "unknown provider 'vio'; did you mean 'veo'?" in ran.err


def test_a_refusal_of_the_daemon_is_told_and_coded(daemon: FakeDaemon) -> None:
    for code, expected in (("bad_query", 2), ("unknown_provider", 2), ("unknown_id", 1)):
        daemon.errors[Ls] = ErrorBody(code, "no such\x1bthing")  # type: ignore[arg-type]
        ran = genq(daemon.path, "ls", "--json")
        assert (ran.code, ran.out, ran.err) == (expected, "", "genq: no such␛thing\n")


def test_an_answer_of_another_daemon_is_told(daemon: FakeDaemon) -> None:
    daemon.answers[Act] = {"changed": [1], "refused": [], "jobs": [{"id": 1, "state": "napping"}]}
    ran = genq(daemon.path, "hold", "1")
    assert (ran.code, ran.out) == (1, "")
    assert "of another genqd perhaps: Invalid enum value 'napping'" in ran.err


# ---- no daemon ----

ARGUMENTS = {
    "add": ["mock"],
    "show": ["1"],
    "why": ["1"],
    "cancel": ["1"],
    "requeue": ["1"],
    "hold": ["1"],
    "release": ["1"],
    "approve": ["1"],
    "priority": ["1", "2"],
    "resolve": ["1", "write-off"],
    "edit": ["1"],
}
TALKING = [name for name in VERBS if name not in ("help", "monitor", "tui", "completion")]


@pytest.mark.parametrize("verb", TALKING)
def test_without_a_daemon_every_command_names_the_socket_and_how_to_start_one(verb: str) -> None:
    ran = genq(Path(NO_DAEMON), verb, *ARGUMENTS.get(verb, []), "--json")
    assert (ran.code, ran.out) == (3, "")
    assert NO_DAEMON in ran.err
    assert "genqd" in ran.err


def test_a_socket_that_was_named_is_the_only_one_tried(tmp_path: Path, daemon: FakeDaemon) -> None:
    (tmp_path / "genq").mkdir()
    (tmp_path / "genq" / "genq.sock").symlink_to(daemon.path)
    assert run(["ping"], FakeConsole(XDG_RUNTIME_DIR=str(tmp_path))) == 0
    console = FakeConsole(XDG_RUNTIME_DIR=str(tmp_path), GENQ_SOCKET=NO_DAEMON)
    assert run(["ping"], console) == 3
    assert console.noted.count(".sock: ") == 1
    assert run(["ping", "--socket", str(daemon.path)], console) == 0


def test_all_sockets_that_were_tried_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text('[daemon]\nstate_dir = "var/state"\n')
    console = FakeConsole(XDG_RUNTIME_DIR="/nonexistent")
    assert run(["status"], console) == 3
    for path in (
        "/run/genq/genq.sock",
        "/nonexistent/genq/genq.sock",
        f"{tmp_path}/var/state/genq.sock",
    ):
        assert path in console.noted


def test_the_socket_is_found_by_the_configuration(
    tmp_path: Path, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "st"
    state.mkdir()
    (state / "genq.sock").symlink_to(daemon.path)
    config = tmp_path / "my.toml"
    config.write_text('[daemon]\nstate_dir = "st"\n')
    monkeypatch.chdir("/")
    assert run(["--config", str(config), "ping"], FakeConsole()) == 0
    assert run(["ping"], FakeConsole(GENQ_CONFIG=str(config))) == 0
    assert run(["ping"], FakeConsole(GENQ_CONFIG=str(config), GENQ_DAEMON__STATE_DIR="x")) == 3
    monkeypatch.chdir(tmp_path)
    config.rename(tmp_path / "config.toml")
    assert run(["ping"], FakeConsole()) == 0
    (tmp_path / "config.toml").write_text("no toml [")
    (state).rename(tmp_path / "state")
    assert run(["ping"], FakeConsole()) == 0


def test_alone_on_a_terminal_it_opens_the_monitor_but_not_for_programs(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    console = FakeConsole(terminal=True)
    assert run(["--socket", str(daemon.path)], console) == 2
    assert "genq monitor: it needs a terminal" in console.noted
    console = FakeConsole(terminal=True)
    assert run(["--socket", str(daemon.path), "--json"], console) == 0
    assert json.loads(console.told)["counts"]


# ---- where options stand; help, version, docs ----


def test_common_options_stand_before_or_after_the_verb(daemon: FakeDaemon) -> None:
    path = str(daemon.path)
    for words in (
        ["--json", "--socket", path, "ls"],
        [f"--socket={path}", "ls", "--json"],
        ["ls", "--socket", path, "--json"],
        ["--json", "ls", f"--socket={path}"],
    ):
        console = FakeConsole()
        assert run(words, console) == 0
        assert json.loads(console.told) == []


def test_everything_behind_two_dashes_is_a_word(daemon: FakeDaemon) -> None:
    daemon.put(7)
    assert genq(daemon.path, "cancel", "--yes", "--", "7").code == 0
    assert genq(daemon.path, "cancel", "--", "--yes").code == 2


def test_the_version_is_told_without_a_daemon() -> None:
    console = FakeConsole()
    assert run(["--version"], console) == 0
    assert console.told == f"genq {__version__}\n"


@pytest.mark.parametrize("words", [["help"], ["--help"], ["-h"], ["help", "help"]])
def test_help_lists_every_command(words: list[str]) -> None:
    console = FakeConsole()
    assert run(words, console) == 0
    assert len(words) == 2 or all(f"\n  {name} " in console.told for name in VERBS)
    assert all(len(line) <= 80 for line in console.told.splitlines())


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_has_help_with_an_example(verb: str) -> None:
    answers = []
    for words in (["help", verb], [verb, "--help"], [verb, "-h", "--json"], ["--json", verb, "-h"]):
        console = FakeConsole()
        assert run(words, console) == 0
        answers.append(console.told)
    assert len(set(answers)) == 1
    assert f"genq {'monitor' if verb == 'tui' else verb}" in answers[0].partition("example: ")[2]


def test_the_documentation_has_every_verb_and_every_option() -> None:
    sections = dict(re.findall(r"(?ms)^## `genq (\w+)`.*?\n(.*?)(?=^## |\Z)", DOCS.read_text()))
    assert list(sections) == [verb for verb in VERBS if verb != "tui"]
    for verb, section in sections.items():
        usage = parser_of(verb).format_help().partition("options of every command")[0]
        for option in re.findall(r"(?m)^  (--[\w-]+)", usage):
            assert f"`{option}" in section, f"{verb} {option}"


def test_the_examples_of_the_documentation_are_good_command_lines() -> None:
    examples = re.findall(r"(?m)^    (?:[\w-]+ \| )?genq (.*)$", DOCS.read_text())
    assert {example.split()[0] for example in examples} == set(VERBS) - {"tui"}
    for example in examples:
        verb, *words = shlex.split(re.split(r" (?:\||&&|>) ", example)[0])
        parser_of(verb).read(words)


# ---- the process ----


@contextmanager
def started(*words: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*GENQ, *words], **{**given, **options}) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()  # a test that failed must not wait for it


def test_no_command_loads_what_it_does_not_need() -> None:
    heavy = "asyncio aiohttp textual structlog PIL rich sqlite3 random logging"
    lines = [[verb, *ARGUMENTS.get(verb, [])] for verb in TALKING]
    code = (
        "import sys, json\n"
        "before = set(sys.modules)\n"
        "from tui.cli import main\n"
        f"for words in {lines!r}:\n"
        f"    assert main(['--socket', {NO_DAEMON!r}, *words]) == 3, words\n"
        f"print(json.dumps(sorted({set(heavy.split())!r} & (sys.modules.keys() - before))))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == []


def test_a_pipe_that_closes_early_is_no_error(daemon: FakeDaemon) -> None:
    for number in range(1, 2_000):
        daemon.put(number, prompt="x" * 100)
    with started("--socket", str(daemon.path), "ls") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("  ID")
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(20) == 0


def test_output_that_can_not_be_written_is_told(daemon: FakeDaemon) -> None:
    words = ["--socket", str(daemon.path), "status"]
    with Path("/dev/full").open("w") as full, started(*words, stdout=full) as process:
        assert process.stderr is not None
        assert process.stderr.read() == "genq: No space left on device\n"
        assert process.wait(20) == 1


def test_ctrl_c_ends_a_follower_quietly(daemon: FakeDaemon) -> None:
    daemon.events = [{"seq": 1, "at": NOW, "type": "daemon_started"}]
    words = ["--socket", str(daemon.path), "events", "--follow", "--after", "0"]
    with started(*words) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "daemon_started" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == ""


def test_json_is_utf_8_whatever_the_locale_is(daemon: FakeDaemon) -> None:
    daemon.put(1, prompt="红风筝")
    environ = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    words = ["--socket", str(daemon.path), "ls", "--json"]
    with started(*words, env=environ, text=False) as process:
        out, err = process.communicate(timeout=20)
        assert json.loads(out)[0]["prompt"] == "红风筝"
        assert len(err) == 0


def test_the_console_script_runs_the_processs_own_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["genq", "--version"])
    assert main() == 0
    assert capsys.readouterr().out == f"genq {__version__}\n"


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_may_be_closed(daemon: FakeDaemon, closed: str) -> None:
    command = shlex.join([*GENQ, "--socket", str(daemon.path), "ls"])
    words = ["sh", "-c", f"{command} {closed}"]
    ran = subprocess.run(words, check=True, capture_output=True, text=True)
    assert "Traceback" not in ran.stderr


# ---- the terminal ----


@pytest.mark.parametrize(
    ("terminal", "environ", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_there_are_colours_only_on_a_terminal_that_wants_them(
    daemon: FakeDaemon, terminal: bool, environ: dict[str, str], expected: bool
) -> None:
    daemon.put(1, state="failed")
    ran = genq(daemon.path, "ls", console=FakeConsole(terminal=terminal, **environ))
    assert ("\x1b[31mfailed\x1b[0m" in ran.out) == expected


def test_a_terminal_of_unknown_width_has_the_usual_one() -> None:
    console = FakeConsole(terminal=True)
    console.environ = {}
    assert console.cells == 80


def test_the_width_is_that_of_the_terminal_or_what_is_usual(daemon: FakeDaemon) -> None:
    daemon.put(1, prompt="x" * 500)
    for columns, expected in (("100", 100), ("0", 80), ("x", 80), ("9" * 30, 80)):
        console = FakeConsole(terminal=True, NO_COLOR="1", COLUMNS=columns)
        lines = genq(daemon.path, "ls", console=console).out.splitlines()
        assert len(lines[1]) == expected
    assert len(genq(daemon.path, "ls").out.splitlines()[1]) > 200
