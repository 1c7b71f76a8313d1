"""Values to the JSON that is stored, and back."""

from typing import Any

import msgspec

from daemon.core.gate import Gate
from daemon.core.job import Job
from daemon.store.port import Paid

_encoder = msgspec.json.Encoder()
_job_decoder = msgspec.json.Decoder(Job)
_gate_decoder = msgspec.json.Decoder(Gate)
_paid_decoder = msgspec.json.Decoder(Paid)


def encode(value: msgspec.Struct) -> bytes:
    r"""`value` as JSON. Half a character in a provider's message doesn't keep a fact off the disk.

    >>> encode(Gate(probe=3))[:30]
    b'{"causes":[],"epoch":0,"probe"'
    >>> b'"prompt":"half ?"' in encode(
    ...     Job(id=1, provider="mock", prompt="half \ud83d", created_at=0.0, updated_at=0.0))
    True
    """
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encoder.encode(_mended(msgspec.to_builtins(value)))


def _mended(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case list() | tuple():
            return [_mended(one) for one in value]
        case dict():
            return {_mended(key): _mended(one) for key, one in value.items()}
        case _:
            return value


def decode_job(body: bytes) -> Job:
    """The job. Raises msgspec.MsgspecError."""
    return _job_decoder.decode(body)


def decode_gate(body: bytes) -> Gate:
    """The gate. Raises msgspec.MsgspecError."""
    return _gate_decoder.decode(body)


def decode_paid(line: bytes) -> Paid:
    """The accepted id. Raises msgspec.MsgspecError."""
    return _paid_decoder.decode(line)
