"""What the daemon does for its clients: one method for each request that the socket, or the HTTP
side, may bring. The server turns frames into these calls and their results into frames; it knows
nothing of jobs.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

from daemon.wire import messages


class Desk(Protocol):
    """Requests in, values out. Every method raises messages.RequestError with the way out.

    What a method returns is true and durable: it waits for the journal first.
    """

    @property
    def boot(self) -> str:
        """The name of this run of the daemon."""

    @property
    def durable_seq(self) -> int:
        """The newest event that is on disk."""

    async def answer(self, request: messages.AnyRequest, by: str | None) -> Any:
        """The value of a request that has one answer: ping, status, show, why, providers, act,
        pause, resume."""

    async def ls(self, request: messages.Ls) -> Sequence[bytes]:
        """The jobs asked for, each encoded (interfaces.md 2), in order."""

    async def snapshot(self) -> tuple[int, Sequence[bytes], Sequence[bytes]]:
        """(seq, jobs, providers), each encoded: the state after exactly the events up to seq."""

    async def events(
        self, after: int | None, tail: int | None, job: int | None
    ) -> AsyncIterator[bytes]:
        """Stored events, each encoded, from after `after` up to the newest at the call."""

    async def add(
        self, rows: Sequence[messages.Row], by: str | None, *, dry_run: bool
    ) -> dict[str, Any]:
        """Validate whole, add all or nothing: the value of `add_commit`."""

    async def need(self, hashes: Sequence[str]) -> list[str]:
        """Which of these pictures are missing."""

    async def receive(self, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep a picture. Raises RequestError if it isn't what its hash says, or no picture."""

    async def wait(
        self, request: messages.Wait, progress: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """The value of `wait`, when it ends; `progress` is called when something changed."""
