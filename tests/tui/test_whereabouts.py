"""Where a client that wasn't told looks for the daemon's state folder."""

from pathlib import Path

import pytest

from tui.whereabouts import SYSTEM_STATE, NoConfigError, state_folder


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_without_a_configuration_it_is_the_users_own(tmp_path: Path) -> None:
    def found(**environ: str) -> Path | None:
        return state_folder(None, environ, tmp_path, etc=tmp_path / "etc")

    assert found() == tmp_path / "genq/state"
    assert found(HOME="/h") == Path("/h/.local/state/genq/state")
    assert found(HOME="/h", XDG_STATE_HOME="/x") == Path("/x/genq/state")
    assert found(STATE_DIRECTORY="/var/a:/var/b") == Path("/var/a")


def test_the_first_configuration_counts(tmp_path: Path) -> None:
    etc, home, work = tmp_path / "etc", tmp_path / "home", tmp_path / "work"
    environ = {"XDG_CONFIG_HOME": str(home)}
    write(work / "config.toml", '[daemon]\nstate_dir = "w"')
    assert state_folder(None, environ, work, etc=etc) == work / "w"
    write(home / "genq/config.toml", "")
    assert state_folder(None, environ, work, etc=etc) == home / "genq/state"
    write(etc / "genq/config.toml", '[daemon]\nstate_dir = "s"')
    assert state_folder(None, environ, work, etc=etc) == SYSTEM_STATE
    named = write(tmp_path / "my.toml", '[daemon]\nstate_dir = "/abs"')
    assert state_folder("../my.toml", environ, work, etc=etc) == Path("/abs")
    assert state_folder(None, {"GENQ_CONFIG": str(named)}, work, etc=etc) == Path("/abs")


def test_an_override_comes_before_the_file_and_is_relative_to_the_working_folder(
    tmp_path: Path,
) -> None:
    config = write(tmp_path / "c/config.toml", '[daemon]\nstate_dir = "file"')
    environ = {"STATE_DIRECTORY": "/service", "GENQ_DAEMON__STATE_DIR": "mine"}
    assert state_folder(str(config), environ, tmp_path) == tmp_path / "mine"
    del environ["GENQ_DAEMON__STATE_DIR"]
    assert state_folder(str(config), environ, tmp_path) == Path("/service")


@pytest.mark.parametrize(
    "text", ["no toml [", "daemon = 5", "[daemon]\nstate_dir = 5", "[daemon]\nstate_dir = ''"]
)
def test_what_makes_no_sense_names_the_usual_folder(tmp_path: Path, text: str) -> None:
    config = write(tmp_path / "config.toml", text)
    assert state_folder(str(config), {}, tmp_path) == tmp_path / "state"


@pytest.mark.parametrize("origin", ["--config", "$GENQ_CONFIG"])
def test_a_configuration_that_was_named_must_be_there(tmp_path: Path, origin: str) -> None:
    named = "none.toml" if origin == "--config" else None
    environ = {} if named else {"GENQ_CONFIG": "none.toml"}
    with pytest.raises(NoConfigError, match="there is no file"):
        state_folder(named, environ, tmp_path)
