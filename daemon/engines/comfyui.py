"""ComfyUI: a workflow of one's own, on a server of one's own, or on one of several.

The server takes the id that we give a task, so a lost answer can be looked up. Its queue and its
history are in memory only: a server that was started again knows nothing of what it was at.
"""

import asyncio
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daemon.clock import Clock
from daemon.core.faults import Rule
from daemon.core.job import Result
from daemon.core.outcomes import Absent, Accepted, Fault, Pending, Ready, Stopped
from daemon.core.policy import Abilities
from daemon.engines.answers import Dialect, Said, text_of
from daemon.engines.comfyui_answers import Spot, names_of, results_of
from daemon.engines.comfyui_calls import PICTURE_TYPES, Calls
from daemon.engines.comfyui_errors import NO_MEDIA, RULES, empty, failure_of, in_words, read_error
from daemon.engines.comfyui_files import WorkflowFiles, reason, unusable
from daemon.engines.comfyui_progress import Progress
from daemon.engines.comfyui_workflow import (
    PICTURES,
    Workflow,
    WorkflowError,
    adjusted,
    filled,
    problems_with,
    seed_of,
    workflow_of,
)
from daemon.engines.embedding import encoded
from daemon.engines.engine import Picture, Problem, Request, Sink
from daemon.engines.http import Call, Http
from daemon.engines.settings import EngineSettings

RETENTION_S = 7 * 86_400.0
"""No time is documented: the last 10,000 runs are kept, until the server is started again."""
CHOOSE_S_MAX = 5.0
STOP_S_MAX = 5.0
"""For stopping what is left of a task that failed at its submit."""
CANCEL_LOOKS_MAX = 3
FAILED = "provider.failed"


class ComfyUI:
    """The engine `comfyui`. `settings.own["workflow"]` is a path, or empty."""

    abilities = Abilities(lookup=True, cancel=True, progress=True, retention_s=RETENTION_S)
    rules: tuple[Rule, ...] = RULES

    def __init__(self, settings: EngineSettings, *, clock: Clock, spool: Path) -> None:  # noqa: ARG002 - every engine is made so
        self._targets = tuple(url.rstrip("/") for url in settings.base_urls)
        self._workflow = settings.own.get("workflow") or None
        self._place = settings.places.get("workflow", "")
        self._limits = settings.limits
        self._clock = clock
        self._http = Http(settings, clock=clock, dialect=Dialect(read_error))
        self._calls = Calls(self._http)
        self._progress = Progress(settings)
        self._files = WorkflowFiles()
        self._chosen: dict[str, int] = {}

    def check(self, prompt: str, params: Mapping[str, Any], images: int) -> list[Problem]:
        """Every problem that the workflow has with a job. Reads the workflow, if it has changed."""
        try:
            workflow = self._read(params)
        except (OSError, WorkflowError) as error:
            if self._workflow is None or "workflow" in params:
                return [Problem("params.workflow", self._named(params, error))]
            return [Problem("provider", unusable(self._place, self._workflow, error))]
        return list(problems_with(workflow, prompt, params, images))

    # ---- where to, and submit ----

    def picture_types(self, params: Mapping[str, Any]) -> frozenset[str]:  # noqa: ARG002 - all the same
        """What LoadImage opens anywhere."""
        return frozenset(PICTURE_TYPES.values())

    async def choose(self, request: Request) -> str:  # noqa: ARG002 - any server takes any job
        """The server with the shortest queue of those that answer in time.

        Of equals it is the one whose turn was longest ago; where none answers, the first.
        """
        if len(self._targets) == 1:
            return self._targets[0]
        limit_s = min(CHOOSE_S_MAX, self._limits.poll_timeout_s)
        lengths = await asyncio.gather(
            *(self._calls.length(target, limit_s=limit_s) for target in self._targets)
        )
        known = [
            (length, self._chosen.get(target, 0), place)
            for place, (target, length) in enumerate(zip(self._targets, lengths, strict=True))
            if length is not None
        ]
        target = self._targets[min(known)[2] if known else 0]
        self._chosen[target] = max(self._chosen.values(), default=0) + 1
        return target

    async def submit(self, request: Request, *, key: str, target: str) -> Accepted | Fault:
        """Upload the pictures, then queue the graph under an id that is `key`."""
        started = self._clock.monotonic()
        graph = await self._graph(request, key, target)
        if isinstance(graph, Fault):
            return self._http.cleaned(graph)
        task = _task_id(key)
        call = Call(
            phase="submit",
            method="POST",
            path="/prompt",
            body=await encoded({"prompt": graph, "prompt_id": task, "client_id": task}),
            paid=True,
            limit_s=self._limits.submit_timeout_s - (self._clock.monotonic() - started),
        )
        answer = await self._http.ask(call, target=target)
        if isinstance(answer, Fault):
            return answer
        remote_id = text_of(answer.get("prompt_id"))
        if not remote_id:
            return self._http.unreadable(call, "the answer has no prompt_id", http=200)
        wrong = in_words(answer.get("node_errors"))
        if not wrong:
            return Accepted(remote_id, target)
        return await self._refused_in_part(remote_id, wrong, target)

    async def lookup(self, key: str, *, target: str) -> Accepted | Absent | Fault:
        """Whether the server has the task: in its queue first, then in its history."""
        task = _task_id(key)
        spots = await self._calls.queue("submit", target=target)
        if isinstance(spots, Fault):
            return spots
        for spot in spots:
            if task in (spot.remote_id, spot.client_id):
                return Accepted(spot.remote_id, target)
        entry = await self._calls.entry("submit", task, target=target)
        if isinstance(entry, Fault):
            return entry
        if entry is not None:
            return Accepted(task, target)
        renamed = await self._calls.renamed(task, target=target)
        if isinstance(renamed, Fault):
            return renamed
        return Absent() if renamed is None else Accepted(renamed, target)

    # ---- poll, fetch, cancel ----

    async def poll(self, remote_id: str, *, target: str) -> Pending | Ready | Absent | Fault:
        """Ask the queue, then the history: a task goes from the one into the other, never back."""
        spot = await self._spot(remote_id, target)
        if isinstance(spot, Fault):
            return spot
        if spot is not None:
            return Pending(self._progress.of(spot, target=target) if spot.running else None)
        self._progress.forget(remote_id)
        return await self._end(remote_id, target)

    async def fetch(self, result: Result, sink: Sink, *, target: str) -> Fault | None:
        """Stream one output."""
        return await self._http.fetch_to(sink, result.url, target=target)

    async def cancel(self, remote_id: str, *, target: str) -> Stopped | Ready | Fault:
        """Take the task out of the queue, or interrupt it. It may begin to run, or end, meanwhile:
        so it is looked at again.
        """
        self._progress.forget(remote_id)
        for _ in range(CANCEL_LOOKS_MAX):
            spot = await self._spot(remote_id, target)
            if isinstance(spot, Fault):
                return spot
            if spot is None:
                end = await self._end(remote_id, target)
                if isinstance(end, Fault) and (end.kind == FAILED or end.code == NO_MEDIA):
                    return Stopped("no")
                return Stopped("no") if isinstance(end, Absent) else end
            fault = await self._calls.stop(spot, target=target)
            if fault is not None:
                return fault
            if spot.running:
                return Stopped("no")
        return Stopped("unknown")

    async def close(self) -> None:
        """Close every connection."""
        await self._progress.close()
        await self._http.close()

    # ---- the workflow and its pictures ----

    def _read(self, params: Mapping[str, Any]) -> Workflow:
        """The job's workflow, else the section's. Raises WorkflowError and OSError."""
        named = params.get("workflow", self._workflow)
        if isinstance(named, Mapping):
            return workflow_of(named)
        if not isinstance(named, str | Path) or not str(named):
            raise WorkflowError(
                "give the path of a workflow in the API format, or name one in the configuration"
            )
        return self._files.read(Path(named))

    def _named(self, params: Mapping[str, Any], error: OSError | WorkflowError) -> str:
        """What is wrong with the workflow, with its name if it is a file."""
        named = params.get("workflow", self._workflow)
        if not named or not isinstance(named, str | Path):
            return reason(error)
        return f"{Path(named).name!r}: {reason(error)}"

    async def _graph(self, request: Request, key: str, target: str) -> dict[str, Any] | Fault:
        """The graph to send. It is checked again: the file may have changed since the add."""
        params = request.params
        try:
            workflow = await asyncio.to_thread(self._read, params)
            problems = list(problems_with(workflow, request.prompt, params, len(request.pictures)))
        except WorkflowError as error:
            message = f"the workflow: {self._named(params, error)}"
            return Fault("submit", "local.decode", message=message)
        except OSError as error:
            return Fault("submit", "local.io", message=f"the workflow: {error.strerror or error}")
        if problems:
            message = f"{problems[0].field}: {problems[0].message}"
            return Fault("submit", "local.decode", message=message)
        names = await self._uploaded(request.pictures, target)
        if isinstance(names, Fault):
            return names
        values = {
            "prompt": request.prompt,
            "negative_prompt": params.get("negative_prompt", ""),
            "seed": params.get("seed", seed_of(request.job, key)),
            "name": request.name or f"genq-{request.job}",
            "width": params.get("width", 0),
            "height": params.get("height", 0),
            **dict(zip(PICTURES, names, strict=False)),
        }
        return filled(adjusted(workflow, params), values)

    async def _uploaded(self, pictures: tuple[Picture, ...], target: str) -> list[str] | Fault:
        """What the server calls each picture. They have half of the time for the submit."""
        names = []
        try:
            async with asyncio.timeout(self._limits.submit_timeout_s / 2):
                for picture in pictures:
                    name = await self._calls.upload(picture, target=target)
                    if isinstance(name, Fault):
                        return name
                    names.append(name)
        except TimeoutError:
            message = "the pictures took too long to upload"
            return Fault("submit", "transport.timeout.total", message=message)
        return names

    # ---- tasks ----

    async def _refused_in_part(self, remote_id: str, wrong: str, target: str) -> Fault:
        """Some of the outputs were refused, the rest was queued: not what was asked for."""
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await self.cancel(remote_id, target=target)
        except TimeoutError:
            pass  # it goes on, and its outputs stay at the server
        fault = Fault("submit", FAILED, 200, None, wrong, effect="accepted")
        return self._http.cleaned(fault)

    async def _spot(self, remote_id: str, target: str) -> Spot | Fault | None:
        spots = await self._calls.queue("poll", target=target)
        if isinstance(spots, Fault):
            return spots
        return next((spot for spot in spots if spot.remote_id == remote_id), None)

    async def _end(self, remote_id: str, target: str) -> Ready | Absent | Fault:
        """What became of a task that is no longer in the queue."""
        entry = await self._calls.entry("poll", remote_id, target=target)
        if isinstance(entry, Fault):
            return entry
        if entry is None:
            return Absent()
        status = entry.get("status")
        if isinstance(status, Mapping) and status.get("status_str") == "error":
            return self._verdict(failure_of(status))
        results = results_of(entry, target)
        if results:
            return Ready(results)
        return self._verdict(empty(names_of(entry)))

    def _verdict(self, said: Said) -> Fault:
        kind = "provider.error" if said.code == NO_MEDIA else FAILED  # that run didn't fail
        return self._http.cleaned(
            Fault("poll", kind, None, said.code, said.message, effect="accepted")
        )


def _task_id(key: str) -> str:
    """The id of the task for `key`, in the form that the server insists on.

    >>> _task_id("0" * 31 + "1")
    '00000000-0000-0000-0000-000000000001'
    """
    return str(uuid.UUID(key))
