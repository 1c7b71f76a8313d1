"""The processes that decode and draw are killed under a working daemon: no job is lost for it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes.installation import Installation, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

WEATHER = """
submit_s = 0.02
generate_s = 0.2
poll_interval_s = 0.1
backoff_base_s = 0.05
backoff_max_s = 0.2
concurrency = 4
"""


@pytest.fixture
def genq(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path, WEATHER)
    installation.start()
    yield installation
    installation.kill()


def children(parent: int) -> list[int]:
    """The processes below `parent`, their own children too."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            number = int(stat.parent.name)
            found += [number, *children(number)]
    return found


def add(genq: Installation, count: int) -> list[int]:
    words = ("add", "mock", "--prompt", "a fox", "--set", "width=2048", "--set", "height=2048")
    ids: list[int] = genq.ask(*words, "--count", str(count), "--json").value["ids"]
    return ids


def all_well(genq: Installation, ids: list[int]) -> None:
    done = genq.ask("wait", *map(str, ids), "--timeout", "30", "--json").value
    assert sorted(done["succeeded"]) == ids
    keys = Counter(row["key"] for row in genq.ledger())
    assert len(keys) == len(ids)
    assert max(keys.values()) == 1
    assert {genq.show(number)["attempt"] for number in ids} == {1}


def test_workers_killed_while_they_draw_are_replaced(genq: Installation) -> None:
    assert genq.process is not None
    ids = add(genq, 6)
    for _ in range(3):
        # The fork server has a resource tracker beside it; a worker is a child of the server.
        below = until(lambda: children(genq.process.pid) if genq.process else [])
        for number in below[-1:]:
            with contextlib.suppress(ProcessLookupError):  # it had nothing to do, and ended
                os.kill(number, signal.SIGKILL)
    all_well(genq, ids)


def test_with_the_whole_pool_gone_the_next_picture_has_a_new_one(genq: Installation) -> None:
    assert genq.process is not None
    all_well(genq, add(genq, 1))
    for number in children(genq.process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    ids = add(genq, 3)
    all_well(genq, [1, *ids])
    assert genq.stop() == 0
