"""The other side of a fake vendor: an engine's settings, a request, a sink."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from daemon.configuration.keys import Secret
from daemon.core.job import Result
from daemon.core.outcomes import Absent, Accepted, Fault, Pending, Ready
from daemon.core.policy import Limits
from daemon.engines.engine import Engine, Picture, Request
from daemon.engines.settings import EngineSettings

PATIENT = Limits(
    connect_timeout_s=30.0,
    submit_timeout_s=30.0,
    poll_timeout_s=30.0,
    download_timeout_s=30.0,
    poll_interval_s=0.05,
)
"""For what answers: on a busy machine too."""
HASTY = msgspec.structs.replace(
    PATIENT, submit_timeout_s=0.5, poll_timeout_s=0.5, download_timeout_s=0.5
)
"""For what never answers; a busy machine sends its request within this."""
E = TypeVar("E", bound=Engine)


def settings_of(
    *targets: str, key: str = "", limits: Limits = PATIENT, headers: Any = (), **more: Any
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


def failed(outcome: object) -> Fault:
    """`outcome`, which is a fault."""
    assert isinstance(outcome, Fault), outcome
    return outcome


class Customer(Generic[E]):
    """Who uses `engine` at a fake vendor. The keys of its submits are k1, k2 and so on."""

    first_id = "t-1"

    def __init__(self, engine: E, target: str) -> None:
        self.engine = engine
        self.target = target
        self.keys = 0

    def key_of(self, number: int) -> str:
        """The key of the submit of this number."""
        return f"k{number}"

    async def submit(
        self, prompt: str = "a fox", *pictures: Picture, key: str = "", **params: Any
    ) -> Accepted | Ready | Fault:
        """Pay for one more, with the next key."""
        self.keys += 1
        request = request_of(prompt, *pictures, **params)
        target = await self.engine.choose(request)
        return await self.engine.submit(request, key=key or self.key_of(self.keys), target=target)

    async def accepted(self, **params: Any) -> str:
        """The remote id of one more that is accepted."""
        answer = await self.submit(**params)
        assert isinstance(answer, Accepted), answer
        return answer.remote_id

    async def poll(self, remote_id: str = "") -> Pending | Ready | Absent | Fault:
        """What is known of `remote_id`, or of the first task."""
        return await self.engine.poll(remote_id or self.first_id, target=self.target)

    async def fetched(self, result: Result) -> bytes:
        """What `result` holds."""
        bucket = Bucket()
        fault = await self.engine.fetch(result, bucket, target=self.target)
        assert fault is None, fault
        return bucket.content


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
