"""Coze's workflow API as its document has it (coze.md), and strict about it.

Errors come with HTTP 200 and a code that isn't 0.
"""

from __future__ import annotations

import json
from email import message_from_bytes
from email.policy import HTTP
from typing import Any

from aiohttp import web

from tests.fakes.vendors.server import Vendor

KEY = "pat_coze-test-key"
CLIP = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40
WORKFLOW = "7380000000000000001"
LOGID = "20260101ABCDEF"
TEXTS = ("workflow_id", "bot_id", "app_id", "workflow_version", "connector_id")
FIELDS = {*TEXTS, "parameters", "is_async", "ext"}


class CozeServer(Vendor):
    """Each run is Running for `running` polls, then has `made`, a link to a second server that
    complains about tokens, as JSON in a text in JSON.
    """

    def __init__(self, *, running: int = 1) -> None:
        super().__init__()
        self.running = running
        self.published = {WORKFLOW}
        self.runs: dict[str, dict[str, Any]] = {}
        self.files: dict[str, tuple[str, str, bytes]] = {}
        self.store = ClipStore()
        self._polls: dict[str, int] = {}
        self.route("submit", "POST", "/v1/workflow/run", self._run)
        self.route("upload", "POST", "/v1/files/upload", self._upload)
        self.route("poll", "GET", "/v1/workflows/", self._history)

    def made(self, run: str) -> Any:
        """What the workflow's end node returns."""
        return {
            "video": f"{self.store.origin}/clips/{run}.mp4?sign=a%2Fb%3D",
            "cover": f"{self.store.origin}/covers/{run}.png",
        }

    async def _run(self, request: web.Request) -> web.Response:
        if refused := self._unauthorized(request):
            return refused
        if request.content_type != "application/json":
            return error(4000, self.complaint("the content type isn't JSON"))
        body = await request.json()
        if wrong := self._problem_of(body):
            return error(4000, self.complaint(wrong))
        if body["workflow_id"] not in self.published:
            return error(4200, "workflow not found or not published")
        run = f"76000000000000{len(self.runs):05d}"
        self.runs[run] = body
        self.accepted[body["ext"]["user_id"]] += 1
        link = f"https://www.coze.cn/work_flow?execute_id={run}"
        return web.json_response({**envelope(), "execute_id": run, "debug_url": link})

    async def _upload(self, request: web.Request) -> web.Response:
        if refused := self._unauthorized(request):
            return refused
        head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
        form = message_from_bytes(head + await request.read(), policy=HTTP)
        parts = list(form.iter_parts()) if form.is_multipart() else []
        if [one.get_param("name", header="Content-Disposition") for one in parts] != ["file"]:
            return error(4300, self.complaint("the form has no file, or more"))
        file_id = f"736949{len(self.files):04d}"
        content = parts[0].get_payload(decode=True)
        assert isinstance(content, bytes)
        self.files[file_id] = (
            parts[0].get_filename() or "",
            parts[0].get_content_type(),
            content,
        )
        return web.json_response({**envelope(), "data": {"id": file_id, "bytes": 1}})

    async def _history(self, request: web.Request) -> web.Response:
        if refused := self._unauthorized(request):
            return refused
        workflow, _, rest = request.path.removeprefix("/v1/workflows/").partition("/")
        run = rest.removeprefix("run_histories/")
        if run not in self.runs or self.runs[run]["workflow_id"] != workflow:
            return error(4314, "execution record not found")
        count = self._polls[run] = self._polls.get(run, 0) + 1
        done = count > self.running
        output = json.dumps({"Output": json.dumps(self.made(run))})
        user = self.runs[run]["ext"]["user_id"]
        return history(
            execute_id=run,
            connector_uid=user,
            execute_status="Success" if done else "Running",
            output=output if done else "",
        )

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") == f"Bearer {KEY}":
            return None
        return error(4100, "authentication is invalid", status=401)

    def _problem_of(self, body: Any) -> str | None:
        """What is wrong with a run's body, by the document's table."""
        if not isinstance(body, dict) or set(body) - FIELDS:
            return "a field that isn't there"
        for name in TEXTS:
            if name in body and not (isinstance(body[name], str) and body[name]):
                return f"{name} isn't a text"
        if "bot_id" in body and "app_id" in body:
            return "bot_id and app_id"
        if body.get("is_async") is not True or not isinstance(body.get("parameters"), dict):
            return "is_async or parameters"
        ext = body.get("ext", {})
        if not all(isinstance(one, str) for one in ext.values()) or not ext.get("user_id"):
            return "ext"
        return self._problem_of_picture(body["parameters"].get("image"))

    def _problem_of_picture(self, value: Any) -> str | None:
        for one in value if isinstance(value, list) else [value] * (value is not None):
            if not isinstance(one, str):
                return "a picture is a text"
            if one.startswith(("http://", "https://")):
                continue
            file = json.loads(one)
            if set(file) != {"file_id"} or file["file_id"] not in self.files:
                return "no such file"
        return None


class ClipStore(Vendor):
    """Serves the clip to anybody without a token."""

    def __init__(self) -> None:
        super().__init__()
        self.route("clip", "GET", "/clips/", self._clip)

    async def _clip(self, request: web.Request) -> web.Response:
        if "Authorization" in request.headers or "sign=a%2Fb%3D" not in request.raw_path:
            self.complaint(f"a token was sent for {request.raw_path}, or its signature is broken")
            return web.Response(status=403)
        return web.Response(body=CLIP, content_type="video/mp4")


def envelope(code: int = 0, msg: str = "") -> dict[str, Any]:
    return {"code": code, "msg": msg, "detail": {"logid": LOGID}}


def error(code: int, msg: str, *, status: int = 200) -> web.Response:
    return web.json_response(envelope(code, msg), status=status)


def record(**fields: Any) -> dict[str, Any]:
    """The answer to a poll, with one run."""
    one = {
        "execute_id": "7600000000000000001",
        "execute_status": "Running",
        "run_mode": 2,
        "bot_id": "0",
        "connector_id": "1024",
        "create_time": 1767000000,
        "update_time": 1767000060,
        "logid": LOGID,
        "error_code": "",
        "error_message": "",
        "output": "",
        "is_output_trimmed": False,
        "node_execute_status": {},
    }
    return {**envelope(), "data": [{**one, **fields}]}


def history(**fields: Any) -> web.Response:
    return web.json_response(record(**fields))
