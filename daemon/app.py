"""The composition root: builds everything, runs it, reloads it, ends it in order."""

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import structlog
from msgspec import UNSET, UnsetType

from daemon import lock, logs, overrides, privacy
from daemon.assembly import Assembler
from daemon.book import Book
from daemon.clock import Clock, SystemClock
from daemon.config import Flags, Loaded
from daemon.core.events import Event, EventType
from daemon.desk.intake import Intake
from daemon.desk.listing import Listing
from daemon.desk.operations import Operations
from daemon.desk.problems import Problems
from daemon.desk.report import Reporter
from daemon.desk.waiting import Waiting
from daemon.engines.spool import Spool
from daemon.gatekeeper import Gatekeeper
from daemon.housekeeping import Housekeeper
from daemon.journaling import log_events
from daemon.media.downloads import Filing
from daemon.media.inputs import InputStore
from daemon.media.pictures import PicturePool
from daemon.moments import Moments
from daemon.performer import IoPerformer
from daemon.providers import Provider
from daemon.redaction import Redactor
from daemon.reload import Reloader
from daemon.serving.binding import listen
from daemon.serving.hub import Hub
from daemon.serving.server import Server
from daemon.space import Room
from daemon.store.port import Loaded as Journal
from daemon.store.port import StoreError
from daemon.store.sqlite import SqliteStore
from daemon.supervisor import Supervisor
from daemon.systemd import Notifier

log = structlog.get_logger()
JOBS_PER_PAGE = 2_000
STATUS_EVERY_S = 10.0


class App:
    """One run of the daemon."""

    def __init__(
        self,
        loaded: Loaded,
        flags: Flags,
        environ: Mapping[str, str],
        cwd: Path,
        *,
        level: str = "info",
        clock: Clock | None = None,
    ) -> None:
        self.loaded = loaded
        self._flags = flags
        self._environ = environ
        self._cwd = cwd
        self._level = level
        self._clock: Clock = clock or SystemClock()
        self._problems = Problems()
        self._stopping = asyncio.Event()
        self._hurry: Callable[[], None] = lambda: None
        self._fatal: StoreError | None = None
        self._providers: dict[str, Provider] = {}
        self._moments = Moments(clock=self._clock, providers=self._providers)

    async def run(self) -> StoreError | None:
        """Run until told to stop. Returns why it had to, or None after an orderly stop.

        Raises LockHeldError, StoreError, BindError, AssemblyError and OSError at the start.
        """
        async with AsyncExitStack() as stack:
            await self._build(stack)
            await self._serve()
        return self._fatal

    # ---- building ----

    async def _build(self, stack: AsyncExitStack) -> None:
        section = self.loaded.config.daemon
        section.output_dir.mkdir(parents=True, exist_ok=True)  # the umask's, with all above it
        stack.enter_context(privacy.private_files(section.state_dir, section.log_dir))
        held = lock.take(section.state_dir)
        stack.callback(os.close, held)
        self._redactor = Redactor()
        stop_log = logs.start(
            section.log_dir, level=self._level, redactor=self._redactor, now=self._clock.now
        )
        stack.callback(stop_log)
        self._store = SqliteStore(section.state_dir, clock=self._clock)
        stack.push_async_callback(self._store.close)
        journal = await self._store.open()
        await self._build_media(stack)
        await self._fill_book(journal)
        await self._build_desk(stack, journal)

    async def _build_media(self, stack: AsyncExitStack) -> None:
        config = self.loaded.config
        inputs = config.daemon.state_dir / "inputs"
        self._inputs = InputStore(inputs)
        await self._inputs.open()
        self._pictures = PicturePool(config.pictures.image_workers, inputs / "fitted")
        stack.push_async_callback(self._pictures.close)
        mode, hide = config.daemon.output_mode, self._redactor.text
        self._filing = Filing(config.daemon.output_dir, mode=mode, hide=hide)
        self._assembler = Assembler(
            clock=self._clock,
            state_dir=config.daemon.state_dir,
            pictures=self._pictures,
            environ=self._environ,
            learn=self._redactor.learn,
        )
        self._providers.update(await asyncio.to_thread(self._assembler.build, self.loaded))

    async def _fill_book(self, journal: Journal) -> None:
        self._book = Book(self._store, now=self._clock.now)
        self._book.seq = journal.seq
        self._book.next_job_id = journal.next_job_id
        self._book.gates.update(journal.gates)
        async for page in self._store.jobs(JOBS_PER_PAGE):
            self._book.load(page)
        self._configure_book()
        self._book.index()
        gc.freeze()  # many jobs: collections over all of them would stall the loop
        self._gatekeeper = Gatekeeper(
            book=self._book,
            clock=self._clock,
            providers=self._providers,
            overrides_file=self.loaded.config.daemon.state_dir / overrides.FILE_NAME,
            problem=self._problems.note,
        )
        await self._gatekeeper.open()

    def _configure_book(self) -> None:
        graces = {one.name: one.policy.limits.cancel_grace_s for one in self._providers.values()}
        self._book.configure(graces)

    async def _build_desk(self, stack: AsyncExitStack, journal: Journal) -> None:
        section = self.loaded.config.daemon
        self._room = Room(self._clock, self._gatekeeper.room, section.output_dir, section.state_dir)
        performer = IoPerformer(
            book=self._book,
            clock=self._clock,
            inputs=self._inputs,
            pictures=self._pictures,
            filing=self._filing,
            provider=self._providers.__getitem__,
            room=self._room.check,
        )
        self._supervisor = Supervisor(
            book=self._book,
            clock=self._clock,
            performer=performer,
            providers=self._providers,
            moment=self._moments.of,
            released=performer.forget,
        )
        self._hurry = self._supervisor.hurry
        self._binding = listen(self.loaded.socket, section.socket_mode, self._environ)
        self._reloader = Reloader(
            self.loaded,
            self._flags,
            self._environ,
            self._cwd,
            assembler=self._assembler,
            providers=self._providers,
            taken=self._taken_over,
            tell=self._told_of_config,
        )
        reporter = Reporter(
            book=self._book,
            store=self._store,
            clock=self._clock,
            providers=self._providers,
            socket=self._binding.name,
            config=self.loaded.path,
            problems=lambda: self._problems.lines(self._book, self._providers),
        )
        operations = Operations(
            boot=self._clock.key(),
            book=self._book,
            supervisor=self._supervisor,
            reporter=reporter,
            listing=Listing(self._book, self._store, reporter, self._clock),
            intake=Intake(self._book, self._inputs, reporter, self._clock),
            waiting=Waiting(book=self._book, clock=self._clock, providers=self._providers),
            clock=self._clock,
        )
        hub = Hub(journal=operations, clock=self._clock)
        self._store.on_commit(hub.publish)
        self._store.on_commit(log_events)
        self._store.on_trouble(self._gatekeeper.space)
        self._store.on_fatal(self._die)
        self._server = Server(desk=operations, hub=hub, clock=self._clock)
        self._journal = journal
        stack.callback(self._binding.close)

    # ---- running ----

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        notifier = Notifier(self._environ)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reloader.soon)
        self._record("daemon_started")
        if self._journal.unclean and self.loaded.config.daemon.start_paused_after_crash:
            self._gatekeeper.pause_all("the last stop was not an orderly one")
        self._supervisor.recover(self._journal.unrecorded)
        self._gatekeeper.configure()
        await self._book.seen()
        await self._server.start(self._binding.socket)
        notifier.ready()
        log.info("ready", socket=self._binding.name, jobs=len(self._book.jobs))
        housekeeper = Housekeeper(
            book=self._book,
            store=self._store,
            clock=self._clock,
            inputs=self._inputs,
            pictures=self._pictures,
            filing=self._filing,
            spool=Spool(self._assembler.spool),
            keep_days=self.loaded.config.daemon.keep_days,
        )
        async with asyncio.TaskGroup() as tasks:
            chores = [
                tasks.create_task(chore)
                for chore in (housekeeper.run(), self._room.run(), self._tell_systemd(notifier))
            ]
            await self._stopping.wait()
            for chore in chores:
                chore.cancel()
        notifier.stopping()
        await self._end()

    async def _end(self) -> None:
        """Nothing new starts; answers that may be paid for are waited for."""
        if self._fatal is None:
            self._record("daemon_stopping")
        policies = [one.policy for one in self._providers.values()]
        waits = [one.limits.submit_timeout_s for one in policies if one.abilities.synchronous]
        await self._supervisor.stop(max([self.loaded.config.daemon.stop_grace_s, *waits]))
        await self._gatekeeper.close()
        await self._server.stop("the daemon stops")
        await self._reloader.close()
        for provider in self._providers.values():
            if provider.engine is not None:
                await provider.engine.close()
        log.info("stopped", fatal=self._fatal and str(self._fatal))

    async def _tell_systemd(self, notifier: Notifier) -> None:
        """One line for `systemctl status`, now and then."""
        while True:
            queued, doubts = self._book.counts["queued"], self._book.counts["in_doubt"]
            running = self._supervisor.running
            self._supervisor.look_at_clock()
            notifier.status(f"{running} running, {queued} queued, {doubts} in doubt")
            await self._clock.sleep(STATUS_EVERY_S)

    def _stop(self) -> None:
        """SIGTERM: end in order; a second one waits for nothing."""
        if self._stopping.is_set():
            self._hurry()
        self._stopping.set()

    def _die(self, error: StoreError) -> None:
        """The journal failed: nothing more can be promised."""
        self._fatal = error
        self._stopping.set()
        self._hurry()

    def _record(self, kind: EventType, detail: str | UnsetType = UNSET) -> None:
        self._book.record([Event(at=self._clock.now(), type=kind, detail=detail)])

    # ---- reload ----

    def _taken_over(self, loaded: Loaded) -> None:
        """A new configuration counts from now on."""
        self.loaded = loaded
        self._moments.forget()
        self._configure_book()
        self._supervisor.adopt()
        self._gatekeeper.configure()

    def _told_of_config(self, kind: EventType, detail: str) -> None:
        refused = f"the configuration was not taken over: {detail}"
        self._problems.note("config", refused if kind == "config_refused" else None)
        self._record(kind, detail or UNSET)
