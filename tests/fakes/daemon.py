"""A daemon for clients to talk to: the real frames over a real socket, from a canned state.

It keeps jobs, providers and events as the tests put them there, does what is asked in the simplest
way, and records every request. It runs in a thread, for clients that block.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from daemon.core.job import FINISHED, STATES, Job
from daemon.core.query import matches, parse_query, sort_key
from daemon.wire import codec, messages
from daemon.wire.codec import Problem
from daemon.wire.messages import ErrorBody, Hello, Request, Row, Welcome
from daemon.wire.session import ServerSession

NOW = 1_700_000_000.0
Frames = Iterator[bytes]
AFTER: dict[str, str] = {
    "cancel": "cancelled",
    "requeue": "queued",
    "hold": "held",
    "release": "queued",
    "approve": "queued",
    "resolve": "queued",
}


def provider_row(name: str, **fields: Any) -> dict[str, Any]:
    """A provider as `genq providers --json` has it, with an open gate."""
    gate: dict[str, Any] = {
        "state": "open",
        "until_at": None,
        "reason": None,
        "source": None,
        "causes": [],
    }
    row = {"name": name, "engine": "mock", "enabled": True, "gate": gate, "errors_consecutive": 0}
    row |= {"quota_consecutive": 0, "running": 0, "concurrency": 3, "queued": 0, "latency": {}}
    return row | fields


class FakeDaemon:
    """Listens at `path` from `start` to `stop`. Put jobs, providers and events in as you like."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.jobs: dict[int, Job] = {}
        self.providers = [provider_row("cogvideox"), provider_row("mock"), provider_row("veo")]
        self.events: list[dict[str, Any]] = []
        self.requests: list[Request] = []
        self.rows: list[Row] = []
        self.pictures: dict[str, bytes] = {}
        self.problems: tuple[messages.RowProblem, ...] = ()
        self.warnings: list[str] = []
        self.refused: dict[int, str] = {}
        self.errors: dict[type[Request], ErrorBody] = {}
        self.answers: dict[type[Request], Any] = {}
        self.status_problems: list[str] = []
        self.waited: dict[str, Any] = {}
        self.hang_up_after: int | None = None
        self._partial: dict[str, bytes] = {}
        self._sockets: list[socket.socket] = []

    def put(self, number: int, **fields: Any) -> Job:
        """Have a job; what isn't given is as in a fresh one."""
        given = {"provider": "mock", "created_at": NOW - 60, "updated_at": NOW, **fields}
        self.jobs[number] = Job(id=number, **given)
        return self.jobs[number]

    def asked(self, kind: type[Request]) -> list[Any]:
        """The requests of this kind, so far."""
        return [request for request in self.requests if isinstance(request, kind)]

    # ---- the socket ----

    def start(self) -> None:
        """Listen; clients are served from now on."""
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sockets.append(server)
        server.bind(str(self.path))
        server.listen()
        threading.Thread(target=self._accept, args=(server,), daemon=True).start()

    def stop(self) -> None:
        """Go away, as a daemon that is killed."""
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._sockets.clear()
        self.path.unlink(missing_ok=True)

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            self._sockets.append(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        session = ServerSession()
        try:
            while content := client.recv(65_536):
                for said in session.receive(content):
                    for frame in self._answer(said):
                        client.sendall(frame)
        except OSError:
            pass
        client.close()

    def _answer(self, said: Hello | messages.AnyRequest | Problem) -> Frames:
        if isinstance(said, Hello):
            seq = self.events[-1]["seq"] if self.events else 0
            welcome = Welcome(hello="genq", protocol=1, version="0.1.0", boot="b1", seq=seq)
            yield codec.encode(welcome)
            return
        if isinstance(said, Problem):
            yield codec.encode_error(said.id, said.body)
            return
        self.requests.append(said)
        if (error := self.errors.get(type(said))) is not None:
            yield codec.encode_error(said.id, error)
            return
        if type(said) in self.answers:
            yield codec.encode_ok(said.id, self.answers[type(said)])
            return
        yield from self._DOES[type(said)](self, said)

    # ---- what it does ----

    def _ok(self, request: Request, value: Any) -> Frames:
        yield codec.encode_ok(request.id, value)

    def _ping(self, request: messages.Ping) -> Frames:
        yield from self._ok(request, {"at": NOW})

    def _status(self, request: messages.Status) -> Frames:
        counts: dict[str, int] = dict.fromkeys(STATES, 0)
        for job in self.jobs.values():
            counts[job.state] += 1
        owed = sum(job.state == "in_doubt" for job in self.jobs.values())
        daemon = {"version": "0.1.0", "pid": 4242, "socket": str(self.path), "config": None}
        daemon |= {"started_at": NOW - 7_500, "journal_bytes": 81_234}
        daemon["problems"] = self.status_problems
        value = {"counts": counts, "uncollected": owed, "providers": self.providers}
        yield from self._ok(request, value | {"daemon": daemon})

    def _ls(self, request: messages.Ls) -> Frames:
        query = parse_query(request.filter or "")
        found = [job for job in self.jobs.values() if matches(query, job, NOW)]
        if request.ids is not None:
            found = [job for job in found if job.id in request.ids]
        if request.provider is not None:
            found = [job for job in found if job.provider == request.provider]
        if request.batch is not None:
            found = [job for job in found if job.batch == request.batch]
        if request.recent is not None:
            over = [job.id for job in found if job.state in FINISHED][: -request.recent or None]
            found = [job for job in found if job.id not in over]
        if request.sort is not None:
            key = sort_key(request.sort.removeprefix("-"))
            found.sort(key=key, reverse=request.sort.startswith("-"))
        found = found[: request.limit]
        for batch in codec.gather(map(msgspec.json.encode, found), 1_000):
            yield codec.encode_part(request.id, "jobs", batch)
        yield from self._ok(request, {"count": len(found)})

    def _one(self, request: messages.Show | messages.Why) -> Frames:
        job = self.jobs.get(request.job)
        if job is None:
            body = ErrorBody("unknown_id", f"there is no job {request.job}")
            yield codec.encode_error(request.id, body)
        elif isinstance(request, messages.Show):
            value = msgspec.to_builtins(job)
            yield from self._ok(request, {"attempts": [], **value})
        else:
            why = {"id": job.id, "state": job.state, "sentence": "It waits.", "next_at": None}
            yield from self._ok(request, why)

    def _providers(self, request: messages.Providers) -> Frames:
        yield from self._ok(request, self.providers)

    def _act(self, request: messages.Act) -> Frames:
        changed: list[Job] = []
        refused = []
        for number in request.jobs:
            if number not in self.jobs:
                refused.append({"id": number, "why": f"there is no job {number}"})
            elif number in self.refused:
                refused.append({"id": number, "why": self.refused[number]})
            else:
                fields: dict[str, Any] = dict(request.changes)
                if request.verb in AFTER:
                    fields["state"] = AFTER[request.verb]
                job = msgspec.structs.replace(self.jobs[number], **fields)
                self.jobs[number] = job
                changed.append(msgspec.structs.replace(job, prompt="", params={}))
        value = {"changed": [job.id for job in changed], "refused": refused, "jobs": changed}
        yield from self._ok(request, value)

    def _gates(self, request: messages.Pause | messages.Resume) -> Frames:
        names = list(request.providers) or [row["name"] for row in self.providers]
        yield from self._ok(request, {"changed": names, "refused": []})

    def _add_begin(self, request: messages.AddBegin) -> Frames:
        self.rows.clear()
        yield from self._ok(request, {"add": 1})

    def _add_rows(self, request: messages.AddRows) -> Frames:
        self.rows.extend(request.rows)
        yield from self._ok(request, {})

    def _add_need(self, request: messages.AddNeed) -> Frames:
        yield from self._ok(
            request, {"need": [h for h in request.sha256 if h not in self.pictures]}
        )

    def _add_picture(self, request: messages.AddPicture) -> Frames:
        content = self._partial.pop(request.sha256, b"") + request.data
        if not request.last:
            self._partial[request.sha256] = content
        elif hashlib.sha256(content).hexdigest() == request.sha256:
            self.pictures[request.sha256] = content
        yield from self._ok(request, {})

    def _add_commit(self, request: messages.AddCommit) -> Frames:
        if self.problems:
            body = ErrorBody("bad_jobs", "bad rows; nothing was added", self.problems)
            yield codec.encode_error(request.id, body)
            return
        begun = self.asked(messages.AddBegin)[-1]
        count = sum(row.count for row in self.rows)
        first = None if begun.dry_run else max(self.jobs, default=0) + 1
        if first is not None:
            for number in range(first, first + count):
                self.put(number)
        value = {"first": first, "count": count, "warnings": self.warnings}
        yield from self._ok(request, value)

    def _stored(self, request: messages.Events) -> Frames:
        found = [one for one in self.events if one["seq"] > (request.after or 0)]
        if request.job is not None:
            found = [one for one in found if one.get("job") == request.job]
        if request.tail is not None:
            found = found[len(found) - min(request.tail, len(found)) :]
        for batch in codec.gather(map(msgspec.json.encode, found), 200):
            yield codec.encode_part(request.id, "events", batch)
        newest = self.events[-1]["seq"] if self.events else 0
        yield from self._ok(request, {"seq": newest})

    def _subscribe(self, request: messages.Subscribe) -> Frames:
        newest = self.events[-1]["seq"] if self.events else 0
        after = newest if request.after is None else request.after
        yield from self._ok(request, {"seq": after, "boot": "b1"})
        told = 0
        for event in self.events:
            if event["seq"] > after and request.job in (None, event.get("job")):
                yield codec.encode(event)
                told += 1
                if told == self.hang_up_after:
                    break
        if self.hang_up_after is not None:
            raise OSError("the daemon was killed")

    def _wait(self, request: messages.Wait) -> Frames:
        counts = {name: len(ids) for name, ids in self.waited.items() if name != "timed_out"}
        progress = {"unfinished": 0, **counts, "total": sum(counts.values())}
        yield codec.encode_progress(request.id, progress)
        empty: Mapping[str, Any] = {"succeeded": [], "failed": [], "cancelled": [], "stuck": []}
        value = {**empty, "unfinished": [], "timed_out": False, **self.waited}
        yield from self._ok(request, value)

    _DOES: ClassVar[dict[type[Request], Callable[[FakeDaemon, Any], Frames]]] = {
        messages.Ping: _ping,
        messages.Status: _status,
        messages.Ls: _ls,
        messages.Show: _one,
        messages.Why: _one,
        messages.Providers: _providers,
        messages.Act: _act,
        messages.Pause: _gates,
        messages.Resume: _gates,
        messages.AddBegin: _add_begin,
        messages.AddRows: _add_rows,
        messages.AddNeed: _add_need,
        messages.AddPicture: _add_picture,
        messages.AddCommit: _add_commit,
        messages.Events: _stored,
        messages.Subscribe: _subscribe,
        messages.Wait: _wait,
    }
