"""The monitor as an operator meets it: in a terminal, over the socket of a real daemon."""

import random
import re
import time
from collections.abc import Iterator
from threading import Thread

from bench.lines import Line, Reference, line, middle, quantile
from bench.noise import EVENTS_PER_S, JOBS, Noise
from bench.processes import Meter, pss_mb
from bench.rig import FAST, Rig
from bench.stream import Subscriber
from bench.terminal import COLUMNS, LINES, Terminal
from daemon.wire.client import Client
from daemon.wire.messages import Act, Pause

FIRST_PAINT_S = 0.35
FRAME_MS = 3.0
FRAME_BYTES = 1_000
SEEN_P50_MS = 30.0
SEEN_P99_MS = 80.0
MEMORY_MB = 150.0
KEY_MS = 50.0
IDLE_PERCENT = 0.5
MANY = 100_000
QUIET_S = 0.15
REST_S = 0.3
"""After so long the list of events is drawn with the row that changed, not a moment later."""
SETTLE_S = 3.0
ROW = b"shot-"
"""What the names of all jobs begin with."""
BARE = (
    "from textual.app import App\n"
    "from textual.widgets import Static\n"
    "class Bare(App):\n"
    "    def compose(self): yield Static('shot-')\n"
    "Bare().run()\n"
)


def paint(quick: bool) -> Iterator[Line]:
    """From the start of `genq monitor` to the first text, and to the first job."""
    rounds = 3 if quick else 15
    first: list[float] = []
    jobs: list[float] = []
    bare: list[float] = []
    with Rig(FAST) as rig:
        rig.start()
        with rig.client() as client:
            client.request(Pause())
        rig.add(100)
        for _ in range(1 + rounds):
            with Terminal.monitor(rig) as terminal:
                first.append(terminal.sees(b"") - terminal.began)
                jobs.append(terminal.sees(ROW) - terminal.began)
            with Terminal(rig, "-c", BARE) as terminal:
                bare.append(terminal.sees(ROW) - terminal.began)
    yield line(
        "paint",
        middle(first[1:]),
        "s",
        f"<= {FIRST_PAINT_S:g} s to the first text",
        met=middle(first[1:]) <= FIRST_PAINT_S,
        reference=Reference("Textual with one label", middle(bare[1:])),
        worst=max(first[1:]),
        first_job_s=middle(jobs[1:]),
        rounds=rounds,
    )


def frame(quick: bool) -> Iterator[Line]:
    """A visible row of ten thousand changes: what that and its event take, on the screen too."""
    samples = 15 if quick else 60
    spent_ms: list[float] = []
    sizes: list[float] = []
    with Shown(JOBS) as shown:
        visible = shown.visible()
        full = shown.redrawn()
        for number in range(samples):
            shown.terminal.quiet(QUIET_S)
            time.sleep(REST_S)
            start, meter = shown.terminal.written, Meter(shown.terminal.pid)
            token = shown.rename(random.choice(visible))
            shown.terminal.sees(token, start)
            shown.terminal.quiet(QUIET_S / 3)
            if number:
                spent_ms.append(1e3 * meter.cpu_s())
                sizes.append(shown.terminal.written - start)
    yield line(
        "frame_cpu",
        middle(spent_ms),
        "ms of CPU",
        f"<= {FRAME_MS:g} ms for one changed row of {JOBS:,}",
        met=middle(spent_ms) <= FRAME_MS,
        reference=Reference("everything drawn anew", full[0]),
        size=f"{COLUMNS}x{LINES}",
    )
    yield line(
        "frame_bytes",
        middle(sizes),
        "bytes",
        f"<= {FRAME_BYTES:,} bytes for one changed row of {JOBS:,}",
        met=middle(sizes) <= FRAME_BYTES,
        reference=Reference("everything drawn anew", full[1]),
        size=f"{COLUMNS}x{LINES}",
    )


def seen(quick: bool) -> Iterator[Line]:
    """From a subscriber's having an event to its being on the screen, at 1,000 events a second."""
    samples = 30 if quick else 200
    took_ms: list[float] = []
    with Shown(JOBS) as shown, Noise(shown.rig) as noise:
        subscriber = Subscriber(shown.rig.socket)
        told = Told(subscriber)
        visible = shown.visible()
        meter = Meter(shown.terminal.pid)
        for _ in range(samples):
            start = shown.terminal.written
            token = shown.rename(random.choice(visible))
            drawn_at = shown.terminal.sees(token, start)
            took_ms.append(1e3 * max(0.0, drawn_at - told.at(token)))
            time.sleep(random.uniform(0.02, 0.08))
        percent, rate = meter.percent(), noise.rate()
        told.stop()
    for share, limit in ((0.5, SEEN_P50_MS), (0.99, SEEN_P99_MS)):
        value = quantile(took_ms, share)
        yield line(
            f"seen_p{share * 100:.0f}",
            value,
            "ms",
            f"<= {limit:g} ms at {EVENTS_PER_S:,} events/s, {JOBS:,} jobs",
            met=value <= limit,
            reference=Reference("a frame", 33.0),
            events_per_s=rate,
            monitor_cpu_percent=percent,
        )


def crowd(quick: bool) -> Iterator[Line]:
    """A hundred thousand jobs in the monitor: its memory, and how soon a key is answered."""
    count, keys = (10_000, 10) if quick else (MANY, 40)
    answered_ms: list[float] = []
    with Shown(count) as shown:
        memory = pss_mb(shown.terminal.pid)
        for number in range(keys):
            shown.terminal.quiet(QUIET_S)
            start, began = shown.terminal.written, time.perf_counter()
            shown.terminal.type(b"k" if number % 4 == 3 else b"j")
            answered_ms.append(1e3 * (shown.terminal.more(start) - began))
            time.sleep(random.uniform(0.0, 0.2))
    with Shown(100) as few:
        least = pss_mb(few.terminal.pid)
    yield line(
        "crowd_memory",
        memory,
        "MB PSS",
        f"<= {MEMORY_MB:g} MB with {count:,} jobs",
        met=memory <= MEMORY_MB,
        reference=Reference("with 100 jobs", least),
    )
    yield line(
        "crowd_key",
        quantile(answered_ms, 0.95),
        "ms",
        f"<= {KEY_MS:g} ms from a key to its answer with {count:,} jobs (p95)",
        met=quantile(answered_ms, 0.95) <= KEY_MS,
        reference=Reference("the median key", middle(answered_ms)),
        worst=max(answered_ms),
    )


def watch(quick: bool) -> Iterator[Line]:
    """The monitor while nothing happens: only the seconds of what is shown go on."""
    seconds = 8.0 if quick else 20.0
    with Shown(100) as shown:
        meter = Meter(shown.terminal.pid)
        time.sleep(seconds)
        percent = meter.percent()
        with Terminal(shown.rig, "-c", BARE) as bare:
            bare.sees(ROW)
            time.sleep(SETTLE_S)
            least = Meter(bare.pid)
            time.sleep(seconds / 2)
            bare_percent = least.percent()
    yield line(
        "watch_cpu",
        percent,
        "% of a core",
        f"<= {IDLE_PERCENT:g} %",
        met=percent <= IDLE_PERCENT,
        reference=Reference("Textual with one label", bare_percent),
        seconds=seconds,
    )


class Shown:
    """A monitor that shows so many waiting jobs, and has settled. Use it in a `with`."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._renamed = 0

    def __enter__(self) -> "Shown":
        self.rig = Rig(FAST).__enter__()
        try:
            self.rig.start()
            self._client: Client = self.rig.client()
            self._client.request(Pause())
            self.rig.add(self._count)
            self.terminal = Terminal.monitor(self.rig)
            self.terminal.sees(ROW)
            self.terminal.sees(f"{self._count:,}".encode() if self._count > 999 else ROW)
            time.sleep(SETTLE_S)
        except BaseException:
            self.rig.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.terminal.__exit__()
        self._client.close()
        self.rig.__exit__(None, None, None)

    def redrawn(self) -> tuple[float, float]:
        """Have everything drawn anew: milliseconds of CPU, and bytes."""
        self.terminal.quiet(QUIET_S)
        start, meter = self.terminal.written, Meter(self.terminal.pid)
        self.terminal.type(b"\x0c")  # ctrl+l
        self.terminal.more(start)
        self.terminal.quiet(QUIET_S)
        return 1e3 * meter.cpu_s(), float(self.terminal.written - start)

    def visible(self) -> list[int]:
        """The ids of the jobs on the screen."""
        start = self.terminal.written
        self.terminal.type(b"\x0c")
        self.terminal.sees(b"filter:", start)
        self.terminal.quiet(0.05)
        found = re.findall(r"(\d+) \S+ \S+ +mock ", self.terminal.text(start))
        return sorted(set(map(int, found)))

    def rename(self, job: int) -> bytes:
        """Give a job a name that was not there before; the name."""
        self._renamed += 1
        name = f"token-{self._renamed:05}"
        self._client.request(Act(verb="edit", jobs=(job,), changes={"name": name}))
        return name.encode()


class Told:
    """When a subscriber had the event of each new name."""

    def __init__(self, subscriber: Subscriber) -> None:
        self._subscriber = subscriber
        self._at: dict[bytes, float] = {}
        self._thread = Thread(target=self._listen, daemon=True)
        self._thread.start()

    def at(self, name: bytes) -> float:
        """The time (perf_counter) for `name`; waits a little for a listener that is late."""
        for _ in range(1_000):
            if name in self._at:
                return self._at[name]
            time.sleep(0.001)
        raise TimeoutError(f"{name!r} was never told")

    def stop(self) -> None:
        """Hang up."""
        self._subscriber.close()

    def _listen(self) -> None:
        try:
            while True:
                content = self._subscriber.read()
                now = time.perf_counter()
                for name in re.findall(rb'"name":"(token-\d+)"', content):
                    self._at.setdefault(name, now)
        except OSError:
            return
