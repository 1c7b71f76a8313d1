"""What genq takes when there is little to do: at rest, at the start, while it only polls."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.lines import Line, Reference, line, middle
from bench.processes import Meter, pss_mb
from bench.rig import FAST, ROOT, Rig, folder, rows
from bench.stream import Subscriber
from bench.vendor import Vendor, bare_poller
from daemon.media.pictures import REST_S
from daemon.wire.messages import Pause
from daemon.wire.upload import add_all

IDLE_MB = 50.0
IDLE_PERCENT = 0.3
READY_S = 0.5
READY_FULL_S = 2.0
UNFINISHED = 100_000
POLLED = 1_000
POLL_EVERY_S = 10.0
POLL_PERCENT = 15.0
SETTLE_S = 3.0
KEY = "BENCH_KEY"
IMPORTS = "import asyncio, sqlite3, msgspec, structlog"


def idle(quick: bool) -> Iterator[Line]:
    """A daemon that has drawn a picture, and has had no work for a while."""
    seconds = 8.0 if quick else 25.0
    with Rig("submit_s = 0\ngenerate_s = 0\npoll_interval_s = 0.05\n") as rig:
        rig.start()
        subscriber = Subscriber(rig.socket)
        rig.add(1)
        subscriber.wait_for("succeeded", 1)
        subscriber.close()
        busy = pss_mb(rig.pid)
        with _resting_huey(int(seconds + REST_S + SETTLE_S) + 5) as huey:
            time.sleep(REST_S + SETTLE_S)
            ours, theirs = Meter(rig.pid), Meter(huey)
            time.sleep(seconds)
            percent, huey_percent = ours.percent(), theirs.percent()
            memory, huey_mb = pss_mb(rig.pid), pss_mb(huey)
    yield line(
        "idle_memory",
        memory,
        "MB PSS",
        f"<= {IDLE_MB:g} MB, {REST_S:g} s after its last picture",
        met=memory <= IDLE_MB,
        reference=Reference("huey, its consumer", huey_mb),
        with_picture_worker=busy,
    )
    yield line(
        "idle_cpu",
        percent,
        "% of a core",
        f"<= {IDLE_PERCENT:g} %",
        met=percent <= IDLE_PERCENT,
        reference=Reference("huey, its consumer", huey_percent),
        seconds=seconds,
    )


@contextmanager
def _resting_huey(seconds: int) -> Iterator[int]:
    """The process id of a Huey consumer without work."""
    with (
        folder() as place,
        subprocess.Popen(
            [sys.executable, "-m", "bench.peers", "rest", str(place), str(seconds)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101  narrows
        json.loads(process.stdout.readline())
        try:
            yield process.pid
        finally:
            process.kill()


def ready(quick: bool) -> Iterator[Line]:
    """From the daemon's start to its first answer: with nothing to do, and with much."""
    rounds = 2 if quick else 5
    count = 10_000 if quick else UNFINISHED
    with Rig(FAST) as rig:
        empty: list[float] = []
        imports: list[float] = []
        for _ in range(1 + rounds):
            empty.append(rig.start())
            rig.stop()
            imports.append(_imported_s(rig.folder))
        yield line(
            "ready",
            middle(empty[1:]),
            "s",
            f"<= {READY_S:g} s",
            met=middle(empty[1:]) <= READY_S,
            reference=Reference(
                "python importing asyncio, sqlite3, msgspec, structlog", middle(imports[1:])
            ),
            worst=max(empty[1:]),
        )
        rig.start()
        with rig.client() as client:
            client.request(Pause())
            add_all(client, rows(count), {})
        rig.stop()
        full = []
        for _ in range(rounds):
            full.append(rig.start())
            rig.stop()
        yield line(
            "ready_full",
            middle(full),
            "s",
            f"<= {READY_FULL_S:g} s with {count:,} unfinished jobs",
            met=middle(full) <= READY_FULL_S,
            reference=Reference("without jobs", middle(empty[1:])),
            worst=max(full),
        )


def _imported_s(place: Path) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True, cwd=place)
    return time.perf_counter() - began


def polls(quick: bool) -> Iterator[Line]:
    """A thousand jobs at a provider, each asked about every ten seconds, over HTTP on loopback."""
    seconds = POLL_EVERY_S if quick else 2 * POLL_EVERY_S
    with Vendor() as vendor:
        section = (
            f'[providers.video]\nengine = "cogvideox"\nbase_url = "{vendor.base_url}"\n'
            f'api_key = {{ env = "{KEY}" }}\nmodel = "cogvideox-3"\nconcurrency = {POLLED}\n'
            f"generate_timeout_s = 200000\npoll_interval_s = {POLL_EVERY_S:g}\n"
        )
        with Rig("", more=section) as rig:
            rig.environ[KEY] = "not-a-key"
            rig.start()
            subscriber = Subscriber(rig.socket)
            rig.add(POLLED, provider="video")
            subscriber.wait_for("submitted", POLLED)
            subscriber.close()
            time.sleep(SETTLE_S)
            percent, memory = _percent(rig.pid, seconds), pss_mb(rig.pid)
        with bare_poller(vendor, POLLED, POLL_EVERY_S) as bare:
            time.sleep(POLL_EVERY_S)
            least = _percent(bare, seconds)
    yield line(
        "polls",
        percent,
        "% of a core",
        f"<= {POLL_PERCENT:g} % for {POLLED:,} jobs polled every {POLL_EVERY_S:g} s",
        met=percent <= POLL_PERCENT,
        reference=Reference("aiohttp that only polls as many", least),
        us_per_poll=percent / 100 * POLL_EVERY_S / POLLED * 1e6,
        memory_mb=memory,
    )


def _percent(pid: int, seconds: float) -> float:
    meter = Meter(pid)
    time.sleep(seconds)
    return meter.percent()
