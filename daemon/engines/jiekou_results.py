"""What an answer of jiekou.ai brings: links, or pictures as base64. Each family of routes has its
own form, and all are taken from all (jiekou-images.md, "Answers by route family").
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from daemon.core.job import Result
from daemon.engines.answers import number_of, text_of
from daemon.engines.spool import Spool

LINK_S = 3600.0
"""How long a link lives where nothing is said."""
RESULTS_MAX = 100
_VISIBLE = ("images", "image_urls", "data", "videos")
_AUDIBLE = ("audios",)
_LINKS = ("url", "image_url", "video_url", "audio_url")
_INLINE = ("b64_json", "image_base64", "base64")


class Found(Struct, frozen=True):
    """One result: a link and how long it lives, or its content as base64."""

    link: str = ""
    inline: str = ""
    ttl_s: float = LINK_S


def found_in(answer: Mapping[str, Any]) -> tuple[Found, ...]:
    """Every result in `answer`; sounds only where there is nothing to see.

    >>> found_in({"image_urls": ["https://a.test/x.png"]})
    (Found(link='https://a.test/x.png', inline='', ttl_s=3600.0),)
    """
    for fields in (_VISIBLE, _AUDIBLE):
        items = [one for field in fields for one in _items(answer.get(field))]
        found = [one for one in map(_found, items) if one is not None]
        if found:
            return tuple(found[:RESULTS_MAX])
    return ()


def is_empty(answer: Mapping[str, Any]) -> bool:
    """Whether `answer` is complete and brings nothing: lists that are there, and hold nothing.

    >>> is_empty({"images": []}), is_empty({"images": ["x"]}), is_empty({})
    (True, False, False)
    """
    lists = [answer[one] for one in (*_VISIBLE, *_AUDIBLE) if isinstance(answer.get(one), list)]
    return bool(lists) and not any(lists)


async def results_of(
    found: tuple[Found, ...], spool: Spool, *, name: str, now: float
) -> tuple[Result, ...]:
    """Where each result can be fetched; content is on disk, synced, afterwards.

    `name` tells the answer from every other. Raises OSError, and ValueError for content that
    isn't base64.
    """
    results = []
    stem = hashlib.sha256(name.encode()).hexdigest()[:32]
    for number, one in enumerate(found):
        if one.link:
            results.append(Result(one.link, now + one.ttl_s))
        else:
            results.append(await spool.keep_base64(f"jiekou-{stem}-{number}", one.inline))
    return tuple(results)


def _found(item: Any) -> Found | None:
    if isinstance(item, str):
        return _either(item.strip()) if item.strip() else None
    if not isinstance(item, Mapping):
        return None
    for name in _INLINE:
        content = item.get(name)
        if isinstance(content, str) and content:
            return Found(inline=_content(content))
    for name in _LINKS:
        if text := text_of(item.get(name)):
            ttl = number_of(item.get(f"{name}_ttl"))
            one = _either(text)
            return Found(one.link, one.inline, float(ttl) if ttl and ttl > 0 else LINK_S)
    return None


def _either(text: str) -> Found:
    """A link; what is none is content."""
    if text.lower().startswith(("http://", "https://")):
        return Found(link=text)
    return Found(inline=_content(text))


def _content(text: str) -> str:
    """Base64 without the head of a data URI."""
    return text.partition(",")[2] if text[:5].lower() == "data:" else text


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
