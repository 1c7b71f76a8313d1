"""Which socket: where a client looks for the daemon, and what a socket's path may be.

The order is interfaces.md 1, "Which socket". Nothing here opens one.
"""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

FILE_NAME = "genq.sock"
SYSTEM_SOCKET = Path("/run/genq") / FILE_NAME
PATH_BYTES_MAX = 107
"""What the kernel takes (unix(7): sun_path is 108 bytes, the last one is NUL)."""


class NoSocketError(Exception):
    """There is no socket to connect to. The message names what was tried, and the way out."""


def path_problem(path: Path) -> str | None:
    """Why no socket can be at `path`; None if one can.

    >>> path_problem(Path("/run/genq/genq.sock"))
    >>> path_problem(Path("/" + "x" * 107))[:50]
    "the socket's path has 108 bytes, more than 107: /x"
    """
    size = len(os.fsencode(path))
    if size <= PATH_BYTES_MAX:
        return None
    return (
        f"the socket's path has {size} bytes, more than {PATH_BYTES_MAX}: {path}; "
        "choose a shorter one with --socket"
    )


def candidates(
    explicit: str | None, environ: Mapping[str, str], state_dir: Path | None
) -> list[Path]:
    """The paths where a client looks for the daemon, in order.

    `explicit` is `--socket`; with it, or $GENQ_SOCKET, there is no other. `state_dir` is the state
    folder of the configuration that was found, if one was.

    >>> candidates(None, {"XDG_RUNTIME_DIR": "/run/user/1000"}, None)[1]
    PosixPath('/run/user/1000/genq/genq.sock')
    """
    if only := explicit or environ.get("GENQ_SOCKET"):
        return [Path(only)]
    paths = [SYSTEM_SOCKET]
    if (runtime := environ.get("XDG_RUNTIME_DIR", "")).startswith("/"):
        paths.append(Path(runtime) / "genq" / FILE_NAME)
    if state_dir is not None:
        paths.append(state_dir / FILE_NAME)
    return paths


def choose(
    paths: Sequence[Path],
    exists: Callable[[Path], bool] = os.path.exists,
    *,
    config: str | None = None,
) -> Path:
    """The first of `paths` that exists. A single one is taken as it is: connecting tells.

    Raises NoSocketError, which names all of them. `config` is `--config`: the daemon needs it too.
    """
    if len(paths) == 1:
        return paths[0]
    for path in paths:
        if exists(path):
            return path
    tried = ", ".join(map(str, paths))
    raise NoSocketError(f"genqd isn't running: no socket at {tried}; {_starting(config)}")


def _starting(config: str | None) -> str:
    option = f" --config {shlex.quote(config)}" if config else ""
    return f"start it with: genqd run{option}"


def how_to_start(path: Path) -> str:
    """The one line that starts a daemon which listens at `path`.

    >>> how_to_start(SYSTEM_SOCKET)
    'start it with: systemctl start genqd'
    >>> how_to_start(Path("/tmp/my genq.sock"))
    "start it with: genqd run --socket '/tmp/my genq.sock'"
    """
    if path == SYSTEM_SOCKET:
        return "start it with: systemctl start genqd"
    return f"start it with: genqd run --socket {shlex.quote(str(path))}"
