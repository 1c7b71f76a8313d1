"""Words for messages about bad input: the value made harmless, and the nearest right one."""

import difflib
from collections.abc import Iterable

SHOWN_CHARS_MAX = 40
"""So much of a value is repeated in a message: enough to find it again in the file."""
WORD_CHARS_MAX = 64
"""Longer words aren't compared: the comparison is quadratic, and no right word is so long."""
_NEAR = 0.6


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The end of a message about `word`: what was probably meant, or nothing when none is near.

    Case is ignored in the comparison; the choice is given as it is written.

    >>> did_you_mean("concurency", ["concurrency", "enabled"])
    "; did you mean 'concurrency'?"
    >>> "unknown key" + did_you_mean("zzz", ["concurrency", "enabled"])
    'unknown key'
    """
    near = nearest(word, choices)
    return f"; did you mean {near!r}?" if near is not None else ""


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice most like `word`, or None when none is like it.

    >>> nearest("Cogvideo", ["veo", "cogvideox"])
    'cogvideox'
    """
    if len(word) > WORD_CHARS_MAX:
        return None
    by_folded = {choice.casefold(): choice for choice in choices}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=_NEAR)
    return by_folded[near[0]] if near else None


def shown(value: object) -> str:
    """A value from outside as a message may repeat it: short, on one line, without control codes.

    >>> shown("high"), shown(True), shown(None), shown(2.5)
    ("'high'", 'true', 'null', '2.5')
    >>> shown("\\x1b[2Jred"), shown("long " * 20)
    ("'\\\\x1b[2Jred'", "'long long long long long long long long '…")
    >>> shown([1, 2]), shown({"a": 1}), shown(1 << 99)
    ('a list', 'a table', 'a huge number')
    """
    match value:
        case str():
            return repr(value[:SHOWN_CHARS_MAX]) + "…" * (len(value) > SHOWN_CHARS_MAX)
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case int():
            # Python refuses to write out an int of more than 4,300 digits.
            return str(value) if value.bit_length() <= 64 else "a huge number"
        case float():
            return str(value)
        case list() | tuple():
            return "a list"
        case dict():
            return "a table"
        case _:
            return shown(str(value))
