"""Answers: read up to a limit, parsed as JSON, and put into words that are safe to keep.

A gateway answers with HTML where JSON is due, a broken one with anything at all.
"""

import asyncio
import html
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from aiohttp import ClientError, ClientResponse
from msgspec import Struct

ANSWER_BYTES_MAX = 4 * 1024 * 1024
"""Of an answer that holds no media."""
ERROR_BYTES_MAX = 64 * 1024
ERROR_BODY_S_MAX = 5.0
MESSAGE_CHARS_MAX = 2_000
EXCERPT_CHARS_MAX = 300
"""Of a body that isn't what the provider documents."""
EXCERPT_BYTES_MAX = 16 * EXCERPT_CHARS_MAX
"""Of that body, looked at for them."""
CHUNK_BYTES_MAX = 64 * 1024
THREAD_BYTES_MIN = 256 * 1024
"""Larger bodies are parsed in a thread: 1 MB takes about 2 ms."""
NUMBER_MAX = 10**18
HIDDEN = "[hidden]"

_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_SIGNED = re.compile(r"""((?i:https?):\\?/\\?/[^\s?"'<>]*\?)[!#-&(-;=?-~]+""")
"""A link with a query, also inside JSON: what makes it valid stands there."""
_NUMBER = re.compile(r"-?[0-9]{1,18}")
_IN_KEYS = "".join(sorted(set(map(chr, range(0x21, 0x7F))) - set("\"',;<>[]{}")))
"""Characters that the halves of a cut key may have; what stands around a key is none of them."""


class TooLongError(Exception):
    """The answer is longer than any that makes sense."""


class UnreadableError(Exception):
    """The answer isn't a JSON object; the message quotes its beginning."""


class Answer(Struct, frozen=True):
    """An answer. The names in `headers` are in small letters. `flaw` tells why of a refusal's
    `body` there is only the beginning; else it is empty, and all is there.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    flaw: str = ""


class Said(Struct, frozen=True):
    """What a provider says of an error: its code, as text, its words, and when to come again."""

    code: str | None = None
    message: str = ""
    retry_after_s: float | None = None


class Dialect(Struct, frozen=True):
    """How a vendor words its errors.

    `read(body, now)` finds one in a parsed body, or None. `refusals` are the codes which surely
    mean that nothing was accepted, even with a 5xx.
    """

    read: Callable[[Any, float], Said | None]
    refusals: frozenset[str] = frozenset()


async def read(response: ClientResponse, bytes_max: int) -> bytes:
    """The whole body. Raises TooLongError when it has more than `bytes_max` bytes."""
    body = bytearray()
    await _fill(body, response, bytes_max)
    return bytes(body)


async def read_words(
    response: ClientResponse, limit_s: float = ERROR_BODY_S_MAX
) -> tuple[bytes, str]:
    """The body of a refusal, or what came of it, and then why that isn't all: the status says
    enough without it.
    """
    body, flaw = bytearray(), ""
    try:
        async with asyncio.timeout(min(limit_s, ERROR_BODY_S_MAX)):
            await _fill(body, response, ERROR_BYTES_MAX)
    except TooLongError:
        flaw = f"the body has more than {ERROR_BYTES_MAX:,} bytes"
    except TimeoutError:
        flaw = "the body didn't come in time"
    except (ClientError, OSError):
        flaw = "the body was cut"
    return bytes(body), flaw


async def _fill(body: bytearray, response: ClientResponse, bytes_max: int) -> None:
    async for chunk in response.content.iter_chunked(CHUNK_BYTES_MAX):
        body += chunk
        if len(body) > bytes_max:
            raise TooLongError(f"the answer has more than {bytes_max:,} bytes")


async def parsed(body: bytes) -> Any:
    """What `body` holds as JSON. Raises UnreadableError."""
    if len(body) < THREAD_BYTES_MIN:
        return _parse(body)
    return await asyncio.to_thread(_parse, body)


def text_of(value: Any) -> str:
    """A field that should be text, as vendors mean it: numbers count, anything else is empty.

    >>> text_of(" a-1 "), text_of(1302), text_of(None), text_of(True), text_of(["a"])
    ('a-1', '1302', '', '', '')
    """
    if isinstance(value, bool):
        return ""
    return str(value).strip() if isinstance(value, str | int) else ""


def number_of(value: Any) -> int | None:
    """A field that should be a whole number, which may come as text; one too large to mean
    anything is none.

    >>> number_of(3), number_of(" 3 "), number_of(2.0), number_of("many"), number_of(True)
    (3, 3, 2, None, None)
    >>> number_of(10**400), number_of(1e300)
    (None, None)
    """
    match value:
        case bool():
            return None
        case int() | float() if abs(value) < NUMBER_MAX and value == int(value):
            return int(value)
        case str() if _NUMBER.fullmatch(value.strip()):
            return int(value)
        case _:
            return None


def excerpt(body: bytes, flaw: str = "") -> str:
    """The beginning of a body that wasn't expected, in one line; of HTML the title or the words.
    `flaw` tells why the body itself is only a beginning.

    >>> excerpt(b"<html><head><title>504 Gateway Time-out</title></head></html>")
    '504 Gateway Time-out'
    >>> excerpt(b""), excerpt(b"upstream  error\\n"), excerpt(b"\\x89PNG\\0")
    ('an empty body', 'upstream error', '5 bytes that are no text')
    >>> excerpt(b"bad key: abc-1", "the body was cut"), excerpt(b"", "the body was cut")
    ('bad key: (the body was cut)', 'the body was cut')
    """
    if flaw:
        return f"{_quoted(body, cut=True)} ({flaw})" if body else flaw
    return _quoted(body)


def _quoted(body: bytes, *, cut: bool = False) -> str:
    start = body[:EXCERPT_BYTES_MAX]
    if b"\0" in start:
        return f"{len(body)} bytes that are no text"
    text = start.decode(errors="replace")
    if cut or len(body) > len(start):
        text = text.rstrip(_IN_KEYS)
    if title := _TITLE.search(text):
        text = title[1]
    words = html.unescape(_TAG.sub(" ", text)) if "<" in text or title else text
    line = " ".join("".join(one if one.isprintable() else " " for one in words).split())
    nothing = f"{len(body)} bytes without words" if cut or body.strip() else "an empty body"
    return beginning(line, EXCERPT_CHARS_MAX) or nothing


def beginning(text: str, chars_max: int) -> str:
    """At most so many characters of `text`, which aren't known to be free of secrets yet.

    What is cut never ends within a word: the first half of a key would not be found any more.

    >>> beginning("bad key: abc-123", 12), beginning("bad key: abc-123", 16)
    ('bad key: ', 'bad key: abc-123')
    """
    return text if len(text) <= chars_max else text[:chars_max].rstrip(_IN_KEYS)


def safe(text: str, secrets: Iterable[str]) -> str:
    """`text` without any of `secrets`, which providers like to echo, and not too long. Of links
    no query is left: it may sign them.

    >>> safe("bad key: abc-123", ["abc-123"]), safe("see https://a.test/b?sign=c&x=1, please", [])
    ('bad key: [hidden]', 'see https://a.test/b?[hidden] please')
    """
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return _SIGNED.sub(rf"\1{HIDDEN}", text[:MESSAGE_CHARS_MAX])[:MESSAGE_CHARS_MAX]


def _parse(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):  # msgspec's errors and those of UTF-8 are ValueErrors
        raise UnreadableError(f"expected JSON, got: {excerpt(body)}") from None
