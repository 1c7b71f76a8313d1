"""The signs of the screen, each one cell wide, and what stands for them in plain ASCII."""

from typing import Final

CURSOR: Final = "▌"
MARK: Final = "●"
UP: Final = "↑"
DOWN: Final = "↓"
LIVE: Final = "●"
AWAY: Final = "◌"
PAUSED: Final = "‖"
RULE: Final = "─"
GAP: Final = "┄"
FULL: Final = "█"

PLAIN: Final = str.maketrans(
    {
        "▌": ">",
        "●": "*",
        "↑": "^",
        "↓": "v",
        "◌": "o",
        "‖": "=",
        "─": "-",
        "┄": "-",
        "█": "#",
        "◐": "%",
        "◔": "-",
        "⋯": ":",
        "✓": "+",
        "✗": "x",
        "⊘": "/",
        "■": "!",
        "·": ".",
        "…": "~",
        "↵": "|",
        "│": "|",
        "╭": ".",
        "╮": ".",
        "╰": "'",
        "╯": "'",
    }
)
"""One cell for one cell: terminals with a Chinese locale may draw the left ones two cells wide."""
