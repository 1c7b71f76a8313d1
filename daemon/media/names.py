"""Names of result files (interfaces.md 3, "Outputs"): no text from outside becomes a path as is."""

import unicodedata

NAME_BYTES_MAX = 80
"""In UTF-8, of the part that comes from the job's name."""


def reduce_name(name: str) -> str:
    """`name` with only letters, digits, `.`, `_` and `-`, in at most `NAME_BYTES_MAX` bytes.

    Letters are those of any script. What stands between them becomes one dash; no dot or dash
    begins or ends the answer, which is empty when nothing is left.

    >>> reduce_name("../镜头 03: rain?"), reduce_name(".hidden"), reduce_name("***")
    ('镜头-03-rain', 'hidden', '')
    """
    composed = unicodedata.normalize("NFC", name)
    kept = (char if char.isalnum() or char in "._-" else " " for char in composed)
    dashed = "-".join("".join(kept).split()).strip(".-")
    # Cutting bytes may cut a character in two: its first half is dropped.
    return dashed.encode()[:NAME_BYTES_MAX].decode(errors="ignore").rstrip(".-")


def output_name(job_id: int, name: str | None, index: int, extension: str) -> str:
    """The file name of output `index` (from 0) of a job.

    >>> output_name(12, "shot 03", 0, "mp4"), output_name(12, None, 1, "png")
    ('12-shot-03.mp4', '12-2.png')
    """
    reduced = reduce_name(name or "")
    parts = [str(job_id), *([reduced] if reduced else []), *([str(index + 1)] if index else [])]
    return f"{'-'.join(parts)}.{extension}"
