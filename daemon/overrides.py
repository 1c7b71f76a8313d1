"""What operators change at run time, kept apart from the configuration: `overrides.toml`.

It stands in the state folder, belongs to the daemon, and is written whole each time. Its functions
read and write files: not for the event loop.
"""

import math
import os
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec
import tomli_w
from msgspec import Struct

from daemon import failpoints

FILE_NAME = "overrides.toml"
FILE_BYTES_MAX = 1024 * 1024
CONCURRENCY_MAX = 1_000
_HEADER = (
    "# What operators changed at run time; genqd writes this file. `genq providers` shows it.\n"
)


class Paused(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A provider that an operator paused. `until_at`: seconds since the epoch, None for good."""

    until_at: float | None = None
    reason: str = ""


class Overrides(Struct, frozen=True, forbid_unknown_fields=True):
    """By provider: how many jobs it may have at once, and whether it is paused."""

    concurrency: Mapping[str, int] = {}
    paused: Mapping[str, Paused] = {}


def load(path: Path) -> tuple[Overrides, str | None]:
    """The overrides, and what was wrong with them: then there are none, and the file is kept aside.

    A file that isn't there holds no overrides.
    """
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return Overrides(), None
    except OSError as error:
        return Overrides(), f"{path} can't be read ({error.strerror}): its overrides don't count"
    try:
        return _parse(content), None
    except (ValueError, RecursionError) as error:
        return Overrides(), f"{path} is damaged ({error}): {_put_aside(path)}"


def save(path: Path, overrides: Overrides) -> None:
    """Write the file. It is on disk when this returns, whole; after an error the old one stands.

    Raises OSError.
    """
    tree = msgspec.to_builtins(overrides)
    number, name = tempfile.mkstemp(prefix=".overrides-", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.write((_HEADER + tomli_w.dumps(tree)).encode())
            file.flush()
            os.fsync(number)
        failpoints.at("overrides_written")
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _parse(content: bytes) -> Overrides:
    if len(content) > FILE_BYTES_MAX:
        raise ValueError(f"more than {FILE_BYTES_MAX:,} bytes")
    overrides = msgspec.convert(tomllib.loads(content.decode()), Overrides)
    for name, most in overrides.concurrency.items():
        if not 1 <= most <= CONCURRENCY_MAX:
            raise ValueError(f"concurrency of {name!r} isn't from 1 to {CONCURRENCY_MAX}")
    for name, one in overrides.paused.items():
        if one.until_at is not None and not math.isfinite(one.until_at):
            raise ValueError(f"until_at of {name!r} is no time")
    return overrides


def _put_aside(path: Path) -> str:
    """Rename a damaged file, never over another; say where it is."""
    for number in range(1, 100):
        aside = path.with_name(f"{path.name}.damaged-{number}")
        if not aside.exists():
            try:
                path.rename(aside)
            except OSError as error:
                return f"its overrides don't count, and it can't be kept aside ({error.strerror})"
            return f"its overrides don't count; it is kept as {aside}"
    return "its overrides don't count, and it stays where it is: too many are kept aside already"


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
