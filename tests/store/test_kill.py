"""SIGKILL in the middle of writing, of a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tests.store.facts import all_jobs, paid

if TYPE_CHECKING:
    from tests.store.conftest import MakeStore

ROOT = Path(__file__).parents[2]


def child(folder: Path, way: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.child", str(folder), way],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )


async def test_what_was_acknowledged_before_a_kill_is_there_without_a_hole(
    make_store: MakeStore, tmp_path: Path
) -> None:
    with child(tmp_path / "state", "write") as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(2_000)]
        process.kill()
        # What was said but not read yet; a line cut short by the kill isn't a number.
        said += [int(line) for line in process.stdout.read().split(b"\n")[:-1]]
    assert said == list(range(1, len(said) + 1))

    store = make_store()
    loaded = await store.open()
    assert loaded.unclean
    assert loaded.seq >= said[-1]
    events = await store.events_after(0, limit=loaded.seq + 10)
    assert [seq for seq, _ in events] == list(range(1, loaded.seq + 1))
    # A job and the facts about it are one transaction: each job is what its last fact says.
    told = Counter(msgspec.json.decode(text)["job"] for _, text in events)
    assert {job.id: job.rev for job in await all_jobs(store)} == told


async def test_an_id_accepted_at_the_moment_of_a_kill_is_not_forgotten(
    make_store: MakeStore, tmp_path: Path
) -> None:
    with child(tmp_path / "state", "commit") as process:
        assert process.wait(timeout=60) < 0
    store = make_store()
    loaded = await store.open()
    assert loaded.unrecorded == (paid(1),)
    (job,) = await all_jobs(store)
    assert job.state == "submitting"
