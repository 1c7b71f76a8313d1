"""jiekou.ai as its document has it (jiekou-images.md): a route a model, and strict about each."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Any

from aiohttp import web

from tests.fakes.vendors.server import Vendor

KEY = "sk_jiekou-test-key"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
SIGNED = "q-sign-algorithm=sha1&q-sign-time=1%3B2&q-key=a%2Fb%7E"
MIMES = ("jpeg", "png", "webp", "bmp", "tiff", "gif")
DATA_URI = re.compile(rf"data:image/({'|'.join(MIMES)});base64,(.+)", re.DOTALL)
SEEDREAM = {"watermark", "sequential_image_generation", "optimize_prompt_options", "size"}
NANO = {"size", "quality", "n", "mask", "response_format"}
FIELDS: dict[str, set[str]] = {
    "seedream-4.5": {*SEEDREAM, "image", "sequential_image_generation_options"},
    "seedream-5.0-lite": {*SEEDREAM, "image", "sequential_image_generation_options"},
    "seedream-4.0": {*SEEDREAM, "images", "max_images"},
    "gemini-2.5-flash-image-edit": {"image_urls", "image_base64s", "aspect_ratio"},
    "gemini-3-pro-image-edit": {"image_urls", "image_base64s", "aspect_ratio", "size"},
    "gemini-2.5-flash-image-text-to-image": {"aspect_ratio"},
    "nano-banana-pro-light-i2i": {*NANO, "images"},
    "nano-banana-pro-light-t2i": NANO - {"mask"},
    "gpt-image-2-edit": {
        *("image", "size", "n", "quality", "background", "output_format", "mask"),
    },
    "async/qwen-image-edit": {"image", "seed", "output_format"},
    "async/qwen-image-txt2img": {"size"},
    "async/z-image-turbo": {"size", "seed", "enable_base64_output"},
    "async/flux-2-flex": {"images", "size", "seed"},
    "async/flux-1-kontext-pro": {"guidance_scale"},
    "video/create": {"model", "duration"},
}
LISTS = {"images": 10, "image_urls": 14, "image_base64s": 14}
PIXELS = {
    "seedream-4.5": (3_686_400, 16_777_216),
    "seedream-5.0-lite": (3_686_400, 10_404_496),
    "seedream-4.0": (1024 * 1024, 4096 * 4096),
}


class JiekouServer(Vendor):
    """Tasks run for `running` polls. Links lead to a store that complains about keys.

    While `ready` isn't set, accepted requests wait for it; `inside` counts them, `inside_most` how
    many they were at once.
    """

    def __init__(self, *, running: int = 1) -> None:
        super().__init__()
        self.running = running
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.tasks: dict[str, str] = {}
        self.store = Store()
        self.ready = asyncio.Event()
        self.ready.set()
        self.inside = self.inside_most = 0
        self._polls: dict[str, int] = {}
        self.route("poll", "GET", "/v3/async/task-result", self._result)
        self.route("submit", "POST", "/v3/", self._submit)

    @property
    def link(self) -> str:
        return f"{self.store.origin}/prod/x.png?{SIGNED}"

    async def _submit(self, request: web.Request) -> web.Response:
        if refused := self._unauthorized(request):
            return refused
        route = request.path.removeprefix("/v3/")
        if route not in FIELDS:
            return error(404, "MODEL_NOT_FOUND", "model not found")
        body = await request.json()
        wrong = problem_of(route, body)
        if request.content_type != "application/json":
            wrong = "the content type isn't JSON"
        if wrong:
            return error(400, "INVALID_REQUEST_BODY", "invalid", self.complaint(wrong))
        self.requests.append((route, body))
        self.accepted[body["prompt"]] += 1
        await self._pass()
        if route.startswith("async/") or route == "video/create":
            task = f"t-{len(self.tasks)}"
            self.tasks[task] = route
            return web.json_response({"task_id": task})
        return web.json_response(self._made(route, body))

    async def _pass(self) -> None:
        self.inside += 1
        self.inside_most = max(self.inside_most, self.inside)
        try:
            await self.ready.wait()
        finally:
            self.inside -= 1

    def _made(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        if route.startswith("gemini"):
            return {"image_urls": [self.link]}
        if not route.startswith("nano"):
            return {"images": [self.link]}
        inline = body.get("response_format") == "b64_json"
        item = {
            "url": None if inline else self.link,
            "b64_json": base64.b64encode(PICTURE).decode() if inline else None,
        }
        return {"created": 1767000000, "data": [item] * body.get("n", 1)}

    async def _result(self, request: web.Request) -> web.Response:
        if refused := self._unauthorized(request):
            return refused
        task = request.query.get("task_id", "")
        if task not in self.tasks:
            return error(404, "TASK_NOT_FOUND", "task not found")
        count = self._polls[task] = self._polls.get(task, 0) + 1
        if count <= self.running:
            return web.json_response(result(task, "TASK_STATUS_PROCESSING", percent=40))
        body = result(task, "TASK_STATUS_SUCCEED", percent=100)
        if self.tasks[task] == "video/create":
            body["videos"] = [{"video_url": self.link, "video_url_ttl": "600", "video_type": "mp4"}]
        else:
            body["images"] = [{"image_url": self.link, "image_url_ttl": 60, "image_type": "png"}]
        return web.json_response(body)

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") == f"Bearer {KEY}":
            return None
        return error(401, "FAILED_TO_AUTH", "failed to authenticate API key")


class Store(Vendor):
    """Presigned links: a second authentication, or another query, is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.route("picture", "GET", "/prod/", self._picture)

    async def _picture(self, request: web.Request) -> web.Response:
        if "Authorization" in request.headers or not request.raw_path.endswith(f"?{SIGNED}"):
            self.complaint(f"a key was sent for {request.raw_path}, or its query is another")
            return web.Response(status=400)
        return web.Response(body=PICTURE, content_type="image/png")


def problem_of(route: str, body: Any) -> str | None:
    """What is wrong with a request's body, by the document's tables."""
    if not isinstance(body, dict) or not body.get("prompt"):
        return "prompt"
    unknown = set(body) - FIELDS[route] - {"prompt"}
    if unknown:
        return f"unknown fields {unknown}"
    if "edit" in route and not any(name.startswith("image") for name in body):
        return "no picture"
    if "image_urls" in body and "image_base64s" in body:
        return "image_urls or image_base64s"
    return _wrong_with_size(route, body.get("size")) or _wrong_with_pictures(route, body)


def _wrong_with_size(route: str, size: Any) -> str | None:
    if size is None or route not in PIXELS or size in ("1K", "2K", "3K", "4K"):
        return None
    least, most = PIXELS[route]
    width, height = map(int, size.split("x"))
    return None if least <= width * height <= most else f"size {size}"


def _wrong_with_pictures(route: str, body: dict[str, Any]) -> str | None:
    for name in {"image", "images", "image_urls", "image_base64s"} & set(body):
        value = body[name]
        listed = name != "image" or route.startswith("seedream")
        if isinstance(value, list) != listed:
            return f"{name}: one or many"
        pictures = value if listed else [value]
        if not 1 <= len(pictures) <= LISTS.get(name, 14):
            return f"{name}: {len(pictures)}"
        if not all(_is_picture(name, route, one) for one in pictures):
            return f"{name}: no picture"
    return None


def _is_picture(field: str, route: str, value: Any) -> bool:
    if not isinstance(value, str):
        return False
    if value.startswith(("http://", "https://")):
        return field != "image_base64s"
    if route.startswith("seedream"):
        match = DATA_URI.fullmatch(value)
        value = match[2] if match else "?"
    try:
        return field != "image_urls" and bool(base64.b64decode(value, validate=True))
    except ValueError:
        return False


def result(task: str, status: str, *, percent: Any = 0, reason: str = "") -> dict[str, Any]:
    """The answer to a poll."""
    debug = {"request_info": "", "submit_time_ms": "1767000000000", "execute_time_ms": ""}
    one = {"task_id": task, "status": status, "reason": reason, "task_type": "X", "eta": 0}
    return {
        "extra": {"seed": "123", "debug_info": debug},
        "task": {**one, "progress_percent": percent},
        "images": [],
        "videos": [],
        "audios": [],
    }


def error_body(status: int, reason: str, message: str, details: str = "") -> dict[str, Any]:
    body: dict[str, Any] = {"code": status, "reason": reason, "message": message}
    return {**body, "metadata": {"details": details}} if details else {**body, "metadata": {}}


def error(status: int, reason: str, message: str, details: str = "") -> web.Response:
    return web.json_response(error_body(status, reason, message, details), status=status)
