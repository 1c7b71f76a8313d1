"""A daemon for the monitor's tests: speaks the socket's protocol, does nothing but what it's told.

Runs in a test's own loop, or as a process of its own that can be killed
(`python -m tests.fakes.socket_daemon PATH JOBS NOW`).
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from daemon.core.events import Event
from daemon.core.job import Attempt, Failure, Job, Output, Stage
from daemon.wire import codec, messages
from daemon.wire.session import ServerSession

BOOT_AT = 1_000_000.0
AFTER: dict[str, Any] = {
    "cancel": ("cancelled", "cancelled"),
    "requeue": ("requeued", "queued"),
    "hold": ("held", "held"),
    "release": ("released", "queued"),
    "approve": ("released", "queued"),
}
"""What an action's event is called, and the state after it."""


def job(number: int, **fields: Any) -> Job:
    """A job as a snapshot tells it."""
    usual: dict[str, Any] = {
        "provider": "veo",
        "prompt": f"a red kite, take {number}",
        "created_at": BOOT_AT - 60.0 + number / 1_000,
        "updated_at": BOOT_AT,
        "errors_consecutive_max": 5,
        "retries_max": 5,
    }
    return Job(id=number, **{**usual, **fields})


def failure(**fields: Any) -> Failure:
    """A gateway timeout, as a job keeps it."""
    usual: dict[str, Any] = {
        "phase": "poll",
        "kind": "http",
        "http": 504,
        "message": "Gateway Time-out",
        "rule": "veo.3",
        "advice": "the gateway is slow; the task goes on",
    }
    return Failure(**{**usual, **fields})


def provider(name: str, **fields: Any) -> dict[str, Any]:
    """A row of a provider, its gate open."""
    gate: dict[str, Any] = {
        "state": "open",
        "until_at": None,
        "reason": None,
        "source": None,
        "causes": [],
    }
    return {
        "name": name,
        "engine": "mock",
        "enabled": True,
        "gate": gate,
        "errors_consecutive": 0,
        "quota_consecutive": 0,
        "running": 0,
        "concurrency": 3,
        "queued": 0,
        "latency": {"submit": {"p50_s": 1.1, "p95_s": 4.9, "n": 12}},
        **fields,
    }


def paused(until_at: float | None, cause: str = "quota", reason: str = "429") -> dict[str, Any]:
    """A gate that is shut, as a row tells it."""
    one = {"cause": cause, "until_at": until_at, "reason": reason}
    source = "operator" if cause == "operator" else "provider"
    return {
        "state": "paused" if until_at or cause == "operator" else "closed",
        "until_at": until_at,
        "reason": reason,
        "source": source,
        "causes": [one],
    }


def whole(known: Job) -> Job:
    """`known` as `show` answers it: with stages, attempts and files."""
    done = known.state == "succeeded"
    stages = (
        Stage("queue", 0, known.created_at, 12.0, "ok"),
        Stage("submit", 1, known.created_at + 12.0, 1.2, "ok"),
        Stage("generate", 1, known.created_at + 13.2, 30.0 if done else None),
    )
    attempts = (
        Attempt(1, "k" * 32, "op/77f1", known.created_at + 12.0, known.created_at + 13.2, polls=4),
    )
    outputs = (Output(f"/out/{known.id}-kite.mp4", 81_234, "0" * 64, "video/mp4"),) if done else ()
    return msgspec.structs.replace(
        known, stages=stages, attempts=attempts, outputs=outputs, params={"duration": 5}
    )


class SocketDaemon:
    """A daemon at `path` with these jobs. `acts` and `gates` are what it was asked to change."""

    def __init__(self, path: Path, jobs: list[Job], providers: list[dict[str, Any]]) -> None:
        self.path = path
        self.jobs = {one.id: one for one in jobs}
        self.providers = providers
        self.events: list[Event] = []
        self.boot = "boot"
        self.seq = 100
        self.oldest = 1
        self.acts: list[messages.Act] = []
        self.gates: list[messages.Pause | messages.Resume] = []
        self.refuse: dict[int, str] = {}
        self.quiet = False
        self.subscribed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._writers: dict[asyncio.StreamWriter, bool] = {}

    async def start(self) -> None:
        """Listen."""
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        """Hang up on everybody, as if killed."""
        self.subscribed.clear()
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()
        self.path.unlink(missing_ok=True)

    # ---- what a test makes happen ----

    def tell(self, kind: Any, number: int | None = None, **changes: Any) -> Event:
        """An event, folded here, kept, and sent to whoever subscribed."""
        self.seq += 1
        fields: dict[str, Any] = {"seq": self.seq, "at": BOOT_AT + self.seq / 10, "type": kind}
        if number is not None:
            known = self.jobs[number]
            fields |= {"job": number, "provider": known.provider, "rev": known.rev + 1}
            fields |= {"state": changes.get("state", known.state), "attempt": known.attempt}
        event = Event(**{**fields, **changes})
        if number is not None and kind != "added":
            from daemon.core.events import apply

            self.jobs[number] = apply(self.jobs[number], event)
        self._send(event)
        return event

    def add(self, added: Job) -> Event:
        """A new job."""
        self.jobs[added.id] = added
        self.seq += 1
        event = Event(
            seq=self.seq,
            at=added.created_at,
            type="added",
            job=added.id,
            provider=added.provider,
            state=added.state,
            attempt=0,
            rev=1,
            value=added,
        )
        self._send(event)
        return event

    def raw(self, line: bytes) -> None:
        """A line as it is, to whoever subscribed."""
        for writer, listening in self._writers.items():
            if listening:
                writer.write(line + b"\n")

    async def drained(self) -> None:
        """Wait until clients have taken what was sent."""
        for writer in list(self._writers):
            await writer.drain()

    def _send(self, event: Event) -> None:
        self.events.append(event)
        if not self.quiet:
            self.raw(msgspec.json.encode(event))

    # ---- serving ----

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = ServerSession()
        self._writers[writer] = False
        try:
            while content := await reader.read(65_536):
                for frame in session.receive(content):
                    self._answer(frame, writer)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            self._writers.pop(writer, None)
            writer.close()

    def _answer(self, frame: Any, writer: asyncio.StreamWriter) -> None:
        match frame:
            case messages.Hello():
                welcome = messages.Welcome(
                    hello="genq", protocol=messages.PROTOCOL, boot=self.boot, seq=self.seq
                )
                writer.write(codec.encode(welcome))
            case messages.Subscribe(snapshot=True):
                self._snapshot(frame.id, writer)
            case messages.Subscribe():
                self._replay(frame, writer)
            case messages.Ls(ids=ids):
                found = [msgspec.json.encode(self.jobs[number]) for number in ids or ()]
                writer.write(codec.encode_part(frame.id, "jobs", found))
                writer.write(codec.encode_ok(frame.id, {"count": len(found)}))
            case messages.Events():
                lines = [msgspec.json.encode(one) for one in self.events[-(frame.tail or 0) :]]
                if lines:
                    writer.write(codec.encode_part(frame.id, "events", lines))
                writer.write(codec.encode_ok(frame.id, {"seq": self.seq}))
            case _:
                writer.write(codec.encode_ok(frame.id, self._value(frame)))

    def _value(self, request: Any) -> Any:
        match request:
            case messages.Ping():
                return {"at": BOOT_AT}
            case messages.Providers():
                return self.providers
            case messages.Show(job=number):
                return whole(self.jobs[number])
            case messages.Why(job=number):
                sentence = f"Job {number} waits for nothing in particular."
                return {"id": number, "state": "queued", "sentence": sentence, "next_at": None}
            case messages.Act():
                return self._act(request)
            case messages.Pause() | messages.Resume():
                self.gates.append(request)
                return {"changed": list(request.providers), "refused": []}
            case _:
                raise AssertionError(f"the monitor never asks {request}")

    def _snapshot(self, number: int, writer: asyncio.StreamWriter) -> None:
        lines = (msgspec.json.encode(one) for one in self.jobs.values())
        for part in codec.gather(lines):
            writer.write(codec.encode_part(number, "jobs", part))
        rows = [msgspec.json.encode(row) for row in self.providers]
        writer.write(codec.encode_part(number, "providers", rows))
        self._subscribed(number, writer)

    def _replay(self, frame: messages.Subscribe, writer: asyncio.StreamWriter) -> None:
        self._subscribed(frame.id, writer)
        after = frame.after or 0
        if after + 1 < self.oldest or after > self.seq:
            hole = Event(seq=self.oldest, at=BOOT_AT, type="snapshot")
            writer.write(codec.encode(hole))
            return
        for event in self.events:
            if event.seq > after:
                writer.write(codec.encode(event))

    def _subscribed(self, number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(codec.encode_ok(number, {"seq": self.seq, "boot": self.boot}))
        self._writers[writer] = True
        self.subscribed.set()

    def _act(self, act: messages.Act) -> dict[str, Any]:
        self.acts.append(act)
        changed, refused = [], []
        for number in act.jobs:
            if number in self.refuse:
                refused.append({"id": number, "why": self.refuse[number]})
                continue
            changed.append(number)
            if act.verb == "edit":
                self.tell("edited", number, **act.changes)
            elif act.verb in AFTER:
                kind, state = AFTER[act.verb]
                self.tell(kind, number, state=state)
        jobs = [self.jobs[number] for number in changed]
        return {"changed": changed, "refused": refused, "jobs": jobs}


STATES = (
    "generating",
    "queued",
    "queued",
    "succeeded",
    "failed",
    "held",
    "downloading",
    "in_doubt",
)
PROMPTS = (
    "an old lighthouse in a storm, waves breaking, cinematic",
    "一只猫走在月球上 电影感光线 35mm 胶片质感 慢镜头推进",
    "hostile \x1b]52;c;aGk=\x07 \x1b[2J \x9b31m \u202eevil\u202c [red]x[/] [@click=app.quit]q[/]",
    "paper birds over a city [retry 2]",
)


def crowd(count: int, now: float = BOOT_AT) -> list[Job]:
    """So many jobs in all states, some with hostile text."""
    jobs = []
    for number in range(1, count + 1):
        state = STATES[number % len(STATES)]
        trouble = state in ("failed", "in_doubt") or number % 8 == 0
        jobs.append(
            job(
                number,
                state=state,
                prompt=PROMPTS[number % len(PROMPTS)],
                provider=("veo", "cogvideox", "comfyui")[number % 3],
                attempt=0 if state == "queued" else 1,
                errors_consecutive=3 if trouble else 0,
                errors_total=4 if trouble else 0,
                error=failure(message="Gateway \x1b[31mTime-out") if trouble else None,
                progress=0.61 if state == "generating" else None,
                created_at=now - number * 7.0,
                updated_at=now,
                deadline_at=now + 1_000 if state == "generating" else None,
                reason="approval" if state == "held" else None,
                name=f"shot-{number}" if number % 2 else None,
                remote_id="op/77f1" if state in ("generating", "downloading") else None,
                finished_at=now - 5 if state in ("succeeded", "failed") else None,
            )
        )
    return jobs


async def main(path: Path, count: int, now: float) -> None:
    """Serve `count` jobs, as of `now`, until standard input ends."""
    providers = [
        provider("veo", gate=paused(now + 400.0), quota_consecutive=3),
        provider("cogvideox"),
        provider("comfyui", gate=paused(None, "auth", "401 \x1b[2Jbad key")),
    ]
    daemon = SocketDaemon(path, crowd(count, now), providers)
    daemon.boot = str(os.getpid())
    await daemon.start()
    stdin = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    await stdin.read()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
