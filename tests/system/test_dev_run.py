"""`./dev run` without a terminal: what it prints, and what a signal to it leaves behind."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.installation import ROOT, until

ENDS_S_MAX = 20.0
EXAMPLE = """
[[jobs]]
provider = "mock"
name = "frame"
batch = "demo"
params = { width = 64, height = 48 }
"""
LATER = """
[[jobs]]
provider = "mock"
not_before = "+1d"
"""
SIGNALLED = """
import os, sys

EVENT, WORD, NUMBER = os.environ.pop("SIGNALLED_AT").split()  # only for the process itself

def signal_there(frame, event, arg):
    if event != EVENT:
        return
    if event == "call":
        there = frame.f_code.co_name == WORD
    else:
        there = arg.__name__ == "fork_exec" and WORD in map(str, frame.f_locals["args"])
    if there:
        sys.setprofile(None)
        os.kill(os.getpid(), int(NUMBER))

sys.setprofile(signal_there)
"""
"""A sitecustomize.py: a signal comes where a function of that name begins (call), or where a child
with that word is born and nobody knows its pid yet (c_return).
"""


class Demo:
    """A checkout of its own, with an example that doesn't take long, and its `./dev run`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__")
        for name in ("daemon", "tui"):
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        config = (ROOT / "config.toml").read_text().replace("[1, 3]", "0.05")
        (folder / "config.toml").write_text(config)
        (folder / "examples").mkdir()
        (folder / "examples" / "storyboard.toml").write_text(EXAMPLE)

    def start(self, *words: str, **environ: str) -> "subprocess.Popen[bytes]":
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        with (self.folder / "said").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "daemon.demo", *words],
                cwd=self.folder,
                env={**kept, "PYTHONPATH": str(self.folder), **environ},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    @property
    def runs(self) -> bool:
        """Whether a daemon is there."""
        return (self.folder / "state" / "genq.sock").exists()

    def left(self) -> list[int]:
        """The processes that it began and that live."""
        found = []
        for one in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (one / "cwd").readlink() == self.folder:
                    found.append(int(one.name))
        return found


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    made = Demo(tmp_path)
    yield made
    if made.runs:
        made.start("--stop").wait(ENDS_S_MAX)


def test_it_tells_where_the_pictures_really_are(demo: Demo) -> None:
    outputs = demo.folder / "elsewhere"
    assert demo.start(GENQ_DAEMON__OUTPUT_DIR=str(outputs)).wait(ENDS_S_MAX) == 0, demo.said
    assert demo.said.splitlines()[-1] == f"1 succeeded; the pictures are in {outputs}"
    assert list((outputs / "demo").glob("1-frame.*"))
    assert not demo.runs


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_its_daemon_and_is_the_exit_code(demo: Demo, number: signal.Signals) -> None:
    with (demo.folder / "examples" / "storyboard.toml").open("a") as example:
        example.write(LATER)
    process = demo.start()
    until(lambda: "done      frame" in demo.said)
    process.send_signal(number)
    assert process.wait(ENDS_S_MAX) == 128 + number, demo.said
    assert not demo.runs


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("c_return daemon.cli", signal.SIGTERM),
        ("call _connect_pipes", signal.SIGTERM),
        ("c_return wait", signal.SIGINT),
        ("c_return events", signal.SIGHUP),
    ],
)
def test_a_signal_while_processes_are_begun_leaves_none_behind(
    demo: Demo, place: str, number: signal.Signals
) -> None:
    with (demo.folder / "examples" / "storyboard.toml").open("a") as example:
        example.write(LATER)
    (demo.folder / "sitecustomize.py").write_text(SIGNALLED)
    process = demo.start(SIGNALLED_AT=f"{place} {number.value}")
    try:
        assert process.wait(ENDS_S_MAX) == 128 + number, demo.said
    finally:
        process.kill()
        process.wait()
        left = demo.left()
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    assert not left
    assert not demo.runs
