"""The mock provider: takes jobs as a real one does, costs nothing, and has the weather it is told.

It stands in for any provider in a rehearsal (interfaces.md 3, "The mock"). Like most vendors it
doesn't look at keys: what is sent twice is accepted, and would be paid, twice.
"""

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from daemon import failpoints
from daemon.clock import Clock
from daemon.core.faults import Rule
from daemon.core.job import Phase, Result
from daemon.core.kinds import local_kind
from daemon.core.outcomes import Absent, Accepted, Effect, Fault, Pending, Ready, Stopped
from daemon.core.policy import Abilities
from daemon.engines.engine import Picture, Problem, Request, Sink
from daemon.engines.mock_fate import Fate, fate_of, remote_id_of
from daemon.engines.mock_ledger import Cancelled, Entry, MockLedger
from daemon.engines.mock_settings import (
    PROMPT_CHARS_MAX,
    Kind,
    MockSettings,
    problems_of,
    shape_of,
)
from daemon.engines.mock_trouble import Call, Trouble, answered, chance, happens
from daemon.engines.mock_weather import CLEAR, Script
from daemon.engines.targets import foreign

TARGET = "mock:"
_RESULT = re.compile(r"mock:(?P<task>[\w-]+)/(?P<number>[0-9]{1,3})", re.ASCII)
CHUNK_BYTES_MAX = 16 * 1024
PICTURE_CHUNK_BYTES_MAX = 1024 * 1024
FRAMES_PER_S = 8
CLIP_PIXELS_MAX = 40_000_000
"""Of all frames together: a few seconds of drawing. A larger clip has fewer frames."""
PROGRESS_STEPS = 20
"""A task tells its progress in so many steps, so that not every poll is news."""

Stills = Callable[[str, int, int, int], Awaitable[bytes]]
"""Text, seed, width, height; a PNG."""
Clips = Callable[[str, int, int, int, int, float], Awaitable[bytes]]
"""Text, seed, width, height, frames, seconds; an animated WebP."""


class _Taken(Struct, frozen=True):
    """The pictures of a request that were read."""

    count: int = 0
    bytes: int = 0


class MockEngine:
    """The mock as an engine; `stills` and `clips` draw, in another process.

    Where it plays another provider, `plays` tells what that one can do, `kind` what it makes, and
    every param is taken.
    """

    rules: tuple[Rule, ...] = ()

    def __init__(
        self,
        settings: MockSettings,
        *,
        clock: Clock,
        ledger: MockLedger,
        stills: Stills,
        clips: Clips,
        script: Script = CLEAR,
        plays: Abilities | None = None,
        kind: Kind = "image",
    ) -> None:
        own = Abilities(lookup=settings.lookup, cancel=settings.cancel, progress=True)
        self.abilities = msgspec.structs.replace(plays or own, synchronous=False)
        self._settings = settings
        self._clock = clock
        self._ledger = ledger
        self._stills = stills
        self._clips = clips
        self._trouble = Trouble(settings, script, clock=clock, ledger=ledger)
        self._plays_another = plays is not None
        self._kind: Kind = kind

    def check(self, prompt: str, params: Mapping[str, Any], images: int) -> list[Problem]:  # noqa: ARG002 - unused
        """Every param that the mock doesn't know or can't make; any prompt and pictures will do."""
        return [] if self._plays_another else list(problems_of(params))

    def picture_types(self, params: Mapping[str, Any]) -> None:
        """None: any."""

    async def choose(self, request: Request) -> str:  # noqa: ARG002 - unused
        """There is only one place to go."""
        return TARGET

    async def submit(self, request: Request, *, key: str, target: str) -> Accepted | Fault:
        """Accept the job, or refuse it, or lose the answer, as the weather is.

        What is accepted is in the ledger, synced, before the answer is given.
        """
        if target != TARGET:
            return foreign("submit", target)
        call = self._trouble.begin(request.job)
        taken = await _take_in(request.pictures)
        if isinstance(taken, Fault):
            return taken
        # The request is under way for one half of the time, the answer for the other.
        await self._pass(self._settings.submit_s / 2)
        refusal = self._trouble.on_arrival(request.prompt, call)
        answer = refusal or await self._accept(request, key, call, taken)
        await self._pass(self._settings.submit_s / 2)
        return answer

    async def _accept(
        self, request: Request, key: str, call: Call, taken: _Taken
    ) -> Accepted | Fault:
        try:
            fate = self._fate(request.params, call.lot, await self._ledger.take_serial())
            entry = Entry(
                at=fate.accepted_at,
                key=key,
                remote_id=remote_id_of(fate),
                job=request.job,
                prompt=request.prompt[:PROMPT_CHARS_MAX],
                kind=fate.kind,
                width=fate.width,
                height=fate.height,
                duration_s=fate.duration_s,
                pictures=taken.count,
                picture_bytes=taken.bytes,
            )
            await self._ledger.append(entry)
            failpoints.at("mock_accepted")
        except OSError as error:
            return _local(error, "submit", "none")
        return self._trouble.on_answer(call) or Accepted(entry.remote_id, TARGET)

    def _fate(self, params: Mapping[str, Any], lot: int, serial: int) -> Fate:
        shape = shape_of(params, self._kind)
        least_s, most_s = self._settings.generate_range_s
        return Fate(
            accepted_at=self._clock.now(),
            generate_s=least_s + (most_s - least_s) * chance(lot, "generate"),
            fails=happens(self._settings.failures, lot, "fails"),
            outputs=self._settings.outputs,
            kind=shape.kind,
            width=shape.width,
            height=shape.height,
            duration_s=shape.duration,
            lot=lot,
            serial=serial,
        )

    async def poll(self, remote_id: str, *, target: str) -> Pending | Ready | Fault:
        """How the task is doing, by its id and the clock; nothing else has to be remembered."""
        if target != TARGET:
            return foreign("poll", target)
        fate = fate_of(remote_id)
        if fate is None:
            return _unknown("poll")
        try:
            trouble = await self._trouble.on_poll(remote_id, fate)
            return trouble or await self._state(remote_id, fate)
        except OSError as error:
            return _local(error, "poll", "accepted")

    async def _state(self, remote_id: str, fate: Fate) -> Pending | Ready | Fault:
        if await self._ledger.is_cancelled(remote_id):
            return _failed("cancelled", "the task was cancelled")
        elapsed_s = self._clock.now() - fate.accepted_at
        if elapsed_s < fate.generate_s:
            done = max(0, math.floor(PROGRESS_STEPS * elapsed_s / fate.generate_s))
            return Pending(done / PROGRESS_STEPS if self.abilities.progress else None)
        if fate.fails:
            return _failed("mock_failed", "the mock could not make this")
        return Ready(tuple(Result(f"{TARGET}{remote_id}/{n}") for n in range(fate.outputs)))

    async def fetch(self, result: Result, sink: Sink, *, target: str) -> Fault | None:
        """Draw the result and stream it, evenly over `download_s`.

        The ledger has its prompt; without it some picture is drawn.
        """
        if target != TARGET:
            return foreign("download", target)
        place = _RESULT.fullmatch(result.url)
        fate = fate_of(place["task"]) if place is not None else None
        if place is None or fate is None or int(place["number"]) >= fate.outputs:
            return _unknown("download")
        try:
            trouble = await self._trouble.on_fetch(place["task"])
            if trouble is not None:
                return trouble
            entry = await self._ledger.entry(place["task"])
        except OSError as error:
            return _local(error, "download", "accepted")
        text = "a picture from the mock" if entry is None else entry.prompt
        made = await self._make(fate, int(place["number"]), text)
        chunks = range(0, len(made), CHUNK_BYTES_MAX)
        for start in chunks:
            await self._pass(self._settings.download_s / len(chunks))
            await sink.write(made[start : start + CHUNK_BYTES_MAX])
        return None

    async def _make(self, fate: Fate, number: int, text: str) -> bytes:
        seed, width, height = fate.lot + number, fate.width, fate.height
        if fate.kind == "image":
            return await self._stills(text, seed, width, height)
        affordable = CLIP_PIXELS_MAX // (width * height)
        frames = max(2, min(round(fate.duration_s * FRAMES_PER_S), affordable))
        return await self._clips(text, seed, width, height, frames, fate.duration_s)

    async def cancel(self, remote_id: str, *, target: str) -> Stopped | Ready | Fault:
        """Stop the task; if it is ready already, its results."""
        if target != TARGET:
            return foreign("poll", target)
        fate = fate_of(remote_id)
        if fate is None:
            return _unknown("poll")
        try:
            state = await self._state(remote_id, fate)
            if isinstance(state, Pending):
                await self._ledger.append(Cancelled(at=self._clock.now(), remote_id=remote_id))
        except OSError as error:
            return _local(error, "poll", "accepted")
        return state if isinstance(state, Ready) else Stopped("unknown", ended=True)

    async def lookup(self, key: str, *, target: str) -> Accepted | Absent | Fault:
        """The first task that was accepted with `key`, once it is `register_s` old."""
        if target != TARGET:
            return foreign("submit", target)
        try:
            remote_id = await self._ledger.find(key)
        except OSError as error:
            return _local(error, "submit", "unknown")
        fate = fate_of(remote_id) if remote_id is not None else None
        if remote_id is None or fate is None:
            return Absent()
        visible_at = fate.accepted_at + self._settings.register_s
        return Accepted(remote_id, TARGET) if self._clock.now() >= visible_at else Absent()

    async def close(self) -> None:
        """Nothing is open between calls."""

    async def _pass(self, seconds: float) -> None:
        if seconds > 0:
            await self._clock.sleep(seconds)


async def _take_in(pictures: Sequence[Picture]) -> _Taken | Fault:
    """Read every file, as an engine must that sends them."""
    total = 0
    for picture in pictures:
        if picture.path is not None:
            try:
                total += await asyncio.to_thread(_read, picture.path)
            except OSError as error:
                return _local(error, "submit", "none", picture.source)
    return _Taken(len(pictures), total)


def _read(path: Path) -> int:
    size = 0
    with path.open("rb") as file:
        while chunk := file.read(PICTURE_CHUNK_BYTES_MAX):
            size += len(chunk)
    return size


def _failed(code: str, message: str) -> Fault:
    return Fault("poll", "provider.failed", code=code, message=message, effect="accepted")


def _unknown(phase: Phase) -> Fault:
    return answered(phase, 404, "mock_unknown", "the mock has no such task")


def _local(error: OSError, phase: Phase, effect: Effect, what: str = "") -> Fault:
    reason = error.strerror or str(error)
    message = f"{what}: {reason}" if what else f"the mock's ledger: {reason}"
    return Fault(phase, local_kind(error), message=message, effect=effect)
