"""Pictures inside a request: read and turned into base64 in a thread."""

import asyncio
import base64
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from daemon.core.kinds import FOREIGN
from daemon.core.outcomes import Fault
from daemon.engines.engine import Picture
from daemon.engines.fetching import LinkError, url_of
from daemon.engines.http import Http
from daemon.engines.targets import foreign, is_web

_BUSY = frozenset({408, 425, 429})
"""Statuses of a host that may well give the picture a little later."""


class Embedded(Struct, frozen=True):
    """A picture's content as base64, and its type."""

    mime: str
    base64: str

    @property
    def data_uri(self) -> str:
        """RFC 2397.

        >>> Embedded("image/png", "iVBO").data_uri
        'data:image/png;base64,iVBO'
        """
        return f"data:{self.mime};base64,{self.base64}"


async def embed(picture: Picture, *, mimes: tuple[str, ...], bytes_max: int) -> Embedded | Fault:
    """The content of a picture that is a file; a fault, before anything was sent, if it isn't one
    of `mimes`, has more than `bytes_max` bytes, or can't be read.
    """
    if picture.path is None or picture.mime not in mimes:
        return unusable(picture, f"this provider takes {_names(mimes)} only")
    try:
        content = await asyncio.to_thread(_read, picture.path, bytes_max)
    except OSError as error:
        message = f"{picture.source}: {error.strerror or error}"
        return Fault("submit", "local.io", message=message)
    if content is None:
        return unusable(picture, f"it has more than {bytes_max:,} bytes, the provider's limit")
    return Embedded(picture.mime, content)


async def embed_linked(
    picture: Picture, http: Http, *, target: str, mimes: Mapping[bytes, str], bytes_max: int
) -> Embedded | Fault:
    """As `embed`, for a picture that is a URL: it is fetched, under the guard of results.

    `mimes` tells types by the first bytes.
    """
    memory = _Memory(bytes_max)
    try:
        if is_web(target):
            url_of(picture.url or "", target)
        fault = await http.fetch_to(memory, picture.url or "", target=target)
    except LinkError as error:
        return unusable(picture, str(error))
    except _FullError:
        return unusable(picture, f"it has more than {bytes_max:,} bytes, the provider's limit")
    if fault is not None:
        return _not_fetched(picture, fault, target)
    content = bytes(memory.content)
    mime = next((one for start, one in mimes.items() if content.startswith(start)), None)
    if mime is None:
        return unusable(picture, f"this provider takes {_names(mimes.values())} only")
    return Embedded(mime, await asyncio.to_thread(_base64, content))


async def encoded(body: object) -> bytes:
    """`body` as JSON, made in a thread: with pictures inside it is large."""
    return await asyncio.to_thread(msgspec.json.encode, body)


def unusable(picture: Picture, why: str) -> Fault:
    """A picture that can't be sent: the job fails, for a rule of the engine says so."""
    return Fault("submit", "local.decode", message=f"{picture.source}: {why}")


def _read(path: Path, bytes_max: int) -> str | None:
    with path.open("rb") as file:
        content = file.read(bytes_max + 1)
    return None if len(content) > bytes_max else _base64(content)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _names(mimes: Iterable[str]) -> str:
    return " or ".join(mime.removeprefix("image/").upper() for mime in mimes)


def _not_fetched(picture: Picture, fault: Fault, target: str) -> Fault:
    """Nothing was asked of the provider yet: the fault is the picture's, and says so."""
    if fault.kind == FOREIGN:
        return foreign("submit", target)
    refused = 400 <= (fault.http or 0) < 500 and fault.http not in _BUSY
    status = f"HTTP {fault.http}: " if fault.http else ""
    message = f"{picture.source}: {status}{fault.message}"
    kind = "local.decode" if refused or fault.kind == "local.address" else "local.io"
    return Fault("submit", kind, message=message, retry_after_s=fault.retry_after_s)


class _FullError(Exception):
    """The picture is larger than it may be."""


class _Memory:
    """A sink that keeps a picture."""

    def __init__(self, bytes_max: int) -> None:
        self.content = bytearray()
        self._bytes_max = bytes_max

    async def write(self, chunk: bytes) -> None:
        self.content += chunk
        if len(self.content) > self._bytes_max:
            raise _FullError
