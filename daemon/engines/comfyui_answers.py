"""What ComfyUI's queue and history say of a task (comfyui.md, "Poll" and "Results"). Pure."""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct
from yarl import URL

from daemon.core.job import Result
from daemon.engines.answers import text_of

MEDIA = frozenset(
    {"png", "apng", "jpg", "jpeg", "jfif", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic"}
    | {"heif", "mp4", "m4v", "mov", "webm", "mkv", "avi", "ogv"}
    | {"wav", "mp3", "m4a", "ogg", "oga", "opus", "flac", "glb"}
)
"""How the names of files end that can be results. Nodes save much else beside them: latents,
captions, vector drawings, for which no folder of results has a place.
"""


class UnlikeError(Exception):
    """The answer is JSON, but not what the server documents; the message says how."""


class Spot(Struct, frozen=True):
    """A task in the queue. `nodes` are those of its graph."""

    remote_id: str
    client_id: str
    running: bool
    nodes: frozenset[str]


def spots_of(answer: Mapping[str, Any]) -> list[Spot]:
    """Every task in the queue, what runs first. Raises UnlikeError.

    >>> queue = {"queue_running": [[0, "a", {"3": {}}, {"client_id": "c"}, []]]}
    >>> spots_of({**queue, "queue_pending": []})[0].remote_id
    'a'
    """
    found = []
    for name in ("queue_running", "queue_pending"):
        items = answer.get(name)
        if not isinstance(items, list):
            raise UnlikeError(f"the answer has no {name}")
        found += [_spot(item, running=name == "queue_running") for item in items]
    return found


def entry_of(answer: Mapping[str, Any], remote_id: str) -> Mapping[str, Any] | None:
    """The task's entry in the history, or None where there is none. Raises UnlikeError.

    >>> entry_of({}, "a") is None, entry_of({"a": {"outputs": {}}}, "a")
    (True, {'outputs': {}})
    """
    if not answer:
        return None
    entry = answer.get(remote_id)
    if not isinstance(entry, Mapping):
        raise UnlikeError("the answer is no history")
    return entry


def named_by(answer: Mapping[str, Any], client_id: str) -> str | None:
    """The id of the task in the history that came from `client_id`. Raises UnlikeError."""
    for remote_id, entry in answer.items():
        item = entry.get("prompt") if isinstance(entry, Mapping) else None
        if item is None:
            raise UnlikeError("the answer is no history")
        if _client_of(item) == client_id:
            return remote_id
    return None


def results_of(entry: Mapping[str, Any], target: str) -> tuple[Result, ...]:
    """Links to the media that the run has saved. Previews count only where there are no others.

    >>> file = {"filename": "a b.png", "subfolder": "", "type": "output"}
    >>> results_of({"outputs": {"9": {"images": [file]}}}, "http://gpu/comfy")[0].url
    '/comfy/view?filename=a%20b.png&subfolder=&type=output'
    """
    files = [one for one in _files(entry.get("outputs")) if _is_media(one["filename"])]
    saved = [one for one in files if one["type"] == "output"]
    prefix = URL(target).raw_path.rstrip("/")
    links = (f"{prefix}/view?{urlencode(one, quote_via=quote, safe='')}" for one in saved or files)
    return tuple(Result(link) for link in dict.fromkeys(links))


def names_of(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """What every file of the run is called, whatever it holds.

    >>> names_of({"outputs": {"9": {"latents": [{"filename": "a.latent"}], "text": ["a fox"]}}})
    ('a.latent',)
    """
    return tuple(dict.fromkeys(one["filename"] for one in _files(entry.get("outputs"))))


def _is_media(name: str) -> bool:
    return PurePosixPath(name).suffix.lower().removeprefix(".") in MEDIA


def _files(outputs: Any) -> Iterator[dict[str, str]]:
    """Whatever names a file, in any list of any node: custom nodes have names of their own."""
    for made in outputs.values() if isinstance(outputs, Mapping) else ():
        for items in made.values() if isinstance(made, Mapping) else ():
            for item in items if isinstance(items, list) else ():
                if isinstance(item, Mapping) and (name := item.get("filename")):
                    yield {
                        "filename": str(name),
                        "subfolder": str(item.get("subfolder") or ""),
                        "type": text_of(item.get("type")) or "output",
                    }


def _spot(item: Any, *, running: bool) -> Spot:
    if not isinstance(item, list) or len(item) < 2:
        raise UnlikeError("the queue has an entry that is no task")
    graph = item[2] if len(item) > 2 else None
    nodes = frozenset(map(str, graph)) if isinstance(graph, Mapping) else frozenset()
    return Spot(text_of(item[1]), _client_of(item), running, nodes)


def _client_of(item: Any) -> str:
    extra = item[3] if isinstance(item, list) and len(item) > 3 else None
    return text_of(extra.get("client_id")) if isinstance(extra, Mapping) else ""
