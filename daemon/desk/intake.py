"""What comes in: jobs, all or nothing, and the pictures that they name."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from daemon import failpoints
from daemon.book import Book
from daemon.clock import Clock
from daemon.core.changes import added
from daemon.core.limits import is_path
from daemon.desk.admission import Known, admit
from daemon.desk.report import Reporter
from daemon.desk.weighing import check_rows
from daemon.media.inputs import InputError, InputStore
from daemon.wire import messages
from daemon.wire.messages import refusal


class Intake:
    """Takes jobs and pictures in."""

    def __init__(self, book: Book, inputs: InputStore, reporter: Reporter, clock: Clock) -> None:
        self._book = book
        self._inputs = inputs
        self._reporter = reporter
        self._clock = clock

    async def add(
        self, rows: Sequence[messages.Row], by: str | None, *, dry_run: bool
    ) -> dict[str, Any]:
        """Validate whole, add all or nothing."""
        unsent = await self._unsent(rows, dry_run=dry_run)
        providers = dict(self._reporter.providers)  # a reload may come while the rows are checked
        # One thread for all rows: a hop for each would cost more than the checks.
        found = await asyncio.to_thread(check_rows, rows, providers)
        known = Known(
            providers=providers,
            named=self._book.named,
            exists=self._book.jobs.__contains__,
            next_id=self._book.next_job_id,
            now=self._clock.now(),
            by=by,
        )
        admission = admit(rows, found, known)
        if problems := (*unsent, *admission.problems):
            in_order = tuple(sorted(problems, key=_place))
            raise refusal("bad_jobs", _headline(in_order), problems=in_order)
        value = {
            "first": None if dry_run else known.next_id,
            "count": len(admission.jobs),
            "warnings": list(admission.warnings),
        }
        if not dry_run:
            if (why := self._book.trouble) is not None:  # the reserve is for what runs
                raise refusal("no_space", f"{why}; nothing was added. Free some room, then add it")
            self._book.record([added(job) for job in admission.jobs])
            await self._book.durable()
            failpoints.at("add_unacknowledged")
        return value

    async def _unsent(
        self, rows: Sequence[messages.Row], *, dry_run: bool
    ) -> tuple[messages.RowProblem, ...]:
        """Every picture that is a file must have been sent; for a dry run its hash is enough."""
        images = () if dry_run else (image for row in rows for image in row.images)
        hashes = {image.sha256 for image in images if image.sha256 is not None}
        missing: set[str | None] = set(await self.need(sorted(hashes))) if hashes else set()
        return tuple(
            messages.RowProblem(index, f"images[{place}]", "the picture was not sent")
            for index, row in enumerate(rows)
            for place, image in enumerate(row.images)
            if image.sha256 in missing or (image.sha256 is None and is_path(image.source))
        )

    async def need(self, hashes: Sequence[str]) -> list[str]:
        """Which of these pictures are missing."""
        try:
            return await self._inputs.missing(hashes)
        except InputError as error:
            raise refusal("bad_request", str(error)) from None

    async def receive(self, sha256: str, chunks: AsyncIterator[bytes]) -> None:
        """Keep a picture, whole or not at all."""
        try:
            upload = await self._inputs.begin(sha256)
            try:
                async for chunk in chunks:
                    await upload.write(chunk)
                await upload.commit()
            except BaseException:
                await asyncio.shield(upload.abort())
                raise
        except InputError as error:
            raise refusal("bad_request", str(error)) from None
        except OSError as error:
            raise refusal("limit", f"the picture can't be kept: {error.strerror}") from None


def _place(problem: messages.RowProblem) -> int:
    """Told first is what is wrong with the whole add, then row by row."""
    return -1 if problem.row is None else problem.row


def _headline(problems: Sequence[messages.RowProblem]) -> str:
    count = len(problems)
    return f"{count} problem{'s' if count != 1 else ''}; nothing was added"
