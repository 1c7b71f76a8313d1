"""Draw the reference pictures of the storyboard: three characters and three scene plates.

    .venv/bin/python examples/make_refs.py [FOLDER]

They are kept beside this script in `refs/`, so that the storyboard works as it is; this draws the
same pictures again, or others, when the film changes. There is no chance in it and no font.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Size = tuple[int, int]

REFS = Path(__file__).parent / "refs"
CHARACTER: Size = (320, 320)
PLATE: Size = (480, 270)
FINE = 3
"""Everything is drawn so many times larger and then reduced: that makes the edges smooth."""

PAPER: Colour = (244, 238, 224)
NIGHT: Colour = (24, 34, 66)
DUSK: Colour = (214, 122, 92)
INK: Colour = (38, 34, 42)
SKIN: Colour = (236, 196, 164)
RED: Colour = (196, 48, 44)
ORANGE: Colour = (232, 122, 40)
GLOW: Colour = (255, 214, 122)


class Sheet:
    """A picture being drawn, in the coordinates of the finished one."""

    def __init__(self, size: Size, top: Colour, bottom: Colour) -> None:
        """The ground runs from `top` to `bottom`."""
        self.size = size
        fine = (size[0] * FINE, size[1] * FINE)
        ramp = Image.linear_gradient("L").resize(fine)
        self.image = Image.composite(
            Image.new("RGB", fine, bottom), Image.new("RGB", fine, top), ramp
        )
        self._draw = ImageDraw.Draw(self.image)

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        """Draw a disc around (x, y)."""
        box = [(x - radius) * FINE, (y - radius) * FINE, (x + radius) * FINE, (y + radius) * FINE]
        self._draw.ellipse(box, fill=fill)

    def area(self, fill: Colour, *points: tuple[float, float]) -> None:
        """Draw a filled polygon."""
        self._draw.polygon([(x * FINE, y * FINE) for x, y in points], fill=fill)

    def box(self, x: float, y: float, width: float, height: float, fill: Colour) -> None:
        """Draw a rectangle from its upper left corner."""
        self.area(fill, (x, y), (x + width, y), (x + width, y + height), (x, y + height))

    def line(self, width: float, fill: Colour, *points: tuple[float, float]) -> None:
        """Draw a line through all points."""
        scaled = [(x * FINE, y * FINE) for x, y in points]
        self._draw.line(scaled, fill=fill, width=round(width * FINE), joint="curve")

    def finished(self) -> Image.Image:
        """Return the picture in its own size."""
        return self.image.resize(self.size, Image.Resampling.BOX)


def mei() -> Sheet:
    """Mei, ten years old: a red coat, a short black bob."""
    sheet = Sheet(CHARACTER, PAPER, (226, 214, 196))
    sheet.area(RED, (112, 320), (128, 206), (192, 206), (208, 320))
    sheet.line(3, (150, 30, 30), (160, 210), (160, 320))
    for y in (232, 262, 292):
        sheet.disc(160, y, 4, GLOW)
    sheet.disc(160, 132, 78, INK)
    sheet.box(82, 132, 156, 52, INK)
    sheet.disc(160, 142, 60, SKIN)
    sheet.area(INK, (100, 128), (104, 96), (160, 78), (216, 96), (220, 128))
    for x in (136, 184):
        sheet.disc(x, 148, 8, INK)
        sheet.disc(x + 2, 145, 2.5, PAPER)
        sheet.disc(x - (160 - x) * 0.4, 170, 8, (240, 160, 140))
    sheet.line(3, (150, 60, 50), (150, 180), (160, 184), (170, 180))
    return sheet


def grandfather() -> Sheet:
    """Grandfather, the last lantern maker of the harbour: a blue jacket, a white beard."""
    sheet = Sheet(CHARACTER, (232, 232, 226), (204, 208, 212))
    sheet.area((44, 62, 98), (80, 320), (110, 216), (210, 216), (240, 320))
    sheet.disc(160, 128, 66, SKIN)
    sheet.area((238, 238, 234), (104, 150), (216, 150), (196, 226), (160, 250), (124, 226))
    sheet.disc(160, 158, 24, SKIN)
    sheet.area((92, 84, 76), (88, 104), (232, 104), (204, 60), (116, 60))
    sheet.box(80, 98, 160, 10, (70, 62, 56))
    for x in (134, 186):
        sheet.disc(x, 132, 18, INK)
        sheet.disc(x, 132, 14, (214, 226, 232))
        sheet.disc(x, 132, 5, INK)
    sheet.line(4, INK, (152, 132), (168, 132))
    sheet.line(4, (150, 90, 80), (148, 172), (172, 172))
    return sheet


def fox() -> Sheet:
    """The paper fox: folded from one orange sheet, lit from inside."""
    sheet = Sheet(CHARACTER, (34, 44, 78), (16, 22, 46))
    for radius, fill in ((150, (44, 50, 80)), (118, (64, 62, 84)), (88, (92, 78, 84))):
        sheet.disc(160, 176, radius, fill)
    sheet.area((198, 92, 28), (206, 250), (286, 170), (270, 262))
    sheet.area(PAPER, (286, 170), (270, 214), (258, 198))
    sheet.area(ORANGE, (112, 286), (148, 170), (222, 210), (236, 286))
    sheet.area((248, 160, 80), (148, 170), (222, 210), (168, 286))
    sheet.area(ORANGE, (66, 92), (104, 60), (130, 112))
    sheet.area(ORANGE, (212, 92), (174, 60), (150, 112))
    sheet.area((248, 150, 70), (66, 92), (140, 104), (140, 206))
    sheet.area((214, 104, 34), (212, 92), (140, 104), (140, 206))
    sheet.area(PAPER, (108, 152), (140, 168), (140, 206))
    sheet.area((222, 214, 200), (172, 152), (140, 168), (140, 206))
    for x in (112, 166):
        sheet.area(INK, (x - 9, 136), (x + 9, 132), (x, 144))
    sheet.disc(140, 204, 6, INK)
    return sheet


def harbour() -> Sheet:
    """The harbour at night: still water, moored boats, a lighthouse."""
    sheet = Sheet(PLATE, NIGHT, (58, 74, 118))
    sheet.disc(376, 58, 26, (240, 236, 214))
    sheet.box(0, 176, 480, 94, (20, 30, 58))
    for y, half in ((184, 34), (196, 24), (210, 40), (228, 18), (246, 30)):
        sheet.line(2, (150, 156, 160), (376 - half, y), (376 + half, y))
    sheet.area((30, 40, 64), (0, 178), (0, 140), (70, 128), (128, 178))
    sheet.area(PAPER, (56, 134), (62, 62), (78, 62), (84, 134))
    sheet.area(RED, (58, 110), (60, 88), (80, 88), (82, 110))
    sheet.box(60, 48, 20, 14, GLOW)
    sheet.area(RED, (56, 48), (84, 48), (70, 34))
    sheet.area((104, 104, 120), (80, 50), (80, 60), (250, 92), (250, 34))
    for x, fill in ((190, (96, 52, 44)), (300, (56, 84, 90)), (410, (104, 84, 52))):
        sheet.area(fill, (x - 44, 190), (x + 44, 190), (x + 28, 212), (x - 30, 212))
        sheet.line(3, INK, (x, 190), (x, 118))
        sheet.area((206, 200, 184), (x + 3, 122), (x + 3, 184), (x + 34, 184))
    return sheet


def market() -> Sheet:
    """The lantern market at dusk: a narrow street, awnings, strings of lanterns."""
    sheet = Sheet(PLATE, (82, 54, 98), DUSK)
    sheet.area((74, 58, 64), (0, 270), (206, 168), (274, 168), (480, 270))
    for side in (0, 1):

        def at(x: float, side: int = side) -> float:
            return 480 - x if side else x

        sheet.area((52, 40, 58), (at(0), 20), (at(200), 110), (at(206), 168), (at(0), 262))
        for near, far, y, fill in ((0, 84, 120, RED), (92, 150, 132, (226, 168, 72))):
            sheet.area(
                fill, (at(near), y), (at(far), y + 10), (at(far), y + 26), (at(near), y + 34)
            )
            sheet.area(
                GLOW, (at(near), y + 40), (at(far), y + 30), (at(far), y + 56), (at(near), y + 84)
            )
    for y, sag, count in ((30, 26, 7), (74, 18, 6)):
        steps = [(480 * n / 24, y + sag * (1 - ((n - 12) / 12) ** 2)) for n in range(25)]
        sheet.line(1.5, INK, *steps)
        for n in range(1, count + 1):
            x = 480 * n / (count + 1)
            top = y + sag * (1 - ((x - 240) / 240) ** 2)
            sheet.disc(x, top + 13, 13, (236, 84, 44))
            sheet.disc(x, top + 13, 7, GLOW)
    return sheet


def hill() -> Sheet:
    """The hill above the town before sunrise: one old pine, the sea behind."""
    sheet = Sheet(PLATE, (70, 92, 146), (250, 196, 148))
    sheet.disc(330, 186, 40, (255, 226, 170))
    sheet.box(0, 186, 480, 84, (112, 132, 166))
    sheet.area((84, 100, 124), (0, 196), (90, 168), (200, 190), (350, 214), (420, 270), (0, 270))
    sheet.area((54, 76, 70), (0, 270), (60, 224), (170, 196), (300, 226), (400, 270))
    sheet.area((62, 46, 42), (158, 204), (166, 110), (174, 110), (186, 204))
    for x, y, half in ((128, 128, 52), (214, 108, 50), (166, 84, 58), (186, 60, 36)):
        sheet.area((36, 66, 56), (x - half, y), (x, y - 24), (x + half, y), (x, y + 8))
    return sheet


PICTURES: dict[str, Callable[[], Sheet]] = {
    "mei": mei,
    "grandfather": grandfather,
    "fox": fox,
    "harbour": harbour,
    "market": market,
    "hill": hill,
}


def make(folder: Path) -> None:
    """Write all pictures into `folder`, which is made if it isn't there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        draw().finished().save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else REFS)
