"""Whatever happens between daemon and clients, what a client folded is what the daemon has.

Random commits, stalls, cuts, reconnects, pruning, restarts and restores, with bounds so small that
every way of falling behind is taken often. A client does what docs/protocol.md tells it to do, and
notes every hole that it wasn't told of (tests/fakes/reader.py).
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from daemon.core.job import STATES, Job
from daemon.serving.hub import Bounds, Hub, Subscription
from daemon.wire.messages import Welcome
from daemon.wire.session import ClientSession
from tests.fakes.clock import FakeClock, settle
from tests.fakes.desk import FakeDesk
from tests.fakes.outlet import FakeOutlet
from tests.fakes.reader import StreamReader, encoded

BOUNDS = Bounds(
    buffer_bytes_max=1_500, block_bytes=800, recent_bytes_max=1_000, behind_events_max=6
)
LOW_BYTES = 400
JOBS_OF_CLIENTS = (None, None, 2)
"""Two clients follow everything, one only job 2."""
clients = st.integers(0, len(JOBS_OF_CLIENTS) - 1)


class Viewer:
    """A client: away, or with a snapshot in its hand, or subscribed."""

    def __init__(self, job: int | None) -> None:
        self.job = job
        self.reader = StreamReader(job)
        self.boot: str | None = None
        self.snapshot: tuple[int, dict[int, Job]] | None = None
        self.outlet: FakeOutlet | None = None
        self.place: Subscription | None = None

    @property
    def needs_snapshot(self) -> bool:
        return self.boot is None or self.reader.lost


class Streams(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.desk = FakeDesk()
        self.backup: tuple[dict[int, Job], int] = ({}, 0)
        self.viewers = [Viewer(job) for job in JOBS_OF_CLIENTS]
        self.boots = 0
        self.start()

    def start(self) -> None:
        self.boots += 1
        self.desk.boot = f"b{self.boots}"
        self.hub = Hub(journal=self.desk, clock=FakeClock(), bounds=BOUNDS)
        self.desk.hub = self.hub

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(work)

    # ---- the daemon ----

    @rule(count=st.integers(1, 6), size=st.sampled_from([0, 300, 2_000]))
    def jobs_are_added(self, count: int, size: int) -> None:
        async def add() -> None:
            self.desk.add_jobs(count, prompt="p" * size)

        self.do(add())

    @precondition(lambda self: self.desk.jobs)
    @rule(pick=st.integers(0, 1_000), states=st.lists(st.sampled_from(STATES), max_size=12))
    def jobs_change(self, pick: int, states: list[str]) -> None:
        async def turn() -> None:
            for step, state in enumerate(states):
                self.desk.turn(1 + (pick + step) % len(self.desk.jobs), state)

        self.do(turn())

    @rule(turns=st.integers(1, 40))
    def time_passes(self, turns: int) -> None:
        self.do(settle(turns))

    @rule(share=st.floats(0, 1))
    def old_events_are_pruned(self, share: float) -> None:
        self.desk.prune(round(self.desk.durable_seq * share))

    @rule(restored=st.booleans(), backed_up=st.booleans())
    def the_daemon_restarts(self, restored: bool, backed_up: bool) -> None:
        """Perhaps with an old backup; perhaps the next one is made of what there is now."""
        for number in range(len(self.viewers)):
            self.cut(number)
        if backed_up:
            self.backup = (dict(self.desk.jobs), self.desk.durable_seq)
        if restored:
            self.desk.restore(*self.backup)
            for viewer in self.viewers:
                viewer.boot = None  # a client that sees another boot takes a snapshot
        self.start()

    # ---- clients ----

    @rule(number=clients)
    def a_snapshot_is_taken(self, number: int) -> None:
        """Things may happen before the subscription that goes on from it."""
        viewer = self.viewers[number]
        if viewer.needs_snapshot:
            viewer.snapshot = (self.desk.durable_seq, dict(self.desk.jobs))

    @initialize()
    def the_first_to_come_subscribe(self) -> None:
        self.everybody_subscribes()

    @rule()
    def everybody_subscribes(self) -> None:
        for number, viewer in enumerate(self.viewers):
            if viewer.snapshot is None:
                self.a_snapshot_is_taken(number)
            self.do(self.subscribe(viewer))

    async def subscribe(self, viewer: Viewer) -> None:
        if viewer.needs_snapshot:
            if viewer.snapshot is None:
                return
            viewer.reader.load(*viewer.snapshot)
            viewer.boot, viewer.snapshot = self.desk.boot, None
        elif viewer.outlet is not None:
            return
        if viewer.place is not None:
            self.hub.leave(viewer.place)
        if viewer.outlet is None:
            viewer.reader.session = ClientSession()
            viewer.reader.session.welcome = Welcome(hello="genq", protocol=1)
            viewer.outlet = FakeOutlet(viewer.reader.take, low_bytes=LOW_BYTES)
        viewer.place = self.hub.subscribe(viewer.outlet, viewer.reader.place, job=viewer.job)

    @rule(number=clients, bytes_max=st.sampled_from([0, 0, 7, 500, 3_000]))
    def a_client_reads_slowly(self, number: int, bytes_max: int) -> None:
        """It takes so much, and then nothing until it is told to."""
        if (outlet := self.viewers[number].outlet) is not None:
            outlet.flow(bytes_max)

    @rule(number=clients)
    def a_client_reads_all(self, number: int) -> None:
        if (outlet := self.viewers[number].outlet) is not None:
            outlet.flow()

    @rule(number=clients)
    def a_connection_is_cut(self, number: int) -> None:
        self.cut(number)

    def cut(self, number: int) -> None:
        viewer = self.viewers[number]
        if viewer.outlet is not None and viewer.place is not None:
            viewer.outlet.abort()
            self.hub.leave(viewer.place)
        viewer.outlet = viewer.place = viewer.snapshot = None

    # ---- what must hold ----

    @invariant()
    def no_stream_had_a_fault(self) -> None:
        assert [viewer.reader.faults for viewer in self.viewers] == [[]] * len(self.viewers)

    @invariant()
    def nobody_keeps_more_than_the_bounds_allow(self) -> None:
        slack = BOUNDS.block_bytes + 5_000  # a block, and the last event, which is never cut
        for viewer in self.viewers:
            if viewer.outlet is not None:
                kept = viewer.outlet.waiting_bytes()
                assert kept <= BOUNDS.buffer_bytes_max + BOUNDS.recent_bytes_max + slack

    def teardown(self) -> None:
        try:
            self.do(self.everything_calms_down())
        finally:
            self.loop.close()

    async def everything_calms_down(self) -> None:
        """All read, come back, begin anew where they must; then all know the same."""
        for _ in range(3):
            for viewer in self.viewers:
                if viewer.outlet is not None:
                    viewer.outlet.flow()
            await settle(60)
            for number, viewer in enumerate(self.viewers):
                self.a_snapshot_is_taken(number)
                await self.subscribe(viewer)
            await settle(60)
        for viewer in self.viewers:
            assert not viewer.needs_snapshot
            assert viewer.place is not None
            assert viewer.reader.faults == []
            if viewer.job is None:
                assert viewer.reader.place == self.desk.durable_seq
                assert encoded(viewer.reader.jobs) == encoded(self.desk.jobs)
            else:
                assert viewer.reader.jobs.get(viewer.job) == self.desk.jobs.get(viewer.job)
            self.hub.leave(viewer.place)
        await settle()


Streams.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestWhatAClientKnowsIsWhatTheDaemonHas = Streams.TestCase
