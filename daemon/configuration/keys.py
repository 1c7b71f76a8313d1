"""Keys: where the configuration says that one is, and how it is read from there.

A key is never part of the configuration itself, of a message, or of anything printed.
"""

import hmac
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

from msgspec import Struct

from daemon.configuration.kinds import ITEMS_MAX, is_plain, optional_path
from daemon.configuration.places import Place
from daemon.core.suggest import did_you_mean

KEY_BYTES_MAX = 64 * 1024
SOURCES = ("env", "file", "credential")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_CREDENTIAL = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,255}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OWN_HEADERS = ("connection", "content-length", "content-type", "host", "transfer-encoding")
"""What the HTTP client sets by itself."""
_KEY_TEXT = re.compile(rb"[\x21-\x7e]+")
_HEADER_TEXT = re.compile(rb"[\x20-\x7e]+")


class KeySource(Struct, frozen=True):
    """Where a key is: a variable, a file's absolute path, or a credential of the service."""

    kind: Literal["env", "file", "credential"]
    name: str

    def __str__(self) -> str:
        match self.kind:
            case "env":
                return f"${self.name}"
            case "file":
                return self.name
            case "credential":
                return f"the credential {self.name}"


class Secret:
    """A text that shows itself to nobody but who calls `reveal`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself: for a request's header, and for nothing else."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __str__(self) -> str:
        return "(hidden)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other.reveal().encode())

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret stays in its process")

    def __hash__(self) -> int:
        return hash(Secret)  # not of the text: a hash may be printed


class KeyProblem(Struct, frozen=True):
    """Why a key can't be had, and what to do; it doesn't stop the daemon."""

    message: str

    def __str__(self) -> str:
        return self.message


def key_source(value: Any, place: Place) -> Any:
    """Check of `{ env = … }`, `{ file = … }` or `{ credential = … }`: a KeySource.

    No message repeats what was written: it may be the key.
    """
    how = '{ env = "NAME" }, { file = "PATH" } or { credential = "NAME" }'
    if not isinstance(value, dict):
        place.refuse(f"a key isn't written here (nor repeated): say where it is, as {how}")
        return None
    unknown = [key for key in value if key not in SOURCES]
    for key in unknown:
        hint = did_you_mean(key, SOURCES) if len(key) <= max(map(len, SOURCES)) + 2 else ""
        place.refuse(f"a key's place is given as {how}{hint}")
    if not unknown and len(value) != 1:
        place.refuse(f"expected exactly one of {how}")
    elif not unknown:
        kind, name = next(iter(value.items()))
        return _source(kind, name, place.below(kind))
    return None


def _source(kind: Any, name: Any, place: Place) -> KeySource | None:
    if not isinstance(name, str) or name == "":
        place.refuse("expected text in quotes; what is written isn't repeated")
        return None
    if kind == "file":
        path = optional_path(name, place)
        return None if path is None else KeySource("file", str(path))
    pattern = _VARIABLE if kind == "env" else _CREDENTIAL
    if not pattern.fullmatch(name) or (kind == "env" and _looks_like_a_key(name)):
        what = "a variable, such as ZHIPU_API_KEY" if kind == "env" else "a credential"
        place.refuse(f"expected the name of {what}, not a key; it isn't repeated here")
        return None
    return KeySource(kind, name)


def _looks_like_a_key(text: str) -> bool:
    """Whether a possible variable's name is more like a key: capitals, small letters, digits."""
    digits = any(one.isdigit() for one in text)
    return digits and text != text.upper() and text != text.lower() and len(text) >= 16


def headers(value: Any, place: Place) -> Any:
    """Check of extra headers: each value a text, or where to find it."""
    if not isinstance(value, dict) or len(value) > ITEMS_MAX:
        place.refuse("expected a table of headers; what is written isn't repeated")
        return {}
    checked = {}
    for name, one in value.items():
        at = place.below(name)
        if not _HEADER.fullmatch(name) or name.lower() in _OWN_HEADERS:
            at.refuse("isn't a header that can be set here")
        elif isinstance(one, dict):
            checked[name] = key_source(one, at)
        elif not isinstance(one, str):
            at.refuse('expected text in quotes, { env = "NAME" } or { file = "PATH" }')
        elif is_plain(one, at):
            checked[name] = one
            if not one.isascii():
                at.refuse("a header is of ASCII characters; it isn't repeated here")
    return checked


def read_key(
    source: KeySource,
    environ: Mapping[str, str],
    credentials_dir: Path | None = None,
    *,
    where: str = "",
) -> Secret | KeyProblem:
    """The key that `source` names, or why it can't be had.

    `credentials_dir` is the service's `$CREDENTIALS_DIRECTORY`. `where` is the configuration's
    line, for the message. Reads a file: not for the event loop.
    """
    return _read(source, environ, credentials_dir, where, _KEY_TEXT)


def read_headers(
    headers: Mapping[str, str | KeySource],
    environ: Mapping[str, str],
    credentials_dir: Path | None = None,
    *,
    where: str = "",
) -> dict[str, Secret] | KeyProblem:
    """All of a provider's extra headers, or why one of them can't be had."""
    values: dict[str, Secret] = {}
    for name, given in headers.items():
        if isinstance(given, str):
            values[name] = Secret(given)
            continue
        value = _read(given, environ, credentials_dir, where, _HEADER_TEXT)
        if isinstance(value, KeyProblem):
            return KeyProblem(f"header {name}: {value}")
        values[name] = value
    return values


def _read(
    source: KeySource,
    environ: Mapping[str, str],
    credentials_dir: Path | None,
    where: str,
    allowed: re.Pattern[bytes],
) -> Secret | KeyProblem:
    named = f" ({where} names it)" if where else ""
    try:
        content = _content(source, environ, credentials_dir).strip()
    except _UnreadableError as problem:
        return KeyProblem(f"{problem}{named}")
    if not content:
        return KeyProblem(f"{source} is empty: put the key in{named}")
    if not allowed.fullmatch(content):
        return KeyProblem(f"{source} doesn't hold one line of plain characters, a key{named}")
    return Secret(content.decode())


class _UnreadableError(Exception):
    """Why a key's place can't be read, and what to do."""


def _content(source: KeySource, environ: Mapping[str, str], credentials_dir: Path | None) -> bytes:
    match source.kind:
        case "env":
            if source.name not in environ:
                raise _UnreadableError(
                    f"${source.name} isn't set: set it where the daemon starts, and restart"
                )
            return os.fsencode(environ[source.name])
        case "file":
            return _file(Path(source.name), private=True)
        case "credential":
            if credentials_dir is None:
                raise _UnreadableError(
                    f"there is no credential {source.name}, for $CREDENTIALS_DIRECTORY isn't set: "
                    f"add LoadCredential={source.name}:PATH to the service"
                )
            # Credentials belong to the service manager, which shows them to the service only.
            return _file(credentials_dir / source.name, private=False)


def _file(path: Path, *, private: bool) -> bytes:
    try:
        # Without O_NONBLOCK the opening of a pipe would wait for somebody to write.
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(number)
            if not stat.S_ISREG(status.st_mode):
                raise _UnreadableError(f"the key file {path} is no file")
            if private and status.st_mode & 0o066:
                raise _UnreadableError(
                    f"the key file {path} can be read or written by others: chmod 600 {path}"
                )
            if status.st_size > KEY_BYTES_MAX:
                raise _UnreadableError(f"the key file {path} is too large to hold a key")
            return os.read(number, KEY_BYTES_MAX)
        finally:
            os.close(number)
    except OSError as error:
        raise _UnreadableError(f"the key file {path}: {error.strerror}") from None
