"""Checks of what names a place in a network: URLs, hosts, networks.

An address is never repeated in a message: somebody may have written a password into it.
"""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

from daemon.configuration.kinds import is_plain
from daemon.configuration.places import Place
from daemon.core.suggest import shown

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.?")
_PORT_MAX = 65_535


def url(value: Any, place: Place) -> Any:
    """An http or https URL without credentials, query or fragment; no slash at its end."""
    if not isinstance(value, str):
        place.refuse(f"expected a URL in quotes, got {shown(value)}")
    elif is_plain(value, place) and (wrong := _wrong_with_url(value)):
        place.refuse(wrong)
    elif isinstance(value, str):
        return value.rstrip("/")
    return value


def optional_url(value: Any, place: Place) -> Any:
    """A URL, or an empty text for none."""
    return value if value == "" else url(value, place)


def _wrong_with_url(text: str) -> str | None:
    if "@" in text:
        return (
            "holds a user name or a password, which isn't repeated here: "
            "credentials go into api_key or headers"
        )
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "isn't a URL: the host or the port is wrong"
    if parts.scheme not in ("http", "https"):
        return "expected a URL that starts with http:// or https://"
    if not parts.hostname or port == 0 or " " in text or "\\" in text:
        return "isn't a URL: the host or the port is wrong"
    if parts.query or parts.fragment or "?" in text:
        return "must not have a '?' or a '#': a key goes into api_key, parameters into params"
    return None


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) <= 253 and _HOST.fullmatch(text) is not None
    return True


def _split(text: str) -> tuple[str, str | None]:
    """Host and port of `host`, `host:port`, `::1` or `[::1]:port`."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest[1:] if rest.startswith(":") else rest or None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, None


def _port(text: str, least: int) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    return int(text) if least <= int(text) <= _PORT_MAX else None


def host(value: Any, place: Place) -> Any:
    """`host` or `host:port`; returned in lower case."""
    if isinstance(value, str):
        name, port = _split(value)
        if _is_host(name) and (port is None or _port(port, 1) is not None):
            return value.lower()
    place.refuse('expected "host" or "host:port", without http:// and without a path')
    return value


def listen(value: Any, place: Place) -> Any:
    """`host:port` as a pair, or None for an empty text; port 0 lets the system choose one."""
    if value == "":
        return None
    if isinstance(value, str):
        name, port = _split(value)
        number = _port(port or "", 0)
        if _is_host(name) and number is not None:
            return name, number
    place.refuse(f'expected "host:port" such as "127.0.0.1:8001", got {shown(value)}')
    return None


def network(value: Any, place: Place) -> Any:
    """A network such as `192.168.1.0/24`, or one address."""
    if not isinstance(value, str):
        place.refuse(f"expected a network in quotes, got {shown(value)}")
        return value
    try:
        return ipaddress.ip_network(value)
    except ValueError:
        pass
    try:
        meant = f"; did you mean {str(ipaddress.ip_network(value, strict=False))!r}?"
    except ValueError:
        meant = ""
    place.refuse(f'expected a network such as "192.168.1.0/24", got {shown(value)}{meant}')
    return value
