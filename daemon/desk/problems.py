"""What is wrong with the daemon right now, for `genq status`: one line each."""

from collections import Counter
from collections.abc import Container

from daemon.book import Book

LEFT_ALONE_MAX = 10
"""So many are named."""


class Problems:
    """Problems by what they are about; a new one replaces the old, None ends it."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def note(self, about: str, text: str | None) -> None:
        """There is a problem, or no longer."""
        if text is None:
            self._texts.pop(about, None)
        else:
            self._texts[about] = text

    def lines(self, book: Book, providers: Container[str]) -> list[str]:
        """All of them, the jobs whose provider isn't configured any more, and those left alone."""
        strangers = Counter(
            job.provider
            for job in book.jobs.values()
            if job.provider not in providers and job.finished_at is None
        )
        gone = [
            f"{count} unfinished jobs belong to {name}, which isn't configured any more"
            for name, count in sorted(strangers.items())
        ]
        left = [
            f"nobody works on job {job} after unexpected errors: see the log; a restart tries again"
            for job in sorted(book.left_alone)[:LEFT_ALONE_MAX]
        ]
        return [*self._texts.values(), *gone, *left]
