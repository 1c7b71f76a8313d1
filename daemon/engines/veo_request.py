"""What Veo is asked: the checks of a job, and the body that it becomes (veo-gemini.md)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from daemon.engines.embedding import Embedded
from daemon.engines.engine import Problem
from daemon.engines.params import SWITCH, Param, choice, matching, problems_of, text, whole

Variant = Literal["platform", "developer"]
REFERENCES_MAX = 3
FULL_S = 8
"""The only length of 1080p, 4k, references and extensions."""
INLINE_4K_MAX = 2
"""Clips that may come inside an answer: nobody says how large they are, and an answer that is too
long to be read is paid for and out of reach. At 50 Mbit/s, which is much for 4k, two have 100 MB.
"""
_MODEL = re.compile(r"[A-Za-z0-9][\w.-]{0,100}", re.ASCII)
_OURS = ("model", "image_role", "video")
"""Params that say how a request is made, and are none of its parameters."""
_SHARED: Mapping[str, Param] = {
    "model": matching(lambda one: _MODEL.fullmatch(one) is not None, "a model's name"),
    "image_role": choice("frame", "reference"),
    "durationSeconds": choice(4, 6, FULL_S),
    "aspectRatio": choice("16:9", "9:16"),
    "resolution": choice("720p", "1080p", "4k"),
    "negativePrompt": text(),
    "enhancePrompt": SWITCH,
    "personGeneration": choice("allow_all", "allow_adult"),
}
_BUCKET = matching(lambda one: one.startswith("gs://") and len(one) > 5, "a gs:// address")
TABLES: Mapping[Variant, Mapping[str, Param]] = {
    "developer": {
        **_SHARED,
        "sampleCount": choice(1),
        "video": matching(lambda one: one.startswith("https://"), "the https:// link of a result"),
    },
    "platform": {
        **_SHARED,
        "sampleCount": whole(1, 4),
        "seed": whole(0, 2**32 - 1),
        "generateAudio": SWITCH,
        "storageUri": _BUCKET,
        "video": matching(
            lambda one: one.startswith(("https://", "gs://")), "the https:// or gs:// of a result"
        ),
    },
}
_ELSEWHERE = {
    "prompt": "give it as the job's prompt",
    "image": "give pictures as the job's images",
    "lastFrame": "give two images: the first and the last frame",
    "referenceImages": "give images, and image_role=reference",
}
_ONLY_PLATFORM = dict.fromkeys(
    ("seed", "generateAudio", "storageUri"), "only the platform variant takes this"
)


def problems_with(
    variant: Variant, prompt: str, params: Mapping[str, Any], images: int
) -> Iterator[Problem]:
    """Every problem that the documented limits have with a job."""
    elsewhere = _ELSEWHERE if variant == "platform" else {**_ELSEWHERE, **_ONLY_PLATFORM}
    yield from problems_of(params, TABLES[variant], elsewhere)
    yield from _problems_with_pictures(params, images)
    references = params.get("image_role") == "reference"
    if not prompt.strip() and (images == 0 or references):
        yield Problem("prompt", "is needed, but with a picture as the first frame")
    full = {
        "references": references,
        "an extension": "video" in params,
        **{f"resolution {one}": params.get("resolution") == one for one in ("1080p", "4k")},
    }
    for what in (name for name, asked in full.items() if asked):
        if params.get("durationSeconds", FULL_S) != FULL_S:
            yield Problem("params.durationSeconds", f"{what}: expected {FULL_S}")
    if "video" in params and params.get("resolution", "720p") != "720p":
        yield Problem("params.resolution", 'an extension: expected "720p"')

    if variant == "platform":
        yield from _problems_with_size(params)


def _problems_with_size(params: Mapping[str, Any]) -> Iterator[Problem]:
    """Without a bucket the clips come inside one answer, which has to fit into memory."""
    count = params.get("sampleCount")
    large = params.get("resolution") == "4k" and "storageUri" not in params
    if large and type(count) is int and count > INLINE_4K_MAX:
        yield Problem(
            "params.sampleCount",
            f"resolution 4k: expected at most {INLINE_4K_MAX}, got {count}; more don't fit into "
            "one answer, so name a bucket for them in storageUri, or add more jobs",
        )


def _problems_with_pictures(params: Mapping[str, Any], images: int) -> Iterator[Problem]:
    if params.get("image_role") == "reference":
        if not 1 <= images <= REFERENCES_MAX:
            words = f"expected 1 to {REFERENCES_MAX} pictures as references, got {images}"
            yield Problem("images", words)
    elif images > 2:
        yield Problem(
            "images",
            f"expected a first and a last frame, got {images} pictures; "
            "image_role=reference takes three",
        )
    if images and "video" in params:
        yield Problem("images", "an extension takes no pictures")


def body_of(prompt: str, params: Mapping[str, Any], pictures: Sequence[Embedded]) -> dict[str, Any]:
    """The request's body. Without parameters there is no such key."""
    instance: dict[str, Any] = {"prompt": prompt} if prompt.strip() else {}
    shown = [{"bytesBase64Encoded": one.base64, "mimeType": one.mime} for one in pictures]
    if params.get("image_role") == "reference":
        instance["referenceImages"] = [{"image": one, "referenceType": "ASSET"} for one in shown]
    else:
        instance |= dict(zip(("image", "lastFrame"), shown, strict=False))
    if "video" in params:
        instance["video"] = _video(params["video"])
    parameters = {name: value for name, value in params.items() if name not in _OURS}
    return {"instances": [instance], **({"parameters": parameters} if parameters else {})}


def _video(uri: str) -> dict[str, str]:
    """A result of before: by its link, or where the platform has put it."""
    return {"gcsUri": uri, "mimeType": "video/mp4"} if uri.startswith("gs://") else {"uri": uri}
