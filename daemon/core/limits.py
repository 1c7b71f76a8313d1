"""What a job may hold, and the sentences that refuse more (interfaces.md 1, "Limits").

The client checks a job file with these before it sends anything; the daemon checks again whatever
arrives, for a socket and an HTTP port take rows from other programs too. Each `check_…` answers
None for what may stand, else the problem, to be put behind the name of its field.
"""

import re
from collections.abc import Sequence

from daemon.core.suggest import shown

PROMPT_CHARS_MAX = 100_000
PARAMS_BYTES_MAX = 512 * 1024
"""Of `params` as JSON."""
NAME_CHARS_MAX = 200
BATCH_BYTES_MAX = 100
"""In UTF-8: a batch names a folder, and file systems count bytes."""
LABEL_CHARS_MAX = 64
LABELS_MAX = 32
PRIORITY_MIN = -1_000
PRIORITY_MAX = 1_000
ADD_JOBS_MAX = 200_000
"""Jobs of one `add`, when every count is multiplied out."""
ADD_BYTES_MAX = 256 * 1024 * 1024
"""Bytes of one `add` as JSON, when every count is multiplied out."""
IMAGE_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of one reference picture as it is sent to the daemon."""

ID_MAX = 2**63 - 1
"""What the journal can hold; no job will ever have it."""

REMOTE_ID_CHARS_MAX = 512
"""No provider's id has half as many."""

JOB_IMAGE = "job:"
"""An image that starts so is the first output of the job named or numbered behind it."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|data:", re.IGNORECASE)
_WEB = frozenset({"http://", "https://"})
_NUL_IN_JSON = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_EMPTY = "must not be empty; leave the key out"
_NUL = "must not contain a NUL character"


def check_job(  # noqa: PLR0913 - the keys of a job
    *,
    provider: str,
    prompt: str,
    images: Sequence[str],
    name: str | None,
    batch: str | None,
    labels: Sequence[str],
    priority: int,
    after: Sequence[int | str],
    count: int,
    params_json: bytes,
) -> list[tuple[str, str]]:
    """Every problem of a job as (field, message); none if it may stand.

    An element of a list is named with its place from 0: `labels[2]`. `params_json` is `params` as
    JSON, because that is what its limit counts.

    >>> check_job(provider="mock", prompt="a fox", images=[], name="shot-01", batch=".x",
    ...     labels=["night", ""], priority=0, after=[], count=1, params_json=b"{}")
    [('batch', "must not start with '.'"), ('labels[1]', 'must not be empty; leave the key out')]
    """
    found = (
        check_provider(provider),
        check_prompt(prompt),
        None if name is None else check_name(name),
        None if batch is None else check_batch(batch),
        check_labels(labels),
        check_priority(priority),
        check_count(count),
        check_params(params_json),
        *map(check_image, images),
        *map(check_label, labels),
        *map(check_after, after),
    )
    if not any(found):  # nearly always; the names of fields are built only for problems
        return []
    fields = ["provider", "prompt", "name", "batch", "labels", "priority", "count", "params"]
    for field, items in (("images", images), ("labels", labels), ("after", after)):
        fields += [f"{field}[{place}]" for place in range(len(items))]
    return [(field, text) for field, text in zip(fields, found, strict=True) if text is not None]


def check_provider(text: str) -> str | None:
    """Whether a provider is named at all; only the daemon knows which ones there are.

    >>> check_provider("")
    'missing; every job needs one'
    """
    if not text:
        return "missing; every job needs one"
    return _check_characters(text)


def check_prompt(text: str) -> str | None:
    r"""Whether a prompt may stand; it may hold line breaks and be empty.

    >>> check_prompt("two\nlines"), check_prompt("a\0")
    (None, 'must not contain a NUL character')
    """
    if len(text) > PROMPT_CHARS_MAX:
        return f"has {len(text):,} characters; the limit is {PROMPT_CHARS_MAX:,}"
    return _NUL if "\0" in text else None


def check_name(text: str) -> str | None:
    """Whether a job's name may stand.

    >>> check_name("镜头 03"), check_name("n" * 201)
    (None, 'has 201 characters; the limit is 200')
    """
    return _check_short(text, NAME_CHARS_MAX)


def check_batch(text: str) -> str | None:
    """Whether a batch's name may stand; it becomes the name of a folder.

    >>> check_batch("episode-1"), check_batch("a/b")
    (None, "must not contain '/'")
    """
    if not text:
        return _EMPTY
    if (size := len(text.encode(errors="replace"))) > BATCH_BYTES_MAX:
        return f"has {size:,} bytes in UTF-8; the limit is {BATCH_BYTES_MAX}"
    if text[0] in ".-":
        return f"must not start with {text[0]!r}"
    if "/" in text:
        return "must not contain '/'"
    return _check_characters(text)


def check_labels(labels: Sequence[str]) -> str | None:
    """Whether a job may have so many labels.

    >>> check_labels(["night"] * 33)
    'has 33 labels; the limit is 32'
    """
    if len(labels) > LABELS_MAX:
        return f"has {len(labels):,} labels; the limit is {LABELS_MAX}"
    return None


def check_label(text: str) -> str | None:
    r"""Whether one label may stand.

    >>> check_label("night"), check_label("a\tb")
    (None, 'must not contain control characters')
    """
    return _check_short(text, LABEL_CHARS_MAX)


def check_image(text: str) -> str | None:
    """Whether a picture's source, a path, a URL or `job:NAME`, can be one.

    >>> check_image("refs/mei.png"), check_image("job:")
    (None, "names no job after 'job:'")
    >>> check_image("https://a.test/mei.png"), check_image("ftp://a.test/mei.png")
    (None, "'ftp://a.test/mei.png' is no http:// or https:// URL; save it, and name the file")
    """
    if not text:
        return "must not be empty"
    if text.startswith(JOB_IMAGE):
        referred = text.removeprefix(JOB_IMAGE)
        return check_name(referred) if referred else "names no job after 'job:'"
    if (scheme := _SCHEME.match(text)) and scheme[0].lower() not in _WEB:
        return f"{shown(text)} is no http:// or https:// URL; save it, and name the file"
    return _NUL if "\0" in text else None


def is_path(source: str) -> bool:
    """Whether a picture's source names a file: neither a URL nor another job's output.

    >>> is_path("refs/mei.png"), is_path("job:3"), is_path("https://a.test/mei.png")
    (True, False, False)
    """
    return not source.startswith(JOB_IMAGE) and _SCHEME.match(source) is None


def check_after(job: int | str) -> str | None:
    """Whether a dependency, an id or a name, can be one.

    >>> check_after(3), check_after("shot-01"), check_after(0)
    (None, None, "is no job's id; ids are whole numbers from 1")
    """
    if isinstance(job, str):
        return check_name(job)
    return None if 1 <= job <= ID_MAX else "is no job's id; ids are whole numbers from 1"


def check_remote_id(text: str) -> str | None:
    """Whether a provider can have given a task this id.

    >>> check_remote_id("projects/p/operations/8c1f"), check_remote_id("two words")
    (None, 'has blanks or control characters; no provider gives such an id')
    """
    if len(text) > REMOTE_ID_CHARS_MAX:
        return f"has {len(text):,} characters; the limit is {REMOTE_ID_CHARS_MAX}"
    if " " in text or not text.isprintable():
        return "has blanks or control characters; no provider gives such an id"
    return None


def check_priority(number: int) -> str | None:
    """Whether a priority lies in its range.

    >>> check_priority(-1_000), check_priority(1_001)
    (None, 'expected a whole number from -1000 to 1000, got 1001')
    """
    if PRIORITY_MIN <= number <= PRIORITY_MAX:
        return None
    return _out_of_range(number, PRIORITY_MIN, PRIORITY_MAX)


def check_count(number: int) -> str | None:
    """Whether one row may stand for so many jobs.

    >>> check_count(1), check_count(0)
    (None, 'expected a whole number from 1 to 200000, got 0')
    """
    if 1 <= number <= ADD_JOBS_MAX:
        return None
    return _out_of_range(number, 1, ADD_JOBS_MAX)


def check_params(params_json: bytes) -> str | None:
    r"""Whether `params`, given as JSON, is small enough and free of NUL.

    >>> check_params(b'{"seed":7}'), check_params(rb'{"a":"\u0000"}')
    (None, 'must not contain a NUL character')
    """
    if len(params_json) > PARAMS_BYTES_MAX:
        return f"has {len(params_json):,} bytes as JSON; the limit is {PARAMS_BYTES_MAX:,}"
    # The plain search first: it is much the faster, and nearly always enough.
    if b"\\u0000" in params_json and _NUL_IN_JSON.search(params_json):
        return _NUL
    return None


def check_total(*, jobs: int, total_bytes: int) -> str | None:
    """Whether one `add` may bring so much, with every count multiplied out.

    >>> check_total(jobs=200_001, total_bytes=10)
    'comes to 200,001 jobs; the limit of one add is 200,000'
    """
    if jobs > ADD_JOBS_MAX:
        return f"comes to {jobs:,} jobs; the limit of one add is {ADD_JOBS_MAX:,}"
    if total_bytes > ADD_BYTES_MAX:
        return f"comes to {total_bytes:,} bytes; the limit of one add is {ADD_BYTES_MAX:,}"
    return None


def _check_short(text: str, chars_max: int) -> str | None:
    if not text:
        return _EMPTY
    if len(text) > chars_max:
        return f"has {len(text):,} characters; the limit is {chars_max}"
    return _check_characters(text)


def _check_characters(text: str) -> str | None:
    if text.isprintable():  # the fast way out; what isn't printable may still be allowed
        return None
    if "\0" in text:
        return _NUL
    return "must not contain control characters" if _CONTROL.search(text) else None


def _out_of_range(number: int, least: int, most: int) -> str:
    got = number if abs(number) < 10**18 else "a huge number"
    return f"expected a whole number from {least} to {most}, got {got}"
