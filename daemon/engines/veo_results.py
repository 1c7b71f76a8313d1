"""What a Veo operation came to: links, clips inside the answer, or nothing, and why."""

import hashlib
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from daemon.core.job import Result
from daemon.engines.answers import number_of, text_of
from daemon.engines.spool import Spool

REASONS_MAX = 10
_DONE = (True, "true", "True", 1)


class Made(Struct, frozen=True):
    """The clips of a finished operation, and what is said about those that are missing."""

    videos: tuple[Mapping[str, Any], ...]
    filtered: int
    reasons: tuple[str, ...]


def is_done(operation: Mapping[str, Any]) -> bool:
    """Whether an operation is over. While it runs, `done` is missing rather than false.

    >>> is_done({"name": "models/m/operations/o"}), is_done({"done": True})
    (False, True)
    """
    done = operation.get("done")
    return any(type(done) is type(one) and done == one for one in _DONE)


def made_by(response: Any) -> Made:
    """What is in an operation's `response`, of either variant; nothing where it isn't as due.

    >>> made_by({"videos": [{"gcsUri": "gs://b/o.mp4"}]}).videos
    ({'gcsUri': 'gs://b/o.mp4'},)
    """
    outer = _mapping(response)
    inner = _mapping(outer.get("generateVideoResponse")) or outer
    samples = [_mapping(one).get("video") for one in _items(inner.get("generatedSamples"))]
    videos = [one for one in (*samples, *_items(inner.get("videos"))) if _has_video(one)]
    reasons = [text_of(one) for one in _items(inner.get("raiMediaFilteredReasons"))[:REASONS_MAX]]
    return Made(
        tuple(videos),
        number_of(inner.get("raiMediaFilteredCount")) or 0,
        tuple(filter(None, reasons)),
    )


async def results_of(
    made: Made, spool: Spool, *, name: str, expires_at: float | None
) -> tuple[Result, ...]:
    """Where each clip can be fetched; those inside the answer are on disk, synced, afterwards.

    `name` is the operation's. Raises OSError, and ValueError for a clip that can't be decoded.
    """
    results = []
    stem = hashlib.sha256(name.encode()).hexdigest()[:32]
    for number, video in enumerate(made.videos):
        if link := _link(video):
            results.append(Result(link, expires_at))
        else:
            results.append(await spool.keep_base64(f"veo-{stem}-{number}", _inline(video)))
    return tuple(results)


def _has_video(video: Any) -> bool:
    return isinstance(video, Mapping) and bool(_link(video) or _inline(video))


def _link(video: Mapping[str, Any]) -> str:
    return text_of(video.get("uri")) or text_of(video.get("gcsUri"))


def _inline(video: Mapping[str, Any]) -> str:
    found = video.get("bytesBase64Encoded") or video.get("encodedVideo")
    return found if isinstance(found, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
