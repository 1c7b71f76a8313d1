"""The other side of a fake vendor: an engine's settings, a request, a sink."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from daemon.configuration.keys import Secret
from daemon.core.policy import Limits
from daemon.engines.engine import Picture, Request
from daemon.engines.settings import EngineSettings

QUICK = Limits(
    connect_timeout_s=1.0,
    submit_timeout_s=2.0,
    poll_timeout_s=2.0,
    download_timeout_s=2.0,
    poll_interval_s=0.05,
)
HASTY = msgspec.structs.replace(
    QUICK, submit_timeout_s=0.1, poll_timeout_s=0.1, download_timeout_s=0.1
)
"""For what never answers."""


def settings_of(
    *targets: str, key: str = "", limits: Limits = QUICK, headers: Any = (), **more: Any
) -> EngineSettings:
    """Settings for the provider at `targets`."""
    return EngineSettings(
        base_urls=targets,
        key=Secret(key) if key else None,
        headers={name: Secret(value) for name, value in dict(headers).items()},
        limits=limits,
        **more,
    )


def request_of(prompt: str = "a fox", *pictures: Picture, **params: Any) -> Request:
    """What a job asks for."""
    return Request(job=1, name="shot-01", prompt=prompt, params=params, pictures=pictures)


def picture_file(path: Path, *, mime: str = "image/png", content: bytes = b"\x89PNG...") -> Picture:
    """A picture that is a file."""
    path.write_bytes(content)
    return Picture(source=path.name, path=path, sha256="0" * 64, mime=mime)


class Bucket:
    """A sink that keeps what it is given, and may be too small for it."""

    def __init__(self, bytes_max: int | None = None, error: Exception | None = None) -> None:
        self.content = b""
        self._bytes_max = bytes_max
        self._error = error or OverflowError()

    async def write(self, chunk: bytes) -> None:
        self.content += chunk
        if self._bytes_max is not None and len(self.content) > self._bytes_max:
            raise self._error
