"""Which file is read, what lies over it, and where each value says it came from."""

from pathlib import Path

import pytest

from daemon.config import ConfigError, Flags, Ground, Loaded, load, parse
from daemon.configuration.search import ground_of

MOCK = "[providers.mock]\nengine = 'mock'\n"
NO_FLAGS = Flags()
GROUND = Ground(Path("/cfg/config.toml"), Path("/cfg"), Path("/cwd"))


class Machine:
    """A working folder, a home and an /etc, all below one folder."""

    def __init__(self, root: Path) -> None:
        self.cwd = root / "cwd"
        self.home = root / "home"
        self.etc = root / "etc"
        for folder in (self.cwd, self.home, self.etc):
            folder.mkdir()

    def write(self, path: Path, text: str = MOCK) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def load(self, flags: Flags = NO_FLAGS, **environ: str) -> Loaded:
        environ.setdefault("HOME", str(self.home))
        return load(flags, environ, self.cwd, etc=self.etc)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_first_file_that_is_there_is_read(machine: Machine, tmp_path: Path) -> None:
    assert machine.load().path is None
    here = machine.write(machine.cwd / "config.toml")
    assert machine.load().path == here
    user = machine.write(machine.home / ".config" / "genq" / "config.toml")
    assert machine.load().path == user
    xdg = machine.write(tmp_path / "xdg" / "genq" / "config.toml")
    assert machine.load(XDG_CONFIG_HOME=str(tmp_path / "xdg")).path == xdg
    assert machine.load(XDG_CONFIG_HOME="relative").path == user
    system = machine.write(machine.etc / "genq" / "config.toml")
    assert machine.load().path == system
    named = machine.write(machine.cwd / "mine.toml")
    assert machine.load(GENQ_CONFIG="mine.toml").path == named
    flag = machine.write(tmp_path / "flag.toml")
    assert machine.load(Flags(config=flag), GENQ_CONFIG="mine.toml").path == flag


@pytest.mark.parametrize(
    ("flags", "environ", "name"),
    [
        (Flags(config=Path("none.toml")), {}, "--config"),
        (Flags(), {"GENQ_CONFIG": "none.toml"}, "GENQ_CONFIG"),
        (Flags(), {"GENQ_CONFIG": "a\0b"}, "GENQ_CONFIG"),
    ],
)
def test_a_file_that_was_named_and_is_not_there_is_a_problem(
    machine: Machine, flags: Flags, environ: dict[str, str], name: str
) -> None:
    machine.write(machine.cwd / "config.toml")
    with pytest.raises(ConfigError) as caught:
        machine.load(flags, **environ)
    assert str(caught.value).startswith(f"{name}: there is no such file")


def test_what_can_not_be_read_is_a_problem_and_never_passed_over(machine: Machine) -> None:
    (machine.etc / "genq" / "config.toml").mkdir(parents=True)
    machine.write(machine.cwd / "config.toml")
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        machine.load()
    looped = machine.cwd / "loop.toml"
    looped.symlink_to(looped)
    with pytest.raises(ConfigError, match="can't be read: Too many levels"):
        machine.load(Flags(config=looped))


def test_a_file_that_is_not_text_is_told_with_the_line(machine: Machine) -> None:
    path = machine.cwd / "config.toml"
    path.write_bytes(b"# one\n# two\nlog_dir = '\xff'\n")
    with pytest.raises(ConfigError) as caught:
        machine.load()
    assert str(caught.value) == f"{path}:3: isn't UTF-8 text from here on"


def test_a_file_that_is_too_large_is_not_read_on(machine: Machine) -> None:
    machine.write(machine.cwd / "config.toml", "#" * (1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="more than 1,048,576 bytes"):
        machine.load()


def test_a_byte_order_mark_and_other_line_ends_are_fine(machine: Machine) -> None:
    path = machine.cwd / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf[daemon]\r\nkeep_days = 3\r\n")
    loaded = machine.load()
    assert loaded.config.daemon.keep_days == 3
    assert loaded.sources["daemon.keep_days"] == f"{path}:2"


def test_without_a_file_the_built_in_defaults_work_below_the_users_state(machine: Machine) -> None:
    loaded = machine.load()
    state = machine.home / ".local" / "state" / "genq"
    assert loaded.config.daemon.state_dir == state / "state"
    assert loaded.config.daemon.output_dir == state / "outputs"
    assert loaded.config.providers["mock"].enabled
    assert set(loaded.sources.values()) == {"default"} | {
        source for source in loaded.sources.values() if source.startswith("default (")
    }
    moved = machine.load(XDG_STATE_HOME="/xdg")
    assert moved.config.daemon.log_dir == Path("/xdg/genq/logs")
    service = machine.load(STATE_DIRECTORY="/var/lib/q")
    assert service.config.daemon.state_dir == Path("/var/lib/q")
    assert service.config.daemon.output_dir == Path("/var/lib/q/outputs")


def test_without_a_file_and_a_home_the_working_folder_is_left() -> None:
    assert ground_of(None, {}, Path("/cwd")).folder == Path("/cwd/genq")


def test_relative_folders_are_relative_to_the_file_and_those_of_flags_to_the_cwd() -> None:
    flags = Flags(output_dir="o")
    text = "[daemon]\nstate_dir = 's'\nlog_dir = '/l'\n"
    daemon = parse(text, GROUND, flags=flags, environ={"GENQ_DAEMON__SOCKET": "g.sock"}).config
    assert daemon.daemon.state_dir == Path("/cfg/s")
    assert daemon.daemon.log_dir == Path("/l")
    assert daemon.daemon.output_dir == Path("/cwd/o")
    assert daemon.daemon.socket == Path("/cwd/g.sock")


def test_flags_come_before_variables_before_the_services_folders_before_the_file() -> None:
    text = "[daemon]\nstate_dir = 'f'\nlog_dir = 'f'\n"
    service = {"STATE_DIRECTORY": "/svc:/svc2", "LOGS_DIRECTORY": "/svclogs"}
    variable = {**service, "GENQ_DAEMON__STATE_DIR": "/env"}

    def state(environ: dict[str, str], flags: Flags = NO_FLAGS) -> tuple[str, str]:
        loaded = parse(text, GROUND, environ=environ, flags=flags)
        return str(loaded.config.daemon.state_dir), loaded.sources["daemon.state_dir"]

    assert state({}) == ("/cfg/f", "/cfg/config.toml:2")
    assert state(service) == ("/svc", "env STATE_DIRECTORY")
    assert state(variable) == ("/env", "env GENQ_DAEMON__STATE_DIR")
    assert state(variable, Flags(state_dir="/flag")) == ("/flag", "flag --state-dir")
    assert parse(text, GROUND, environ=service).config.daemon.log_dir == Path("/svclogs")


def test_a_relative_folder_of_a_file_in_etc_is_below_the_services_state(machine: Machine) -> None:
    text = "[daemon]\nstate_dir = 'state'\noutput_dir = 'outputs'\nlog_dir = '/var/log/q'\n"
    machine.write(machine.etc / "genq" / "config.toml", text)
    running = machine.load(STATE_DIRECTORY="/run/svc").config.daemon
    assert running.state_dir == Path("/run/svc")
    assert running.output_dir == Path("/run/svc/outputs")
    by_hand = machine.load().config.daemon
    assert by_hand.state_dir == Path("/var/lib/genq")
    assert by_hand.output_dir == Path("/var/lib/genq/outputs")
    assert by_hand.log_dir == Path("/var/log/q")


def test_the_state_dir_flag_moves_the_journal_and_the_socket_only() -> None:
    plain = parse("", GROUND)
    moved = parse("", GROUND, flags=Flags(state_dir="elsewhere"))
    assert moved.config.daemon.state_dir == Path("/cwd/elsewhere")
    assert moved.socket == Path("/cwd/elsewhere/genq.sock")
    assert moved.config.daemon.output_dir == plain.config.daemon.output_dir
    assert moved.config.daemon.log_dir == plain.config.daemon.log_dir


def test_the_socket_is_the_flags_or_the_files_or_the_services_or_the_state_folders() -> None:
    service = {"RUNTIME_DIRECTORY": "/run/genq:/run/other"}
    text = "[daemon]\nsocket = 'g.sock'\n"
    assert parse("", GROUND).socket == Path("/cfg/state/genq.sock")
    assert parse("", GROUND, environ=service).socket == Path("/run/genq/genq.sock")
    assert parse(text, GROUND, environ=service).socket == Path("/cfg/g.sock")
    flagged = parse(text, GROUND, environ=service, flags=Flags(socket="/x.sock"))
    assert flagged.socket == Path("/x.sock")


def test_a_socket_of_107_bytes_is_the_longest_and_an_inherited_one_is_not_measured() -> None:
    exactly = "/" + "s" * 106
    assert parse("", GROUND, flags=Flags(socket=exactly)).socket == Path(exactly)
    longer = Flags(socket=exactly + "s")
    with pytest.raises(ConfigError, match=r"^--socket: daemon\.socket: the path has 108 bytes"):
        parse("", GROUND, flags=longer)
    inherited = {"LISTEN_FDS": "1"}
    assert parse("", GROUND, flags=longer, environ=inherited).path == GROUND.file
    wide = Flags(socket="/" + "é" * 54)
    with pytest.raises(ConfigError, match="has 109 bytes"):
        parse("", GROUND, flags=wide)


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("GENQ_PROVIDERS__P__SUBMIT_RETRIES", "3", 3),
        ("GENQ_PROVIDERS__P__POLL_INTERVAL_S", " 0.05 ", 0.05),
        ("GENQ_PROVIDERS__P__ENABLED", "false", False),
        ("GENQ_PROVIDERS__P__WORKFLOW_ID", "7600000000000000001", "7600000000000000001"),
        ("GENQ_PROVIDERS__P__WORKFLOW_ID", '"quoted"', "quoted"),
        ("GENQ_PROVIDERS__P__WORKFLOW_ID", "2026-01-01", "2026-01-01"),
        ("GENQ_PROVIDERS__P__PROMPT_KEY", "two\nlines = 1", None),
        ("GENQ_PROVIDERS__P__MODEL", "plain-text", "plain-text"),
        ("GENQ_PROVIDERS__P__PARAMS", "{ duration = 5 }", {"duration": 5}),
        ("GENQ_PROVIDERS__P__RULES", "[{ do = 'fail' }]", [{"do": "fail"}]),
        ("GENQ_PROVIDERS__P__API_KEY", "{ env = 'K' }", {"env": "K"}),
        ("GENQ_DAEMON__SOCKET_MODE", "0600", "0600"),
        ("GENQ_DAEMON__SOCKET_MODE", "600", "600"),
        ("GENQ_NOTIFY__ON", "['failed']", ["failed"]),
    ],
)
def test_a_variable_holds_a_toml_value_or_else_text(
    variable: str, text: str, value: object
) -> None:
    file = "[providers.p]\nengine = 'coze'\n"
    if value is None:
        with pytest.raises(ConfigError, match="control characters"):
            parse(file, GROUND, environ={variable: text})
        return
    loaded = parse(file, GROUND, environ={variable: text})
    path = next(key for key, source in loaded.sources.items() if source == f"env {variable}")
    entries = {".".join(map(str, key)): entry.value for key, entry in loaded.entries.items()}
    assert entries[path] == value


def test_other_variables_are_none_of_its_business() -> None:
    others = {"GENQ_SOCKET": "/x", "X__Y": "1", "GENQ": "1"}
    assert parse("", GROUND, environ=others) == parse("", GROUND)


def test_every_value_says_where_it_came_from() -> None:
    text = "[pictures]\nimage_max_kb = 9\n[providers.p]\nengine = 'mock'\nconcurrency = 2\n"
    environ = {"GENQ_PROVIDERS__P__OUTPUTS": "0"}
    loaded = parse(text, GROUND, environ=environ, flags=Flags(mock=True))
    assert loaded.sources["pictures.image_max_kb"] == "/cfg/config.toml:2"
    assert loaded.sources["providers.p.concurrency"] == "/cfg/config.toml:5"
    assert loaded.sources["providers.p.outputs"] == "env GENQ_PROVIDERS__P__OUTPUTS"
    assert loaded.sources["providers.p.model"] == "default"
    assert loaded.sources["providers.p.image_max_kb"] == "default ([pictures] /cfg/config.toml:2)"
    assert loaded.sources["daemon.mock"] == "flag --mock"
    assert loaded.where("providers", "p", "concurrency") == "/cfg/config.toml:5"
    assert loaded.where("providers", "p", "outputs") == "GENQ_PROVIDERS__P__OUTPUTS"
    assert loaded.where("providers", "p", "model") == loaded.where("no", "such") == ""


def test_a_reload_reads_the_same_file_and_not_another_that_came_later(machine: Machine) -> None:
    here = machine.write(machine.cwd / "config.toml")
    first = machine.load()
    machine.write(machine.etc / "genq" / "config.toml", "[daemon]\nkeep_days = 1\n")
    again = load(Flags(), {}, machine.cwd, path=first.path, etc=machine.etc)
    assert again.path == here
    here.unlink()
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        load(Flags(), {}, machine.cwd, path=first.path, etc=machine.etc)
