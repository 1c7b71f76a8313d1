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
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from daemon.core.suggest import shown
from daemon.privacy import private_files

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


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Leaving:
    """What a signal does: the first ends the run in order, at once or, where processes are begun
    that have to be ended, as soon as they are known. Further ones change nothing.
    """

    def __init__(self) -> None:
        self.number = 0
        self.heard: Callable[[], object] | None = None
        """Called where the signal ends nothing by itself."""
        self._later = False
        for number in SIGNALS:
            signal.signal(number, self._leave)

    @contextlib.contextmanager
    def later(self) -> Iterator[None]:
        """A signal is only noted inside, and ends the run after it. Raises SystemExit."""
        self._later = True
        try:
            yield
        finally:
            self._later = False
        if self.number:
            raise SystemExit(128 + self.number)

    def _leave(self, number: int, _frame: FrameType | None) -> None:
        if self.number:
            return
        self.number = number
        if not self._later:
            raise SystemExit(128 + number)
        if self.heard is not None:
            self.heard()


def main(argv: Sequence[str] | None = None) -> int:
    """Run, or with `--stop` stop, the checkout's own daemon. Returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words not in ([], ["--stop"]):
        print("usage: ./dev run | ./dev stop", file=sys.stderr)
        return 2
    os.chdir(ROOT)
    leaving = Leaving()
    if words == ["--stop"]:
        return _stop_running()
    if _genq("ping").returncode == 0:
        return _show(leaving)
    return _show_own(leaving)


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


def _show_own(leaving: Leaving) -> int:
    """The same with a daemon of its own, which goes on only behind a monitor."""
    daemon = None
    stays = False
    try:
        with leaving.later():
            daemon = _start()
        if _genq("ping", "--wait", READY_S_MAX).returncode != 0:
            _stop(daemon)
            words = OUTPUT.read_text(errors="replace")
            print(words or "the daemon doesn't answer", file=sys.stderr)
            return 1
        stays = _seen()
        return _show(leaving)
    finally:
        if daemon is not None and not stays:
            _stop(daemon)


def _start() -> "subprocess.Popen[bytes]":
    with private_files(OUTPUT.parent):
        out = OUTPUT.open("wb")
    with out:
        return subprocess.Popen(
            GENQD, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )


def _stop(daemon: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        daemon.terminate()
    daemon.wait(STOP_S_MAX)


def _seen() -> bool:
    """Whether somebody sits at a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _show(leaving: Leaving) -> int:
    """Queue the example if there is nothing, then the monitor, or a line for each job."""
    code = _fill()
    if code:
        return code
    if _seen():
        return _monitor()
    with leaving.later():
        return asyncio.run(_watch(leaving))


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


async def _watch(leaving: Leaving) -> int:
    """A line for each job that ends, until none goes on by itself; the exit code of `genq wait`.

    A signal ends the wait.
    """
    waiting = await asyncio.create_subprocess_exec(
        *_command(), "wait", "--json", stdout=asyncio.subprocess.PIPE
    )
    following = await asyncio.create_subprocess_exec(
        *_command(), "events", "--follow", "--after", "0", "--json", stdout=asyncio.subprocess.PIPE
    )
    loop = asyncio.get_running_loop()
    leaving.heard = partial(loop.call_soon_threadsafe, _end, waiting)
    if leaving.number:
        _end(waiting)
    teller = Teller()
    telling = loop.create_task(teller.tell(following.stdout))
    stdout, _ = await waiting.communicate()
    leaving.heard = None
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
    return waiting.returncode if waiting.returncode in (0, 1) else 1


def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()


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
