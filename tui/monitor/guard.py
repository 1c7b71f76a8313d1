"""The last line before the terminal: no control code leaves in a text, wherever it came from.

Texts are cleaned when they come in (board.py). What slips past that, by a widget of Textual's own
or a mistake of ours, stops here: every widget, border and toast goes through the app's filters.
"""

import re

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from tui.monitor.symbols import PLAIN
from tui.text import clean

_HARMLESS = re.compile(
    r"[^\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]*"
)


class ControlGuard(LineFilter):
    """Cleans every segment that isn't plain text. Textual's own control segments pass."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002  Textual's own signature
        """The segments, none of them with a code in its text."""
        harmless = _HARMLESS.fullmatch
        if all(harmless(segment.text) or segment.control for segment in segments):
            return segments
        return [
            segment
            if segment.control or harmless(segment.text)
            else Segment(clean(segment.text), segment.style)
            for segment in segments
        ]


class NoColours(LineFilter):
    """Takes the colours away and leaves what else tells texts apart: bold, dim, reversed."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002  Textual's own signature
        """The segments without colours."""
        return [
            segment
            if segment.control or segment.style is None
            else Segment(segment.text, segment.style.without_color)
            for segment in segments
        ]


class PlainSigns(LineFilter):
    """Puts ASCII in the place of every sign that some terminals draw too wide."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002  Textual's own signature
        """The segments with plain signs, as wide as before."""
        return [
            segment
            if segment.control or segment.text.isascii()
            else Segment(segment.text.translate(PLAIN), segment.style)
            for segment in segments
        ]
