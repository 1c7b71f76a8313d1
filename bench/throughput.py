"""How fast jobs come in, and how fast they are done."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from bench import peers
from bench.lines import Line, Reference, line, middle
from bench.processes import Meter
from bench.rig import FAST, Rig, folder
from bench.stream import Subscriber
from daemon.wire.client import Client
from daemon.wire.messages import Pause, Resume

DRAIN_FACTOR = 2.0
ADD_S = 0.6
WAITS_S = 4.2
POLL_S = 1.005


def drain(quick: bool) -> Iterator[Line]:
    """Jobs that take no time, from queued to succeeded: every state durable, every submit paid."""
    count, rounds = (2_000, 1) if quick else (10_000, 3)
    ours: list[float] = []
    theirs: list[float] = []
    cpu_ms: list[float] = []
    for _ in range(rounds):
        with Rig(FAST) as rig:
            rig.start()
            with rig.client() as client:
                client.request(Pause())
                rig.add(count)
                meter = Meter(rig.pid)
                ours.append(count / _worked_off(client, rig.socket, count))
                cpu_ms.append(1e3 * meter.cpu_s() / count)
        with folder() as place:
            theirs.append(count / peers.run("drain", place, count)["drain_s"])
    rate, huey = middle(ours), middle(theirs)
    yield line(
        "drain",
        rate,
        "jobs/s",
        f">= {DRAIN_FACTOR:g} x Huey (SQLite, {peers.HUEY_THREADS} threads)",
        met=rate >= DRAIN_FACTOR * huey,
        reference=Reference("huey", huey),
        jobs=count,
        runs=[round(one) for one in ours],
        huey_runs=[round(one) for one in theirs],
        daemon_cpu_ms_per_job=middle(cpu_ms),
    )


def _worked_off(client: Client, socket: Path, count: int) -> float:
    """Seconds from the moment the provider is opened to the last job's durable success."""
    subscriber = Subscriber(socket)
    began = time.perf_counter()
    client.request(Resume())
    ended = subscriber.wait_for("succeeded", count)
    subscriber.close()
    return ended - began


def add(quick: bool) -> Iterator[Line]:
    """`genq add --file` of JSON lines: from the command's start to its end, all acknowledged."""
    count, rounds = (10_000, 2) if quick else (10_000, 7)
    took: list[float] = []
    least: list[float] = []
    with Rig(FAST) as rig:
        rig.start()
        with rig.client() as client:
            client.request(Pause())
        jobs = rig.write_jobs(count)
        for _ in range(rounds):
            took.append(rig.genq("add", "--file", str(jobs)))
            with folder() as place:
                least.append(peers.run("insert", place, count)["add_s"])
    yield line(
        "add",
        middle(took),
        "s",
        f"<= {ADD_S:g} s for {count:,} jobs, the command's start included",
        met=middle(took) <= ADD_S,
        reference=Reference("python + sqlite3, one transaction", middle(least)),
        jobs=count,
        best=min(took),
        worst=max(took),
    )


def waits(quick: bool) -> Iterator[Line]:
    """Jobs of one second, 500 at a time: what is left over the ideal is ours."""
    count, slots = (1_000, 500) if quick else (2_000, 500)
    ideal = count / slots * POLL_S
    limit = WAITS_S * count / 2_000
    took: list[float] = []
    mock = (
        f"submit_s = 0\ngenerate_s = 1\noutputs = 0\n"
        f"poll_interval_s = {POLL_S}\nconcurrency = {slots}\n"
    )
    for _ in range(1 if quick else 3):
        with Rig(mock) as rig:
            rig.start()
            with rig.client() as client:
                client.request(Pause())
                rig.add(count)
                took.append(_worked_off(client, rig.socket, count))
    yield line(
        "waits",
        statistics.median(took),
        "s",
        f"<= {limit:g} s for {count:,} jobs of 1 s, {slots} at a time",
        met=middle(took) <= limit,
        reference=Reference("ideal", ideal),
        best=min(took),
        worst=max(took),
    )
