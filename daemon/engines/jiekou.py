"""jiekou.ai: pictures from pictures and prompts, by many models, each with a route of its own.

Most routes are synchronous: the answer is the picture, and an answer that is lost is lost. Those
below `async/` give a task, which is asked for.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from daemon.clock import Clock
from daemon.core.faults import Rule
from daemon.core.job import Result
from daemon.core.outcomes import Absent, Accepted, Effect, Fault, Pending, Ready, Stopped
from daemon.core.policy import Abilities
from daemon.engines.answers import Dialect, Said, excerpt, number_of, text_of
from daemon.engines.embedding import embed, embed_linked, encoded, unusable
from daemon.engines.engine import Picture, Problem, Request, Sink
from daemon.engines.http import Call, Http
from daemon.engines.jiekou_errors import PROHIBITED, REFUSALS, RULES, SETTLED, read_error
from daemon.engines.jiekou_models import (
    Route,
    body_of,
    find_route,
    is_synchronous,
    model_of,
    problems_with,
)
from daemon.engines.jiekou_results import Found, found_in, is_empty, results_of
from daemon.engines.settings import EngineSettings
from daemon.engines.spool import Spool, is_spooled, not_kept

PICTURE_BYTES_MAX = 10 * 1024 * 1024
INLINE_BYTES_MAX = 128 * 1024 * 1024
"""Of an answer that brings pictures: ten of about 9 MB, as base64."""
_MAGIC: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"RIFF": "image/webp",
}
_SUCCEEDED = "TASK_STATUS_SUCCEED"
_FAILED = "TASK_STATUS_FAILED"


class Jiekou:
    """The engine `jiekou`. Whether it is synchronous follows from the section's model."""

    rules: tuple[Rule, ...] = RULES

    def __init__(self, settings: EngineSettings, *, clock: Clock, spool: Path) -> None:
        self._target = settings.base_urls[0].rstrip("/")
        self._model = settings.model
        self._submit_s = settings.limits.submit_timeout_s
        self._clock = clock
        self._spool = Spool(spool)
        self._http = Http(settings, clock=clock, dialect=Dialect(read_error, REFUSALS))
        synchronous = is_synchronous(self._model)
        self.abilities = Abilities(synchronous=synchronous, progress=not synchronous)

    def check(self, prompt: str, params: Mapping[str, Any], images: int) -> list[Problem]:
        """Every problem that the documented limits have with a job."""
        return list(problems_with(self._model, prompt, params, images))

    def picture_types(self, params: Mapping[str, Any]) -> frozenset[str]:
        """What the route of the job's model takes."""
        return frozenset((find_route(model_of(params, self._model)) or Route()).mimes)

    async def choose(self, request: Request) -> str:  # noqa: ARG002 - there is one address
        """The provider's address."""
        return self._target

    async def submit(self, request: Request, *, key: str, target: str) -> Accepted | Ready | Fault:
        """Send the request; nothing in it tells it from another one just like it.

        A picture that the answer brings is on disk, synced, before it counts.
        """
        started = self._clock.monotonic()
        model = model_of(request.params, self._model)
        filled = await self._filled(request, find_route(model) or Route(), target)
        if isinstance(filled, Fault):
            return self._http.cleaned(filled)
        field, pictures = filled
        body = body_of(self._model, request.prompt, request.params, field, pictures)
        call = Call(
            phase="submit",
            method="POST",
            path=f"/v3/{quote(model, safe='/')}",
            body=await encoded(body),
            paid=True,
            bytes_max=INLINE_BYTES_MAX,
            limit_s=self._submit_s - (self._clock.monotonic() - started),
        )
        answer = await self._http.ask(call, target=target)
        if isinstance(answer, Fault):
            return answer
        return await self._answered(call, answer, key, target)

    async def poll(self, remote_id: str, *, target: str) -> Pending | Ready | Fault:
        """Ask how the task is doing. A status that isn't documented goes on."""
        path = f"/v3/async/task-result?task_id={quote(remote_id, safe='')}"
        call = Call(phase="poll", path=path, bytes_max=INLINE_BYTES_MAX)
        answer = await self._http.ask(call, target=target)
        if isinstance(answer, Fault):
            return _verdict(answer)
        task = answer.get("task")
        task = task if isinstance(task, dict) else {}
        status = text_of(task.get("status")).upper()
        if status == _SUCCEEDED:
            found = found_in(answer)
            if found:
                return await self._ready(call, found, remote_id)
            return self._http.unreadable(
                call, "the task succeeded, but there is nothing in it", http=200
            )
        if status == _FAILED:
            words = text_of(task.get("reason"))
            code = PROHIBITED if PROHIBITED in words.upper() else None
            return self._failed(call, Said(code, words or "the provider gave no reason"))
        if status:
            return Pending(_share(task.get("progress_percent")))
        said = read_error(answer, self._clock.now())
        if said is not None:
            return _verdict(self._http.refusal(call, said, effect="accepted"))
        return self._http.unreadable(call, "the answer has no task status", http=200)

    async def fetch(self, result: Result, sink: Sink, *, target: str) -> Fault | None:
        """Stream a picture: a spooled one, or a signed link, to which no key goes."""
        if is_spooled(result):
            return await self._spool.fetch(result, sink)
        return await self._http.fetch_to(sink, result.url, target=target)

    async def cancel(self, remote_id: str, *, target: str) -> Stopped:  # noqa: ARG002 - there is none
        """There is no such call: the task goes on."""
        return Stopped("unknown")

    async def lookup(self, key: str, *, target: str) -> Absent | Accepted | Fault:  # noqa: ARG002 - there is none
        """There is no such call: nothing is known."""
        message = "this provider knows no keys of requests, and lists no tasks"
        return Fault("submit", "provider.error", message=message, effect="unknown")

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    # ---- submit ----

    async def _filled(
        self, request: Request, route: Route, target: str
    ) -> tuple[str, list[str]] | Fault:
        """The field for the pictures, and what stands in it. Half of the time is for that."""
        if request.pictures and not route.pictures:
            return unusable(request.pictures[0], "the model takes no pictures")
        linked = [picture.url for picture in request.pictures if picture.url is not None]
        if route.links and len(linked) == len(request.pictures):
            return route.links, linked
        pictures = []
        try:
            async with asyncio.timeout(self._submit_s / 2):
                for picture in request.pictures:
                    one = await self._written(picture, route, target)
                    if isinstance(one, Fault):
                        return one
                    pictures.append(one)
        except TimeoutError:
            return Fault("submit", "local.io", message="the pictures took too long to fetch")
        return route.pictures, pictures

    async def _written(self, picture: Picture, route: Route, target: str) -> str | Fault:
        """A picture as the route takes it. One with a field for links takes no others there."""
        if picture.url is not None and not route.links:
            return picture.url
        if picture.url is not None:
            embedded = await embed_linked(
                picture, self._http, target=target, mimes=_MAGIC, bytes_max=PICTURE_BYTES_MAX
            )
        else:
            embedded = await embed(picture, mimes=route.mimes, bytes_max=PICTURE_BYTES_MAX)
        if isinstance(embedded, Fault):
            return embedded
        return embedded.data_uri if route.data_uri else embedded.base64

    async def _answered(
        self, call: Call, answer: Mapping[str, Any], key: str, target: str
    ) -> Accepted | Ready | Fault:
        """A good answer: a task, results, none of them, or an error after all."""
        task_id = text_of(answer.get("task_id"))
        if task_id:
            return Accepted(task_id, target)
        found = found_in(answer)
        if found:
            return await self._ready(call, found, key)
        said, empty = read_error(answer, self._clock.now()), is_empty(answer)
        if said is not None and (said.code in SETTLED or not empty):
            return self._http.refusal(call, said, effect=_effect(said, answer))
        quoted = excerpt(msgspec.json.encode(answer))
        if empty:
            return self._failed(call, Said("no_picture", f"the answer has no picture: {quoted}"))
        return self._http.unreadable(
            call, f"the answer has neither a task nor a picture: {quoted}", http=200
        )

    # ---- results ----

    async def _ready(self, call: Call, found: tuple[Found, ...], name: str) -> Ready | Fault:
        try:
            results = await results_of(found, self._spool, name=name, now=self._clock.now())
        except OSError as error:
            return not_kept(error, call.phase, "accepted")
        except ValueError as error:
            return self._http.unreadable(call, f"a picture can't be decoded: {error}", http=200)
        return Ready(results)

    def _failed(self, call: Call, said: Said) -> Fault:
        fault = Fault(
            call.phase, "provider.failed", None, said.code, said.message, effect="accepted"
        )
        return self._http.cleaned(fault)


def _effect(said: Said, answer: Mapping[str, Any]) -> Effect:
    """What an error in a good answer leaves open: its `code` is an HTTP status."""
    status = number_of(answer.get("code")) or 0
    definite = said.code in SETTLED or (400 <= status < 500 and status != 408)
    return "none" if definite else "unknown"


def _verdict(fault: Fault) -> Fault:
    """Refused content, told while polling, is what became of the task."""
    if fault.code != PROHIBITED:
        return fault
    return msgspec.structs.replace(fault, kind="provider.failed")


def _share(percent: Any) -> float | None:
    """Progress from 0 to 1; None where it isn't told.

    >>> _share(40), _share("40"), _share(None), _share(400)
    (0.4, 0.4, None, 1.0)
    """
    number = number_of(percent)
    return None if number is None else min(max(number / 100, 0.0), 1.0)
