"""Where a planted key comes to light: in what is printed, and in every file that is written."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from tests.fakes.studio import Studio

ASKED = (
    "ls --all",
    "events",
    "events --json",
    "status --json",
    "providers --json",
    "export --format jsonl",
)
ASKED_OF_A_JOB = ("show {}", "show {} --json", "why {}", "why {} --json")
CONFIG_ASKED = ("config show", "config show --json", "config show --sources", "config check")


async def leaks_of(studio: Studio, key: str, *jobs: int) -> list[str]:
    """The commands and files that show `key`; stops the daemon, so that nothing is unwritten."""
    return await asyncio.to_thread(_leaks_of, studio, key, jobs)


def _leaks_of(studio: Studio, key: str, jobs: tuple[int, ...]) -> list[str]:
    printed = dict(_printed(studio, jobs))
    assert studio.genq.stop() == 0
    written = {path: path.read_bytes() for path in _files(studio.genq.folder)}
    assert any(b"SQLite format 3" in content for content in written.values())
    found = [words for words, text in printed.items() if key in text]
    return found + [str(path) for path, content in written.items() if key.encode() in content]


def _printed(studio: Studio, jobs: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    """Each command with all that it prints."""
    asked = (*ASKED, *(words.format(job) for words in ASKED_OF_A_JOB for job in jobs))
    for words in asked:
        answer = studio.genq.ask(*words.split())
        assert answer.code == 0, (words, answer)
        yield words, answer.out + answer.err
    for words in CONFIG_ASKED:
        done = studio.genq.genqd(*words.split(), "--config", str(studio.genq.config))
        assert done.returncode == 0, (words, done)
        yield words, done.stdout + done.stderr


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
