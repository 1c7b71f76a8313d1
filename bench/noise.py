"""Events at an even rate, for whatever is watched meanwhile."""

import random
import time
from threading import Event, Thread

from bench.rig import Rig
from daemon.wire.messages import Act

JOBS = 10_000
EVENTS_PER_S = 1_000
BURST = 20


class Noise:
    """Events at an even rate, in a thread: priorities of jobs anywhere in the list are changed."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._ended = Event()
        self._made = 0
        self._thread = Thread(target=self._make)

    def __enter__(self) -> "Noise":
        self._began = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def rate(self) -> float:
        """Events a second so far."""
        return self._made / (time.perf_counter() - self._began)

    def _make(self) -> None:
        due = time.perf_counter()
        turn = 0
        with self._rig.client() as client:
            while not self._ended.is_set():
                turn += 1
                jobs = tuple(random.sample(range(1, JOBS + 1), BURST))
                client.request(Act(verb="edit", jobs=jobs, changes={"labels": [f"n{turn}"]}))
                self._made += BURST
                due += BURST / EVENTS_PER_S
                time.sleep(max(0.0, due - time.perf_counter()))
