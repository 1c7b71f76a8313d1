"""Real pictures for the mock provider: a gradient by seed, with the prompt on it.

The same arguments give the same bytes, on one machine: another one may have other fonts. Both
functions are for `PicturePool.run`; Pillow is imported where it is used, for the daemon imports
this module and must not carry it.
"""

import colorsys
import functools
import hashlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image, ImageFont

SIDE_MAX = 4096
"""Pixels."""
FRAMES_MAX = 240
TEXT_CHARS_MAX = 600
"""Of a prompt, on the picture."""
_CJK_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansSC-Regular.otf",
    "SourceHanSansSC-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "PingFang.ttc",
)


def draw_still(text: str, seed: int, width: int, height: int) -> bytes:
    """A PNG of `width` x `height` pixels with `text` on it. Raises ValueError for a bad size."""
    _check_size(width, height)
    return _encoded(_frame(text, seed, width, height), "PNG", compress_level=1)


def draw_clip(
    text: str, seed: int, width: int, height: int, frames: int, duration_s: float
) -> bytes:
    """An animated WebP: `frames` pictures in `duration_s` seconds, again and again.

    Raises ValueError for a bad size, count or duration.
    """
    _check_size(width, height)
    if not 1 <= frames <= FRAMES_MAX:
        raise ValueError(f"a clip has 1 to {FRAMES_MAX} frames, not {frames}")
    if duration_s <= 0:
        raise ValueError(f"a clip lasts longer than {duration_s:g} s")
    first, *others = (
        _frame(text, seed, width, height, at=number / frames) for number in range(frames)
    )
    each_ms = max(1, round(1000 * duration_s / frames))
    return _encoded(
        first,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=each_ms,
        loop=0,
        quality=70,
        method=0,
    )


def _check_size(width: int, height: int) -> None:
    if not (1 <= width <= SIDE_MAX and 1 <= height <= SIDE_MAX):
        raise ValueError(f"a picture has 1 to {SIDE_MAX} pixels a side, not {width}x{height}")


def _encoded(picture: "Image.Image", form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def _frame(text: str, seed: int, width: int, height: int, at: float | None = None) -> "Image.Image":
    """One picture. `at` is the place in a clip, from 0 to 1: a light moves, a bar grows."""
    from PIL import Image, ImageDraw, ImageOps  # noqa: PLC0415 - see the module's docstring

    hue = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:2], "big") / 65536
    dark, light = _colour(hue, 0.35), _colour(hue + 0.12, 0.8)
    # The corners of what is turned are empty: only the middle of its 256 x 256 pixels is used.
    turned = Image.linear_gradient("L").rotate(360 * (hue + (at or 0)))
    ramp = turned.crop((38, 38, 218, 218))
    picture = ImageOps.colorize(ramp.resize((width, height)), dark, light)
    draw = ImageDraw.Draw(picture)
    size = max(8, height // 16)
    font = _font(size, has_cjk=any(ord(char) >= 0x2E80 for char in text[:TEXT_CHARS_MAX]))
    margin = size
    rows = max(1, (height - 2 * margin) * 10 // (size * 13))
    lines = list(_wrapped(text[:TEXT_CHARS_MAX], font, width - 2 * margin))[:rows]
    for row, line in enumerate(lines):
        place = (margin, margin + row * size * 1.3)
        draw.text(place, line, font=font, fill="white", stroke_width=1, stroke_fill="black")
    if at is not None:
        draw.rectangle((0, height - size // 3, round(width * at), height), fill="white")
    return picture


def _colour(hue: float, brightness: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, 0.55, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)


@functools.cache
def _font(size: int, *, has_cjk: bool) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    """A font of this machine's that has the characters, else Pillow's, with boxes for them."""
    from PIL import ImageFont  # noqa: PLC0415 - see the module's docstring

    for name in _CJK_FONTS if has_cjk else ():
        try:
            return ImageFont.truetype(name, size, layout_engine=ImageFont.Layout.BASIC)
        except OSError:
            continue
    return ImageFont.load_default(size)


def _wrapped(
    text: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont", width: int
) -> Iterator[str]:
    """`text` in lines of at most `width` pixels, broken at spaces where there are any."""
    for paragraph in text.splitlines():
        line = ""
        for char in paragraph:
            if line and font.getlength(line + char) > width:
                words, _, rest = line.rpartition(" ")
                yield words or line
                line = rest if words else ""
            line += char if char.isprintable() else " "
        yield line
