"""Keys and signed links never leave the process by accident: logs, events, error messages.

Known secrets are replaced wherever they stand, fields with a telling name are hidden, and so are
the parts of a URL that sign it. Placed after exceptions are formatted: a traceback is text too.
"""

import re
from collections.abc import Iterable, MutableMapping
from typing import Any

HIDDEN = "[hidden]"
SECRET_CHARS_MIN = 6
"""Shorter values aren't replaced in texts: they would hide half of the log."""
_TELLING = re.compile(
    r"authorization|api.?key|secret|token|password|cookie|signature|credential", re.IGNORECASE
)
_SIGNED = re.compile(
    r"([?&](?:x-[a-z-]+|sig|sign|signature|token|key|access_?key(?:id)?"
    r"|ossaccesskeyid|q-sign[a-z-]*|q-ak|expires|policy|auth[a-z_]*)=)[^&\s\"'<>]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"((?:bearer|basic|key)[ \t]+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)


class Redactor:
    """Hides what it was told, and what looks like it."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: tuple[str, ...] = ()
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Hide these values too, from now on; longest first, so that none is left in half."""
        known = {one for one in (*self._secrets, *secrets) if len(one) >= SECRET_CHARS_MIN}
        self._secrets = tuple(sorted(known, key=len, reverse=True))

    def text(self, text: str) -> str:
        """`text` with secrets and signatures hidden."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        if "=" in text:
            text = _SIGNED.sub(rf"\1{HIDDEN}", text)
        return _BEARER.sub(rf"\1{HIDDEN}", text)

    def value(self, value: Any) -> Any:
        """`value` with every text in it hidden as needed; bytes become their length."""
        match value:
            case str():
                return self.text(value)
            case bytes() | bytearray():
                return f"{len(value)} bytes"
            case dict():
                return {key: self.field(str(key), one) for key, one in value.items()}
            case list() | tuple():
                return [self.value(one) for one in value]
            case _:
                return value

    def field(self, name: str, value: Any) -> Any:
        """`value` of the field `name`, hidden whole if the name tells."""
        return HIDDEN if _TELLING.search(name) and value else self.value(value)

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """As a structlog processor."""
        return {name: self.field(name, value) for name, value in event.items()}
