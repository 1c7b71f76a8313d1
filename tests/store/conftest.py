"""Stores that are closed at the end of the test that opened them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from daemon.store.sqlite import SqliteStore
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    MakeStore = Callable[..., SqliteStore]


@pytest.fixture
async def make_store(tmp_path: Path) -> AsyncIterator[MakeStore]:
    """A journal in the test's own folder, or in another one; not opened yet."""
    made: list[SqliteStore] = []

    def make(folder: Path | None = None, **options: Any) -> SqliteStore:
        store = SqliteStore(
            folder or tmp_path / "state",
            clock=FakeClock(),
            **{"retry_s": 0.01, "ballast_bytes": 4096, **options},
        )
        made.append(store)
        return store

    yield make
    for store in made:
        await store.close()
