"""Zhipu's CogVideoX as its document has it (zhipu-cogvideox.md), and strict about it."""

from __future__ import annotations

import base64
import re
from typing import Any

from aiohttp import web

from tests.fakes.vendors.server import Vendor

KEY = "0123abcd.zhipu-test-key"
CLIP = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40
MODELS = ("cogvideox-3", "cogvideox-flash", "cogvideox-2")
PREFIX = "/api/paas/v4"
TYPES: dict[str, type] = {
    "model": str,
    "prompt": str,
    "quality": str,
    "with_audio": bool,
    "size": str,
    "fps": int,
    "duration": int,
    "watermark_enabled": bool,
    "request_id": str,
    "user_id": str,
}
VALUES: dict[str, tuple[Any, ...]] = {
    "quality": ("speed", "quality"),
    "fps": (30, 60),
    "duration": (5, 10),
    "size": (
        *("1280x720", "720x1280", "1024x1024", "1920x1080", "1080x1920", "2048x1080"),
        *("3840x2160", "720x480", "1280x960", "960x1280"),
    ),
}
PICTURE = re.compile(r"data:image/(png|jpeg);base64,(.+)", re.DOTALL)


class CogVideoXServer(Vendor):
    """Answers PROCESSING `processing` times a task, then SUCCESS; the clip is on a second server
    that knows no key and answers 404 to whoever sends one.
    """

    def __init__(self, *, processing: int = 1) -> None:
        super().__init__()
        self.processing = processing
        self.tasks: dict[str, dict[str, Any]] = {}
        self.store = ClipStore()
        self._keys: dict[str, str] = {}
        self._polls: dict[str, int] = {}
        self.route("submit", "POST", f"{PREFIX}/videos/generations", self._submit)
        self.route("poll", "GET", f"{PREFIX}/async-result/", self._poll)

    @property
    def target(self) -> str:
        return self.origin + PREFIX

    async def _submit(self, request: web.Request) -> web.Response:
        if refused := self._unauthorized(request):
            return refused
        body = await request.json()
        wrong = problem_of(body)
        if request.content_type != "application/json":
            wrong = "the content type isn't JSON"
        if wrong:
            return error(400, "1211" if wrong == "model" else "1210", self.complaint(wrong))
        key = body.get("request_id", "")
        if key in self._keys:
            return error(400, "1231", f"request_id {key} exists already")
        task = f"20260101{len(self.tasks):012d}"
        self._keys[key] = task
        self.tasks[task] = body
        self.accepted[key] += 1
        answer = {"id": task, "model": body["model"], "request_id": key}
        return web.json_response({**answer, "task_status": "PROCESSING"})

    async def _poll(self, request: web.Request) -> web.Response:
        if refused := self._unauthorized(request):
            return refused
        task = request.path.removeprefix(f"{PREFIX}/async-result/")
        if task not in self.tasks:
            return error(404, "1222", "no such task")
        count = self._polls[task] = self._polls.get(task, 0) + 1
        body = {"id": task, "model": self.tasks[task]["model"], "task_status": "PROCESSING"}
        if count > self.processing:
            body["task_status"] = "SUCCESS"
            body["video_result"] = [
                {
                    "url": f"{self.store.origin}/api/cogvideo/{task}_0.mp4",
                    "cover_image_url": f"{self.store.origin}/api/cogvideo/{task}_cover_0.jpeg",
                }
            ]
        return web.json_response(body)

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") == f"Bearer {KEY}":
            return None
        return error(401, "1000", "authentication failed")


class ClipStore(Vendor):
    """Serves the clip to anybody without a key."""

    def __init__(self) -> None:
        super().__init__()
        self.route("clip", "GET", "/api/cogvideo/", self._clip)

    async def _clip(self, request: web.Request) -> web.Response:
        if "Authorization" in request.headers or not request.path.endswith(".mp4"):
            self.complaint(f"a key was sent for {request.path}, or a cover was fetched")
            return web.Response(status=404)
        return web.Response(body=CLIP, content_type="video/mp4")


def problem_of(body: Any) -> str | None:
    """What is wrong with a submit's body, by the document's table."""
    if not isinstance(body, dict):
        return "no object"
    if body.get("model") not in MODELS:
        return "model"
    for name, value in body.items():
        if name == "image_url":
            continue
        if name not in TYPES:
            return f"unknown field {name}"
        if type(value) is not TYPES[name] or value not in VALUES.get(name, (value,)):
            return f"{name} can't be {value!r}"
    if not body.get("prompt") and "image_url" not in body:
        return "neither prompt nor image_url"
    if len(body.get("prompt", "")) > 512:
        return "prompt is too long"
    return problem_of_pictures(body.get("image_url"), body["model"])


def problem_of_pictures(value: Any, model: str) -> str | None:
    pictures = [] if value is None else [value]
    if isinstance(value, list):
        pictures = value
        if len(value) != 2 or model != "cogvideox-3":
            return "image_url: a list has a first and a last frame, with cogvideox-3 only"
    for one in pictures:
        if not isinstance(one, str):
            return "image_url: not a text"
        if one.startswith(("http://", "https://")):
            continue
        match = PICTURE.fullmatch(one)
        if match is None or len(base64.b64decode(match[2], validate=True)) > 5 * 1024 * 1024:
            return "image_url: neither a URL nor a picture"
    return None


def error(status: int, code: str, message: str) -> web.Response:
    """Zhipu's error: the code is a text of digits."""
    return web.json_response({"error": {"code": code, "message": message}}, status=status)
