"""Sync, POST, sync, polls, sync, file, sync, rename, sync: in this order, for a paid job."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.mortal import Mortal
from tests.crash.vendors import ENVIRON, Mute, Serving
from tests.fakes.installation import until

PAID_PATH = (
    *("prepared", "before_intent", "after_intent", "before_post", "request_leaves"),
    *("reply_begun", "answer_read", "before_paid_line", "after_paid_line", "before_accepted"),
    *("after_accepted", "before_poll", "poll_answered", "before_ready", "after_ready"),
    *("before_download", "mid_download", "file_written", "file_synced", "before_rename"),
    *("after_rename", "folder_synced", "before_finished", "after_finished"),
)
SYSTEM_CALLS = (
    # The intent is on disk before the first byte of the request leaves,
    *("before_intent", "sync journal", "after_intent", "post"),
    # the accepted id before anything is done with it,
    *("reply_begun", "before_paid_line", "sync paid", "after_paid_line"),
    *("before_accepted", "sync journal", "after_accepted", "before_poll"),
    *("before_ready", "sync journal", "after_ready", "before_download"),
    # the file before its name, the name before the journal tells of it.
    *("file_written", "sync part", "file_synced", "rename", "after_rename", "sync folder"),
    *("before_finished", "sync journal", "after_finished"),
)
STRACE = (
    *("strace", "-D", "-f", "-q", "-y", "-s", "40", "-e", "signal=none"),
    *("-e", "trace=fsync,fdatasync,sendto,write,rename,renameat,renameat2", "-o"),
)
UNFINISHED = " <unfinished ...>"
RESUMED = re.compile(r"<\.\.\. (\w+) resumed>")
TOKENS = (
    (re.compile(r'write\(\d+<[^>]*/trace>, "(\w+)\\n"'), ""),
    (re.compile(r'sendto\(\d+<[^>]*>, "POST /api/paas'), "post"),
    (re.compile(r"f(?:data)?sync\(\d+<[^>]*/journal\.sqlite3-wal>"), "sync journal"),
    (re.compile(r"f(?:data)?sync\(\d+<[^>]*/paid\.jsonl>"), "sync paid"),
    (re.compile(r"f(?:data)?sync\(\d+<[^>]*\.part>"), "sync part"),
    (re.compile(r"f(?:data)?sync\(\d+<[^>]*/outputs/\d[^/>]*>"), "sync folder"),
    (re.compile(r'rename\w*\(.*\.part", .*/outputs/.*\.mp4"'), "rename"),
)


def traces() -> bool:
    """Whether strace is installed, and may look at processes here."""
    if shutil.which("strace") is None:
        return False
    tried = ["strace", "-qq", "-o", "/dev/null", "true"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


def deliver(genq: Mortal, trace: Path) -> None:
    """One job, from its adding to its file, and an orderly stop."""
    genq.environ.update(ENVIRON)
    genq.launch(trace=trace)
    genq.until(genq.add("mock", "--prompt", "a fox"), "succeeded")
    assert genq.stop() == 0


def test_the_places_of_the_paid_path_are_passed_in_order(tmp_path: Path) -> None:
    with Serving(Mute()) as serving:
        deliver(Mortal(tmp_path, config=serving.config()), tmp_path / "trace")
        assert len(serving.vendor.tasks_of) == 1
    passed = (tmp_path / "trace").read_text().split()
    first_passages = [name for name in dict.fromkeys(passed) if name in PAID_PATH]
    assert tuple(first_passages) == PAID_PATH
    last = {name: place for place, name in enumerate(passed)}
    assert passed.count("before_post") == passed.count("after_paid_line") == 1
    assert last["poll_answered"] < last["before_ready"] < last["before_download"]


@pytest.mark.skipif(not traces(), reason="strace isn't installed, or may not trace here")
def test_the_system_calls_of_a_paid_job_come_in_order(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    with Serving(Mute()) as serving:
        genq = Mortal(tmp_path, config=serving.config())
        genq.under = (*STRACE, str(calls))
        deliver(genq, tmp_path / "trace")
    until(lambda: "exited with 0" in calls.read_text())
    seen = list(tokens(calls.read_text().splitlines()))
    assert seen.count("post") == 1
    assert missing(seen) == (), seen


def tokens(lines: list[str]) -> Iterator[str]:
    """What the calls are to us. A sync counts when it is done; all else when it begins."""
    begun: dict[str, str] = {}
    for line in lines:
        process, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith(UNFINISHED):
            begun[process] = call
            if "sync(" in call:
                continue
        elif RESUMED.match(call):
            call = begun.pop(process, "")
            if "sync(" not in call:
                continue
        for pattern, name in TOKENS:
            if found := pattern.search(call):
                yield name or found[1]


def missing(seen: list[str]) -> tuple[str, ...]:
    """What of SYSTEM_CALLS isn't there, in order."""
    rest = iter(seen)
    for place, name in enumerate(SYSTEM_CALLS):
        if name not in rest:  # takes from `rest` up to it
            return SYSTEM_CALLS[place:]
    return ()


def test_a_request_before_its_intent_is_synced_would_be_found() -> None:
    sooner = list(SYSTEM_CALLS)
    sooner.remove("post")
    sooner.insert(sooner.index("sync journal"), "post")
    assert missing(sooner)[0] == "post"
    assert missing(list(SYSTEM_CALLS)) == ()


def test_a_sync_that_is_not_done_yet_does_not_count() -> None:
    wal = "/state/journal.sqlite3-wal"
    lines = [
        f"11 fdatasync(7<{wal}> <unfinished ...>",
        '12 sendto(9<socket:[1]>, "POST /api/paas/v4/videos"..., 300, 0, NULL, 0) = 300',
        "11 <... fdatasync resumed>) = 0",
    ]
    assert list(tokens(lines)) == ["post", "sync journal"]
