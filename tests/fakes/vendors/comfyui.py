"""ComfyUI as its document has it (comfyui.md), and strict about it.

One run at a time, begun and ended by hand (`begin`, `end`, `fail`), or `by_itself`; queue and
history are in memory only, and `restart` forgets both. A repeated id is queued again: nothing here
removes duplicates.
"""

from __future__ import annotations

import json
import uuid
from email import message_from_bytes
from typing import Any

from aiohttp import web
from yarl import URL

from tests.fakes.vendors.server import Handler, Vendor

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
CHECKPOINTS = ("sd_xl_base_1.0.safetensors",)
# Of each class: its inputs and their types; "link" is another node's output.
CLASSES: dict[str, dict[str, Any]] = {
    "KSampler": {
        "seed": int,
        "steps": int,
        "cfg": float,
        "sampler_name": str,
        "scheduler": str,
        "denoise": float,
        "model": "link",
        "positive": "link",
        "negative": "link",
        "latent_image": "link",
    },
    "CheckpointLoaderSimple": {"ckpt_name": str},
    "EmptyLatentImage": {"width": int, "height": int, "batch_size": int},
    "CLIPTextEncode": {"text": str, "clip": "link"},
    "VAEDecode": {"samples": "link", "vae": "link"},
    "VAEEncode": {"pixels": "link", "vae": "link"},
    "LoadImage": {"image": str},
    "SaveImage": {"filename_prefix": str, "images": "link"},
    "PreviewImage": {"images": "link"},
}
OUTPUTS = ("SaveImage", "PreviewImage")


class ComfyUIServer(Vendor):
    """`uuids`: ids must be canonical UUIDs, as of late; `names`: an old server that gives every
    task an id of its own; `targets`: it interrupts only the task that is named. `by_itself`: each
    look at the queue finds it a step further.
    """

    def __init__(self, *, uuids: bool = True, names: bool = False, targets: bool = True) -> None:
        super().__init__()
        self.uuids, self.names, self.targets = uuids, names, targets
        self.by_itself = False
        self.running: list[list[Any]] = []
        self.pending: list[list[Any]] = []
        self.history: dict[str, dict[str, Any]] = {}
        self.uploads: dict[str, bytes] = {}
        self.files: dict[tuple[str, str, str], bytes] = {}
        self.interrupted: list[Any] = []
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self._number = 0
        self._made: dict[str, dict[str, Any]] = {}
        self.route("submit", "POST", "/prompt", self._submit)
        self.route("length", "GET", "/prompt", self._length)
        self.route("queue", "GET", "/queue", self._queue)
        self.route("delete", "POST", "/queue", self._delete)
        self.route("interrupt", "POST", "/interrupt", self._interrupt)
        self.route("history", "GET", "/history/", self._history)
        self.route("recent", "GET", "/history", self._recent)
        self.route("upload", "POST", "/upload/image", self._upload)
        self.route("view", "GET", "/view", self._view)
        self.route("socket", "GET", "/ws", self._socket)

    @property
    def graphs(self) -> list[dict[str, Any]]:
        """The graphs in the queue, what runs first."""
        return [item[2] for item in (*self.running, *self.pending)]

    # ---- by hand ----

    def begin(self) -> str:
        """The next task runs."""
        assert not self.running, "one runs at a time"
        self.running.append(self.pending.pop(0))
        return str(self.running[0][1])

    def end(self, *names: str, **outputs: Any) -> None:
        """What runs is over; by default its SaveImage has saved a picture. The outputs of a graph
        that was run before are those of then.
        """
        item = self.running.pop()
        graph = json.dumps(item[2], sort_keys=True)
        node = next(node for node, one in item[2].items() if one["class_type"] in OUTPUTS)
        prefix = str(item[2][node]["inputs"].get("filename_prefix", "ComfyUI"))
        saved = [self.saved(name) for name in names or (f"{prefix}_{len(self.files):05}_.png",)]
        made = outputs or self._made.setdefault(graph, {node: {"images": saved}})
        self._over(item, made, "success", ["execution_success", {"prompt_id": item[1]}])

    def fail(self, kind: str = "RuntimeError", message: str = "bad luck", node: str = "3") -> None:
        """What runs stops with an exception of a node."""
        item = self.running.pop()
        what = {"prompt_id": item[1], "node_id": node, "node_type": item[2][node]["class_type"]}
        why = {"exception_message": message, "exception_type": kind, "traceback": ["…"]}
        self._over(item, {}, "error", ["execution_error", {**what, **why}])

    def restart(self) -> None:
        """It stops and starts again: files stay, queue and history don't."""
        self.running, self.pending, self.history = [], [], {}

    async def vanish(self) -> None:
        """Nobody listens at its port any more, and every connection is cut. It forgets nothing."""
        for site in list(self._runner.sites):
            await site.stop()
        for transport in self.connections:
            transport.abort()
        self.connections.clear()

    async def appear(self) -> None:
        """It listens again, at the same port."""
        url = URL(self.origin)
        await web.TCPSite(self._runner, url.host, url.port).start()

    def saved(self, name: str, *, subfolder: str = "", kind: str = "output") -> dict[str, str]:
        """A file that a node has written."""
        self.files[name, subfolder, kind] = PICTURE
        return {"filename": name, "subfolder": subfolder, "type": kind}

    async def tell(self, kind: str, remote_id: str, **content: Any) -> None:
        """An event of a task, to whoever submitted it."""
        item = next(one for one in self.running if one[1] == remote_id)
        socket = self.sockets[item[3]["client_id"]]
        await socket.send_json({"type": kind, "data": {"prompt_id": remote_id, **content}})

    def _over(
        self, item: list[Any], outputs: dict[str, Any], state: str, message: list[Any]
    ) -> None:
        start = ["execution_start", {"prompt_id": item[1], "timestamp": 1}]
        status = {"status_str": state, "completed": state == "success"}
        self.history[item[1]] = {
            "prompt": item,
            "outputs": outputs,
            "status": {**status, "messages": [start, message]},
            "meta": {},
        }

    # ---- routes ----

    async def _serve(self, name: str, handler: Handler, request: web.Request) -> web.StreamResponse:
        if name != "socket":
            return await super()._serve(name, handler, request)
        # A request for a socket has no body that would end.
        coming = self.weather[name]
        return await (coming.popleft().act if coming else handler)(request)

    async def _submit(self, request: web.Request) -> web.Response:
        body = await request.json()
        unknown = set(body) - {"prompt", "prompt_id", "client_id"}
        if unknown or "{{" in json.dumps(body):
            self.complaint(f"unknown fields {unknown}, or a placeholder is left")
        given = body.get("prompt_id")
        if self.uuids and not _is_canonical(given):
            return refused("invalid_prompt_id", self.complaint("prompt_id must be a UUID"))
        errors = errors_of(body.get("prompt", {}), self.uploads)
        dropped = {one for error in errors.values() for one in error["dependent_outputs"]}
        outputs = [node for node in _outputs(body.get("prompt", {})) if node not in dropped]
        if not outputs:
            words = "Prompt outputs failed validation" if errors else "Prompt has no outputs"
            kind = "prompt_outputs_failed_validation" if errors else "prompt_no_outputs"
            return refused(kind, words, errors)
        task = str(uuid.UUID(int=self._number + 1)) if self.names else given
        self._number += 1
        extra = {"client_id": body["client_id"]}
        self.pending.append([self._number, task, body["prompt"], extra, outputs])
        self.accepted[str(given)] += 1
        answer = {"prompt_id": task, "number": self._number, "node_errors": errors}
        return web.json_response(answer)

    async def _length(self, request: web.Request) -> web.Response:
        remaining = len(self.running) + len(self.pending)
        return web.json_response({"exec_info": {"queue_remaining": remaining}})

    async def _queue(self, request: web.Request) -> web.Response:
        if self.by_itself and self.running:
            self.end()
        elif self.by_itself and self.pending:
            self.begin()
        return web.json_response({"queue_running": self.running, "queue_pending": self.pending})

    async def _delete(self, request: web.Request) -> web.Response:
        ids = (await request.json())["delete"]
        self.pending = [item for item in self.pending if item[1] not in ids]
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        body = await request.json()
        if "prompt_id" not in body:
            self.complaint("whatever runs was interrupted")
        self.interrupted.append(body.get("prompt_id"))
        if self.running and (not self.targets or self.running[0][1] == body.get("prompt_id")):
            item = self.running.pop()
            what = {"prompt_id": item[1], "node_id": "3", "node_type": "KSampler"}
            self._over(item, {}, "error", ["execution_interrupted", what])
        return web.Response()

    async def _history(self, request: web.Request) -> web.Response:
        task = request.path.removeprefix("/history/")
        return web.json_response({task: self.history[task]} if task in self.history else {})

    async def _recent(self, request: web.Request) -> web.Response:
        most = int(request.query["max_items"])
        return web.json_response(dict(list(self.history.items())[-most:]))

    async def _upload(self, request: web.Request) -> web.Response:
        head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n"
        form = message_from_bytes(head.encode() + await request.read())
        fields = {one.get_param("name", header="Content-Disposition"): one for one in form.walk()}
        if "image" not in fields or fields["type"].get_payload() != "input":
            self.complaint("the form has no image, or goes elsewhere")
            return web.Response(status=400)
        content = fields["image"].get_payload(decode=True)
        filename = fields["image"].get_filename()
        assert isinstance(content, bytes)
        assert filename is not None
        stem, _, extension = filename.rpartition(".")
        name, copies = filename, 0
        while self.uploads.get(name, content) != content:
            copies += 1
            name = f"{stem} ({copies}).{extension}"
        self.uploads[name] = content
        return web.json_response({"name": name, "subfolder": "", "type": "input"})

    async def _view(self, request: web.Request) -> web.Response:
        query = request.query
        place = (query["filename"], query["subfolder"], query["type"])
        if place not in self.files:
            return web.Response(status=404)
        return web.Response(body=self.files[place], content_type="image/png")

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = request.query["clientId"]
        self.sockets[client] = socket
        status = {"status": {"exec_info": {"queue_remaining": 1}}, "sid": client}
        await socket.send_json({"type": "status", "data": status})
        try:
            async for frame in socket:
                self.complaint(f"{frame.type} over the socket")
        finally:
            del self.sockets[client]
        return socket


def _is_canonical(given: Any) -> bool:
    try:
        return isinstance(given, str) and str(uuid.UUID(given)) == given
    except ValueError:
        return False


def refused(kind: str, message: str, errors: Any = ()) -> web.Response:
    """A 400 in the server's words."""
    error = {"type": kind, "message": message, "details": "", "extra_info": {}}
    return web.json_response({"error": error, "node_errors": dict(errors)}, status=400)


def errors_of(graph: dict[str, Any], uploads: dict[str, bytes]) -> dict[str, Any]:
    """What is wrong with which node, and the outputs that fall for it."""
    found: dict[str, Any] = {}
    for node, one in graph.items():
        wanted = CLASSES[one["class_type"]]
        errors = [
            error
            for name, kind in wanted.items()
            if (error := _error(name, kind, one["inputs"], graph, uploads)) is not None
        ]
        if errors:
            found[node] = {
                "errors": errors,
                "dependent_outputs": [out for out in _outputs(graph) if _needs(graph, out, node)],
                "class_type": one["class_type"],
            }
    return found


def _error(
    name: str, kind: Any, inputs: dict[str, Any], graph: dict[str, Any], uploads: dict[str, bytes]
) -> dict[str, Any] | None:
    if name not in inputs:
        return _wrong("required_input_missing", "Required input is missing", name)
    value = inputs[name]
    if kind == "link":
        good = isinstance(value, list) and len(value) == 2 and value[0] in graph
        return None if good else _wrong("bad_linked_input", "Bad linked input", name)
    if kind is float and type(value) is int:
        return None
    if type(value) is not kind:
        return _wrong("invalid_input_type", f"Failed to convert to {kind.__name__}", name)
    if name == "ckpt_name" and value not in CHECKPOINTS:
        details = f"ckpt_name: '{value}' not in {list(CHECKPOINTS)}"
        return _wrong("value_not_in_list", "Value not in list", details)
    if name == "image" and value not in uploads:
        details = f"image - Invalid image file: {value}"
        return _wrong("custom_validation_failed", "Custom validation failed for node", details)
    return None


def _wrong(kind: str, message: str, details: str) -> dict[str, Any]:
    return {"type": kind, "message": message, "details": details, "extra_info": {}}


def _outputs(graph: dict[str, Any]) -> list[str]:
    return [node for node, one in graph.items() if one["class_type"] in OUTPUTS]


def _needs(graph: dict[str, Any], node: str, other: str) -> bool:
    """Whether `node` is `other`, or is made from it."""
    if node == other:
        return True
    links = [one[0] for one in graph[node]["inputs"].values() if isinstance(one, list)]
    return any(_needs(graph, link, other) for link in links if link in graph)
