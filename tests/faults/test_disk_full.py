"""A real daemon on disks that are really full: small ones, made for the test.

What has no need of a disk of its own is in test_space.py.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.installation import Installation, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.system("mount", "umount")

DISK_MB = 24
WEATHER = """
submit_s = 0.02
generate_s = 0.5
poll_interval_s = 0.1
concurrency = 2
backoff_max_s = 0.5
"""


@pytest.fixture
def genq(tmp_path: Path) -> Iterator[Installation]:
    """An installation with `state` and `outputs` on small disks of their own."""
    disks = [tmp_path / "state", tmp_path / "outputs"]
    for disk in disks:
        disk.mkdir()
        made = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(disk)]
        if subprocess.run(made, check=False, capture_output=True).returncode:
            pytest.fail("a disk for the test can't be mounted: run it as root")
    installation = Installation(tmp_path, WEATHER)
    try:
        yield installation
    finally:
        installation.kill()
        for disk in disks:
            subprocess.run(["umount", str(disk)], check=True)


def fill(folder: Path) -> Path:
    """Take all the room that is left, to the last byte; the file that has it."""
    filler = folder / f"filler-{len(list(folder.glob('filler-*')))}"
    handle = os.open(filler, os.O_WRONLY | os.O_CREAT)
    with contextlib.closing(os.fdopen(handle, "wb", buffering=0)) as file:
        for size in (1 << 20, 4096):
            with contextlib.suppress(OSError):
                while file.write(b"\1" * size):
                    pass
    return filler


def add(genq: Installation, count: int = 1, **more: int) -> list[int]:
    """Small pictures to be made."""
    words = ["mock", "--prompt", "a fox", "--set", "width=64", "--set", "height=48"]
    words += [word for key, value in more.items() for word in ("--set", f"{key}={value}")]
    return [genq.add(*words) for _ in range(count)]


def gate(genq: Installation) -> dict[str, Any]:
    (provider,) = genq.ask("providers", "--json").value
    found: dict[str, Any] = provider["gate"]
    return found


def causes(genq: Installation) -> list[str]:
    return [one["cause"] for one in gate(genq)["causes"]]


def finish(genq: Installation, ids: list[int]) -> None:
    """Everything ends by itself, paid for once, and the stream has no hole."""
    answer = genq.ask("wait", *map(str, ids), "--timeout", "15", "--json")
    assert answer.value["succeeded"] == ids, answer
    until(lambda: gate(genq)["state"] == "open")
    assert genq.ask("status", "--json").value["daemon"]["problems"] == []
    assert max(Counter(row["key"] for row in genq.ledger()).values()) == 1
    assert len(genq.ledger()) == len(ids)
    seqs = [event["seq"] for event in genq.events()]
    assert seqs == list(range(1, len(seqs) + 1))
    for job in genq.jobs():
        assert (job["retries"], job["attempt"], job["errors_consecutive"]) == (0, 1, 0)
    assert genq.stop() == 0


def test_a_result_without_room_waits_and_is_fetched_later_and_never_paid_again(
    genq: Installation,
) -> None:
    genq.start()
    ids = add(genq, 3)
    until(lambda: len(genq.ledger()) == 2)
    filler = fill(genq.folder / "outputs")
    until(lambda: "space" in causes(genq))
    stuck = genq.until(ids[0], "downloading")
    refused = until(lambda: genq.show(ids[0])["error"])
    assert refused["kind"] == "local.nospace"
    assert (stuck["retries"], stuck["errors_consecutive"]) == (0, 0)
    until(lambda: "nearly full" in genq.ask("status").out)
    assert genq.show(ids[2])["reason"] == "provider"
    assert "space" in genq.ask("why", str(ids[2])).out
    assert len(genq.ledger()) == 2
    assert genq.ask("resume", "mock").code == 1
    filler.unlink()
    finish(genq, ids)


def test_a_full_journal_gives_up_its_ballast_and_stops_submits_and_adds(
    genq: Installation,
) -> None:
    genq.start()
    assert (genq.state / "ballast").exists()
    ids = add(genq, 3)
    until(lambda: len(genq.ledger()) == 2)
    filler = fill(genq.state)
    until(lambda: "space" in causes(genq))
    assert not (genq.state / "ballast").exists()
    genq.until(ids[0], "succeeded")
    refused = genq.ask("add", "mock", "--prompt", "one more")
    assert refused.code == 1
    assert "disk is full" in refused.err
    assert "Free some room" in refused.err
    assert genq.show(ids[2])["state"] == "queued"
    filler.unlink()
    finish(genq, ids)


def test_with_the_ballast_used_up_people_still_see_what_is_wrong(genq: Installation) -> None:
    genq.start()
    ids = add(genq, 2)
    until(lambda: len(genq.ledger()) == 2)
    fillers = [fill(genq.state)]
    until(lambda: not (genq.state / "ballast").exists())
    fillers.append(fill(genq.state))
    until(lambda: "the disk is full" in genq.ask("status").out)
    for words in (["ls"], ["events"], ["show", "1"], ["why", "1"], ["providers"]):
        assert genq.ask(*words).code == 0, words
    assert genq.ask("wait", "1", "--timeout", "0.2").code in (0, 4)
    until(lambda: genq.ask("cancel", "1").code == 1)
    assert "nothing was changed" in genq.ask("pause").err
    for filler in fillers:
        filler.unlink()
    finish(genq, ids)


def test_a_daemon_killed_on_a_full_disk_starts_on_it_again(genq: Installation) -> None:
    genq.start()
    ids = add(genq, 3)
    for number in ids[:2]:  # past the doubt that a kill would leave while the answer is out
        genq.until(number, "generating", "downloading", "succeeded")
    filler = fill(genq.state)
    genq.kill()
    genq.start()
    until(lambda: "space" in causes(genq))
    filler.unlink()
    finish(genq, ids)
