"""The configuration's file: where it is looked for, and reading it (interfaces.md 3)."""

from collections.abc import Mapping
from pathlib import Path

from daemon.configuration.layers import Flags, first_folder
from daemon.configuration.places import ConfigError, Ground, Origin, Problem

CONFIG_BYTES_MAX = 1024 * 1024
FILE_NAME = "config.toml"
ETC = Path("/etc")
SYSTEM_STATE = Path("/var/lib/genq")
"""The state folder of a service, where the service manager doesn't name another."""


def find(flags: Flags, environ: Mapping[str, str], cwd: Path, *, etc: Path = ETC) -> Path | None:
    """The file to read, absolute; None if there is none anywhere.

    Raises ConfigError where one was named and isn't there, or a folder can't be looked into.
    """
    if flags.config is not None:
        return _named(cwd / flags.config, Origin("flag", "--config"))
    if environ.get("GENQ_CONFIG"):
        return _named(cwd / environ["GENQ_CONFIG"], Origin("env", "GENQ_CONFIG"))
    home = _user_folder(environ, "XDG_CONFIG_HOME", ".config")
    places = [etc / "genq" / FILE_NAME, *([home / "genq" / FILE_NAME] if home else [])]
    return next((path for path in (*places, cwd / FILE_NAME) if _is_there(path)), None)


def ground_of(
    path: Path | None, environ: Mapping[str, str], cwd: Path, *, etc: Path = ETC
) -> Ground:
    """What the values of the file at `path`, or the built-in ones, stand on."""
    service = first_folder(environ, "STATE_DIRECTORY")
    if path is None:
        user = _user_folder(environ, "XDG_STATE_HOME", ".local/state")
        folder = cwd / service if service else (user or cwd) / "genq"
        return Ground(None, folder, cwd)
    if path.is_relative_to(etc):
        state = cwd / service if service else SYSTEM_STATE
        return Ground(path, state, cwd, state)
    return Ground(path, path.parent, cwd)


def read(path: Path) -> str:
    """The text of the file. Raises ConfigError if it can't be read, or isn't text."""
    try:
        with path.open("rb") as file:
            content = file.read(CONFIG_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _unusable(path, f"can't be read: {reason}") from None
    if len(content) > CONFIG_BYTES_MAX:
        raise _unusable(path, f"has more than {CONFIG_BYTES_MAX:,} bytes, the limit")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unusable(path, "isn't UTF-8 text from here on", line) from None


def _named(path: Path, origin: Origin) -> Path:
    try:
        there = _is_there(path)
    except ValueError:
        there = False
    if not there:
        message = f"there is no such file: {path}; `genqd config init --to FILE` writes one"
        raise ConfigError([Problem(origin, "", message)])
    return path


def _is_there(path: Path) -> bool:
    """Whether there is anything at `path`. Raises ConfigError if that can't be told."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unusable(path, f"can't be read: {error.strerror}") from None
    return True


def _user_folder(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    """A folder of the XDG Base Directory Specification, which wants absolute paths only."""
    if (named := environ.get(variable, "")).startswith("/"):
        return Path(named)
    home = environ.get("HOME", "")
    return Path(home) / below_home if home.startswith("/") else None


def _unusable(path: Path, message: str, line: int | None = None) -> ConfigError:
    return ConfigError([Problem(Origin("file", str(path), line), "", message)])
