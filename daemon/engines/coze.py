"""Coze: a published workflow is run asynchronously, and its history asked for the result.

What a run needs is the workflow's own matter: all but a few params are its inputs. The target of
a job is the workflow's address, `…/v1/workflows/ID`, so that its runs are found whatever the
configuration says later.
"""

import asyncio
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from aiohttp import FormData

from daemon.clock import Clock
from daemon.core.faults import Rule
from daemon.core.job import Result
from daemon.core.outcomes import Absent, Accepted, Effect, Fault, Pending, Ready, Stopped
from daemon.core.policy import Abilities
from daemon.core.suggest import shown
from daemon.engines.answers import Dialect, Said, excerpt, text_of
from daemon.engines.coze_errors import (
    NEEDS_INPUT,
    NO_LINK,
    NO_RECORD,
    RULES,
    STRAY,
    code_of,
    read_error,
    signed,
)
from daemon.engines.coze_output import covers_in, links_in
from daemon.engines.coze_request import Asking
from daemon.engines.embedding import encoded, unusable
from daemon.engines.engine import Picture, Problem, Request, Sink
from daemon.engines.http import Call, Http
from daemon.engines.settings import EngineSettings

RETENTION_S = 7 * 86_400.0
"""Of an end node's output; links in it may expire much earlier."""
COVERS_NAMED_MAX = 5
_WORKFLOWS = "/v1/workflows/"
_DONE = frozenset({"success", "succeeded"})
_FAILED = frozenset({"fail", "failed"})


class Coze:
    """The engine `coze`. `settings.own` has the fields of `Asking`, and `output_path`."""

    abilities = Abilities(retention_s=RETENTION_S)
    rules: tuple[Rule, ...] = RULES

    def __init__(self, settings: EngineSettings, *, clock: Clock, spool: Path) -> None:  # noqa: ARG002 - every engine is made so
        self._base = settings.base_urls[0].rstrip("/")
        self._asking = msgspec.convert(dict(settings.own), Asking)
        self._output_path: str = settings.own.get("output_path", "")
        self._submit_s = settings.limits.submit_timeout_s
        self._clock = clock
        self._http = Http(settings, clock=clock, dialect=Dialect(read_error))

    def check(self, prompt: str, params: Mapping[str, Any], images: int) -> list[Problem]:
        """Every problem that can be seen from here: a workflow's inputs are its own matter."""
        return list(self._asking.problems(prompt, params, images))

    def picture_types(self, params: Mapping[str, Any]) -> None:
        """None: what they may be is the workflow's own matter."""

    async def choose(self, request: Request) -> str:
        """The address of the job's workflow."""
        return _address(self._base, self._asking.workflow(request.params))

    async def submit(self, request: Request, *, key: str, target: str) -> Accepted | Fault:
        """Upload the pictures that are files, then start the run, with `key` as its user."""
        started = self._clock.monotonic()
        base, workflow = self._place(target, request.params)
        pictures = []
        for picture in request.pictures:
            # Half of the time is for the pictures, so that as much is left for the run.
            left_s = self._submit_s / 2 - (self._clock.monotonic() - started)
            if left_s <= 0:
                message = "the pictures took too long to upload"
                return Fault("submit", "transport.timeout.total", message=message)
            sent = await self._sent(picture, base, left_s)
            if isinstance(sent, Fault):
                return sent
            pictures.append(sent)
        call = Call(
            phase="submit",
            method="POST",
            path="/v1/workflow/run",
            body=await encoded(self._asking.body(request, workflow, pictures, key)),
            paid=True,
            limit_s=self._submit_s - (self._clock.monotonic() - started),
        )
        answer = await self._http.ask(call, target=base)
        if isinstance(answer, Fault):
            return _refused(answer)
        run = text_of(answer.get("execute_id"))
        if run:
            return Accepted(run, _address(base, workflow))
        said = read_error(answer, self._clock.now())
        if said is None:
            return self._http.unreadable(
                call, "the answer has neither an execute_id nor an error", http=200
            )
        return self._http.refusal(call, said, effect="none")

    async def poll(self, remote_id: str, *, target: str) -> Pending | Ready | Fault:
        """Ask for the run's history. A status that isn't documented goes on."""
        base, workflow = self._place(target, {})
        call = Call(
            phase="poll",
            path=f"{_address('', workflow)}/run_histories/{quote(remote_id, safe='')}",
        )
        answer = await self._http.ask(call, target=base)
        if isinstance(answer, Fault):
            return _worded(answer)
        said = read_error(answer, self._clock.now())
        if said is not None:
            return self._http.refusal(call, said, effect="accepted")
        records = answer.get("data")
        record = records[0] if isinstance(records, list) and records else records
        if not record:
            said = Said(NO_RECORD, "the run isn't visible yet")
            return self._http.refusal(call, said, effect="accepted")
        if not isinstance(record, dict):
            return self._http.unreadable(call, "the answer holds no record of the run", http=200)
        return self._outcome(call, record)

    async def fetch(self, result: Result, sink: Sink, *, target: str) -> Fault | None:
        """Stream a result; no token goes along."""
        return await self._http.fetch_to(sink, result.url, target=target)

    async def cancel(self, remote_id: str, *, target: str) -> Stopped:  # noqa: ARG002 - there is none
        """There is no such call: the run goes on."""
        return Stopped("unknown")

    async def lookup(self, key: str, *, target: str) -> Absent | Accepted | Fault:  # noqa: ARG002 - there is none
        """There is no such call: nothing is known."""
        message = f"this provider lists no runs; on its debug page, look for the user {key}"
        return Fault("submit", "provider.error", message=message, effect="unknown")

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    # ---- submit ----

    def _place(self, target: str, params: Mapping[str, Any]) -> tuple[str, str]:
        """The provider's address and the workflow in `target`, which may be the address alone."""
        base, found, workflow = target.rstrip("/").rpartition(_WORKFLOWS)
        if not found:
            return target.rstrip("/"), self._asking.workflow(params)
        return base, unquote(workflow)

    async def _sent(self, picture: Picture, base: str, limit_s: float) -> str | Fault:
        """A picture as an input: its link, or what names the file that was uploaded."""
        if picture.url is not None:
            return picture.url
        if picture.path is None:
            return self._http.cleaned(unusable(picture, "it is neither a file nor a link"))
        try:
            content = await asyncio.to_thread(picture.path.read_bytes)
        except OSError as error:
            message = f"{picture.source}: {error.strerror or error}"
            return self._http.cleaned(Fault("submit", "local.io", message=message))
        form = FormData()
        mime = picture.mime or "application/octet-stream"
        form.add_field("file", BytesIO(content), filename=_name(mime), content_type=mime)
        call = Call(
            phase="submit", method="POST", path="/v1/files/upload", body=form, limit_s=limit_s
        )
        answer = await self._http.ask(call, target=base)
        if isinstance(answer, Fault):
            return _worded(answer)
        said = read_error(answer, self._clock.now())
        if said is not None:
            return self._http.refusal(call, said, effect="none")
        file = answer.get("data")
        file_id = text_of(file.get("id")) if isinstance(file, dict) else ""
        if not file_id:
            return self._http.unreadable(call, "the picture was uploaded, but has no id", http=200)
        return msgspec.json.encode({"file_id": file_id}).decode()

    # ---- poll ----

    def _outcome(self, call: Call, record: Mapping[str, Any]) -> Pending | Ready | Fault:
        status = text_of(record.get("execute_status"))
        logid = text_of(record.get("logid"))
        if status.lower() in _FAILED:
            code, words = code_of(record.get("error_code")), text_of(record.get("error_message"))
            message = signed(words, logid)
            fault = Fault("poll", "provider.failed", None, code, message, effect="accepted")
            return self._http.cleaned(fault)
        if status.lower() in _DONE:
            return self._results(call, record)
        if interrupt := record.get("interrupt_data"):
            said = Said(NEEDS_INPUT, signed(f"the run waits for input: {_brief(interrupt)}", logid))
            return self._http.refusal(call, said, effect="accepted")
        if status:
            return Pending()
        return self._http.unreadable(call, "the record has no execute_status", http=200)

    def _results(self, call: Call, record: Mapping[str, Any]) -> Ready | Fault:
        output = record.get("output")
        trimmed = record.get("is_output_trimmed") is True
        links = links_in(output, self._output_path, trimmed=trimmed)
        if links:
            return Ready(tuple(Result(link) for link in links))
        where = f" at {shown(self._output_path)}" if self._output_path else ""
        cut = ", which the provider has cut," if trimmed else ""
        message = f"the output{cut} has no link{where}"
        if covers := covers_in(output, self._output_path, trimmed=trimmed):
            paths = ", ".join(shown(one) for one in covers[:COVERS_NAMED_MAX])
            message += f", but those passed over because of their key, as covers are: {paths}"
            message += "; output_path can name the one that is wanted"
        message += f": {_brief(output)}"
        return self._http.refusal(call, Said(NO_LINK, message), effect="accepted")


def _address(base: str, workflow: str) -> str:
    return base + _WORKFLOWS + quote(workflow, safe="")


def _refused(fault: Fault) -> Fault:
    """An error in Coze's own form refuses the run, whatever the status; unless it names one."""
    if fault.code is None:
        return fault
    effect: Effect = "unknown" if fault.code == STRAY else "none"
    return msgspec.structs.replace(_worded(fault), effect=effect)


def _worded(fault: Fault) -> Fault:
    """With a code, the words of a refusal are the provider's; without one, a gateway's."""
    if fault.kind != "http" or fault.code is None:
        return fault
    return msgspec.structs.replace(fault, kind="provider.error")


def _brief(value: Any) -> str:
    content = value.encode() if isinstance(value, str) else msgspec.json.encode(value)
    return excerpt(content)


def _name(mime: str) -> str:
    """A file's name for an upload: the provider tells types by it."""
    return f"picture.{mime.rpartition('/')[2].partition('+')[0]}"
