"""Google's Veo as its document has it (veo-gemini.md), in both variants, and strict about it."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from typing import Any, Literal

from aiohttp import web

from tests.fakes.vendors.server import Handler, Vendor

KEY = "google-test-key"
CLIP = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40
MODEL = "veo-3.1-generate-001"
SHARED: dict[str, tuple[Any, ...]] = {
    "durationSeconds": (4, 6, 8),
    "aspectRatio": ("16:9", "9:16"),
    "resolution": ("720p", "1080p", "4k"),
    "enhancePrompt": (True, False),
    "personGeneration": ("allow_all", "allow_adult"),
    "sampleCount": (1,),
}
PLATFORM = {**SHARED, "sampleCount": (1, 2, 3, 4), "generateAudio": (True, False)}
FREE = {"negativePrompt": str}
PLATFORM_FREE = {**FREE, "seed": int, "storageUri": str}


class VeoServer(Vendor):
    """Each operation runs for `running` polls, then has its clips: links on this server, which
    lead to a store that complains about keys; or, on the platform, bytes or objects. Each of
    `doors` keeps one submit waiting until it is set.
    """

    def __init__(
        self, variant: Literal["platform", "developer"] = "platform", *, running: int = 1
    ) -> None:
        super().__init__()
        self.variant = variant
        self.running = running
        self.operations: dict[str, dict[str, Any]] = {}
        self.doors: deque[asyncio.Event] = deque()
        self.store = Store()
        self._polls: dict[str, int] = {}
        if variant == "developer":
            self.prefix, self.models = "/v1beta", "models"
            self.route("submit", "POST", f"/v1beta/models/{MODEL}:predictLongRunning", self._submit)
            self.route("poll", "GET", f"/v1beta/models/{MODEL}/operations/", self._poll)
            self.route("file", "GET", "/v1beta/files/", self._file)
        else:
            self.prefix, self.models = "/v1beta1", "publishers/google/models"
            model = f"/v1beta1/{self.models}/{MODEL}:"
            self.route("submit", "POST", f"{model}predictLongRunning", self._submit)
            self.route("poll", "POST", f"{model}fetchPredictOperation", self._fetch_operation)

    @property
    def target(self) -> str:
        return self.origin + self.prefix

    @property
    def submits(self) -> int:
        """How many submits came, accepted or not."""
        return sum(":predictLongRunning" in path for _, path in self.seen)

    async def _serve(self, name: str, handler: Handler, request: web.Request) -> web.StreamResponse:
        if name == "submit" and self.doors:
            await self.doors.popleft().wait()
        return await super()._serve(name, handler, request)

    async def _submit(self, request: web.Request) -> web.Response:
        if refused := self._unauthorized(request):
            return refused
        body = await request.json()
        if wrong := problem_of(body, self.variant):
            return error(400, "INVALID_ARGUMENT", self.complaint(wrong))
        name = f"{self.models}/{MODEL}/operations/op{len(self.operations):06d}"
        self.operations[name] = body
        self.accepted[body["instances"][0].get("prompt", "")] += 1
        return web.json_response({"name": name})

    async def _poll(self, request: web.Request) -> web.Response:
        if refused := self._unauthorized(request):
            return refused
        return self._operation(request.path.removeprefix("/v1beta/"))

    async def _fetch_operation(self, request: web.Request) -> web.Response:
        if refused := self._unauthorized(request):
            return refused
        body = await request.json()
        if set(body) != {"operationName"}:
            return error(400, "INVALID_ARGUMENT", self.complaint("operationName alone"))
        return self._operation(body["operationName"])

    def _operation(self, name: str) -> web.Response:
        if name not in self.operations:
            return error(404, "NOT_FOUND", "no such operation")
        count = self._polls[name] = self._polls.get(name, 0) + 1
        if count <= self.running:
            return web.json_response({"name": name})
        response = self._response(name, self.operations[name].get("parameters", {}))
        return web.json_response({"name": name, "done": True, "response": response})

    def _response(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if self.variant == "developer":
            uri = f"{self.origin}/v1beta/files/{name[-8:]}:download?alt=media"
            return {"generateVideoResponse": {"generatedSamples": [{"video": {"uri": uri}}]}}
        if bucket := parameters.get("storageUri"):
            return {"videos": [{"gcsUri": f"{bucket}/sample_0.mp4", "mimeType": "video/mp4"}]}
        clip = {"bytesBase64Encoded": base64.b64encode(CLIP).decode(), "mimeType": "video/mp4"}
        return {"videos": [clip] * parameters.get("sampleCount", 1)}

    async def _file(self, request: web.Request) -> web.Response:
        if refused := self._unauthorized(request):
            return refused
        if request.query.get("alt") != "media":
            return error(400, "INVALID_ARGUMENT", self.complaint("alt=media"))
        return web.Response(status=302, headers={"Location": f"{self.store.origin}/clips/a.mp4"})

    def _unauthorized(self, request: web.Request) -> web.Response | None:
        if request.headers.get("x-goog-api-key") == KEY and "key" not in request.query:
            return None
        return error(403, "PERMISSION_DENIED", "the request lacks a valid key")


class Store(Vendor):
    """Where the clips really are; nobody's key belongs here."""

    def __init__(self) -> None:
        super().__init__()
        self.route("clip", "GET", "/clips/", self._clip)

    async def _clip(self, request: web.Request) -> web.Response:
        if {"x-goog-api-key", "Authorization"} & set(request.headers):
            self.complaint("a key was sent to the store")
        return web.Response(body=CLIP, content_type="video/mp4")


def problem_of(body: Any, variant: str) -> str | None:
    """What is wrong with a submit's body, by the document's table."""
    if not isinstance(body, dict) or set(body) - {"instances", "parameters"}:
        return "instances and parameters alone"
    instances = body.get("instances")
    if not (isinstance(instances, list) and len(instances) == 1):
        return "one instance"
    if body.get("parameters") == {}:
        return "parameters without any"
    return _wrong_with_instance(instances[0]) or _wrong_with_parameters(
        body.get("parameters", {}), variant
    )


def _wrong_with_instance(instance: dict[str, Any]) -> str | None:
    unknown = set(instance) - {"prompt", "image", "lastFrame", "referenceImages", "video"}
    if unknown:
        return f"instance: {unknown}"
    if not instance.get("prompt") and "image" not in instance:
        return "neither prompt nor image"
    if "lastFrame" in instance and "image" not in instance:
        return "lastFrame without image"
    references = instance.get("referenceImages", [])
    if len(references) > 3 or (references and {"image", "video"} & set(instance)):
        return "referenceImages: up to three, alone"
    pictures = [instance[one] for one in ("image", "lastFrame") if one in instance]
    for one in references:
        if set(one) != {"image", "referenceType"} or one["referenceType"] != "ASSET":
            return "referenceImages: image and referenceType"
        pictures.append(one["image"])
    for picture in pictures:
        if set(picture) != {"bytesBase64Encoded", "mimeType"}:
            return "image: bytesBase64Encoded and mimeType"
        if picture["mimeType"] not in ("image/png", "image/jpeg"):
            return "image: PNG or JPEG"
        base64.b64decode(picture["bytesBase64Encoded"], validate=True)
    return None


def _wrong_with_parameters(parameters: dict[str, Any], variant: str) -> str | None:
    values, free = (PLATFORM, PLATFORM_FREE) if variant == "platform" else (SHARED, FREE)
    for name, value in parameters.items():
        if name in free:
            if type(value) is not free[name]:
                return f"{name} can't be {value!r}"
        elif not any(type(value) is type(one) and value == one for one in values.get(name, ())):
            return f"{name} can't be {value!r}"
    return None


def error(status: int, name: str, message: str, details: list[Any] | None = None) -> web.Response:
    return web.json_response(error_body(status, name, message, details), status=status)


def error_body(
    status: int, name: str, message: str, details: list[Any] | None = None
) -> dict[str, Any]:
    """Google's error, with what it says in detail."""
    body: dict[str, Any] = {"code": status, "message": message, "status": name}
    return {"error": {**body, **({"details": details} if details else {})}}


def retry_info(delay: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def quota_failure(*quotas: tuple[str, str]) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaId": name, "quotaValue": value} for name, value in quotas],
    }
