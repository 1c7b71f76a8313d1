"""Adding jobs: rows and pictures in frames, begun and committed, all or nothing."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw

from daemon.wire import codec
from daemon.wire.client import Client, ServerError
from daemon.wire.messages import (
    FRAME_BYTES_MAX,
    PICTURE_CHUNK_BYTES,
    AddBegin,
    AddCommit,
    AddNeed,
    AddPicture,
    AddRows,
    ErrorBody,
    Row,
    RowProblem,
)

FRAME_ROOM_BYTES = 256
"""What a frame of rows needs besides the rows."""
ROW_BYTES_MAX = FRAME_BYTES_MAX - FRAME_ROOM_BYTES
HASHES_PER_FRAME = 4_096
COMMIT_S_MAX = 600.0
"""Time for the daemon to check and store all of an add."""


def add_all(
    client: Client, rows: Sequence[Row], pictures: Mapping[str, Path], *, dry_run: bool = False
) -> dict[str, Any]:
    """Add every row, or none: the value of `add_commit` (messages.AddCommit).

    `pictures` are the files that the rows name by SHA-256; those that the daemon doesn't have are
    sent. Raises ServerError, with the rows' problems; OSError for a picture that can't be read;
    UnreachableError.
    """
    encoded = _encoded(rows)
    token: int = client.request(AddBegin(dry_run=dry_run))["add"]
    for batch in codec.gather(encoded):
        frame: Any = tuple(map(Raw, batch))  # encoded above, once
        client.request(AddRows(add=token, rows=frame))
    if not dry_run:
        _send_all(client, token, rows, pictures)
    value: dict[str, Any] = client.request(AddCommit(add=token), idle_s=COMMIT_S_MAX)
    return value


def _encoded(rows: Sequence[Row]) -> list[bytes]:
    encode = msgspec.json.Encoder().encode
    lines = list(map(encode, rows))
    problems = tuple(
        RowProblem(
            index, None, f"has {len(line):,} bytes as JSON; the limit is {ROW_BYTES_MAX:,} a row"
        )
        for index, line in enumerate(lines)
        if len(line) > ROW_BYTES_MAX
    )
    if problems:
        raise ServerError(ErrorBody("bad_jobs", "rows that are too long", problems))
    return lines


def _needed(client: Client, token: int, hashes: list[str]) -> Iterator[str]:
    """Those of `hashes` that the daemon doesn't have."""
    for start in range(0, len(hashes), HASHES_PER_FRAME):
        asked = tuple(hashes[start : start + HASHES_PER_FRAME])
        yield from client.request(AddNeed(add=token, sha256=asked))["need"]


def _send_all(
    client: Client, token: int, rows: Sequence[Row], pictures: Mapping[str, Path]
) -> None:
    """Send what the daemon needs. All pictures that it refuses are told, each with its rows."""
    refused: dict[str, str] = {}
    for sha256 in _needed(client, token, list(pictures)):
        try:
            _send(client, token, sha256, pictures[sha256])
        except ServerError as error:
            if error.body.code != "bad_request":  # no word on the picture itself
                raise
            refused[sha256] = error.body.message
    if refused:
        problems = tuple(
            RowProblem(index, f"images[{place}]", refused[image.sha256])
            for index, row in enumerate(rows)
            for place, image in enumerate(row.images)
            if image.sha256 in refused
        )
        raise ServerError(ErrorBody("bad_jobs", next(iter(refused.values())), problems))


def _send(client: Client, token: int, sha256: str, path: Path) -> None:
    with path.open("rb") as file:
        chunk = file.read(PICTURE_CHUNK_BYTES)
        last = False
        while not last:
            following = file.read(PICTURE_CHUNK_BYTES)
            last = not following
            client.request(AddPicture(add=token, sha256=sha256, data=chunk, last=last))
            chunk = following
