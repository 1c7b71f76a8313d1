"""Pictures inside a request: read and turned into base64 in a thread."""

import asyncio
import base64
from pathlib import Path

import msgspec
from msgspec import Struct

from daemon.core.outcomes import Fault
from daemon.engines.engine import Picture


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
        kinds = " or ".join(mime.removeprefix("image/").upper() for mime in mimes)
        return unusable(picture, f"this provider takes {kinds} only")
    try:
        content = await asyncio.to_thread(_read, picture.path, bytes_max)
    except OSError as error:
        message = f"{picture.source}: {error.strerror or error}"
        return Fault("submit", "local.io", message=message)
    if content is None:
        return unusable(picture, f"it has more than {bytes_max:,} bytes, the provider's limit")
    return Embedded(picture.mime, content)


async def encoded(body: object) -> bytes:
    """`body` as JSON, made in a thread: with pictures inside it is large."""
    return await asyncio.to_thread(msgspec.json.encode, body)


def unusable(picture: Picture, why: str) -> Fault:
    """A picture that can't be sent: the job fails, for a rule of the engine says so."""
    return Fault("submit", "local.decode", message=f"{picture.source}: {why}")


def _read(path: Path, bytes_max: int) -> str | None:
    with path.open("rb") as file:
        content = file.read(bytes_max + 1)
    return None if len(content) > bytes_max else base64.b64encode(content).decode()
