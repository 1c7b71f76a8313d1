"""Effects become outcomes: the only place where engines, pictures and result files meet.

Each call waits until it is due, is done once, within a time limit, and what went wrong on this
machine (a picture, the disk) comes back as a fault like anything else.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, assert_never

import msgspec

from daemon import failpoints
from daemon.book import Book
from daemon.clock import Clock
from daemon.core.effects import Effect, Fetch, Lookup, Poll, Prepare, Stop, Submit
from daemon.core.job import Image, Intent, Job, Output, Phase, Remote
from daemon.core.kinds import local_kind
from daemon.core.outcomes import Effect as PaidEffect
from daemon.core.outcomes import Fault, Interrupted, Outcome, Prepared, Saved, Stopped
from daemon.engines.defaults import ask
from daemon.engines.engine import Engine, Picture, Request
from daemon.media.downloads import Filing, FilingError, Sink, TooLargeError, WrongContentError
from daemon.media.inputs import InputError, InputStore
from daemon.media.pictures import PictureError, PictureLimits, PicturePool, PoolClosedError
from daemon.providers import Provider

OVERRUN_S = 10.0
"""An engine keeps its own time limits; a call that outlives them by so much is cut here."""


class IoPerformer:
    """Performs effects for all providers."""

    def __init__(
        self,
        *,
        book: Book,
        clock: Clock,
        inputs: InputStore,
        pictures: PicturePool,
        filing: Filing,
        provider: Callable[[str], Provider],
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self._book = book
        self._clock = clock
        self._inputs = inputs
        self._pictures = pictures
        self._filing = filing
        self._provider = provider
        self._room = room
        self._requests: dict[int, Request] = {}

    async def perform(self, job: Job, effect: Effect) -> Outcome:
        """Wait until `effect` is due, do it once, and say what came of it."""
        provider = self._provider(job.provider)
        engine = provider.engine
        if engine is None:
            raise RuntimeError(f"{provider.name} has no engine")
        match effect:
            case Prepare():
                return await self._prepare(job, provider, engine)
            case Submit(intent=intent):
                return await self._submit(job, provider, engine, intent)
            case Lookup(intent=intent, at=at):
                await self._until(at)
                failpoints.at("before_lookup")
                found = await _within(
                    provider.policy.limits.poll_timeout_s + OVERRUN_S,
                    engine.lookup(intent.key, target=intent.target),
                    "submit",
                    "unknown",
                )
                failpoints.at("lookup_answered")
                return found
            case Poll(remote=remote, at=at):
                return await self._poll(job, provider, engine, remote, at)
            case Fetch(remote=remote, at=at):
                await self._until(at)
                return await self._fetch(job, provider, engine, remote)
            case Stop(remote=remote, at=at):
                await self._until(at)
                if not provider.policy.abilities.cancel:
                    return Stopped("unknown")
                failpoints.at("before_stop")
                stopped = await _within(
                    provider.policy.limits.poll_timeout_s + OVERRUN_S,
                    engine.cancel(remote.remote_id, target=remote.target),
                    "poll",
                    "accepted",
                )
                failpoints.at("stop_answered")
                return stopped
            case never:
                assert_never(never)

    def forget(self, job: int) -> None:
        """Let go of what was kept for a job's submit."""
        self._requests.pop(job, None)

    async def _until(self, at: float) -> None:
        wait = at - self._clock.now()
        if wait > 0:
            await self._clock.sleep(wait)

    # ---- prepare and submit ----

    async def _prepare(self, job: Job, provider: Provider, engine: Engine) -> Outcome:
        try:
            request = await self._request(job, provider, engine)
        except (PictureError, InputError) as error:
            return Fault("prepare", "local.decode", message=str(error))
        except OSError as error:
            return _local(error, "prepare", "none")
        except PoolClosedError:
            return Interrupted()
        self._requests[job.id] = request
        target = await engine.choose(request)
        await self._room()  # closes the gate if what is bought now could not be kept
        failpoints.at("prepared")
        return Prepared(key=self._clock.key(), target=target, digest=_digest(request))

    async def _request(self, job: Job, provider: Provider, engine: Engine) -> Request:
        params = job.params
        if provider.params:
            asked = await asyncio.to_thread(
                ask, engine, job.prompt, params, len(job.images), defaults=provider.params
            )
            params = asked.params
        limits = provider.pictures
        if (types := engine.picture_types(params)) is not None:
            limits = msgspec.structs.replace(limits, types=types)
        pictures = [await self._picture(image, limits) for image in job.images]
        return Request(
            job=job.id,
            name=job.name,
            prompt=job.prompt,
            params=params,
            pictures=tuple(pictures),
        )

    async def _picture(self, image: Image, limits: PictureLimits) -> Picture:
        """The picture as it may be sent. Raises PictureError, InputError, OSError."""
        if image.sha256 is not None:
            path = self._inputs.path(image.sha256)
        elif image.source.startswith("job:"):
            path = self._output_of(image.source)
        else:
            return Picture(source=image.source, url=image.source)
        fitted = await self._pictures.fit(path, limits, sha256=image.sha256)
        return Picture(
            source=image.source,
            path=fitted.path,
            sha256=None if fitted.scaled else image.sha256,
            mime=fitted.mime,
        )

    def _output_of(self, source: str) -> Path:
        parent = self._book.jobs.get(int(source.removeprefix("job:")))
        if parent is None or not parent.outputs:
            raise PictureError(f"{source} has no output to use as a picture")
        return Path(parent.outputs[0].path)

    async def _submit(
        self, job: Job, provider: Provider, engine: Engine, intent: Intent
    ) -> Outcome:
        request = self._requests.pop(job.id, None)
        if request is None:
            # Nobody is asked to send what was not prepared: it was sent before, and left alone.
            message = "the request is no longer at hand; it may have been sent"
            return Fault("submit", "internal", message=message, effect="unknown")
        limits = provider.policy.limits
        call = engine.submit(request, key=intent.key, target=intent.target)
        failpoints.at("before_post")
        answer = await _within(limits.submit_timeout_s + OVERRUN_S, call, "submit", "unknown")
        failpoints.at("answer_read")
        return answer

    # ---- poll and fetch ----

    async def _poll(
        self, job: Job, provider: Provider, engine: Engine, remote: Remote, at: float
    ) -> Outcome:
        await self._until(at)
        now = self._clock.now()  # its turn is taken only now: a slow watch keeps nobody waiting
        spaced = self._book.gate(job.provider).polls_spaced_until or 0.0
        due = provider.poll_pace.take(now)
        if spaced > now:
            due = max(due, spaced + provider.policy.limits.poll_interval_s * self._clock.jitter())
        await self._until(due)
        call = engine.poll(remote.remote_id, target=remote.target)
        limit = provider.policy.limits.poll_timeout_s + OVERRUN_S
        failpoints.at("before_poll")
        answer = await _within(limit, call, "poll", "accepted")
        failpoints.at("poll_answered")
        return answer

    async def _fetch(self, job: Job, provider: Provider, engine: Engine, remote: Remote) -> Outcome:
        """Every result on disk under its final name, synced; or the first fault."""
        outputs: list[Output] = []
        for result in remote.results:
            index = len(job.outputs) + len(outputs)
            try:
                part = await self._filing.part(job.id, job.attempt, index)
                failpoints.at("before_download")
                async with Sink(part, provider.download_bytes_max) as sink:
                    fault = await engine.fetch(result, sink, target=remote.target)
                if fault is not None:
                    return fault
                folder = job.batch or _date(job.created_at)
                output = await self._filing.file(
                    part, job_id=job.id, name=job.name, folder=folder, index=index
                )
                outputs.append(output)
            except PictureError as error:
                return Fault("download", "local.decode", message=str(error), effect="accepted")
            except PoolClosedError:
                return Interrupted()
            except TooLargeError as error:
                return Fault("download", "local.toolarge", message=str(error), effect="accepted")
            except WrongContentError as error:
                return Fault("download", "protocol", message=str(error), effect="accepted")
            except FilingError as error:
                return Fault("download", "local.io", message=str(error), effect="accepted")
            except OSError as error:
                return _local(error, "download", "accepted")
        return Saved(tuple(outputs))


T = TypeVar("T")


async def _within(
    limit_s: float, call: Awaitable[T], phase: Phase, effect: PaidEffect
) -> T | Fault:
    """What `call` returns, or a fault if it takes longer than `limit_s`."""
    try:
        async with asyncio.timeout(limit_s):
            return await call
    except TimeoutError:
        message = f"no answer within {limit_s:g} s"
        return Fault(phase, "transport.timeout.total", message=message, effect=effect)


def _local(error: OSError, phase: Phase, effect: PaidEffect) -> Fault:
    return Fault(phase, local_kind(error), message=error.strerror or str(error), effect=effect)


def _digest(request: Request) -> str:
    """SHA-256 over what is asked, whatever the order of the params."""
    pictures = [one.sha256 or one.url or str(one.path) for one in request.pictures]
    asked = [request.prompt, request.params, pictures]
    return hashlib.sha256(msgspec.json.encode(asked, order="sorted")).hexdigest()


def _date(at: float) -> str:
    """The folder of a job without a batch: the day it was added, in UTC."""
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d")
