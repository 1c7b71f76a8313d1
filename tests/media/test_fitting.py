import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from daemon.media.fitting import (
    ENCODES_MAX,
    PROFILE_BYTES_MAX,
    QUALITY_FIRST,
    QUALITY_MIN,
    PictureError,
    PictureLimits,
    best_quality,
    compress,
)
from daemon.media.sniff import sniff

RED, GREEN, WHITE = (255, 0, 0), (0, 128, 0), (255, 255, 255)


@pytest.fixture(autouse=True)
def pillow_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker sets Pillow's limits for its own process; here that process is the tests'."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", PngImagePlugin.MAX_TEXT_CHUNK)


@pytest.fixture
def fitted(tmp_path: Path) -> Callable[..., Image.Image]:
    """Save a picture in some format, compress it, and open what came out."""

    def run(
        picture: Image.Image, form: str, limits: PictureLimits, **options: object
    ) -> Image.Image:
        source, target = tmp_path / "source", tmp_path / "cache" / "target.jpg"
        picture.save(source, form, **options)
        compress(source, target, limits)
        content = target.read_bytes()
        assert len(content) <= limits.max_bytes
        assert [path.name for path in target.parent.iterdir()] == ["target.jpg"]
        made = Image.open(io.BytesIO(content))
        assert (made.format, made.mode) == ("JPEG", "RGB")
        return made

    return run


def noise(width: int, height: int) -> Image.Image:
    channels = [Image.effect_noise((width, height), spread) for spread in (60, 90, 120)]
    return Image.merge("RGB", channels)


def near(pixel: object, colour: tuple[int, int, int]) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(got - wanted) <= 12 for got, wanted in zip(pixel, colour, strict=True))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_every_format_is_scaled_to_the_longest_side(
    fitted: Callable[..., Image.Image], form: str
) -> None:
    made = fitted(Image.new("RGB", (600, 300), RED), form, PictureLimits(max_side=200))
    assert made.size == (200, 100)
    assert near(made.getpixel((50, 50)), RED)


def test_a_picture_within_the_side_keeps_its_size(fitted: Callable[..., Image.Image]) -> None:
    assert fitted(noise(300, 200), "PNG", PictureLimits(max_kb=30)).size == (300, 200)


@pytest.mark.parametrize("max_kb", [1, 5, 20, 60])
def test_a_picture_that_no_quality_makes_fit_is_made_smaller(
    fitted: Callable[..., Image.Image], max_kb: int
) -> None:
    made = fitted(noise(640, 320), "PNG", PictureLimits(max_kb=max_kb))
    assert made.width < 640
    assert made.width == pytest.approx(2 * made.height, abs=2)


def test_what_is_transparent_becomes_white(fitted: Callable[..., Image.Image]) -> None:
    half = Image.new("RGBA", (100, 100), (255, 0, 0, 0))
    half.paste((0, 128, 0, 255), (0, 0, 50, 100))
    for form in ("PNG", "WEBP"):
        made = fitted(half, form, PictureLimits())
        assert near(made.getpixel((20, 50)), GREEN)
        assert near(made.getpixel((80, 50)), WHITE)


def test_a_transparent_palette_becomes_white(fitted: Callable[..., Image.Image]) -> None:
    picture = Image.new("P", (50, 50), 1)
    picture.putpalette([0, 0, 0, *RED])
    assert near(fitted(picture, "PNG", PictureLimits()).getpixel((9, 9)), RED)
    assert near(fitted(picture, "PNG", PictureLimits(), transparency=1).getpixel((9, 9)), WHITE)


def test_sixteen_bits_of_grey_keep_their_shade(fitted: Callable[..., Image.Image]) -> None:
    made = fitted(Image.new("I;16", (50, 50), 0x8000), "PNG", PictureLimits())
    assert near(made.getpixel((9, 9)), (128, 128, 128))


def test_sixteen_bits_of_grey_may_have_a_shade_that_is_transparent(
    fitted: Callable[..., Image.Image],
) -> None:
    picture = Image.new("I;16", (100, 100), 0x4000)
    # The same shade in 8 bits, and not transparent.
    picture.paste(Image.new("I;16", (50, 100), 0x4001), (0, 0))
    made = fitted(picture, "PNG", PictureLimits(), transparency=0x4000)
    assert near(made.getpixel((20, 50)), (64, 64, 64))
    assert near(made.getpixel((80, 50)), WHITE)


def test_a_print_picture_becomes_a_screen_picture(fitted: Callable[..., Image.Image]) -> None:
    made = fitted(Image.new("CMYK", (50, 50), (0, 255, 255, 0)), "JPEG", PictureLimits())
    assert near(made.getpixel((9, 9)), RED)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_comes_out_upright(fitted: Callable[..., Image.Image], orientation: int) -> None:
    upright = Image.new("RGB", (120, 60), "white")
    upright.paste(RED, (0, 0, 60, 30))
    # What a camera stores, so that the turn which EXIF asks for gives `upright`.
    turns = Image.Transpose
    stored = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_90,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_270,
    }
    turn = stored.get(orientation)
    picture = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    made = fitted(picture, "JPEG", PictureLimits(max_side=60), exif=exif, quality=95)
    assert made.size == (60, 30)
    assert near(made.getpixel((10, 7)), RED)
    assert near(made.getpixel((50, 22)), WHITE)
    assert near(made.getpixel((10, 22)), WHITE)


def test_broken_exif_is_no_reason_to_refuse(fitted: Callable[..., Image.Image]) -> None:
    cut = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12\0\x03"
    entry = bytes.fromhex("0001 0112 0002 00000009 0000001a 00000000")
    senseless = b"Exif\0\0MM\0*\0\0\0\x08" + entry + b"sideways\0"
    for exif in (cut, senseless):
        made = fitted(Image.new("RGB", (50, 60), RED), "JPEG", PictureLimits(), exif=exif)
        assert made.size == (50, 60)


def icc(space: bytes, connection: bytes, **tags: bytes) -> bytes:
    """A colour profile (ICC.1:2001-04): a header, a table of tags, the tags."""
    at = 128 + 4 + 12 * len(tags)
    table, content = len(tags).to_bytes(4, "big"), b""
    for name, tag in tags.items():
        table += struct.pack(">4sII", name.encode(), at + len(content), len(tag))
        content += tag + bytes(-len(tag) % 4)
    size, version = at + len(content), 0x02400000
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), version, b"mntr", space, connection)
    header += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return header.ljust(128, b"\0") + table + content


def fixed(*numbers: float) -> bytes:
    """As s15Fixed16Number."""
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def xyz(*numbers: float) -> bytes:
    return b"XYZ " + bytes(4) + fixed(*numbers)


def gamma(exponent: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(exponent * 256))


WHITE_POINT = xyz(0.9642, 1.0, 0.8249)
DISPLAY_P3 = icc(
    b"RGB ",
    b"XYZ ",
    wtpt=WHITE_POINT,
    rXYZ=xyz(0.5151, 0.2412, -0.0011),
    gXYZ=xyz(0.2920, 0.6922, 0.0419),
    bXYZ=xyz(0.1571, 0.0666, 0.7841),
    rTRC=gamma(2.2),
    gTRC=gamma(2.2),
    bTRC=gamma(2.2),
)
LINEAR_GREY = icc(b"GRAY", b"XYZ ", wtpt=WHITE_POINT, kTRC=gamma(1.0))
# A press on white paper, all of whose inks are the same middle grey (L* = 50).
GREY_INKS = icc(
    b"CMYK",
    b"Lab ",
    wtpt=WHITE_POINT,
    A2B0=b"mft1"
    + bytes(4)
    + bytes([4, 3, 2, 0])
    + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    + bytes(range(256)) * 4
    + bytes([255, 128, 128])
    + bytes([128, 128, 128]) * 15
    + bytes(range(256)) * 3,
)
ORANGE, ORANGE_OF_P3 = (216, 93, 25), (200, 100, 50)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_colour_of_a_wide_profile_is_sent_as_it_looks(
    fitted: Callable[..., Image.Image], form: str
) -> None:
    picture = Image.new("RGB", (60, 60), ORANGE_OF_P3)
    made = fitted(picture, form, PictureLimits(max_side=30), icc_profile=DISPLAY_P3, quality=95)
    assert near(made.getpixel((15, 15)), ORANGE)
    assert "icc_profile" not in made.info


def test_what_is_transparent_stays_so_through_a_profile(
    fitted: Callable[..., Image.Image],
) -> None:
    picture = Image.new("RGBA", (60, 60), (*ORANGE_OF_P3, 255))
    picture.paste((*ORANGE_OF_P3, 0), (0, 0, 30, 60))
    made = fitted(picture, "PNG", PictureLimits(), icc_profile=DISPLAY_P3)
    assert near(made.getpixel((10, 30)), WHITE)
    assert near(made.getpixel((50, 30)), ORANGE)


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_grey_goes_through_its_profile(fitted: Callable[..., Image.Image], form: str) -> None:
    made = fitted(Image.new("L", (60, 60), 55), form, PictureLimits(), icc_profile=LINEAR_GREY)
    assert near(made.getpixel((30, 30)), (128, 128, 128))


def test_inks_go_through_their_profile_and_without_one_are_guessed(
    fitted: Callable[..., Image.Image],
) -> None:
    picture = Image.new("CMYK", (60, 60), (255, 0, 0, 0))
    made = fitted(picture, "JPEG", PictureLimits(), icc_profile=GREY_INKS, quality=95)
    assert near(made.getpixel((30, 30)), (119, 119, 119))
    made = fitted(picture, "JPEG", PictureLimits(), quality=95)
    assert near(made.getpixel((30, 30)), (0, 255, 255))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
@pytest.mark.parametrize(
    "profile",
    [
        b"no profile",
        DISPLAY_P3[:-30],
        DISPLAY_P3[:140],
        DISPLAY_P3[:128] + b"\xff" * 400,
        GREY_INKS[:-900],
        icc(b"Lab ", b"XYZ ", wtpt=WHITE_POINT),
        bytes(128) + DISPLAY_P3[128:],
    ],
    ids=["words", "cut", "stump", "wild", "cut inks", "no such colours", "no header"],
)
def test_a_broken_profile_is_no_reason_to_refuse(
    fitted: Callable[..., Image.Image], mode: str, profile: bytes
) -> None:
    form = "JPEG" if mode == "CMYK" else "PNG"
    made = fitted(Image.new(mode, (60, 60)), form, PictureLimits(), icc_profile=profile)
    assert made.size == (60, 60)


@pytest.mark.parametrize(("form", "more"), [("PNG", 2**21), ("JPEG", PROFILE_BYTES_MAX)])
def test_a_large_profile_is_no_reason_to_refuse(
    fitted: Callable[..., Image.Image], form: str, more: int
) -> None:
    large = DISPLAY_P3 + bytes(more)
    made = fitted(Image.new("RGB", (60, 60), RED), form, PictureLimits(), icc_profile=large)
    assert near(made.getpixel((30, 30)), RED)


def test_a_profile_of_other_colours_than_the_picture_has_is_passed_over(
    fitted: Callable[..., Image.Image],
) -> None:
    picture = Image.new("RGB", (60, 60), RED)
    made = fitted(picture, "PNG", PictureLimits(), icc_profile=GREY_INKS)
    assert near(made.getpixel((30, 30)), RED)


def test_place_and_camera_do_not_travel_along(fitted: Callable[..., Image.Image]) -> None:
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    exif.get_ifd(0x8825)[1] = "N"
    picture = Image.new("RGB", (60, 60), RED)
    made = fitted(picture, "JPEG", PictureLimits(), exif=exif, icc_profile=DISPLAY_P3)
    assert dict(made.getexif()) == {}


def test_a_comment_does_not_travel_along(fitted: Callable[..., Image.Image]) -> None:
    made = fitted(noise(50, 50), "JPEG", PictureLimits(max_kb=4), comment=b"x" * 60_000)
    assert "comment" not in made.info


def test_a_sliver_keeps_at_least_a_pixel(fitted: Callable[..., Image.Image]) -> None:
    assert fitted(Image.new("RGB", (3000, 2)), "PNG", PictureLimits(max_side=100)).size == (100, 1)


def chunk(kind: bytes, content: bytes) -> bytes:
    length, checksum = len(content), zlib.crc32(kind + content)
    return length.to_bytes(4, "big") + kind + content + checksum.to_bytes(4, "big")


@pytest.mark.parametrize("side", [7_000, 12_000])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, side: int
) -> None:
    # Its header promises 49 or 144 megapixels; there is nothing behind it to decode.
    header = side.to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    bomb = tmp_path / "bomb"
    bomb.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b""))
    with pytest.raises(PictureError, match=f"{side * side} pixels"):
        compress(bomb, tmp_path / "target", PictureLimits())


def test_the_limit_of_pixels_is_the_operators(tmp_path: Path) -> None:
    Image.new("L", (300, 200)).save(tmp_path / "a", "PNG")
    with pytest.raises(PictureError):
        compress(tmp_path / "a", tmp_path / "target", PictureLimits(max_mpixel=0.05))
    compress(tmp_path / "a", tmp_path / "target", PictureLimits(max_mpixel=0.06))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_damaged_picture_is_refused_with_the_reason(tmp_path: Path, form: str) -> None:
    buffer = io.BytesIO()
    noise(200, 200).save(buffer, form)
    source = tmp_path / "source"
    source.write_bytes(buffer.getvalue()[:2000])
    with pytest.raises(PictureError, match=r"can't be decoded: \w+"):
        compress(source, tmp_path / "target", PictureLimits(max_side=100))
    assert not (tmp_path / "target").exists()


def test_a_format_that_is_not_listed_is_not_decoded(tmp_path: Path) -> None:
    Image.new("L", (20, 20)).save(tmp_path / "a", "TIFF")
    with pytest.raises(PictureError, match="damaged"):
        compress(tmp_path / "a", tmp_path / "target", PictureLimits())


@pytest.mark.parametrize("limits", [(0, 100, 1), (100, 0, 1), (100, 100, 0)])
def test_a_limit_of_nothing_is_refused(limits: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="have to be positive"):
        PictureLimits(*limits)


def test_what_lies_about_its_format_is_refused_without_our_path(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    with pytest.raises(PictureError, match="damaged") as caught:
        compress(tmp_path / "a", tmp_path / "target", PictureLimits())
    assert str(tmp_path) not in str(caught.value)


def test_a_failing_file_system_is_not_the_pictures_fault(tmp_path: Path) -> None:
    Image.new("L", (20, 20)).save(tmp_path / "a", "PNG")
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        compress(tmp_path / "a", tmp_path / "file" / "target", PictureLimits())
    with pytest.raises(FileNotFoundError):
        compress(tmp_path / "gone", tmp_path / "target", PictureLimits())


class Encoder:
    """Sizes that grow with the quality as a JPEG's do, and a count of the calls."""

    def __init__(self, at_first: float, slope: float) -> None:
        self.at_first, self.slope = at_first, slope
        self.qualities: list[int] = []

    def __call__(self, quality: int) -> bytes:
        self.qualities.append(quality)
        return bytes(
            max(1, round(self.at_first * 2.718281828 ** ((quality - QUALITY_FIRST) * self.slope)))
        )


def test_a_picture_that_fits_at_once_is_encoded_once() -> None:
    encode = Encoder(at_first=900, slope=0.03)
    assert len(best_quality(encode, 1000)) == 900
    assert encode.qualities == [QUALITY_FIRST]


def test_two_encodes_are_the_rule() -> None:
    encode = Encoder(at_first=1500, slope=0.03)
    assert 900 <= len(best_quality(encode, 1000)) <= 1000
    assert len(encode.qualities) == 2


def test_a_hopeless_search_ends_at_the_worst_quality() -> None:
    encode = Encoder(at_first=100_000, slope=0.03)
    assert len(best_quality(encode, 1000)) > 1000
    assert encode.qualities == [QUALITY_FIRST, QUALITY_MIN]


@given(st.floats(1, 1e6), st.floats(0.001, 0.2), st.integers(1, 100_000))
def test_the_search_is_short_and_its_answer_true(size: float, slope: float, limit: int) -> None:
    encode = Encoder(size, slope)
    content = best_quality(encode, limit)
    assert len(encode.qualities) <= ENCODES_MAX
    assert all(QUALITY_MIN <= quality <= QUALITY_FIRST for quality in encode.qualities)
    made = [len(Encoder(size, slope)(quality)) for quality in encode.qualities]
    fitting = [each for each in made if each <= limit]
    assert len(content) == (max(fitting) if fitting else min(made))


def test_what_is_made_has_a_header_that_gives_its_size(
    fitted: Callable[..., Image.Image], tmp_path: Path
) -> None:
    fitted(noise(300, 200), "PNG", PictureLimits(max_side=150))
    found = sniff((tmp_path / "cache" / "target.jpg").read_bytes())
    assert found is not None
    assert (found.mime, found.width, found.height) == ("image/jpeg", 150, 100)


def test_limits_without_the_type_that_is_made_are_refused() -> None:
    with pytest.raises(ValueError, match="image/jpeg"):
        PictureLimits(types=frozenset({"image/png"}))
