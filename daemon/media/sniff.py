"""What a file is, by its first bytes; names, URLs and Content-Type are never asked.

Every function is pure, takes any bytes and never raises: what arrives may be cut or hostile.
"""

import os
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

HEAD_BYTES_MAX = 4 * 1024 * 1024
"""Bytes of a file that are looked at. A JPEG's size stands behind its metadata, which may be MiB
long (a thumbnail, a colour profile, a signed history)."""
PICTURES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"})
"""Types of picture that are taken from clients and decoded; of each the header gives the size."""
TAIL_BYTES_MAX = 4_096
"""Bytes at the end of a picture that are looked at."""
_SEGMENTS_MAX = 4_096
"""Segments of a JPEG walked over in search of its size."""

_Size = tuple[int, int]


class Sniffed(Struct, frozen=True):
    """A file's type. `extension` has no dot; `width` and `height` are pixels, of pictures only,
    and None where the header is cut before them or gives a side as nought.
    """

    mime: str
    extension: str
    width: int | None = None
    height: int | None = None


def sniff(head: bytes) -> Sniffed | None:
    """What the file that starts with `head` is; None for HTML, JSON, text, nothing, the unknown.

    >>> sniff(b"GIF89a" + bytes([64, 1, 180, 0]))
    Sniffed(mime='image/gif', extension='gif', width=320, height=180)
    >>> sniff(b"<!doctype html>") is None
    True
    """
    for mime, extension, matches, size in _TYPES:
        if matches(head):
            width, height = (size(head) if size else None) or (0, 0)
            known = width > 0 and height > 0
            return Sniffed(mime, extension, width if known else None, height if known else None)
    return None


def read_head(path: Path) -> bytes:
    """The first bytes of a file, at most `HEAD_BYTES_MAX`. Blocks; raises OSError."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES_MAX)


def seems_whole(path: Path, mime: str) -> bool:
    """Whether the picture in `path`, of type `mime`, has the end that its format gives it: one that
    was cut has not. What is said after that end is no harm. Blocks; raises OSError.
    """
    with path.open("rb") as file:
        start = file.read(8)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES_MAX))
        tail = file.read()
    match mime:
        case "image/png":
            return b"IEND" in tail
        case "image/jpeg":
            return b"\xff\xd9" in tail
        case "image/gif":
            return b";" in tail[-1:]
        case "image/webp":
            return _little(start[4:8]) + 8 <= size
        case "image/bmp":
            return _little(start[2:6]) <= size
        case _:
            return True


def _starts(*magics: bytes, at: int = 0) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(magics, at)


def _riff(form: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(b"RIFF") and head[8:12] == form


def _ftyp(*brands: bytes) -> Callable[[bytes], bool]:
    """ISO 14496-12: the first box is `ftyp`, its major brand tells the use."""
    return lambda head: head[4:8] == b"ftyp" and head[8:12].startswith(brands)


def _ebml(doctype: bytes) -> Callable[[bytes], bool]:
    """RFC 8794: the document type stands in the header, whose elements come in any order."""
    return lambda head: head.startswith(b"\x1aE\xdf\xa3") and doctype in head[:128]


def _ogg(codec: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(b"OggS") and codec in head[:128]


def _is_bmp(head: bytes) -> bool:
    """Two letters are no proof: the length of the header that follows must be a known one."""
    return head.startswith(b"BM") and _little(head[14:18]) in {12, 40, 52, 56, 64, 108, 124}


def _is_mp3(head: bytes) -> bool:
    """An ID3 tag, or a frame of MPEG audio layer III with a legal bit rate and sample rate."""
    if head.startswith(b"ID3"):
        return True
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return False
    return 0 < head[2] >> 4 < 15 and (head[2] >> 2) & 3 != 3


def _big(field: bytes) -> int:
    return int.from_bytes(field, "big")


def _little(field: bytes) -> int:
    return int.from_bytes(field, "little")


def _png_size(head: bytes) -> _Size | None:
    if head[12:16] != b"IHDR" or len(head) < 24:
        return None
    return _big(head[16:20]), _big(head[20:24])


def _gif_size(head: bytes) -> _Size | None:
    return (_little(head[6:8]), _little(head[8:10])) if len(head) >= 10 else None


def _bmp_size(head: bytes) -> _Size | None:
    if len(head) < 26:
        return None
    if _little(head[14:18]) == 12:
        return _little(head[18:20]), _little(head[20:22])
    # A negative height means that the rows go from top to bottom.
    sides = (int.from_bytes(head[at : at + 4], "little", signed=True) for at in (18, 22))
    width, height = sides
    return width, abs(height)


def _webp_size(head: bytes) -> _Size | None:
    """RFC 9649: lossy, lossless or extended, each with a layout of its own."""
    if len(head) < 30:
        return None
    kind = head[12:16]
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        return _little(head[26:28]) & 0x3FFF, _little(head[28:30]) & 0x3FFF
    if kind == b"VP8L" and head[20] == 0x2F:
        packed = _little(head[21:25])
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return _little(head[24:27]) + 1, _little(head[27:30]) + 1
    return None


def _jpeg_size(head: bytes) -> _Size | None:
    """Walk over the segments to the start of frame (ITU-T T.81, B.2.2)."""
    at = 2
    for _ in range(_SEGMENTS_MAX):
        if at + 9 > len(head) or head[at] != 0xFF:
            return None
        marker = head[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # these stand alone
            at += 2
        elif 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            return _big(head[at + 7 : at + 9]), _big(head[at + 5 : at + 7])
        elif marker in {0xD9, 0xDA}:  # the end, or pixels before any frame
            return None
        else:
            at += 2 + _big(head[at + 2 : at + 4])
    return None


_Type = tuple[str, str, Callable[[bytes], bool], Callable[[bytes], _Size | None] | None]

_TYPES: tuple[_Type, ...] = (
    ("image/png", "png", _starts(b"\x89PNG\r\n\x1a\n"), _png_size),
    ("image/jpeg", "jpg", _starts(b"\xff\xd8\xff"), _jpeg_size),
    ("image/webp", "webp", _riff(b"WEBP"), _webp_size),
    ("image/gif", "gif", _starts(b"GIF87a", b"GIF89a"), _gif_size),
    ("image/bmp", "bmp", _is_bmp, _bmp_size),
    ("image/tiff", "tiff", _starts(b"II*\0", b"MM\0*"), None),
    ("image/avif", "avif", _ftyp(b"avif", b"avis"), None),
    ("image/heic", "heic", _ftyp(b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1"), None),
    ("video/quicktime", "mov", _ftyp(b"qt  "), None),
    ("audio/mp4", "m4a", _ftyp(b"M4A ", b"M4B "), None),
    ("video/mp4", "mp4", _ftyp(b""), None),  # isom, mp42, avc1 and many more
    ("video/webm", "webm", _ebml(b"webm"), None),
    ("video/x-matroska", "mkv", _ebml(b"matroska"), None),
    ("video/x-msvideo", "avi", _riff(b"AVI "), None),
    ("audio/wav", "wav", _riff(b"WAVE"), None),
    ("video/ogg", "ogv", _ogg(b"\x80theora"), None),
    ("audio/ogg", "ogg", _starts(b"OggS"), None),
    ("audio/flac", "flac", _starts(b"fLaC"), None),
    ("audio/mpeg", "mp3", _is_mp3, None),
    ("model/gltf-binary", "glb", _starts(b"glTF\x02\0\0\0"), None),
)
