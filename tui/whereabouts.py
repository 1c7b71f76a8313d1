"""Where the daemon's configuration says that its socket is, for clients that weren't told.

Looked for as the daemon does (interfaces.md 3). It isn't checked here: what can't be read, or
makes no sense, names no folder, and the daemon says why.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE_NAME = "config.toml"
ETC = Path("/etc")
SYSTEM_STATE = Path("/var/lib/genq")
CONFIG_BYTES_MAX = 1_048_576
_STATE = "state"


class NoConfigError(Exception):
    """The configuration that was named isn't there."""


def state_folder(
    named: str | None, environ: Mapping[str, str], cwd: Path, *, etc: Path = ETC
) -> Path:
    """The state folder of the configuration that counts, or of the built-in one without any.

    `named` is `--config`. Raises NoConfigError if that, or $GENQ_CONFIG, isn't a file.
    """
    path = _find(named, environ, cwd, etc)
    service = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if override := environ.get("GENQ_DAEMON__STATE_DIR") or service:
        return cwd / override
    if path is None:
        user = _user_folder(environ, "XDG_STATE_HOME", ".local/state") or cwd
        return user / "genq" / _STATE
    folder = _state_dir(path)
    if path.is_relative_to(etc) and not folder.is_absolute():
        return SYSTEM_STATE
    return path.parent / folder


def _find(named: str | None, environ: Mapping[str, str], cwd: Path, etc: Path) -> Path | None:
    if only := named or environ.get("GENQ_CONFIG"):
        path = cwd / only
        if not path.is_file():
            origin = "--config" if named else "$GENQ_CONFIG"
            raise NoConfigError(f"{origin}: there is no file {path}")
        return path
    home = _user_folder(environ, "XDG_CONFIG_HOME", ".config")
    places = [etc / "genq" / FILE_NAME, *([home / "genq" / FILE_NAME] if home else [])]
    return next((path for path in (*places, cwd / FILE_NAME) if path.is_file()), None)


def _state_dir(path: Path) -> Path:
    import tomllib  # noqa: PLC0415  only few commands have to read a configuration

    try:
        with path.open("rb") as file:
            tree: dict[str, Any] = tomllib.loads(file.read(CONFIG_BYTES_MAX).decode("utf-8-sig"))
        folder = tree["daemon"]["state_dir"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        folder = _STATE
    return Path(folder) if isinstance(folder, str) and folder else Path(_STATE)


def _user_folder(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    if (named := environ.get(variable, "")).startswith("/"):
        return Path(named)
    home = environ.get("HOME", "")
    return Path(home) / below_home if home.startswith("/") else None
