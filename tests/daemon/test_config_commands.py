"""`genqd config init`, `check` and `show`: what they print, and their exit codes."""

import json
import tomllib
from pathlib import Path

import pytest

from daemon import commands_config
from daemon.config import Flags, Loaded, template
from daemon.core.faults import Rule

TEXT = """
[providers.veo]
engine = "veo"
api_key = { env = "K" }
headers = { X-A = "s3cret", X-B = { env = "B" } }
price = "2.00 USD"
[[providers.veo.rules]]
kind = "provider.failed"
do = "resubmit"
limit = 1
[[providers.veo.rules]]
phase = "poll"
http = "5xx"
message = "busy\u202e"
do = "pause"
until = "daily"
wait_s = 10

[providers.mock]
engine = "mock"
enabled = false
params = { "odd key" = "a\\u0085b", deep = { list = [1, 2.5, true] } }
"""


def engine_rules(engine: str) -> tuple[Rule, ...]:
    return (Rule(name=f"{engine}.built-in", phase="submit", code="1302", do="retry"),)


def no_problems(loaded: Loaded) -> list[str]:
    """No file that the configuration names has one."""
    assert loaded.config.providers
    return []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "genq.toml"
    path.write_text(TEXT)
    return path


def test_init_prints_the_template(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands_config.init(None) == 0
    assert capsys.readouterr().out == template()


def test_init_writes_the_template_and_never_over_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "config.toml"
    assert commands_config.init(to) == 0
    assert to.read_text() == template()
    to.write_text("mine")
    assert commands_config.init(to) == 1
    assert to.read_text() == "mine"
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("to", ["none/config.toml", ".", "a\0b"])
def test_init_says_why_a_file_can_not_be_written(
    tmp_path: Path, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands_config.init(tmp_path / to) == 1
    assert capsys.readouterr().err.startswith("genqd: ")


def test_check_lists_every_problem_and_ends_with_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[daemon]\nmock = 1\n[deamon]\n")
    assert commands_config.check(path, engine_rules, no_problems, environ={}, cwd=tmp_path) == 78
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"{path}:2: daemon.mock: expected true or false, got 1",
        f"{path}:3: deamon: unknown section; did you mean 'daemon'?",
    ]
    assert printed.err == "genqd: bad configuration: 2 problems\n"


def test_check_shows_the_rules_in_their_order_and_marks_those_that_pay_again(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands_config.check(file, engine_rules, no_problems, environ={}, cwd=file.parent) == 0
    out = capsys.readouterr().out
    veo = out.split("[providers.mock]")[0].splitlines()
    assert veo[0] == f"ok: {file}"
    assert veo[1] == f"the daemon's socket: {file.parent}/state/genq.sock"
    assert veo[3].startswith("[providers.veo]  veo, its gate stays closed: $K isn't set")
    names = [line.split()[0] for line in veo[4:] if line]
    assert names[:4] == ["guard", "veo.1", "veo.2", "veo.built-in"]
    assert names[4].startswith("shared.")
    assert names[-1] == "none"
    marked = [line.split()[0] for line in veo if "PAYS AGAIN" in line]
    assert marked == ["veo.1"]
    assert "poll http=5xx message=busy\\U0000202e" in veo[6]
    assert veo[6].endswith("pause, until daily, at least 10 s")
    assert "[providers.mock]  mock, disabled" in out


def test_check_tells_where_a_key_is_read_from_and_never_the_key(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        commands_config.check(
            file, engine_rules, no_problems, environ={"K": "s3cret"}, cwd=file.parent
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "[providers.veo]  veo, its key is read from $K" in out
    assert "s3cret" not in out


@pytest.mark.skipif(Path("/etc/genq").exists(), reason="this machine has a configuration")
def test_check_without_any_file_checks_the_built_in_defaults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"GENQ_CONFIG": "", "HOME": str(tmp_path)}
    code = commands_config.check(None, engine_rules, no_problems, environ=environ, cwd=tmp_path)
    assert code == 0
    assert "built-in defaults" in capsys.readouterr().out


def shown(file: Path, capsys: pytest.CaptureFixture[str], **options: bool) -> str:
    options = {"sources": False, "as_json": False, **options}
    flags = Flags(config=file, socket="/s.sock")
    code = commands_config.show(flags, environ={"K": "k3y"}, cwd=file.parent, **options)
    assert code == 0
    return capsys.readouterr().out


def test_show_prints_toml_that_reads_back(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(file, capsys)
    assert out.startswith(f"# {file}\n")
    tree = tomllib.loads(out)
    assert tree["daemon"]["state_dir"] == str(file.parent / "state")
    assert tree["daemon"]["socket"] == "/s.sock"
    assert tree["http"]["token_file"] == str(file.parent / "state" / "http.token")
    assert tree["providers"]["veo"]["price"] == "2.00 USD"
    assert tree["providers"]["veo"]["rules"] == tomllib.loads(TEXT)["providers"]["veo"]["rules"]
    mock = tree["providers"]["mock"]
    assert mock["params"] == {"odd key": "a\x85b", "deep": {"list": [1, 2.5, True]}}
    assert all(one.isprintable() or one == "\n" for one in out)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("sources", [False, True])
def test_show_hides_what_stands_in_headers_and_keys(
    file: Path, capsys: pytest.CaptureFixture[str], as_json: bool, sources: bool
) -> None:
    out = shown(file, capsys, as_json=as_json, sources=sources)
    assert "s3cret" not in out
    assert "k3y" not in out
    assert "(hidden)" in out


def test_show_says_where_each_value_came_from(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(file, capsys, sources=True).splitlines()
    ends = {line.split(" = ")[0]: line.rpartition("  # ")[2] for line in lines if " = " in line}
    assert ends["price"] in (f"{file}:6", "default")
    assert ends["socket"] == "flag --socket"
    assert ends["log_dir"] == "default"


def test_show_as_json_has_the_tables_of_the_file(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = json.loads(shown(file, capsys, as_json=True))
    assert plain["providers"]["veo"]["concurrency"] == 3
    assert plain["providers"]["veo"]["headers"] == {"X-A": "(hidden)", "X-B": {"env": "B"}}
    told = json.loads(shown(file, capsys, as_json=True, sources=True))
    assert told["providers"]["veo"]["price"] == {"value": "2.00 USD", "source": f"{file}:6"}
    assert told["daemon"]["socket"] == {"value": "/s.sock", "source": "flag --socket"}


def test_show_of_a_bad_configuration_prints_nothing_but_its_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = Flags(config=tmp_path / "none.toml")
    code = commands_config.show(flags, sources=False, as_json=True, environ={}, cwd=tmp_path)
    printed = capsys.readouterr()
    assert code == 78
    assert printed.out == ""
    assert "there is no such file" in printed.err
