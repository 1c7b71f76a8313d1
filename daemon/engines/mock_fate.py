"""The mock's ids: each carries the fate of its task, so that a poll needs no other memory."""

import hashlib
import re
import struct

from msgspec import Struct

from daemon.engines.mock_settings import Kind

_PREFIX = "mock-"
_REMOTE_ID = re.compile(_PREFIX + "[0-9a-f]{70}")
_BODY = struct.Struct(">BBHHHddII")
_VIDEO, _FAILS = 1, 2
"""Bits of the body's first byte."""
_CHECK_BYTES = 3
"""Behind the body: an id with a mistake in it is unknown, rather than another task."""


class Fate(Struct, frozen=True, kw_only=True):
    """A task, from its acceptance to its end. `serial` makes two equal ones different tasks.

    `accepted_at` is in seconds since the epoch, the others in seconds; `duration_s` is kept to the
    millisecond. `lot` is a number of 32 bits that all further chances of the task are drawn from.
    """

    accepted_at: float
    generate_s: float
    fails: bool
    outputs: int
    kind: Kind
    width: int
    height: int
    duration_s: float
    lot: int
    serial: int


def remote_id_of(fate: Fate) -> str:
    """The id that `fate_of` reads again, whatever was forgotten meanwhile.

    >>> fate = Fate(accepted_at=12.5, generate_s=3.0, fails=False, outputs=1, kind="image",
    ...     width=640, height=360, duration_s=5.0, lot=7, serial=1)
    >>> fate_of(remote_id_of(fate)) == fate
    True
    """
    body = _BODY.pack(
        _VIDEO * (fate.kind == "video") | _FAILS * fate.fails,
        fate.outputs,
        fate.width,
        fate.height,
        round(fate.duration_s * 1_000),
        fate.accepted_at,
        fate.generate_s,
        fate.serial,
        fate.lot,
    )
    return _PREFIX + (body + _check(body)).hex()


def fate_of(remote_id: str) -> Fate | None:
    """What the id says, or None for one that no mock has given."""
    if _REMOTE_ID.fullmatch(remote_id) is None:
        return None
    packed = bytes.fromhex(remote_id.removeprefix(_PREFIX))
    body, check = packed[:-_CHECK_BYTES], packed[-_CHECK_BYTES:]
    if _check(body) != check:
        return None
    bits, outputs, width, height, clip_ms, at, generate_s, serial, lot = _BODY.unpack(body)
    return Fate(
        accepted_at=at,
        generate_s=generate_s,
        fails=bool(bits & _FAILS),
        outputs=outputs,
        kind="video" if bits & _VIDEO else "image",
        width=width,
        height=height,
        duration_s=clip_ms / 1_000,
        lot=lot,
        serial=serial,
    )


def _check(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECK_BYTES).digest()
