"""The links in a workflow's output, which is JSON in a text in JSON, or whatever the author made.

coze.md, "Output": `output` is a JSON text whose `Output` holds the end node's value, itself most
often a JSON text; plain text is taken at either level.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

END_NODE = "Output"
RESULTS_MAX = 100
_DEPTH_MAX = 20
_OPENED_MAX = 4
"""So many texts inside each other are read as JSON."""
_LINK = re.compile(r"https?://[]\[\w!#$%&()*+,\-./:;=?@~]+", re.IGNORECASE | re.ASCII)
_WHOLE = re.compile(r"https?://\S+", re.IGNORECASE)
_CLOSING = ".,;:!?)]}"
_COVER = re.compile(r"cover|thumb|poster|preview|debug", re.IGNORECASE)
_MISSING = object()


def links_in(output: Any, path: str = "", *, trimmed: bool = False) -> tuple[str, ...]:
    """The results' links: what stands at `path`, else every value that is a link, else the links
    in its texts. Covers aren't results. Where the output was `trimmed`, a link at its end is none.

    `path` names keys and places in lists, "data.videos.0", from the end node's value, or from the
    output itself; a key of a list's items stands for all of them.

    >>> links_in('{"Output": "{\\\\"video\\\\": \\\\"https://a.test/v.mp4\\\\"}"}')
    ('https://a.test/v.mp4',)
    >>> links_in('{"Output": "here: https://a.test/v.mp4."}')
    ('https://a.test/v.mp4',)
    """
    for values in _places(output, path):
        found = [link for one in values for link in _values(one)]
        found = found or [link for one in values for link in _mentioned(one, trimmed)]
        if found:
            return tuple(dict.fromkeys(found))[:RESULTS_MAX]
    return ()


def covers_in(output: Any, path: str = "", *, trimmed: bool = False) -> tuple[str, ...]:
    """The paths to links that `links_in` passes over, because of a key on the way.

    >>> covers_in({"Output": {"data": {"poster": "https://a.test/p.png"}}})
    ('data.poster',)
    """
    for values in _places(output, path):
        found = [each for one in values for each in _covers(one, path, trimmed)]
        if found:
            return tuple(dict.fromkeys(found))
    return ()


def _places(output: Any, path: str) -> Iterator[list[Any]]:
    """What stands at `path` from the end node's value, then from the output itself."""
    opened = _opened(output)
    inner = opened.get(END_NODE, _MISSING) if isinstance(opened, dict) else _MISSING
    keys = path.split(".") if path else []
    yield _at(inner, keys)
    yield _at(opened, keys)


def _opened(value: Any, depth: int = 0) -> Any:
    """`value` with the JSON in its texts read."""
    if depth > _DEPTH_MAX:
        return None
    if isinstance(value, dict):
        return {key: _opened(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [_opened(one, depth + 1) for one in value]
    if isinstance(value, str) and depth < _DEPTH_MAX and value.lstrip()[:1] in ("{", "[", '"'):
        try:
            inner = msgspec.json.decode(value)
        except (ValueError, RecursionError):
            return value
        return _opened(inner, depth + _DEPTH_MAX // _OPENED_MAX)
    return value


def _at(value: Any, keys: list[str]) -> list[Any]:
    """What stands at the end of `keys`, as often as lists on the way have it."""
    if not keys:
        return [value]
    key, *rest = keys
    if isinstance(value, dict):
        return _at(value[key], rest) if key in value else []
    if isinstance(value, list):
        if key.isdecimal():
            return _at(value[int(key)], rest) if int(key) < len(value) else []
        return [found for one in value for found in _at(one, keys)]
    return []


def _values(value: Any) -> Iterator[str]:
    """Texts that are links, in order."""
    if isinstance(value, dict):
        for key, one in value.items():
            if not _COVER.search(key):
                yield from _values(one)
    elif isinstance(value, list):
        for one in value:
            yield from _values(one)
    elif isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        yield value.strip()


def _mentioned(value: Any, trimmed: bool) -> Iterator[str]:
    """Links inside texts, in order."""
    if isinstance(value, dict):
        for key, one in value.items():
            if not _COVER.search(key):
                yield from _mentioned(one, trimmed)
    elif isinstance(value, list):
        for one in value:
            yield from _mentioned(one, trimmed)
    elif isinstance(value, str):
        text = value.replace("\\/", "/").replace("\\u0026", "&")  # JSON that was cut stays escaped
        for match in _LINK.finditer(text):
            if not (trimmed and match.end() == len(text)):
                yield match[0].rstrip(_CLOSING)


def _covers(value: Any, path: str, trimmed: bool) -> Iterator[str]:
    """Paths from `path` on, in order. Lists have no part in them: a key stands for all items."""
    if isinstance(value, dict):
        for key, one in value.items():
            here = f"{path}.{key}" if path else key
            if _COVER.search(key) and any((*_values(one), *_mentioned(one, trimmed))):
                yield here
            else:
                yield from _covers(one, here, trimmed)
    elif isinstance(value, list):
        for one in value:
            yield from _covers(one, path, trimmed)
