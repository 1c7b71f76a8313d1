"""Make a picture fit: the largest and best JPEG below a size. Runs in a worker process.

Scale first, then search for the quality: at full size no quality may fit, and what does is ugly.
Pillow is imported where it is used, for the daemon imports this module and must not carry it.
"""

import io
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from daemon.media.sniff import PICTURES

if TYPE_CHECKING:
    from PIL import Image

MADE = "image/jpeg"
"""What `compress` makes, of whatever it is given."""
QUALITY_FIRST = 85
"""Above it nobody sees a difference: when this fits it is taken."""
QUALITY_MIN = 40
"""Below it blocks show: the picture is made smaller instead."""
ENCODES_MAX = 4
"""Encodes of one size; 2 are the rule."""
FILL = 0.97
"""Share of the limit that is aimed at; from `FILL_ENOUGH` on the search ends."""
FILL_ENOUGH = 0.9
_SLOPE = 0.03
"""A step of quality changes a JPEG's size by about 3 %: where the search starts from."""
PROFILE_BYTES_MAX = 4 * 1024 * 1024
"""Of a colour profile: those of printing presses have 2 MB. A larger one is passed over."""
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
_EXIF_ORIENTATION = 0x0112


class PictureError(Exception):
    """A picture that can't be sent; the message tells a person why, and the way out."""


class PictureLimits(Struct, frozen=True):
    """What a provider takes (interfaces.md 3, `[pictures]`). `max_kb` counts 1,024 bytes, before
    base64; `max_side` pixels; `max_mpixel` millions of pixels of what is given, not of what is
    sent; `types` are those that may be sent, JPEG always among them, for that is what is made of
    the others. Raises ValueError for a limit that no picture could keep.
    """

    max_kb: int = 300
    max_side: int = 1280
    max_mpixel: float = 40
    types: frozenset[str] = PICTURES

    def __post_init__(self) -> None:
        if min(self.max_kb, self.max_side) < 1 or self.max_mpixel <= 0:
            raise ValueError(f"the limits of pictures have to be positive: {self}")
        if MADE not in self.types:
            raise ValueError(f"a provider has to take {MADE}: {self}")

    @property
    def max_bytes(self) -> int:
        """`max_kb` in bytes."""
        return self.max_kb * 1024


def check_pixels(width: int, height: int, max_mpixel: float) -> None:
    """Return if so large a picture may be decoded. Raises PictureError.

    >>> check_pixels(8000, 6000, 40)
    Traceback (most recent call last):
    daemon.media.fitting.PictureError: the picture has 48.0 megapixels, the limit is 40: make it \
smaller, or raise image_max_mpixel
    """
    if width * height > max_mpixel * 1e6:
        has = math.ceil(width * height / 1e5) / 10  # up: never "40.0, the limit is 40"
        raise PictureError(
            f"the picture has {has:.1f} megapixels, the limit is {max_mpixel:g}: "
            "make it smaller, or raise image_max_mpixel"
        )


def compress(source: Path, target: Path, limits: PictureLimits) -> None:
    """Write the picture in `source` to `target` as a JPEG within `limits`, all or nothing, synced.

    It is upright (EXIF orientation applied), and on white where it was transparent. Raises
    PictureError for a picture that can't be decoded, OSError when a file can't be read or written.
    """
    try:
        picture = _decode(source, limits)
        content = _fit(picture, limits.max_bytes)
    except PictureError:
        raise
    except MemoryError:
        raise PictureError("the picture takes more memory than a worker may use") from None
    except Exception as error:  # a damaged file makes Pillow raise nearly anything
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's word, not Pillow's: no fault of the picture
        reason = str(error) or type(error).__name__
        raise PictureError(f"the picture can't be decoded: {reason[:200]}") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(target)


def _decode(source: Path, limits: PictureLimits) -> "Image.Image":
    """The picture upright, in RGB, no side over the limit."""
    from PIL import Image, PngImagePlugin, UnidentifiedImageError  # noqa: PLC0415 - see the module's docstring

    Image.MAX_IMAGE_PIXELS = int(limits.max_mpixel * 1e6)
    PngImagePlugin.MAX_TEXT_CHUNK = PROFILE_BYTES_MAX  # over it a profile fails the whole picture
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            opened = Image.open(source, formats=_FORMATS)
        except UnidentifiedImageError:  # its own text would tell our path
            raise PictureError("the picture is damaged: it can't be read past its header") from None
        with opened:
            size = _scaled(opened.size, limits.max_side / max(opened.size))
            # JPEG decodes to 1/2, 1/4 or 1/8 for nearly nothing; the true shape has to be given,
            # for of a square box the longer side alone decides.
            opened.draft("RGB", size)
            opened.load()
            orientation = _orientation(opened)
            profile = opened.info.get("icc_profile")
            picture = _plain(opened)
            picture.info.clear()  # a comment of 64 KB would be copied into the JPEG
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=1.5)
    picture = _in_srgb(picture, profile)
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    if turn is not None:
        picture = picture.transpose(turn)
    if picture.mode == "RGBA":
        white = Image.new("RGB", picture.size, "white")
        white.paste(picture, mask=picture.getchannel("A"))
        return white
    return picture


def _orientation(picture: "Image.Image") -> int:
    """EXIF's word on which way is up. Nonsense there is no reason to refuse the picture."""
    try:
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - see above
        return 1


def _plain(picture: "Image.Image") -> "Image.Image":
    """A copy in RGB, or in RGBA where something may be transparent; CMYK stays what it is."""
    if picture.mode == "CMYK":
        return picture.copy()
    if picture.mode.startswith("I"):  # 16 bits of grey: a plain conversion would clip
        picture = _eight_bits(picture)
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def _in_srgb(picture: "Image.Image", profile: object) -> "Image.Image":
    """The picture's colours as everybody takes them who reads no profile, as most providers do.

    A profile that is broken, too large, or of other colours than the picture's is passed over.
    """
    plain = picture.convert("RGB") if picture.mode == "CMYK" else picture
    if not isinstance(profile, bytes) or not 0 < len(profile) <= PROFILE_BYTES_MAX:
        return plain
    from PIL import ImageCms  # noqa: PLC0415 - see the module's docstring

    try:
        given = ImageCms.getOpenProfile(io.BytesIO(profile))
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[given.profile.xcolor_space.strip()]
        if (mode == "CMYK") != (picture.mode == "CMYK"):
            return plain
        shown = ImageCms.profileToProfile(
            picture if picture.mode == mode else picture.convert(mode),
            given,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except Exception:  # noqa: BLE001 - what a broken profile raises is no reason to refuse a picture
        return plain
    if shown is None:
        return plain
    shown.info.clear()
    if picture.mode == "RGBA":
        shown.putalpha(picture.getchannel("A"))
    return shown


def _eight_bits(picture: "Image.Image") -> "Image.Image":
    """A copy in 8 bits of grey; with alpha where a shade stands for transparent."""
    from PIL import ImageMath  # noqa: PLC0415 - see the module's docstring

    clear = picture.info.get("transparency")
    grey = picture.point(lambda value: value / 256).convert("L")
    grey.info.clear()
    if isinstance(clear, int):
        opaque = ImageMath.lambda_eval(
            lambda args: (args["shade"] != clear) * 255, shade=picture.convert("I")
        )
        grey.putalpha(opaque.convert("L"))
    return grey


def _scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """`size` times `factor`, never larger, no side below 1."""
    width, height = (max(1, round(side * min(1.0, factor))) for side in size)
    return width, height


def _fit(picture: "Image.Image", bytes_max: int) -> bytes:
    """The JPEG of `picture`, scaled down as far as it takes; one pixel takes less than 1 KiB."""

    def encode(quality: int) -> bytes:
        buffer = io.BytesIO()
        smaller.save(buffer, "JPEG", quality=quality)
        return buffer.getvalue()

    smaller = picture
    factor = 1.0
    while len(content := best_quality(encode, bytes_max)) > bytes_max:
        # A JPEG's size goes with its pixels; the 0.8 leaves room for a better quality than the
        # worst, and the 0.9 makes every round a step.
        factor *= min(0.9, 0.8 * math.sqrt(bytes_max / len(content)))
        smaller = picture.resize(_scaled(picture.size, factor), reducing_gap=1.5)
    return content


def best_quality(encode: Callable[[int], bytes], bytes_max: int) -> bytes:
    """What `encode` makes at the best quality that fits, after at most `ENCODES_MAX` calls.

    A secant search on the logarithm of the size, which is nearly a line. When nothing fits, the
    answer is the smallest that was made.
    """
    quality, least, most, slope = QUALITY_FIRST, QUALITY_MIN, QUALITY_FIRST, _SLOPE
    before: tuple[int, float] | None = None
    best, content = b"", b""
    for _ in range(ENCODES_MAX):
        content = encode(quality)
        size = math.log(len(content) / bytes_max)
        if size <= 0:
            best, least = content, quality + 1
        else:
            most = quality - 1
        if least > most or math.log(FILL_ENOUGH) <= size <= 0:
            break
        if before is not None and size != before[1]:
            slope = max((size - before[1]) / (quality - before[0]), _SLOPE / 10)
        before = (quality, size)
        quality = min(most, max(least, quality - round((size - math.log(FILL)) / slope)))
    return best or content
