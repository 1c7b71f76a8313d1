"""`aioresponses`, repaired for aiohttp 3.14 and later.

Since 3.14 a `ClientResponse` must be told its `stream_writer`, and aioresponses 0.7.9 doesn't
(pnuckowski/aioresponses #289). `test_replies.py` fails when the repair is needed no more.
"""

from __future__ import annotations

from typing import Any

from aiohttp import ClientResponse
from aioresponses import aioresponses


class _NothingWritten:
    """Stands in for the writer of a request that was never sent."""

    output_size = 0


class _Reply(ClientResponse):
    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **{"stream_writer": _NothingWritten(), **named})


class Replies(aioresponses):
    """A context in which aiohttp sessions get the replies that were added, and no other."""

    def add(self, *args: Any, **named: Any) -> None:
        """Add one reply, as `aioresponses.add` does; `get`, `post` and the others come here."""
        super().add(*args, **{"response_class": _Reply, **named})
