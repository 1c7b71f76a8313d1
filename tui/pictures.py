"""Reference pictures that are files: read and hashed here, so that the daemon opens none."""

import hashlib
import re
import stat
from pathlib import Path

from daemon.core.job import Image
from daemon.core.limits import IMAGE_BYTES_MAX, is_path
from daemon.core.suggest import shown

_CHUNK_BYTES = 1_048_576
_STARTS = re.compile(rb"\x89PNG|\xff\xd8\xff|RIFF.{4}WEBP|GIF8|BM", re.DOTALL)
"""How the pictures begin that the daemon takes; it looks closer, but can't name the job's line."""


class PictureError(Exception):
    """A file that can't be sent as a picture; the message says why."""


class Pictures:
    """The files of one add, each hashed once: `files` maps a SHA-256 to where it was found."""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self._known: dict[Path, str] = {}

    def image(self, source: str, folder: Path) -> Image:
        """What a job says of a picture: URLs and `job:NAME` as they are, files with their hash.

        A relative path is relative to `folder`. Raises PictureError.
        """
        if not is_path(source):
            return Image(source)
        path = folder / source
        known = self._known.get(path)
        if known is None:
            known = self._known[path] = _hash(path)
            self.files.setdefault(known, path)
        return Image(str(path), known)


def _hash(path: Path) -> str:
    """The SHA-256 of a file. Raises PictureError for what is no picture, or too large."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise PictureError(f"{shown(str(path))} is no file")
        if not 0 < status.st_size <= IMAGE_BYTES_MAX:
            size = "is empty" if status.st_size == 0 else f"has {status.st_size:,} bytes"
            limit = f"; the limit is {IMAGE_BYTES_MAX:,}" if status.st_size else ""
            raise PictureError(f"{shown(str(path))} {size}{limit}")
        with path.open("rb") as file:
            chunk = file.read(_CHUNK_BYTES)
            if not _STARTS.match(chunk):
                takes = "send a PNG, JPEG, WebP, GIF or BMP"
                raise PictureError(f"{shown(str(path))} is no picture: {takes}")
            digest = hashlib.sha256(chunk)
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise PictureError(f"{shown(str(path))} can't be read: {error.strerror}") from None
    return digest.hexdigest()
