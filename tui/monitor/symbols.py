"""The signs of the screen: Unicode, or plain ASCII where fonts or terminals get widths wrong."""

from msgspec import Struct


class Symbols(Struct, frozen=True):
    """One sign a meaning; each is one cell wide."""

    ascii: bool = False
    cursor: str = "▌"
    mark: str = "●"
    up: str = "↑"
    down: str = "↓"
    live: str = "●"
    away: str = "◌"
    pause: str = "‖"
    rule: str = "─"
    gap: str = "┄"
    full: str = "█"
    rest: str = "░"


UNICODE = Symbols()
ASCII = Symbols(
    ascii=True,
    cursor=">",
    mark="*",
    up="^",
    down="v",
    live="*",
    away="o",
    pause="=",
    rule="-",
    gap="-",
    full="#",
    rest=".",
)
