"""Zhipu's CogVideoX: a video from a prompt, or between a first and a last picture.

Its errors carry a code of their own, which says more than the HTTP status: 429 stands for a busy
model, an empty balance and a locked account alike.
"""

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
from daemon.engines.answers import Dialect, Said, text_of
from daemon.engines.cogvideox_errors import (
    DUPLICATE,
    MODERATED,
    REFUSALS,
    RULES,
    SETTLED,
    read_error,
)
from daemon.engines.embedding import embed, encoded
from daemon.engines.engine import Picture, Problem, Request, Sink
from daemon.engines.http import Call, Http
from daemon.engines.params import SWITCH, Param, choice, problems_of, text
from daemon.engines.settings import EngineSettings

MODELS = ("cogvideox-3", "cogvideox-flash", "cogvideox-2")
TWO_FRAMES = "cogvideox-3"
"""The model that takes a last picture besides the first."""
PROMPT_CHARS_MAX = 512
PICTURE_BYTES_MAX = 5 * 1024 * 1024
PICTURE_MIMES = ("image/png", "image/jpeg")
INTERNATIONAL_HOST = "api.z.ai"
SIZES = ("1280x720", "720x1280", "1024x1024", "1920x1080", "1080x1920", "2048x1080", "3840x2160")
OLDER_SIZES = (*SIZES, "720x480", "1280x960", "960x1280")
PARAMS: Mapping[str, Param] = {
    "quality": choice("speed", "quality"),
    "with_audio": SWITCH,
    "size": choice(*SIZES),
    "fps": choice(30, 60),
    "duration": choice(5, 10),
    "watermark_enabled": SWITCH,
    "user_id": text(6, 128),
}
_ELSEWHERE = {
    "prompt": "give it as the job's prompt",
    "image_url": "give pictures as the job's images",
    "request_id": "is set for each submit",
}


class CogVideoX:
    """The engine `cogvideox`. Makes no result out of answers, so nothing is spooled."""

    abilities = Abilities()
    rules: tuple[Rule, ...] = RULES

    def __init__(self, settings: EngineSettings, *, clock: Clock, spool: Path) -> None:  # noqa: ARG002 - every engine is made so
        self._target = settings.base_urls[0].rstrip("/")
        self._model = settings.model
        self._clock = clock
        dialect = Dialect(read_error, REFUSALS)
        self._http = Http(settings, clock=clock, dialect=dialect)

    def check(self, prompt: str, params: Mapping[str, Any], images: int) -> list[Problem]:
        """Every problem that the documented limits have with a job."""
        model = params.get("model", self._model)
        models = tuple(dict.fromkeys((*MODELS, self._model)))
        sizes = SIZES if model == TWO_FRAMES else OLDER_SIZES
        table = {**PARAMS, "size": choice(*sizes), "model": choice(*filter(None, models))}
        problems = list(problems_of(params, table, elsewhere=_ELSEWHERE))
        if not prompt.strip() and images == 0:
            problems.append(Problem("prompt", "give a prompt, a picture, or both"))
        if len(prompt) > PROMPT_CHARS_MAX:
            problems.append(
                Problem(
                    "prompt", f"expected up to {PROMPT_CHARS_MAX} characters, got {len(prompt)}"
                )
            )
        most = 2 if model == TWO_FRAMES else 1
        if images > most:
            words = "one picture" if most == 1 else "a first and a last picture"
            problems.append(
                Problem("images", f"{shown(model)} takes {words}, got {images} pictures")
            )
        return problems

    def picture_types(self, params: Mapping[str, Any]) -> frozenset[str]:  # noqa: ARG002 - all the same
        """PNG and JPEG."""
        return frozenset(PICTURE_MIMES)

    async def choose(self, request: Request) -> str:  # noqa: ARG002 - there is one address
        """The provider's address."""
        return self._target

    async def submit(self, request: Request, *, key: str, target: str) -> Accepted | Fault:
        """Send the request, with `key` as its `request_id`."""
        pictures = []
        for picture in request.pictures:
            written = await _written(picture)
            if isinstance(written, Fault):
                return self._http.cleaned(written)
            pictures.append(written)
        asked: dict[str, Any] = {"model": self._model, **request.params, "request_id": key}
        if request.prompt.strip():
            asked["prompt"] = request.prompt
        if pictures:
            asked["image_url"] = pictures[0] if len(pictures) == 1 else pictures
        call = Call(
            phase="submit",
            method="POST",
            path="/videos/generations",
            body=await encoded(asked),
            headers=_headers(target),
            paid=True,
        )
        answer = await self._http.ask(call, target=target)
        if isinstance(answer, Fault):
            return _arrived(answer)
        remote_id = text_of(answer.get("id"))
        if remote_id:
            return Accepted(remote_id, target)
        said = read_error(answer, self._clock.now())
        if said is None:
            return self._http.unreadable(
                call, "the answer has neither an id nor an error", http=200
            )
        effect: Effect = "none" if said.code in SETTLED else "unknown"
        return _arrived(self._http.refusal(call, said, effect=effect))

    async def poll(self, remote_id: str, *, target: str) -> Pending | Ready | Fault:
        """Ask how the task is doing. A state that isn't documented goes on."""
        call = Call(
            phase="poll",
            path=f"/async-result/{quote(remote_id, safe='')}",
            headers=_headers(target),
        )
        answer = await self._http.ask(call, target=target)
        if isinstance(answer, Fault):
            return _verdict(answer)
        state = text_of(answer.get("task_status")).upper()
        if state == "SUCCESS":
            results = _results(answer.get("video_result"))
            if results:
                return Ready(results)
            return self._http.unreadable(
                call, "the task succeeded, but there is no video", http=200
            )
        if state == "FAIL":
            why = _reason(answer)
            fault = Fault("poll", "provider.failed", None, why.code, why.message, effect="accepted")
            return self._http.cleaned(fault)
        if state:
            return Pending()
        said = read_error(answer, self._clock.now())
        if said is not None:
            return _verdict(self._http.refusal(call, said, effect="accepted"))
        return self._http.unreadable(call, "the answer has no task_status", http=200)

    async def fetch(self, result: Result, sink: Sink, *, target: str) -> Fault | None:
        """Stream the video; no key goes along."""
        return await self._http.fetch_to(sink, result.url, target=target)

    async def cancel(self, remote_id: str, *, target: str) -> Stopped:  # noqa: ARG002 - there is none
        """There is no such call: the task goes on."""
        return Stopped("unknown")

    async def lookup(self, key: str, *, target: str) -> Absent | Accepted | Fault:  # noqa: ARG002 - there is none
        """There is no such call: nothing is known."""
        message = "this provider finds no task by its request_id"
        return Fault("submit", "provider.error", message=message, effect="unknown")

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()


async def _written(picture: Picture) -> str | Fault:
    """A picture as the provider takes it: its URL as it is, a file inside the request."""
    if picture.url is not None:
        return picture.url
    embedded = await embed(picture, mimes=PICTURE_MIMES, bytes_max=PICTURE_BYTES_MAX)
    return embedded if isinstance(embedded, Fault) else embedded.data_uri


def _headers(target: str) -> dict[str, str]:
    """The international address answers in English when asked, as its own client does."""
    english = URL(target).host == INTERNATIONAL_HOST
    return {"Accept-Language": "en-US,en"} if english else {}


def _arrived(fault: Fault) -> Fault:
    """A request that is known already did arrive."""
    if fault.code != DUPLICATE:
        return fault
    return msgspec.structs.replace(fault, effect="accepted")


def _verdict(fault: Fault) -> Fault:
    """Refused content, told while polling, is what became of the task."""
    if fault.code not in MODERATED:
        return fault
    return msgspec.structs.replace(fault, kind="provider.failed")


def _results(found: Any) -> tuple[Result, ...]:
    """The videos; their cover pictures are no outputs."""
    if not isinstance(found, list):
        return ()
    links = (text_of(one.get("url")) for one in found if isinstance(one, dict))
    return tuple(Result(link) for link in links if link)


def _reason(answer: Mapping[str, Any]) -> Said:
    """Why a task failed, as far as the provider says."""
    error = answer.get("error")
    if error and (said := read_error({"error": error}, 0.0)) is not None:
        return said
    if answer.get("content_filter"):
        return Said(message="the content filter stopped it")
    return Said(message="the provider gave no reason")
