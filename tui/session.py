"""The commands' way to the daemon: which socket, one conversation, and its errors.

The only module of the commands that knows the client's names.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Struct

from daemon.wire import following, upload
from daemon.wire.client import Client, ProtocolMismatchError, ServerError, UnreachableError
from daemon.wire.messages import Events, Ls, Request, Row, Wait
from daemon.wire.sockets import NoSocketError, candidates, choose
from tui.console import Console
from tui.options import UsageError
from tui.whereabouts import NoConfigError, state_folder

__all__ = [
    "NoSocketError",
    "ProtocolMismatchError",
    "ServerError",
    "Session",
    "UnreachableError",
    "connect",
    "follow",
]

T = TypeVar("T")


class _Jobs(Struct, Generic[T]):
    jobs: list[T] = []


class NoRoomError(UnreachableError):
    """The daemon runs, and takes no more clients; `why` is what it said."""

    def __init__(self, path: Path, error: ServerError) -> None:
        super().__init__(path, str(error))

    def __str__(self) -> str:
        return f"genqd at {self.path} takes no more clients: {self.why}"


class Session:
    """A conversation with the daemon. Close it, or use it in a `with`.

    Every method raises UnreachableError and ServerError.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @property
    def path(self) -> Path:
        """The socket."""
        return self._client.path

    @property
    def seq(self) -> int:
        """The newest event when the conversation began."""
        return self._client.welcome.seq

    def request(self, message: Request) -> Any:
        """The value of the answer."""
        return self._client.request(message)

    def jobs(self, message: Ls, kind: type[T]) -> list[T]:
        """The jobs asked for, in order; as `msgspec.Raw` they stay the JSON that they are."""
        return self._client.request(message, _Jobs[kind]).jobs  # type: ignore[valid-type]

    def add(
        self, rows: Sequence[Row], pictures: Mapping[str, Path], *, dry_run: bool
    ) -> dict[str, Any]:
        """Add all rows or none: the value of `add_commit`. `pictures` are the files by SHA-256."""
        return upload.add_all(self._client, rows, pictures, dry_run=dry_run)

    def events(self, message: Events) -> Iterator[dict[str, Any]]:
        """Stored events, as they come."""
        for reply in self._client.stream(message):
            if reply.part is not UNSET:
                yield from msgspec.json.decode(reply.part)["events"]

    def wait(self, message: Wait, progress: Callable[[Mapping[str, int]], None]) -> dict[str, Any]:
        """The value of `wait`, when it is over; `progress` is told the counts meanwhile."""
        value: dict[str, Any] = {}
        for reply in self._client.stream(message, idle_s=None):
            if reply.progress is not UNSET:
                progress(msgspec.json.decode(reply.progress))
            elif reply.ok is not UNSET:
                value = msgspec.json.decode(reply.ok)
        return value


def connect(asked: argparse.Namespace, console: Console) -> Session:
    """A conversation with the daemon that `asked`, the environment or a configuration names.

    Raises UnreachableError, or NoSocketError where there is none to try; ProtocolMismatchError;
    UsageError for a configuration that isn't there.
    """
    return Session(_client(asked, console))


def follow(
    asked: argparse.Namespace,
    console: Console,
    *,
    after: int | None,
    job: int | None,
    away: Callable[[Exception], None],
) -> Iterator[dict[str, Any]]:
    """Events from after `after` (None: from now) without end, whatever becomes of the daemon.

    `away` is told when it goes. Raises what `connect` raises the first time.
    """
    told = following.follow(
        lambda: _client(asked, console),
        after=after,
        job=job,
        sleep=console.clock.sleep,
        away=away,
    )
    for event in told:
        yield msgspec.json.decode(event.line)


def _client(asked: argparse.Namespace, console: Console) -> Client:
    path = _socket(asked, console)
    try:
        return Client.connect(path)
    except ServerError as error:
        raise NoRoomError(path, error) from None


def _socket(asked: argparse.Namespace, console: Console) -> Path:
    """The socket to connect to; a configuration is only looked for where it has to be."""
    paths = candidates(asked.socket, console.environ, None)
    is_named = asked.socket or console.environ.get("GENQ_SOCKET")
    if is_named or any(path.exists() for path in paths):
        return choose(paths)
    try:
        folder = state_folder(asked.config, console.environ, Path.cwd())
    except NoConfigError as error:
        raise UsageError(str(error)) from None
    return choose(candidates(None, console.environ, folder), config=asked.config)
