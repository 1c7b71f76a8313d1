"""Frames as bytes: one JSON object a line. No I/O, and no state but an unfinished line.

Both sides take what they are sent as data: a line that can't be read is told, and the next one is
read as if nothing had been.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, cast

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from daemon.wire.messages import (
    FRAME_BYTES_MAX,
    PART_BYTES_MAX,
    REQUEST_ID_MAX,
    AnyRequest,
    ErrorBody,
    ErrorCode,
    Hello,
    Reply,
    RowProblem,
    Welcome,
)

HEAD_BYTES = 256
"""What is kept of a line that is too long: enough to find the id at its beginning."""
TOLD_CHARS_MAX = 300
"""So much of what a parser says goes into a message."""


class Overlong(Struct, frozen=True):
    """A line over the limit, skipped to its newline; `head` is its beginning."""

    head: bytes


class Problem(Struct, frozen=True):
    """A line that is no request, as the Error frame that answers it."""

    id: int | None
    body: ErrorBody


class Told(Struct, frozen=True):
    """An event as it came: to be passed on, or decoded by whoever folds it."""

    seq: int
    line: bytes


class Resync(Struct, frozen=True):
    """The subscription has ended at `seq`: the client was too far behind. Subscribe again."""

    seq: int


class BadFrameError(Exception):
    """The daemon sent a line that is no frame: whoever listens there, it isn't genqd."""


class Splitter:
    """Bytes in, lines out, however the bytes were cut. Holds one line at most."""

    def __init__(self, line_bytes_max: int) -> None:
        self._bytes_max = line_bytes_max
        self._line = bytearray()
        self._overlong = False

    def receive(self, content: bytes) -> list[bytes | Overlong]:
        """The lines that `content` ends, without newlines; blank ones are left out."""
        found: list[bytes | Overlong] = []
        *ended, rest = content.split(b"\n")
        for piece in ended:
            self._take(piece)
            line = bytes(self._line)
            if self._overlong:
                found.append(Overlong(line))
            elif line and not line.isspace():
                found.append(line)
            self._line.clear()
            self._overlong = False
        self._take(rest)
        return found

    def _take(self, piece: bytes) -> None:
        if self._overlong:
            return
        self._line += piece
        if len(self._line) > self._bytes_max:
            del self._line[HEAD_BYTES:]
            self._overlong = True


# ---- what the daemon reads ----


class _Asked(Struct):
    op: Any = None
    id: Any = None


_OPS: tuple[str, ...] = tuple(
    sorted(cast(str, kind.__struct_config__.tag) for kind in AnyRequest.__args__)
)
_ID = re.compile(rb'\s*\{\s*(?:"op"\s*:\s*"[^"\\]*"\s*,\s*)?"id"\s*:\s*(\d{1,16})\s*[,}]')
"""An id that stands first, or after `op`: there it is found without the rest of the line."""
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@cache
def _requests() -> msgspec.json.Decoder[AnyRequest]:
    """Made when first used: a client never reads a request, and would wait for it at its start."""
    return msgspec.json.Decoder(AnyRequest)


def decode_hello(line: bytes | Overlong) -> Hello | None:
    """The hello that `line` is, or None."""
    if isinstance(line, Overlong):
        return None
    try:
        return msgspec.json.decode(line, type=Hello)
    except _UNREADABLE:
        return None


def decode_request(line: bytes | Overlong) -> AnyRequest | Problem:
    """The request that `line` is, or what is wrong with it, with its id where one can be read."""
    if isinstance(line, Overlong):
        message = f"a frame has at most {FRAME_BYTES_MAX:,} bytes: send what is longer in parts"
        return Problem(_first_id(line.head), ErrorBody("too_large", message))
    try:
        request = _requests().decode(line)
    except msgspec.ValidationError as error:
        return _misfit(line, printable(error))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Problem(_first_id(line), ErrorBody("bad_frame", f"not JSON: {printable(error)}"))
    except RecursionError:
        return Problem(_first_id(line), ErrorBody("bad_frame", "nested too deeply"))
    if request.id == 0:
        message = f"a request has an id, a whole number from 1 to {REQUEST_ID_MAX}"
        return Problem(None, ErrorBody("bad_request", message))
    return request


def _misfit(line: bytes, why: str) -> Problem:
    """What is wrong with a line that is JSON, as far as it was read, but no request."""
    try:
        asked = msgspec.json.decode(line, type=_Asked)
    except _UNREADABLE:
        return Problem(_first_id(line), ErrorBody("bad_frame", why))
    known = type(asked.id) is int and 1 <= asked.id <= REQUEST_ID_MAX  # True is an int too
    number = asked.id if known else None
    if isinstance(asked.op, str) and asked.op not in _OPS:
        there_are = ", ".join(_OPS)
        message = f"unknown op {printable(asked.op[:40])!r} (there are: {there_are})"
        return Problem(number, ErrorBody("unknown_op", message))
    return Problem(number, ErrorBody("bad_request", why))


def _first_id(line: bytes) -> int | None:
    found = _ID.match(line)
    return int(found[1]) if found and 1 <= int(found[1]) <= REQUEST_ID_MAX else None


def printable(said: object) -> str:
    """`said` as a message may repeat it: short, on one line, without control codes."""
    text = str(said)[:TOLD_CHARS_MAX]
    return "".join(char if char.isprintable() else "?" for char in text)


# ---- what the daemon sends ----

_encoder = msgspec.json.Encoder()


def encode(frame: object) -> bytes:
    """`frame` as a line, with its newline."""
    return _encoder.encode(frame) + b"\n"


def encode_ok(number: int, value: object) -> bytes:
    """The end of an answer: `value`, as the request's documentation names it."""
    return encode({"id": number, "ok": value})


def encode_error(number: int | None, body: ErrorBody) -> bytes:
    """The end of a request that was not done."""
    return encode({"id": number, "error": body})


def encode_progress(number: int, value: object) -> bytes:
    """How far a request is."""
    return encode({"id": number, "progress": value})


def encode_part(number: int, name: str, items: Iterable[bytes]) -> bytes:
    """A piece of the list `name` of an answer, from elements that are JSON already."""
    return b'{"id":%d,"part":{"%s":[%s]}}\n' % (number, name.encode(), b",".join(items))


def gather(items: Iterable[bytes], bytes_max: int = PART_BYTES_MAX) -> Iterator[list[bytes]]:
    """`items` in lists of about `bytes_max` together; one that is longer stands alone."""
    batch: list[bytes] = []
    size = 0
    for item in items:
        if batch and size + len(item) > bytes_max:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item)
    if batch:
        yield batch


# ---- what a client reads ----


class _Incoming(Struct, kw_only=True):
    """Every key by which a client tells frames apart. Values wait: an event has an `error` too."""

    id: int | None = None
    seq: int | UnsetType = UNSET
    ok: Raw | UnsetType = UNSET
    part: Raw | UnsetType = UNSET
    progress: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    resync: int | UnsetType = UNSET


class _AnyError(Struct):
    """An ErrorBody of any daemon: a later one may know more codes."""

    code: str
    message: str
    problems: tuple[RowProblem, ...] = ()
    at: int | None = None


_INCOMING = msgspec.json.Decoder(_Incoming)


def decode_answer(line: bytes | Overlong) -> Reply | Told | Resync:
    """The daemon's frame that `line` is. Raises BadFrameError."""
    if isinstance(line, Overlong):
        raise BadFrameError("a line of it is too long")
    try:
        frame = _INCOMING.decode(line)
        if frame.seq is not UNSET and frame.id is None:
            return Told(frame.seq, line)
        if frame.resync is not UNSET:
            return Resync(frame.resync)
        body: ErrorBody | UnsetType = UNSET
        if frame.error is not UNSET:
            told = msgspec.json.decode(frame.error, type=_AnyError)
            body = ErrorBody(cast(ErrorCode, told.code), told.message, told.problems, told.at)
    except _UNREADABLE as error:
        raise BadFrameError(f"a line of it makes no sense: {printable(error)}") from None
    return Reply(id=frame.id, ok=frame.ok, part=frame.part, progress=frame.progress, error=body)


def decode_welcome(line: bytes | Overlong) -> Welcome | Reply:
    """The daemon's first frame: a Welcome, or the error that stands in its place.

    Raises BadFrameError.
    """
    if not isinstance(line, Overlong):
        try:
            return msgspec.json.decode(line, type=Welcome)
        except _UNREADABLE:
            pass
    answer = decode_answer(line)
    if isinstance(answer, Reply) and answer.error is not UNSET:
        return answer
    raise BadFrameError("its first line is no hello")
