"""The desk: what clients ask for, done against the book. Every answer is true and durable."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, assert_never

import msgspec
from msgspec import UNSET

from daemon import failpoints
from daemon.book import Book
from daemon.clock import Clock
from daemon.core import explain
from daemon.core.commands import (
    Cancel,
    Command,
    Edit,
    Hold,
    RefusedError,
    Release,
    Requeue,
    Resolve,
)
from daemon.core.events import Event, EventType
from daemon.core.gate import Gate
from daemon.core.job import Attempt, Job, State, label, live_remote, public
from daemon.core.judge import close, gate_events, reopen
from daemon.core.suggest import did_you_mean, shown
from daemon.desk.intake import Intake
from daemon.desk.listing import Listing
from daemon.desk.report import Reporter
from daemon.desk.waiting import Waiting
from daemon.desk.weighing import edit_problem
from daemon.providers import Provider
from daemon.supervisor import Supervisor
from daemon.wire import messages
from daemon.wire.messages import refusal


class Operations:
    """Implements daemon.serving.desk.Desk over the book and the supervisor."""

    def __init__(
        self,
        *,
        boot: str,
        book: Book,
        supervisor: Supervisor,
        reporter: Reporter,
        listing: Listing,
        intake: Intake,
        waiting: Waiting,
        clock: Clock,
    ) -> None:
        self.boot = boot
        self._book = book
        self._supervisor = supervisor
        self._reporter = reporter
        self._listing = listing
        self._intake = intake
        self._waiting = waiting
        self._clock = clock

    @property
    def _providers(self) -> Mapping[str, Provider]:
        return self._reporter.providers

    # ---- one answer ----

    async def answer(self, request: messages.AnyRequest, by: str | None) -> Any:
        """The value of a request that has one answer."""
        match request:
            case messages.Ping():
                return {"at": self._clock.now()}
            case messages.Status():
                await self._book.seen()
                return await self._reporter.status()
            case messages.Providers():
                await self._book.seen()
                return self._reporter.provider_rows()
            case messages.Show(job=number):
                return await self._show(number)
            case messages.Why(job=number):
                job = self._job(number)
                await self._book.seen()
                return explain.why(job, self._reporter.scene(job))
            case messages.Act():
                return await self._act(request, by)
            case messages.Pause():
                return await self._pause(request, by)
            case messages.Resume():
                return await self._resume(request, by)
            case _:
                raise refusal("unknown_op", f"{type(request).__name__} has no single answer")

    def _job(self, number: int) -> Job:
        job = self._book.jobs.get(number)
        if job is None:
            raise refusal("unknown_id", f"there is no job {number}")
        return job

    async def _show(self, number: int) -> dict[str, Any]:
        job = self._job(number)
        shown = explain.shown(job, self._reporter.scene(job))
        await self._book.seen()
        value: dict[str, Any] = msgspec.to_builtins(shown)
        value["attempts"] = msgspec.to_builtins(_attempts(job))
        return value

    # ---- acting on jobs ----

    async def _act(self, request: messages.Act, by: str | None) -> dict[str, Any]:
        asked = _command(request)
        await self._storable()
        changed: list[Job] = []
        refused: list[dict[str, Any]] = []
        for number in dict.fromkeys(request.jobs):
            try:
                changed.append(await self._change(number, asked, request.states, by))
            except RefusedError as error:
                refused.append({"id": number, "why": str(error)})
        await self._book.durable()
        failpoints.at("act_unacknowledged")
        brief = [msgspec.structs.replace(public(job), prompt="", params={}) for job in changed]
        return {"changed": [job.id for job in changed], "refused": refused, "jobs": brief}

    async def _change(
        self, number: int, asked: Command, states: Collection[State], by: str | None
    ) -> Job:
        """The job after `asked`, if it is in one of `states`, if any. Raises RefusedError."""
        job = self._book.jobs.get(number)
        if job is None:
            raise RefusedError(f"there is no job {number}")
        await self._check(job, asked)
        job = self._book.jobs.get(number, job)  # it may have moved on meanwhile
        if states and job.state not in states:
            raise RefusedError(f"{label(job)} is {job.state} by now: look at it again")
        return self._supervisor.command(job, asked, by=by)

    async def _check(self, job: Job, asked: Command) -> None:
        """Raise RefusedError for an edit that would make a job which could not be added."""
        if isinstance(asked, Edit):
            provider = self._providers.get(job.provider)
            problem = await asyncio.to_thread(edit_problem, job, asked, provider)
            if problem is not None:
                raise RefusedError(f"{label(job)}: {problem}")

    async def _pause(self, request: messages.Pause, by: str | None) -> dict[str, Any]:
        if request.until_at is not None and request.until_at <= self._clock.now():
            raise refusal("bad_request", "the time to pause until is past")
        reason = request.reason or f"paused by {by or 'an operator'}"

        def paused(gate: Gate) -> Gate:
            return close(gate, "operator", request.until_at, reason, source="operator")

        return await self._gates(request.providers, paused, "provider_paused", by)

    async def _resume(self, request: messages.Resume, by: str | None) -> dict[str, Any]:
        now = self._clock.now()
        return await self._gates(
            request.providers, lambda gate: reopen(gate, now), "provider_resumed", by
        )

    async def _gates(
        self, names: Sequence[str], change: Callable[[Gate], Gate], kind: EventType, by: str | None
    ) -> dict[str, Any]:
        unknown = [name for name in names if name not in self._providers]
        if unknown:
            there_are = ", ".join(sorted(self._providers))
            raise refusal(
                "unknown_provider", f"unknown provider {unknown[0]!r} (there are: {there_are})"
            )
        await self._storable()
        changed: list[str] = []
        refused: list[dict[str, str]] = []
        events: list[Event] = []
        for name in names or sorted(self._providers):
            before = self._book.gate(name)
            after = change(before)
            if after == before:
                shut = self._reporter.kept_shut(name) if kind == "provider_resumed" else None
                if shut is not None:
                    refused.append({"id": name, "why": shut})
                continue
            changed.append(name)
            events += gate_events(name, before, after, kind, self._clock.now(), by=by)
        if events:
            self._book.record(events)
        await self._book.durable()
        return {"changed": changed, "refused": refused if names else []}

    async def _storable(self) -> None:
        """Raise where a command could not be kept: better refused than left hanging."""
        if (why := await self._book.stuck()) is not None:
            raise refusal("no_space", f"{why}; nothing was changed. Free some room, then ask again")

    # ---- lists, and what comes in ----

    @property
    def durable_seq(self) -> int:
        """The newest event that is on disk."""
        return self._listing.durable_seq

    async def ls(self, request: messages.Ls) -> Sequence[bytes]:
        """The jobs asked for, encoded, in order."""
        return await self._listing.ls(request)

    async def snapshot(self) -> tuple[int, Sequence[bytes], Sequence[bytes]]:
        """The state after exactly the events up to seq, once they are durable."""
        return await self._listing.snapshot()

    async def events(
        self, after: int | None, tail: int | None, job: int | None
    ) -> AsyncIterator[bytes]:
        """Stored events after `after`, up to the newest durable one at the call."""
        return await self._listing.events(after, tail, job)

    async def add(
        self, rows: Sequence[messages.Row], by: str | None, *, dry_run: bool
    ) -> dict[str, Any]:
        """Validate whole, add all or nothing."""
        return await self._intake.add(rows, by, dry_run=dry_run)

    async def need(self, hashes: Sequence[str]) -> list[str]:
        """Which of these pictures are missing."""
        return await self._intake.need(hashes)

    async def receive(self, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep a picture, whole or not at all."""
        await self._intake.receive(sha256, chunks)

    async def wait(
        self, request: messages.Wait, progress: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """The value of `wait`, when it ends."""
        if request.jobs is not None:
            for number in request.jobs:
                self._job(number)
        return await self._waiting.wait(request, progress)


def _attempts(job: Job) -> tuple[Attempt, ...]:
    """The attempts of `job`; how often a living task was polled is in the working memory."""
    attempts = () if job.attempts is UNSET else job.attempts
    remote = live_remote(job)
    if remote is None:
        return attempts
    return tuple(
        msgspec.structs.replace(one, polls=remote.polls) if one.key == remote.key else one
        for one in attempts
    )


def _command(request: messages.Act) -> Command:
    match request.verb:
        case "cancel":
            return Cancel(request.reason)
        case "requeue":
            return Requeue(request.fresh, request.reason)
        case "hold":
            return Hold(request.reason)
        case "release":
            return Release(False, request.reason)
        case "approve":
            return Release(True, request.reason)
        case "resolve":
            return _resolve(request)
        case "edit":
            return _edit(request)
        case never:
            assert_never(never)


def _resolve(request: messages.Act) -> Resolve:
    if request.how is None:
        raise refusal("bad_request", "how: attach, pay-again or write-off")
    remote_id = request.remote_id.strip()
    if request.how == "attach" and not remote_id:
        raise refusal("bad_request", "attach needs the remote id that was found")
    return Resolve(request.how, remote_id, request.reason)


def _edit(request: messages.Act) -> Edit:
    fields = Edit.__struct_fields__
    for key in request.changes:
        if key not in fields:
            hint = did_you_mean(key, fields) or f"; it is one of {', '.join(fields)}"
            raise refusal("bad_request", f"changes: unknown key {shown(key)}{hint}")
    try:
        return msgspec.convert(request.changes, Edit, strict=True)
    except msgspec.ValidationError as error:
        raise refusal("bad_request", f"changes: {error}") from None
