"""The calls that ComfyUI's server takes (comfyui.md), each done once, answers read strictly.

An answer that isn't what the document says proves nothing, least of all that a task is gone.
"""

import asyncio
import base64
import hashlib
import io
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from aiohttp import FormData

from daemon.core.outcomes import Effect, Fault
from daemon.engines.answers import number_of, text_of
from daemon.engines.comfyui_answers import Spot, UnlikeError, entry_of, named_by, spots_of
from daemon.engines.embedding import embed, embed_linked, encoded
from daemon.engines.engine import Picture
from daemon.engines.http import Call, Http

PICTURE_BYTES_MAX = 99 * 1024 * 1024
"""A server takes 100 MB unless told otherwise; the rest is the form around the picture."""
PICTURE_TYPES: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"RIFF": "image/webp",
}
LISTS_BYTES_MAX = 64 * 1024 * 1024
"""Queue and history hold the graphs of all their tasks."""
RECENT_MAX = 100
"""So far back a task is looked for that an old server gave an id of its own."""

Asking = Literal["submit", "poll"]
"""What for: a look for a request whose answer was lost, or a look at a task."""


class Calls:
    """Every call but the paid one."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def length(self, target: str, *, limit_s: float) -> int | None:
        """How many tasks the server has to do; None if it doesn't say so in time."""
        call = Call(phase="prepare", path="/prompt", limit_s=limit_s)
        answer = await self._http.ask(call, target=target)
        known = None if isinstance(answer, Fault) else answer.get("exec_info")
        return number_of(known.get("queue_remaining")) if isinstance(known, Mapping) else None

    async def upload(self, picture: Picture, *, target: str) -> str | Fault:
        """What LoadImage calls the picture from now on. The same content has the same name, so
        that a second upload changes nothing.
        """
        mimes, bytes_max = PICTURE_TYPES, PICTURE_BYTES_MAX
        if picture.url is None:
            found = await embed(picture, mimes=tuple(mimes.values()), bytes_max=bytes_max)
        else:
            found = await embed_linked(
                picture, self._http, target=target, mimes=mimes, bytes_max=bytes_max
            )
        if isinstance(found, Fault):
            return found
        content, mime = await asyncio.to_thread(base64.b64decode, found.base64), found.mime
        name = f"genq-{hashlib.sha256(content).hexdigest()[:32]}.{mime.removeprefix('image/')}"
        form = FormData()
        form.add_field("image", io.BytesIO(content), filename=name, content_type=mime)
        form.add_field("type", "input")
        call = Call(phase="submit", method="POST", path="/upload/image", body=form)
        answer = await self._http.ask(call, target=target)
        if isinstance(answer, Fault):
            return answer
        stored, folder = text_of(answer.get("name")), text_of(answer.get("subfolder"))
        if not stored:
            return self._http.unreadable(call, "the answer has no name of the picture", http=200)
        return f"{folder}/{stored}" if folder else stored

    async def queue(self, asking: Asking, *, target: str) -> list[Spot] | Fault:
        """Every task that waits or runs."""
        call = _look(asking, "/queue")
        answer = await self._http.ask(call, target=target)
        if isinstance(answer, Fault):
            return answer
        try:
            return spots_of(answer)
        except UnlikeError as error:
            return self._http.unreadable(call, str(error), http=200)

    async def entry(
        self, asking: Asking, remote_id: str, *, target: str
    ) -> Mapping[str, Any] | Fault | None:
        """What the history has of a task that is over; None if it has nothing."""
        call = _look(asking, f"/history/{quote(remote_id, safe='')}")
        answer = await self._http.ask(call, target=target)
        if isinstance(answer, Fault):
            return answer
        try:
            return entry_of(answer, remote_id)
        except UnlikeError as error:
            return self._http.unreadable(call, str(error), http=200)

    async def renamed(self, client_id: str, *, target: str) -> str | Fault | None:
        """The id that an old server, which names tasks itself, gave the task of `client_id`, if it
        is over: looked for among the last ones.
        """
        call = _look("submit", f"/history?max_items={RECENT_MAX}")
        answer = await self._http.ask(call, target=target)
        if isinstance(answer, Fault):
            return answer
        try:
            return named_by(answer, client_id)
        except UnlikeError as error:
            return self._http.unreadable(call, str(error), http=200)

    async def stop(self, spot: Spot, *, target: str) -> Fault | None:
        """Take a task out of the queue, or interrupt it if it runs.

        Old servers interrupt whatever runs: they are told only when it was this task a moment ago.
        """
        path, body = (
            ("/interrupt", {"prompt_id": spot.remote_id})
            if spot.running
            else ("/queue", {"delete": [spot.remote_id]})
        )
        call = Call(phase="poll", method="POST", path=path, body=await encoded(body))
        answer = await self._http.send(call, target=target)
        return answer if isinstance(answer, Fault) else None


def _look(asking: Asking, path: str) -> Call:
    """A look that fails leaves a doubt about a request as it is."""
    effect: Effect = "unknown" if asking == "submit" else "accepted"
    return Call(phase=asking, path=path, effect=effect, bytes_max=LISTS_BYTES_MAX)
