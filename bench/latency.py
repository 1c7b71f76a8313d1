"""How long one thing takes while nothing else goes on: a start, an answer."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from threading import Thread

from bench.disk import Probe
from bench.lines import Line, Reference, line, middle, quantile
from bench.rig import FAST, Rig, rows
from bench.stream import Subscriber
from daemon.wire.client import Client
from daemon.wire.messages import AddBegin, AddCommit, AddRows

SYNCS_OF_A_START = 3
"""The acknowledged add, the start, and one that may be under way."""
P50_MORE_MS = 2.0
P99_MORE_MS = 5.0
PAUSE_S = (0.01, 0.05)
"""Between two samples, at random: nothing is to fall in step with a timer."""
STATUS_S = 0.15
WARM_UP = 5


def start(quick: bool) -> Iterator[Line]:
    """From the sending of an add to the news that its job was started, which is durable then."""
    samples = 60 if quick else 300
    took_ms: list[float] = []
    with Rig(FAST) as rig:
        rig.start()
        probe = Probe(rig.folder)
        subscriber = Subscriber(rig.socket)
        with rig.client() as client:
            for number in range(WARM_UP + samples):
                one = _started_ms(client, subscriber)
                subscriber.wait_for("succeeded", 1)
                time.sleep(random.uniform(*PAUSE_S))
                if number >= WARM_UP:
                    took_ms.append(one)
                    probe.sync()
        subscriber.close()
        probe.close()
    for share, more_ms in ((0.5, P50_MORE_MS), (0.99, P99_MORE_MS)):
        value, sync = quantile(took_ms, share), probe.quantile_ms(share)
        limit = SYNCS_OF_A_START * sync + more_ms
        yield line(
            f"start_p{share * 100:.0f}",
            value,
            "ms",
            f"<= {SYNCS_OF_A_START} fdatasync + {more_ms:g} ms, here {limit:.3g}",
            met=value <= limit,
            reference=Reference("fdatasync of 4 KiB, the same share", sync),
            samples=samples,
        )


def _started_ms(client: Client, subscriber: Subscriber) -> float:
    """One sample. Waits for the event in a thread of its own: the client waits for its answer."""
    token = client.request(AddBegin())["add"]
    client.request(AddRows(add=token, rows=tuple(rows(1))))
    arrived: list[float] = []
    waiter = Thread(target=lambda: arrived.append(subscriber.wait_for("started", 1)))
    waiter.start()
    began = time.perf_counter()
    client.request(AddCommit(add=token))
    waiter.join()
    return 1e3 * (arrived[0] - began)


def status(quick: bool) -> Iterator[Line]:
    """`genq status`, from the command's start to its end."""
    rounds = 5 if quick else 25
    took: list[float] = []
    bare: list[float] = []
    with Rig(FAST) as rig:
        rig.start()
        rig.add(100)
        rig.genq("status")
        for _ in range(rounds):
            took.append(rig.genq("status"))
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", "pass"], check=True, env=rig.environ)
            bare.append(time.perf_counter() - began)
    yield line(
        "status",
        middle(took),
        "s",
        f"<= {STATUS_S:g} s",
        met=middle(took) <= STATUS_S,
        reference=Reference("python -c pass", middle(bare)),
        worst=max(took),
        rounds=rounds,
    )
