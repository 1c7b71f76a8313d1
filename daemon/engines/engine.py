"""What an engine is: it turns calls into a provider's requests, and answers into outcomes.

It counts nothing, decides nothing, retries nothing and reads no clock but through what it is
given. A fault is returned as data, never raised; an exception from an engine is our own bug.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from daemon.core.faults import Rule
from daemon.core.job import Result
from daemon.core.outcomes import Absent, Accepted, Fault, Pending, Ready, Stopped
from daemon.core.policy import Abilities


class Picture(Struct, frozen=True):
    """A reference picture that fits the provider's limits: a local file, or a URL as it was given.

    `path` is set for files (its content is `sha256`, of the file as sent), `url` for URLs.
    """

    source: str
    path: Path | None = None
    url: str | None = None
    sha256: str | None = None
    mime: str | None = None


class Request(Struct, frozen=True, kw_only=True):
    """What is asked of the provider: the job's half, with the section's defaults merged in."""

    job: int
    name: str | None
    prompt: str
    params: Mapping[str, Any]
    pictures: tuple[Picture, ...] = ()


class Problem(Struct, frozen=True):
    """Why a job can't be asked of this provider: the field, and what would be right."""

    field: str
    message: str


class Sink(Protocol):
    """Where a download goes. Enforces the byte cap: `write` raises TooLargeError over it."""

    async def write(self, chunk: bytes) -> None:
        """Take `chunk`; returns when there is room for more."""


class Engine(Protocol):
    """One provider's wire contract. Every call has a time limit of its own."""

    @property
    def abilities(self) -> Abilities:
        """What this provider can do: lookup, cancel, progress; is it synchronous?"""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The engine's own rules, after the operator's and before the shared ones."""

    def check(self, prompt: str, params: Mapping[str, Any], images: int) -> list[Problem]:
        """Every problem that the provider's documented limits have with a job. No network."""

    def picture_types(self, params: Mapping[str, Any]) -> frozenset[str] | None:
        """What a picture that is a file may be (`image/png`) for a job with `params`: JPEG at
        least; None for any. Others are made a JPEG before the engine gets them."""

    async def choose(self, request: Request) -> str:
        """The target (base URL) that this request shall go to; it is kept with the job."""

    async def submit(self, request: Request, *, key: str, target: str) -> Accepted | Ready | Fault:
        """Send the paid request once, on a connection of its own."""

    async def poll(self, remote_id: str, *, target: str) -> Pending | Ready | Absent | Fault:
        """Ask once how the task is doing."""

    async def fetch(self, result: Result, sink: Sink, *, target: str) -> Fault | None:
        """Stream one result into `sink`; None when it is complete."""

    async def cancel(self, remote_id: str, *, target: str) -> Stopped | Ready | Fault:
        """Tell the provider to stop. Only called where `abilities.cancel`."""

    async def lookup(self, key: str, *, target: str) -> Accepted | Absent | Fault:
        """Whether a request with `key` arrived. Only called where `abilities.lookup`."""

    async def close(self) -> None:
        """Release connections. Safe to call twice."""
