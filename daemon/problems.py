"""What is wrong with the daemon right now, for `genq status`: one line each."""

from collections import Counter
from collections.abc import Container

from daemon.book import Book


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
        """All of them, and the jobs whose provider isn't configured any more."""
        strangers = Counter(
            job.provider
            for job in book.jobs.values()
            if job.provider not in providers and job.finished_at is None
        )
        gone = [
            f"{count} unfinished jobs belong to {name}, which isn't configured any more"
            for name, count in sorted(strangers.items())
        ]
        return [*self._texts.values(), *gone]
