"""The models of jiekou.ai (jiekou-images.md): each is a route of its own, with its own fields."""

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct

from daemon.core.suggest import shown
from daemon.engines.engine import Problem
from daemon.engines.params import SWITCH, Param, choice, matching, problems_of, text, whole

VIDEO = "video/create"
"""One route for many models: what they are called there is a field of the request."""
SEED_MAX = 2_147_483_647
OUTPUTS_MAX = 15
"""Of one request to Seedream 4.5 and 5.0, its own pictures included."""
_MODEL = re.compile(r"[a-z0-9][a-z0-9.-]*(?:/[a-z0-9][a-z0-9.-]*)*")
_JPEG_PNG = ("image/jpeg", "image/png")
_USUAL = (*_JPEG_PNG, "image/webp")
_MANY = (*_USUAL, "image/bmp", "image/tiff", "image/gif")
_PICTURE_FIELDS = ("image", "images", "image_urls", "image_base64s")


class Route(Struct, frozen=True, kw_only=True):
    """What a model takes. `params` is None where nothing is documented: then anything goes.

    `pictures` is the field for pictures, empty if there is none; `links`, if set, the one for
    those that are links. Files are `data_uri`s or plain base64; `most` is None without a limit.
    """

    params: Mapping[str, Param] | None = None
    pictures: str = ""
    links: str = ""
    listed: bool = True
    data_uri: bool = False
    least: int = 0
    most: int | None = 0
    mimes: tuple[str, ...] = _USUAL


def _sizes(names: tuple[str, ...], least: int, most: int) -> Param:
    """A named size, or a width and a height with so many pixels and no extreme shape."""

    def fits(size: str) -> bool:
        found = re.fullmatch(r"([1-9]\d{1,4})x([1-9]\d{1,4})", size, re.ASCII)
        if found is None:
            return size in names
        width, height = int(found[1]), int(found[2])
        return least <= width * height <= most and max(width, height) <= 16 * min(width, height)

    words = f"{', '.join(names)}, or WIDTHxHEIGHT of {least:,} to {most:,} pixels in all"
    hint = " (2560x1440 for 16:9)" if least > 1280 * 720 else ""
    return matching(fits, words + hint)


def _starred() -> Param:
    """A width and a height with an asterisk between them."""

    def fits(size: str) -> bool:
        found = re.fullmatch(r"([1-9]\d{2,3})\*([1-9]\d{2,3})", size, re.ASCII)
        return found is not None and all(256 <= int(side) <= 1536 for side in found.groups())

    return matching(fits, 'WIDTH*HEIGHT such as "1024*1024", 256 to 1536 each')


def _is_sequence(value: Any) -> bool:
    if not isinstance(value, Mapping) or set(value) != {"max_images"}:
        return False
    count = value["max_images"]
    return type(count) is int and 1 <= count <= OUTPUTS_MAX


_SEEDREAM: Mapping[str, Param] = {
    "watermark": SWITCH,
    "sequential_image_generation": choice("disabled", "auto"),
    "optimize_prompt_options": Param(
        'a table with mode = "standard"', lambda value: value == {"mode": "standard"}
    ),
}
_SEQUENCE = {
    "sequential_image_generation_options": Param(
        f"a table with max_images from 1 to {OUTPUTS_MAX}", _is_sequence
    )
}
_RATIO = choice("1:1", "3:2", "2:3", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_GEMINI: Mapping[str, Param] = {"aspect_ratio": _RATIO}
_GEMINI_3: Mapping[str, Param] = {**_GEMINI, "size": choice("1K", "2K", "4K")}
_NANO: Mapping[str, Param] = {
    "size": matching(
        lambda one: re.fullmatch(r"[1-9]\d?x[1-9]\d?", one, re.ASCII) is not None,
        'a ratio such as "16x9"',
    ),
    "quality": choice("1k", "2k", "4k"),
    "n": whole(1, 10),
    "response_format": choice("url", "b64_json"),
}
_MASK = {"mask": text(1, 512 * 1024)}
_SEED = whole(-1, SEED_MAX)
_OPEN = Route()
ROUTES: Mapping[str, Route] = {
    "seedream-4.5": Route(
        params={**_SEEDREAM, **_SEQUENCE, "size": _sizes(("2K", "4K"), 3_686_400, 16_777_216)},
        pictures="image",
        data_uri=True,
        most=14,
        mimes=_MANY,
    ),
    "seedream-5.0-lite": Route(
        params={**_SEEDREAM, **_SEQUENCE, "size": _sizes(("2K", "3K"), 3_686_400, 10_404_496)},
        pictures="image",
        data_uri=True,
        most=14,
        mimes=_MANY,
    ),
    "seedream-4.0": Route(
        params={
            **_SEEDREAM,
            "max_images": whole(1, OUTPUTS_MAX),
            "size": _sizes(("1K", "2K", "4K"), 1024 * 1024, 4096 * 4096),
        },
        pictures="images",
        data_uri=True,
        most=10,
        mimes=_JPEG_PNG,
    ),
    "gemini-2.5-flash-image-edit": Route(
        params=_GEMINI, pictures="image_base64s", links="image_urls", least=1, most=None
    ),
    "gemini-3-pro-image-edit": Route(
        params=_GEMINI_3, pictures="image_base64s", links="image_urls", least=1, most=None
    ),
    "gemini-3-*-text-to-image": Route(params=_GEMINI_3),
    "gemini-*-text-to-image": Route(params=_GEMINI),
    "nano-banana-pro-light-i2i": Route(
        params={**_NANO, **_MASK}, pictures="images", least=1, most=10
    ),
    "nano-banana-pro-light-t2i": Route(params=_NANO),
    "gpt-image-2-edit": Route(
        params={
            **_MASK,
            "size": choice("1024x1024", "1024x1536", "1536x1024"),
            "n": whole(1, 10),
            **dict.fromkeys(("quality", "background", "output_format"), text(1, 50)),
        },
        pictures="image",
        listed=False,
        least=1,
        most=1,
    ),
    "async/qwen-image-edit": Route(
        params={"seed": _SEED, "output_format": choice("jpeg", "png", "webp")},
        pictures="image",
        listed=False,
        least=1,
        most=1,
    ),
    "async/qwen-image-txt2img": Route(params={"size": _starred()}),
    "async/z-image-turbo": Route(
        params={"size": _starred(), "seed": _SEED, "enable_base64_output": SWITCH}
    ),
    "async/flux-2-flex": Route(
        params={"size": _starred(), "seed": _SEED}, pictures="images", most=3
    ),
    "async/flux-1-kontext-*": _OPEN,
    VIDEO: _OPEN,
}
"""By the route below /v3/. Those with a star stand for several."""


def find_route(model: str) -> Route | None:
    """What is known of `model`; None for nothing."""
    if not _MODEL.fullmatch(model):
        return None
    return next((route for name, route in ROUTES.items() if fnmatchcase(model, name)), None)


def is_synchronous(model: str) -> bool:
    """Whether the answer to a request is the result itself.

    >>> is_synchronous("seedream-4.5"), is_synchronous("async/flux-2-flex")
    (True, False)
    """
    return not model.startswith("async/") and model != VIDEO


def model_of(params: Mapping[str, Any], section: str) -> str:
    """The model that a job with `params` asks for, in a section with that model."""
    if section == VIDEO:
        return VIDEO
    asked = params.get("model", section)
    return asked if isinstance(asked, str) else ""


def problems_with(
    section: str, prompt: str, params: Mapping[str, Any], images: int
) -> Iterator[Problem]:
    """Every problem that the documented limits have with a job, in a section with that model."""
    model = model_of(params, section)
    route = find_route(model) or (_OPEN if model == section else None)
    if not prompt.strip():
        yield Problem("prompt", "every model needs one")
    if not model or route is None:
        known = ", ".join(sorted(ROUTES))
        got = shown(params.get("model", section))
        yield Problem("params.model", f"expected a route below /v3/ ({known}), got {got}")
        return
    if is_synchronous(model) and not is_synchronous(section):
        message = "answers with the picture, others here with a task: give it its own section"
        yield Problem("params.model", f"{shown(model)} {message}")
    elsewhere = {"prompt": "give it as the job's prompt"}
    if route.params is None:
        known_params = {name: one for name, one in params.items() if name in elsewhere}
        yield from problems_of(known_params, {}, elsewhere=elsewhere)
    else:
        elsewhere |= dict.fromkeys(_PICTURE_FIELDS, "give pictures as the job's images")
        table = {**route.params, "model": text()}
        yield from problems_of(params, table, elsewhere=elsewhere)
    yield from _problems_with_images(model, route, params, images)


def _problems_with_images(
    model: str, route: Route, params: Mapping[str, Any], images: int
) -> Iterator[Problem]:
    if route.params is None and images:
        message = "isn't documented to take pictures: give their links as a param, by its name"
        yield Problem("images", f"{shown(model)} {message}")
    elif images < route.least:
        yield Problem("images", f"{shown(model)} needs a picture")
    elif route.most is not None and images > route.most:
        most = f"up to {route.most}" if route.most else "no"
        yield Problem("images", f"{shown(model)} takes {most} pictures, got {images}")
    options = params.get("sequential_image_generation_options")
    wanted = options["max_images"] if _is_sequence(options) and options is not None else 0
    if wanted and images + wanted > OUTPUTS_MAX:
        field = "params.sequential_image_generation_options"
        got = f"{images} and {wanted}"
        yield Problem(field, f"pictures given and made are {OUTPUTS_MAX} at most, got {got}")


def body_of(
    section: str,
    prompt: str,
    params: Mapping[str, Any],
    field: str,
    pictures: list[str],
) -> dict[str, Any]:
    """The JSON of a request, with `pictures` in `field`."""
    route = find_route(model_of(params, section)) or _OPEN
    ours = () if section == VIDEO else ("model",)
    body = {name: one for name, one in params.items() if name not in ours} | {"prompt": prompt}
    if pictures:
        body[field] = pictures if route.listed else pictures[0]
    return body
