"""Many who watch, and one of them who never looks: `python -m bench.fanout SOCKET COUNT`.

As a program it is the watchers: for each line of its standard input it prints how late events were.
"""

import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

from bench.lines import Line, Reference, line, middle, quantile
from bench.processes import Meter
from bench.rig import ROOT, Rig, rows
from bench.stream import Subscriber
from daemon.wire.upload import add_all

WATCHERS = 100
EVENTS_PER_S = 1_000
EVENT_BYTES = 300
WEATHER = "submit_s = 0.01\ngenerate_s = [0.1, 0.5]\noutputs = 0\npoll_interval_s = 0.6\n"
FANOUT_PERCENT = 50.0
LATE_FACTOR = 1.25
LATE_MORE_MS = 2.0
"""So much more is noise, even with nobody stuck."""
READ_BYTES = 262_144
SETTLE_S = 0.5
_AT = re.compile(rb'"at":([0-9.]+)')


def fanout(quick: bool) -> Iterator[Line]:
    """A thousand events a second to a hundred subscribers; then with one more, who never reads."""
    seconds, rounds = (3.0, 1) if quick else (5.0, 3)
    with Rig(f"{WEATHER}concurrency = 500\n") as rig:
        rig.start()
        with Source(rig) as source:
            time.sleep(SETTLE_S)
            alone = _cpu_percent(rig.pid, seconds)
            with Watchers(rig.socket) as watchers:
                percent: list[float] = []
                late: dict[bool, list[float]] = {False: [], True: []}
                for _ in range(rounds):
                    for stuck in (False, True):
                        sleeper = Subscriber(rig.socket) if stuck else None
                        cpu, p99 = watchers.watch(rig.pid, seconds)
                        late[stuck].append(p99)
                        percent += [cpu] if not stuck else []
                        if sleeper is not None:
                            sleeper.close()
            rate = source.rate()
        bare = _bare_percent(rate, seconds)
    free, held = middle(late[False]), middle(late[True])
    yield line(
        "fanout_cpu",
        middle(percent),
        "% of a core",
        f"<= {FANOUT_PERCENT:g} % for {WATCHERS} subscribers x {EVENTS_PER_S:,} events/s",
        met=middle(percent) <= FANOUT_PERCENT and rate >= 0.95 * EVENTS_PER_S,
        reference=Reference("a bare loop that writes as much to as many", bare),
        without_subscribers=alone,
        subscribers_add=middle(percent) - alone,
        events_per_s=rate,
    )
    limit = LATE_FACTOR * free + LATE_MORE_MS
    yield line(
        "fanout_stuck_p99",
        held,
        "ms",
        f"the others' p99 unchanged by one who never reads (noise: {limit:.3g} ms)",
        met=held <= limit,
        reference=Reference("without it", free),
        runs=[round(one, 1) for one in late[True]],
        runs_without=[round(one, 1) for one in late[False]],
    )


def _cpu_percent(pid: int, seconds: float) -> float:
    meter = Meter(pid)
    time.sleep(seconds)
    return meter.percent()


class Source:
    """Makes events at an even rate, in a thread: jobs come one by one, and are done."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._ended = Event()
        self._thread = Thread(target=self._make)

    def __enter__(self) -> "Source":
        self._events_per_job = self._of_one_job()
        self._began, self._seq = time.perf_counter(), self._newest()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def rate(self) -> float:
        """Events a second so far."""
        return (self._newest() - self._seq) / (time.perf_counter() - self._began)

    def _of_one_job(self) -> int:
        """How many events there are from added to succeeded."""
        before = self._newest()
        subscriber = Subscriber(self._rig.socket)
        self._rig.add(1)
        subscriber.wait_for("succeeded", 1)
        subscriber.close()
        return self._newest() - before

    def _newest(self) -> int:
        with self._rig.client() as client:
            return client.welcome.seq

    def _make(self) -> None:
        due = time.perf_counter()
        with self._rig.client() as client:
            while not self._ended.is_set():
                add_all(client, rows(1), {})
                due += self._events_per_job / EVENTS_PER_S
                time.sleep(max(0.0, due - time.perf_counter()))


class Watchers:
    """The subscribers, in a process of their own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "Watchers":
        command = [sys.executable, "-m", "bench.fanout", str(self._path), str(WATCHERS)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def watch(self, pid: int, seconds: float) -> tuple[float, float]:
        """For so long: what `pid` takes of a core, in percent, and the lateness p99, in ms."""
        time.sleep(SETTLE_S)
        self._ask()
        percent = _cpu_percent(pid, seconds)
        return percent, self._ask()

    def _ask(self) -> float:
        """The p99 since it was asked for last."""
        assert self._process.stdin is not None  # noqa: S101  narrows
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> float:
        assert self._process.stdout is not None  # noqa: S101  narrows
        return float(self._process.stdout.readline())


def _bare_percent(rate: float, seconds: float) -> float:
    """What it costs to write so many events a second to so many sockets, each by itself."""
    pairs = [socket.socketpair() for _ in range(WATCHERS)]
    block = b"x" * EVENT_BYTES
    took = 0.0
    for _ in range(round(rate * seconds)):
        began = time.thread_time()
        for writer, _ in pairs:
            writer.send(block)
        took += time.thread_time() - began
        for _, reader in pairs:
            reader.recv(READ_BYTES)
    for pair in pairs:
        for one in pair:
            one.close()
    return 100 * took / seconds


def _watch(path: Path, count: int) -> None:
    """Subscribe `count` times and read; at each line that comes print the p99 since the last."""
    watched = selectors.DefaultSelector()
    for _ in range(count):
        watched.register(Subscriber(path).socket, selectors.EVENT_READ)
    watched.register(sys.stdin, selectors.EVENT_READ, "asked")
    late_ms = [0.0]
    print(0, flush=True)
    while True:
        for key, _ in watched.select():
            if key.data == "asked":
                if not sys.stdin.readline():  # the benchmark has ended
                    return
                print(quantile(late_ms or [0.0], 0.99), flush=True)
                late_ms.clear()
                continue
            content = key.fileobj.recv(READ_BYTES)  # type: ignore[union-attr]  # a socket
            now = time.time()
            late_ms += [1e3 * (now - float(at)) for at in _AT.findall(content)[-1:]]


if __name__ == "__main__":
    _watch(Path(sys.argv[1]), int(sys.argv[2]))
