import io
import itertools

import pytest
from PIL import Image, ImageChops

from daemon.media.drawing import draw_clip, draw_still
from daemon.media.sniff import Sniffed, sniff


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def differs(one: bytes, other: bytes) -> bool:
    return ImageChops.difference(opened(one), opened(other)).getbbox() is not None


def test_a_still_is_a_picture_of_the_size_asked_for() -> None:
    assert sniff(draw_still("a fox", 7, 640, 360)) == Sniffed("image/png", "png", 640, 360)


def test_the_background_is_a_gradient() -> None:
    reds = opened(draw_still("", 7, 320, 180)).getchannel("R").tobytes()
    assert max(reds) - min(reds) > 20


def test_the_same_arguments_draw_the_same_bytes() -> None:
    assert draw_still("a fox", 7, 320, 180) == draw_still("a fox", 7, 320, 180)
    assert draw_clip("a fox", 7, 96, 54, 3, 1.0) == draw_clip("a fox", 7, 96, 54, 3, 1.0)


def test_text_and_seed_can_be_seen() -> None:
    plain = draw_still("", 7, 320, 180)
    assert differs(plain, draw_still("a fox", 7, 320, 180))
    assert differs(plain, draw_still("", 8, 320, 180))


def test_characters_that_no_font_has_leave_a_mark() -> None:
    assert differs(draw_still("", 7, 320, 180), draw_still("镜头三", 7, 320, 180))


def test_control_codes_are_drawn_as_spaces() -> None:
    assert draw_still("a\x1b\u202eb", 7, 320, 180) == draw_still("a  b", 7, 320, 180)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "x" * 5_000,
        "一" * 5_000,
        "a\x1b[31m\ud800\u202e\0b",
        "a fox\r\nin the rain",
        "🦊" * 9,
    ],
)
@pytest.mark.parametrize("size", [(320, 180), (1, 1), (16, 300)])
def test_any_text_is_drawn_at_any_size(text: str, size: tuple[int, int]) -> None:
    assert opened(draw_still(text, 1, *size)).size == size


def test_long_text_is_wrapped_inside_the_margins() -> None:
    plain, drawn = (
        opened(draw_still("", 1, 320, 180)),
        opened(draw_still("a fox " * 99, 1, 320, 180)),
    )
    box = ImageChops.difference(plain, drawn).getbbox()
    assert box is not None
    left, top, right, bottom = box
    assert left >= 8
    assert top >= 8
    assert right <= 312
    assert 90 < bottom <= 180


def test_a_clip_moves_for_as_long_as_was_asked() -> None:
    content = draw_clip("a fox", 7, 96, 54, frames=4, duration_s=2.0)
    assert sniff(content) == Sniffed("image/webp", "webp", 96, 54)
    clip = Image.open(io.BytesIO(content))
    assert getattr(clip, "n_frames") == 4  # noqa: B009 - only animated formats have it
    shown_ms, frames = 0, []
    for number in range(4):
        clip.seek(number)
        clip.load()
        shown_ms += clip.info["duration"]
        frames.append(clip.convert("RGB"))
    assert shown_ms == 2_000
    assert all(
        ImageChops.difference(one, next_one).getbbox()
        for one, next_one in itertools.pairwise(frames)
    )


@pytest.mark.parametrize(
    ("width", "height", "frames", "duration_s"),
    [(0, 10, 1, 1.0), (10, 5_000, 1, 1.0), (10, 10, 0, 1.0), (10, 10, 999, 1.0), (10, 10, 2, 0.0)],
)
def test_a_clip_that_cannot_be_is_refused(
    width: int, height: int, frames: int, duration_s: float
) -> None:
    with pytest.raises(ValueError, match=r"not|longer than"):
        draw_clip("a fox", 1, width, height, frames, duration_s)
