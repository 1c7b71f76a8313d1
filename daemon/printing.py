"""What `genqd` prints: lines of text, with nothing in them that a terminal would obey."""

import sys


def cleaned(text: str) -> str:
    """`text` with its control codes spelled out; line ends stay.

    >>> cleaned("a\\x1b[2Jb")
    'a\\\\U0000001b[2Jb'
    """
    return "".join(
        one if one.isprintable() or one == "\n" else f"\\U{ord(one):08x}" for one in text
    )


def say(text: str) -> None:
    """A line on standard output."""
    sys.stdout.write(cleaned(text) + "\n")


def complain(message: str) -> None:
    """A line on standard error, after the command's name."""
    sys.stderr.write(cleaned(f"genqd: {message}\n"))
