import doctest
import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from daemon.media import fitting, names, sniff
from daemon.media.sniff import HEAD_BYTES_MAX, PICTURES, Sniffed, read_head

ISO = b"\0\0\0\x20ftyp"
MATROSKA = b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01B\xf2\x81\x04B\xf3\x81\x08B\x82\x84"
MAGICS = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"\xff\xd8\xff\xe0\0\x10",
    b"\xff\xd8\xff\xc0\0\x11\x08",
    b"RIFF\0\0\0\0WEBPVP8 ",
    b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f",
    b"RIFF\0\0\0\0WEBPVP8X",
    b"GIF89a",
    b"BM" + bytes(12) + b"\x28\0\0\0",
    ISO,
    MATROSKA,
    b"OggS",
    b"\xff\xfb",
)


def encoded(
    form: str, size: tuple[int, int] = (97, 53), mode: str = "RGB", **options: object
) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 120 if mode == "L" else "teal").save(buffer, form, **options)
    return buffer.getvalue()


PICTURE_FILES = {
    "png": ("image/png", "png", encoded("PNG")),
    "jpeg": ("image/jpeg", "jpg", encoded("JPEG")),
    "progressive jpeg": ("image/jpeg", "jpg", encoded("JPEG", progressive=True)),
    "grey jpeg": ("image/jpeg", "jpg", encoded("JPEG", mode="L")),
    "jpeg with metadata": ("image/jpeg", "jpg", encoded("JPEG", icc_profile=bytes(150_000))),
    "gif": ("image/gif", "gif", encoded("GIF")),
    "lossy webp": ("image/webp", "webp", encoded("WEBP")),
    "lossless webp": ("image/webp", "webp", encoded("WEBP", lossless=True)),
    "webp with a profile": ("image/webp", "webp", encoded("WEBP", icc_profile=b"profile")),
    "bmp": ("image/bmp", "bmp", encoded("BMP")),
}


@pytest.mark.parametrize("kind", PICTURE_FILES)
def test_a_picture_gives_its_type_and_size(kind: str) -> None:
    mime, extension, content = PICTURE_FILES[kind]
    assert sniff.sniff(content) == Sniffed(mime, extension, 97, 53)
    assert mime in PICTURES


@pytest.mark.parametrize("kind", PICTURE_FILES)
def test_a_picture_cut_at_any_byte_gives_its_size_or_none(kind: str) -> None:
    _, _, content = PICTURE_FILES[kind]
    for end in [*range(min(len(content), 200)), len(content) - 1]:
        found = sniff.sniff(content[:end])
        assert found is None or (found.width, found.height) in {(97, 53), (None, None)}


def test_a_bitmap_may_run_from_top_to_bottom_and_have_the_old_header() -> None:
    down = b"BM" + bytes(12) + struct.pack("<Iii", 40, 97, -53)
    old = b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 97, 53, 1, 24)
    assert [sniff.sniff(head) for head in (down, old)] == [Sniffed("image/bmp", "bmp", 97, 53)] * 2


@pytest.mark.parametrize(
    ("head", "mime", "extension"),
    [
        (ISO + b"isom", "video/mp4", "mp4"),
        (ISO + b"mp42", "video/mp4", "mp4"),
        (ISO + b"qt  ", "video/quicktime", "mov"),
        (ISO + b"M4A ", "audio/mp4", "m4a"),
        (ISO + b"avif", "image/avif", "avif"),
        (ISO + b"heic", "image/heic", "heic"),
        (MATROSKA + b"webm", "video/webm", "webm"),
        (MATROSKA[:-1] + b"\x88matroska", "video/x-matroska", "mkv"),
        (b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo", "avi"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav", "wav"),
        (b"OggS" + bytes(24) + b"\x01vorbis", "audio/ogg", "ogg"),
        (b"OggS" + bytes(24) + b"\x80theora", "video/ogg", "ogv"),
        (b"ID3\x04\0", "audio/mpeg", "mp3"),
        (b"\xff\xfb\x90\x64", "audio/mpeg", "mp3"),
        (b"fLaC\0\0\0\x22", "audio/flac", "flac"),
        (b"II*\0\x08\0\0\0", "image/tiff", "tiff"),
        (b"glTF\x02\0\0\0", "model/gltf-binary", "glb"),
    ],
)
def test_a_film_or_sound_is_known_by_its_first_bytes(
    head: bytes, mime: str, extension: str
) -> None:
    assert sniff.sniff(head + bytes(100)) == Sniffed(mime, extension)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>",
        b"\xef\xbb\xbf<html>",
        b'{"error": {"code": 429}}',
        b"BMW is not a bitmap, whatever its first letters say",
        "UTF-16 starts with the bits of a sound".encode("utf-16"),
        b"\xff\xfb\xf0\x64",
        b"RIFF\0\0\0\0NONE",
        b"PK\x03\x04",
        b"%PDF-1.7",
        b"\x89PN",
        b"\xff\xd8",
        ISO[:6],
        MATROSKA + b"other",
    ],
)
def test_what_is_no_result_is_not_recognised(head: bytes) -> None:
    assert sniff.sniff(head) is None


def test_a_jpeg_without_a_frame_has_no_size() -> None:
    pixels_first = b"\xff\xd8\xff\xda\0\x08" + bytes(50)
    lost = b"\xff\xd8\xff\xe0\0\x04\0\0\x12\x34" + bytes(50)
    nought = b"\xff\xd8\xff\xc0\0\x11\x08\0\0\0\x61\x03" + bytes(50)
    for head in (pixels_first, lost, nought):
        assert sniff.sniff(head) == Sniffed("image/jpeg", "jpg")


def test_fill_bytes_and_lone_markers_are_walked_over() -> None:
    frame = encoded("JPEG")
    at = frame.index(b"\xff\xdb")
    padded = frame[:at] + b"\xff\xff\xff\x01\xff\xd0" + frame[at:]
    assert sniff.sniff(padded) == Sniffed("image/jpeg", "jpg", 97, 53)


def test_a_jpeg_of_countless_segments_is_given_up() -> None:
    endless = b"\xff\xd8" + b"\xff\xfe\0\x02" * 5_000 + encoded("JPEG")[2:]
    assert sniff.sniff(endless) == Sniffed("image/jpeg", "jpg")


@given(st.binary(max_size=64))
def test_no_bytes_at_all_make_it_raise(tail: bytes) -> None:
    for head in (tail, *(magic + tail for magic in MAGICS)):
        found = sniff.sniff(head)
        if found is not None and found.width is not None:
            assert found.width > 0
            assert found.height is not None
            assert found.height > 0


@given(st.sampled_from(sorted(PICTURE_FILES)), st.integers(0, 60), st.integers(0, 255))
def test_no_changed_byte_makes_it_raise(kind: str, place: int, value: int) -> None:
    content = bytearray(PICTURE_FILES[kind][2])
    content[place % len(content)] = value
    found = sniff.sniff(bytes(content))
    assert found is None or found.width is None or found.width > 0


def test_only_the_head_of_a_large_file_is_read(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(HEAD_BYTES_MAX + 1)
    assert len(read_head(large)) == HEAD_BYTES_MAX


@pytest.mark.parametrize("module", [sniff, names, fitting])
def test_the_examples_in_docstrings_are_true(module: object) -> None:
    failed, tried = doctest.testmod(module)  # type: ignore[arg-type]
    assert (failed, tried > 0) == (0, True)
