"""Google's Veo: long-running operations on the Gemini API, or on the cloud's platform.

Both take the same request; they differ in where it goes, how an operation is asked about, and
whether its clips are links, objects in a bucket, or inside the last answer.
"""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from yarl import URL

from daemon.clock import Clock
from daemon.core.faults import Rule
from daemon.core.job import Result
from daemon.core.outcomes import Absent, Accepted, Effect, Fault, Pending, Ready, Stopped
from daemon.core.policy import Abilities
from daemon.core.suggest import shown
from daemon.engines.answers import Dialect, Said, number_of, text_of
from daemon.engines.embedding import Embedded, embed, embed_linked, encoded
from daemon.engines.engine import Picture, Problem, Request, Sink
from daemon.engines.http import Call, Http
from daemon.engines.settings import EngineSettings
from daemon.engines.spool import Spool, is_spooled, not_kept
from daemon.engines.targets import foreign, is_web
from daemon.engines.veo_errors import NO_OPERATION, RULES, read_error
from daemon.engines.veo_request import Variant, body_of, problems_with
from daemon.engines.veo_results import Made, is_done, made_by, results_of

RETENTION_S = 2 * 86_400.0
PICTURE_BYTES_MAX = 20 * 1024 * 1024
PICTURES: Mapping[bytes, str] = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
INLINE_BYTES_MAX = 128 * 1024 * 1024
"""Of an answer that brings clips: four of about 24 MB, as base64."""
STORE = "https://storage.googleapis.com"
GOOGLE = "generativelanguage.googleapis.com"
_DEVELOPERS = re.compile(r"models/[\w.@-]+/operations/[\w.@:-]+", re.ASCII)
_PLATFORMS = re.compile(
    r"(?:projects/[\w.@:-]+/locations/[\w-]+/)?"
    r"publishers/google/models/(?P<model>[\w.@-]+)/operations/[\w.@:-]+",
    re.ASCII,
)
_FILE = re.compile(r"/v1[a-z0-9]*/(files/[\w-]+:download)", re.ASCII)


class Veo:
    """The engine `veo`; `settings.own["variant"]` tells which."""

    abilities = Abilities(retention_s=RETENTION_S)
    rules: tuple[Rule, ...] = RULES

    def __init__(self, settings: EngineSettings, *, clock: Clock, spool: Path) -> None:
        self._target = settings.base_urls[0].rstrip("/")
        self._model = settings.model
        self._limits = settings.limits
        self._clock = clock
        self._spool = Spool(spool)
        self._variant: Variant = (
            "developer" if settings.own.get("variant") == "developer" else "platform"
        )
        # Within a project the platform takes tokens; without one, keys.
        project = "/projects/" in self._target
        header = ("Authorization", "Bearer ") if project else ("x-goog-api-key", "")
        self._http = Http(settings, clock=clock, dialect=Dialect(read_error), key_header=header)

    def check(self, prompt: str, params: Mapping[str, Any], images: int) -> list[Problem]:
        """Every problem that the documented limits have with a job."""
        return list(problems_with(self._variant, prompt, params, images))

    def picture_types(self, params: Mapping[str, Any]) -> frozenset[str]:  # noqa: ARG002 - all the same
        """PNG and JPEG."""
        return frozenset(PICTURES.values())

    async def choose(self, request: Request) -> str:  # noqa: ARG002 - there is one address
        """The provider's address."""
        return self._target

    async def submit(self, request: Request, *, key: str, target: str) -> Accepted | Fault:  # noqa: ARG002 - nothing takes a key
        """Send the request; nothing in it tells it from another one just like it."""
        started = self._clock.monotonic()
        pictures = await self._pictures(request, target)
        if isinstance(pictures, Fault):
            return self._http.cleaned(pictures)
        model = quote(str(request.params.get("model", self._model)), safe="")
        place = "publishers/google/models" if self._variant == "platform" else "models"
        call = Call(
            phase="submit",
            method="POST",
            path=f"/{place}/{model}:predictLongRunning",
            body=await encoded(body_of(request.prompt, request.params, pictures)),
            paid=True,
            limit_s=self._limits.submit_timeout_s - (self._clock.monotonic() - started),
        )
        answer = await self._http.ask(call, target=target)
        return answer if isinstance(answer, Fault) else self._accepted(call, answer, target)

    async def poll(self, remote_id: str, *, target: str) -> Pending | Ready | Fault:
        """Ask how the operation is doing. Clips inside the answer are on disk before it counts."""
        if not is_web(target):
            return foreign("poll", target)
        call = await self._question(remote_id)
        if isinstance(call, Fault):
            return call
        answer = await self._http.ask(call, target=target)
        if isinstance(answer, Fault):
            return answer
        if not is_done(answer):
            return self._unfinished(call, answer)
        if error := answer.get("error"):
            return self._failed(_verdict(error))
        made = made_by(answer.get("response"))
        if not made.videos:
            return self._failed(_nothing(made, answer))
        developer = _DEVELOPERS.fullmatch(remote_id) is not None
        expires_at = self._clock.now() + RETENTION_S if developer else None
        try:
            results = await results_of(made, self._spool, name=remote_id, expires_at=expires_at)
        except OSError as error:
            return not_kept(error, "poll", "accepted")
        except ValueError as error:
            return self._http.unreadable(call, f"a clip can't be decoded: {error}", http=200)
        return Ready(results)

    async def fetch(self, result: Result, sink: Sink, *, target: str) -> Fault | None:
        """Stream a clip: a spooled one, an object of a bucket, or a link, which needs the key."""
        if is_spooled(result):
            return await self._spool.fetch(result, sink)
        if result.url.startswith("gs://"):
            return await self._fetch_object(result.url, sink, target)
        link = _own_link(result.url, target)
        return await self._http.fetch_to(sink, link, target=target, keyed=True)

    async def cancel(self, remote_id: str, *, target: str) -> Stopped:  # noqa: ARG002 - there is none
        """There is no such call: the operation goes on."""
        return Stopped("unknown")

    async def lookup(self, key: str, *, target: str) -> Absent | Accepted | Fault:  # noqa: ARG002 - there is none
        """There is no such call: nothing is known."""
        message = "this provider knows no keys of requests"
        return Fault("submit", "provider.error", message=message, effect="unknown")

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    # ---- submit ----

    async def _pictures(self, request: Request, target: str) -> list[Embedded] | Fault:
        """Every picture's content. Those that are links have half of the time for the submit."""
        found = []
        try:
            async with asyncio.timeout(self._limits.submit_timeout_s / 2):
                for picture in request.pictures:
                    content = await self._picture(picture, target)
                    if isinstance(content, Fault):
                        return content
                    found.append(content)
        except TimeoutError:
            return Fault("submit", "local.io", message="the pictures took too long to fetch")
        return found

    async def _picture(self, picture: Picture, target: str) -> Embedded | Fault:
        if picture.url is None:
            mimes = tuple(PICTURES.values())
            return await embed(picture, mimes=mimes, bytes_max=PICTURE_BYTES_MAX)
        return await embed_linked(
            picture, self._http, target=target, mimes=PICTURES, bytes_max=PICTURE_BYTES_MAX
        )

    def _accepted(self, call: Call, answer: Mapping[str, Any], target: str) -> Accepted | Fault:
        name = text_of(answer.get("name"))
        if _DEVELOPERS.fullmatch(name) or _PLATFORMS.fullmatch(name):
            return Accepted(name, target)
        if name:
            message = f"accepted, it seems, but {shown(name)} is no operation's name"
            return self._http.unreadable(call, message, http=200)
        said = read_error(answer, self._clock.now())
        if said is None:
            return self._http.unreadable(call, "the answer has no operation's name", http=200)
        status = number_of(_field(answer.get("error"), "code")) or 0
        effect: Effect = "none" if 400 <= status < 500 and status != 408 else "unknown"
        return self._http.refusal(call, said, effect=effect)

    # ---- poll ----

    async def _question(self, name: str) -> Call | Fault:
        """How to ask about an operation: its name tells whose it is, whatever is configured now."""
        if _DEVELOPERS.fullmatch(name):
            return Call(phase="poll", path=f"/{name}", bytes_max=INLINE_BYTES_MAX)
        operation = _PLATFORMS.fullmatch(name)
        if operation is None:
            message = f"{shown(name)} is no operation's name"
            return Fault("poll", "internal", None, NO_OPERATION, message, effect="accepted")
        return Call(
            phase="poll",
            method="POST",
            path=f"/publishers/google/models/{operation['model']}:fetchPredictOperation",
            body=await encoded({"operationName": name}),
            bytes_max=INLINE_BYTES_MAX,
        )

    def _unfinished(self, call: Call, answer: Mapping[str, Any]) -> Pending | Fault:
        said = read_error(answer, self._clock.now())
        if said is not None:
            return self._http.refusal(call, said, effect="accepted")
        if "name" in answer or "done" in answer:
            return Pending()
        return self._http.unreadable(call, "the answer is no operation", http=200)

    def _failed(self, said: Said) -> Fault:
        return self._http.cleaned(
            Fault("poll", "provider.failed", None, said.code, said.message, effect="accepted")
        )

    # ---- download ----

    async def _fetch_object(self, uri: str, sink: Sink, target: str) -> Fault | None:
        """An object that anybody may read; the key is for the provider's own address only."""
        link = f"{STORE}/{quote(uri.removeprefix('gs://'))}"
        fault = await self._http.fetch_to(sink, link, target=target)
        if fault is None or fault.http is None:
            return fault
        message = f"the clip is at {uri}: {fault.message}"
        return self._http.cleaned(msgspec.structs.replace(fault, message=message))


def _verdict(error: Any) -> Said:
    """Why an operation failed: a gRPC code, a number, and its words."""
    code = text_of(_field(error, "code")) or None
    words = text_of(_field(error, "message")) or text_of(error)
    return Said(code, words or "the provider gave no reason")


def _nothing(made: Made, answer: Mapping[str, Any]) -> Said:
    """Why a finished operation has no clip."""
    if made.filtered or made.reasons:
        reasons = "; ".join(made.reasons) or "no reason was given"
        return Said("rai_filtered", f"filtered by the provider, and not charged: {reasons}")
    raw = msgspec.json.encode(answer).decode()
    return Said("no_video", f"the operation is done, but there is no video: {raw}")


def _own_link(link: str, target: str) -> str:
    """Behind a reverse proxy, which has the key, Google's own link leads past it: ask the proxy."""
    try:
        url = URL(link)
    except ValueError:
        return link
    if url.host != GOOGLE or URL(target).host == GOOGLE:
        return link
    file = _FILE.fullmatch(url.path)
    return f"{target.rstrip('/')}/{file[1]}?alt=media" if file else link


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None
