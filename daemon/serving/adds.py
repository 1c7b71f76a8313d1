"""Adds on their way in, a frame at a time: rows and pictures are kept until the commit.

All or nothing: what was begun and never committed is forgotten with the connection.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, assert_never

import msgspec

from daemon.core.limits import IMAGE_BYTES_MAX, check_total
from daemon.serving.desk import Desk
from daemon.wire.messages import (
    AddAbort,
    AddBegin,
    AddCommit,
    AddNeed,
    AddPicture,
    AddRows,
    RequestError,
    Row,
    refusal,
)

ADDS_MAX = 1
"""Adds that one client may have open: rows take memory until they are committed."""
UPLOADS_MAX = 4
"""Pictures that one add may have half sent."""
CHUNKS_WAITING_MAX = 2
"""Chunks of a picture that wait for the disk; the next one's answer waits until there is room."""

AddRequest = AddBegin | AddRows | AddNeed | AddPicture | AddCommit | AddAbort


class Upload:
    """One picture on its way to the desk, which writes it while the next chunk comes."""

    def __init__(self, desk: Desk, sha256: str) -> None:
        self._bytes = 0
        self._order = asyncio.Lock()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS_WAITING_MAX)
        loop = asyncio.get_running_loop()
        self._kept = loop.create_task(desk.receive(sha256, self._arriving()))

    async def put(self, chunk: bytes, *, last: bool) -> None:
        """Return when the chunk waits for the disk, or, after the last, when the picture is kept.

        Raises RequestError, and what the desk raises; then the upload is over.
        """
        async with self._order:  # chunks are written in the order in which they came
            self._bytes += len(chunk)
            if self._bytes > IMAGE_BYTES_MAX:
                raise refusal("limit", f"a picture has at most {IMAGE_BYTES_MAX:,} bytes")
            await self._pass_on(chunk)
            if last:
                await self._pass_on(None)
                await self._kept

    def abort(self) -> None:
        """Forget it. Does nothing once it is kept."""
        self._kept.cancel()

    async def _pass_on(self, chunk: bytes | None) -> None:
        """Wait until there is room, but not for a desk that has given up."""
        put = asyncio.ensure_future(self._chunks.put(chunk))
        try:
            await asyncio.wait({put, self._kept}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            put.cancel()
        if self._kept.cancelled():
            raise refusal("bad_request", "the picture's upload has ended: begin it anew")
        if self._kept.done():
            self._kept.result()

    async def _arriving(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk


class Add:
    """One that was begun."""

    def __init__(self, *, dry_run: bool) -> None:
        self.dry_run = dry_run
        self.rows: list[Row] = []
        self.uploads: dict[str, Upload] = {}
        self._jobs = 0
        self._bytes = 0

    def take(self, rows: tuple[Row, ...]) -> None:
        """Keep `rows`. Raises RequestError when the add gets too large."""
        encode = msgspec.json.Encoder().encode
        for row in rows:
            count = max(1, row.count)
            self._jobs += count
            self._bytes += count * len(encode(row))
        if problem := check_total(jobs=self._jobs, total_bytes=self._bytes):
            raise refusal("limit", f"the add {problem}")
        self.rows.extend(rows)

    def close(self) -> None:
        """Stop what is half sent."""
        for upload in self.uploads.values():
            upload.abort()


class Adds:
    """The adds of one client."""

    def __init__(self, desk: Desk, by: str | None) -> None:
        self._desk = desk
        self._by = by
        self._open: dict[int, Add] = {}
        self._last = 0

    async def answer(self, request: AddRequest) -> dict[str, Any]:
        """The value of the request's Ok. Call it in the order in which the requests came.

        Raises RequestError. Rows that are too many, and every commit, end the add.
        """
        match request:
            case AddBegin(dry_run=dry_run):
                return {"add": self._begin(dry_run=dry_run)}
            case AddRows(add=token, rows=rows):
                return self._rows(token, rows)
            case AddNeed(add=token, sha256=hashes):
                self._find(token)
                return {"need": await self._desk.need(hashes)}
            case AddPicture(add=token):
                return await self._picture(self._find(token), request)
            case AddCommit(add=token):
                return await self._commit(token)
            case AddAbort(add=token):
                self._end(token)
                return {}
            case never:
                assert_never(never)

    def close(self) -> None:
        """Forget all of them."""
        for token in list(self._open):
            self._end(token)

    def _begin(self, *, dry_run: bool) -> int:
        if len(self._open) >= ADDS_MAX:
            raise refusal("limit", "commit or abort the add that is open first")
        self._last += 1
        self._open[self._last] = Add(dry_run=dry_run)
        return self._last

    def _find(self, token: int) -> Add:
        add = self._open.get(token)
        if add is None:
            raise refusal("bad_request", f"no add {token} is open on this connection")
        return add

    def _end(self, token: int) -> Add:
        add = self._find(token)
        del self._open[token]
        add.close()
        return add

    def _rows(self, token: int, rows: tuple[Row, ...]) -> dict[str, Any]:
        try:
            self._find(token).take(rows)
        except RequestError:
            self._end(token)
            raise
        return {}

    async def _picture(self, add: Add, request: AddPicture) -> dict[str, Any]:
        upload = add.uploads.get(request.sha256)
        if upload is None:
            if len(add.uploads) >= UPLOADS_MAX:
                raise refusal("limit", f"{UPLOADS_MAX} pictures are half sent: end one first")
            upload = add.uploads[request.sha256] = Upload(self._desk, request.sha256)
        try:
            await upload.put(request.data, last=request.last)
        except BaseException:
            upload.abort()
            add.uploads.pop(request.sha256, None)
            raise
        if request.last:
            add.uploads.pop(request.sha256, None)
        return {}

    async def _commit(self, token: int) -> dict[str, Any]:
        if half := len(self._find(token).uploads):
            self._end(token)
            raise refusal("bad_request", f"{half} of the pictures were not sent to their end")
        add = self._end(token)
        return await self._desk.add(add.rows, self._by, dry_run=add.dry_run)
