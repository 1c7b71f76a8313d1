"""`./dev run`: the whole of genq on this checkout, as a newcomer would want to see it.

Starts the daemon on the checkout's config.toml unless it runs, queues the example when the journal
is empty, and opens the monitor; without a terminal it shows a line for each job, waits, and stops
the daemon that it started. It only ever uses the commands that people have (interfaces.md 8).
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from daemon.core.suggest import shown

if TYPE_CHECKING:
    from daemon.config import Loaded

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "config.toml"
EXAMPLE = ROOT / "examples" / "storyboard.toml"
OUTPUT = ROOT / "logs" / "genqd.out"
READY_S_MAX = "30"
STOP_S_MAX = 60.0
STOP_TRIES_MAX = 600
"""Each a `genq ping`, of a tenth of a second or so."""
LAST_LINES_S_MAX = 2.0
ENDS = {
    "succeeded": "done",
    "failed": "failed",
    "cancelled": "cancelled",
    "held": "held",
    "in_doubt": "in doubt",
}
GENQD = [sys.executable, "-m", "daemon.cli", "run", "--config", str(CONFIG)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, or with `--stop` stop, the checkout's own daemon. Returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words not in ([], ["--stop"]):
        print("usage: ./dev run | ./dev stop", file=sys.stderr)
        return 2
    os.chdir(ROOT)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        if words == ["--stop"]:
            return _stop_running()
        if _genq("ping").returncode == 0:
            return _show(None)
        daemon = _start()
        return 1 if daemon is None else _show(daemon)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _leave(number: int, _frame: FrameType | None) -> None:
    """A signal ends it in order: what it started is stopped on the way out."""
    raise SystemExit(128 + number)


@cache
def _loaded() -> "Loaded | None":
    """The checkout's configuration; None if it is bad: the daemon says what is wrong with it."""
    from daemon.config import ConfigError, Flags, load

    try:
        return load(Flags(config=CONFIG), os.environ, ROOT)
    except ConfigError:
        return None


def _command() -> tuple[str, ...]:
    """`genq`, for the checkout's own daemon, whatever others the environment knows of."""
    loaded = _loaded()
    where = ("--config", str(CONFIG)) if loaded is None else ("--socket", str(loaded.socket))
    return (sys.executable, "-m", "tui.cli", *where)


def _genq(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*_command(), *words], capture_output=True, text=True, check=False)


def _start() -> "subprocess.Popen[bytes] | None":
    """The daemon, ready; None, with its own words on stderr, if it doesn't come up."""
    OUTPUT.parent.mkdir(exist_ok=True)
    with OUTPUT.open("wb") as out:
        daemon = subprocess.Popen(
            GENQD, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    try:
        if _genq("ping", "--wait", READY_S_MAX).returncode == 0:
            return daemon
    except BaseException:
        _stop(daemon)
        raise
    _stop(daemon)
    print(OUTPUT.read_text(errors="replace") or "the daemon doesn't answer", file=sys.stderr)
    return None


def _stop(daemon: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        daemon.terminate()
    daemon.wait(STOP_S_MAX)


def _show(daemon: "subprocess.Popen[bytes] | None") -> int:
    """Queue the example if there is nothing, then the monitor, or a line for each job."""
    seen = sys.stdin.isatty() and sys.stdout.isatty()
    try:
        code = _fill()
        if code == 0:
            code = _monitor() if seen else asyncio.run(_watch())
        return code
    finally:
        if daemon is not None and not seen:
            _stop(daemon)


def _fill() -> int:
    """Queue the example if the journal is empty; the exit code of that."""
    if _genq("ls", "--limit", "1", "--json").stdout.strip() != "[]":
        return 0
    added = _genq("add", "--file", str(EXAMPLE))
    sys.stderr.write(added.stderr)
    print(added.stdout, end="", flush=True)
    return added.returncode


def _monitor() -> int:
    code = subprocess.run(_command(), check=False).returncode
    print("The daemon goes on; `./dev stop` stops it.")
    return code


async def _watch() -> int:
    """A line for each job that ends, until none goes on by itself; the exit code of `genq wait`."""
    waiting = await asyncio.create_subprocess_exec(
        *_command(), "wait", "--json", stdout=asyncio.subprocess.PIPE
    )
    following = await asyncio.create_subprocess_exec(
        *_command(), "events", "--follow", "--after", "0", "--json", stdout=asyncio.subprocess.PIPE
    )
    loop = asyncio.get_running_loop()
    caught: list[int] = []

    def leave(number: int) -> None:
        caught.append(number)
        with contextlib.suppress(ProcessLookupError):
            waiting.terminate()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, leave, number)
    teller = Teller()
    telling = loop.create_task(teller.tell(following.stdout))
    stdout, _ = await waiting.communicate()
    if waiting.returncode in (0, 1):
        value: dict[str, list[int]] = json.loads(stdout)
        await teller.caught_up({job for ids in value.values() for job in ids})
        counts = ", ".join(f"{len(ids)} {name}" for name, ids in value.items() if ids)
        loaded = _loaded()
        outputs = ROOT / "outputs" if loaded is None else loaded.config.daemon.output_dir
        print(f"{counts or 'nothing to do'}; the pictures are in {outputs}")
    following.terminate()
    await following.wait()
    telling.cancel()
    if caught:
        return 128 + caught[0]
    return waiting.returncode if waiting.returncode in (0, 1) else 1


class Teller:
    """Prints a line for each job that ends, from the event stream."""

    def __init__(self) -> None:
        self._told: set[int] = set()
        self._bell = asyncio.Event()
        self._names: dict[int, str] = {}
        self._files: dict[int, str] = {}

    async def tell(self, stream: asyncio.StreamReader | None) -> None:
        """Read `stream` to its end."""
        if stream is None:
            return
        async for line in stream:
            event = json.loads(line)
            if event.get("job"):
                self._tell(event["job"], event)

    def _tell(self, job: int, event: dict[str, Any]) -> None:
        if event["type"] == "added":
            self._names[job] = event["value"]["name"] or f"job {job}"
        if "outputs" in event:
            paths = (os.path.relpath(one["path"], ROOT) for one in event["outputs"])
            self._files[job] = " ".join(paths)
        if event["state"] in ENDS and job not in self._told:
            error = (event.get("error") or {}).get("message")
            text = self._files.get(job) or (shown(error) if error else "")
            print(f"{ENDS[event['state']]:9} {self._names.get(job, job)}  {text}", flush=True)
            self._told.add(job)
            self._bell.set()

    async def caught_up(self, jobs: set[int]) -> None:
        """Return when all of `jobs` were told: the stream may be a moment behind `wait`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_LINES_S_MAX):
                while not jobs <= self._told:
                    await self._bell.wait()
                    self._bell.clear()


def _stop_running() -> int:
    """Stop the daemon that answers on the checkout's socket."""
    answer = _genq("status", "--json")
    if answer.returncode:
        print("it isn't running")
        return 0
    pid = int(json.loads(answer.stdout)["daemon"]["pid"])
    os.kill(pid, signal.SIGTERM)
    for _ in range(STOP_TRIES_MAX):
        if _genq("ping").returncode != 0:
            print(f"stopped (pid {pid})")
            return 0
    print(f"pid {pid} doesn't stop; see logs/genqd.jsonl", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
