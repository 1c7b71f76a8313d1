"""The socket's door: who may come in, how many, and by what name; and an orderly closing."""

import asyncio
import pwd
import socket
import struct
from collections.abc import Callable
from typing import Any

import structlog

from daemon import failpoints
from daemon.clock import Clock
from daemon.serving.connection import Connection
from daemon.serving.deadline import within
from daemon.serving.desk import Desk
from daemon.serving.hub import Hub
from daemon.wire import codec
from daemon.wire.messages import ErrorBody

log = structlog.get_logger()

CONNECTIONS_MAX = 256
STOP_S_MAX = 2.0
"""Answers that are being sent when the daemon stops have so long."""
NAME_S_MAX = 2.0
"""The system's directory of users may be slow; then a user is called by number."""
NAMES_KEPT_MAX = 1_000
READ_BYTES_MAX = 262_144
"""What is read ahead of a client whose requests wait."""
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))


def user_name(uid: int) -> str:
    """The name of a user of this system. May block. Raises KeyError if there is none."""
    return pwd.getpwuid(uid).pw_name


class Server:
    """Serves every client of one listening socket. `name_of` calls a user by name."""

    def __init__(
        self, *, desk: Desk, hub: Hub, clock: Clock, name_of: Callable[[int], str] = user_name
    ) -> None:
        self._desk = desk
        self._hub = hub
        self._clock = clock
        self._name_of = name_of
        self._names: dict[int, str] = {}
        self._clients: dict[asyncio.Task[None], Connection | None] = {}
        self._listener: asyncio.Server | None = None

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._clients)

    async def start(self, listening: socket.socket) -> None:
        """Take clients from `listening`, which is bound (binding.py) or inherited."""
        failpoints.at("recovery_durable")
        # Not start_unix_server: from Python 3.13 on it would remove a socket that isn't ours.
        self._listener = await asyncio.start_server(
            self._enter, sock=listening, limit=READ_BYTES_MAX
        )

    async def stop(self, reason: str) -> None:
        """Take no more clients and requests; finish what is being sent, within STOP_S_MAX."""
        log.info("server_stopping", reason=reason, clients=len(self._clients))
        if self._listener is not None:
            self._listener.close()
        finishing = [one.finish() for one in self._clients.values() if one is not None]
        if finishing:
            try:
                await within(self._clock, STOP_S_MAX, asyncio.gather(*finishing))
            except TimeoutError:
                log.warning("answers_cut", clients=len(self._clients))
        tasks = list(self._clients)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _enter(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= CONNECTIONS_MAX:
            body = ErrorBody("limit", f"{CONNECTIONS_MAX} clients are connected, the limit")
            writer.write(codec.encode_error(None, body))
            writer.close()
            log.warning("client_refused", clients=CONNECTIONS_MAX)
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._clients[task] = None
        task.add_done_callback(self._clients.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            by = await self._name(writer.get_extra_info("socket"))
            client = Connection(
                desk=self._desk,
                hub=self._hub,
                clock=self._clock,
                reader=reader,
                writer=writer,
                by=by,
            )
            me = asyncio.current_task()
            assert me is not None  # noqa: S101  narrows
            self._clients[me] = client
            await client.run()
        except Exception:  # one client's trouble isn't another's
            log.exception("connection_failed")
        finally:
            writer.transport.abort()

    async def _name(self, sock: Any) -> str:
        """The user at the other end, as the kernel knows it: a name, else a number."""
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(raw)
        if uid not in self._names:
            try:
                name = await within(self._clock, NAME_S_MAX, asyncio.to_thread(self._name_of, uid))
            except (KeyError, OSError):
                return str(uid)
            if len(self._names) >= NAMES_KEPT_MAX:
                self._names.clear()
            self._names[uid] = name
        return self._names[uid]
