"""Keeps the board true: connects, reads a snapshot, follows the events, and comes back when lost.

The daemon numbers its events; after a break the feed asks for those it missed. Where they aren't
kept any more, or another run of the daemon answers, whose journal may have been restored, it takes
a fresh snapshot, and tells of the missed ones all the same. It gives up never, and raises nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from daemon.core.events import Event
from daemon.core.job import Job
from daemon.wire.codec import BadFrameError, Resync, Told
from daemon.wire.messages import Events, Ping, Providers, Request, RequestError, Subscribe
from daemon.wire.session import ProtocolMismatchError
from tui.monitor.board import EVENTS_KEPT_MAX, Board, Gap
from tui.monitor.gates import ProviderRow
from tui.monitor.link import Link, LostError
from tui.text import clean

RETRY_S = (0.2, 0.4, 0.8, 1.6, 3.0, 5.0)
"""Waits between attempts to connect; the last one repeats."""
PING_EVERY_S = 5.0
SILENCE_S_MAX = 15.0
"""A daemon that says nothing for so long, though asked, is given up: a new connection."""
RECALLED_EVENTS = 200
SNAPSHOT_S_MAX = 120.0

Phase = Literal["connecting", "reading", "live", "away"]


class _Part(Struct):
    jobs: list[Job] = []
    providers: list[ProviderRow] = []
    events: list[Event] = []


class _Newer(Struct):
    job: int | UnsetType = UNSET


class _Subscribed(Struct):
    seq: int = 0


_EVENT: Final[msgspec.json.Decoder[Event]] = msgspec.json.Decoder(Event)
_PART: Final[msgspec.json.Decoder[_Part]] = msgspec.json.Decoder(_Part)


class Feed:
    """The daemon, as far as it is reached. `changed` is called when there is news.

    `paths` are where its socket may be, in order; without one there, the last is told of.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        board: Board,
        *,
        now: Callable[[], float],
        changed: Callable[[], None],
    ) -> None:
        self.path = paths[-1]
        self.phase: Phase = "connecting"
        self.problem = ""
        self.latency_s: float | None = None
        self.read = 0
        self.lost_at: float | None = None
        self._paths = paths
        self._board = board
        self._now = now
        self._changed = changed
        self._link: Link | None = None
        self._boot: str | None = None
        self._ended = asyncio.Event()
        self._torn = asyncio.Event()
        self._behind = False
        self._held: list[Event] | None = None

    @property
    def live(self) -> bool:
        """Whether what the board says is what the daemon says."""
        return self.phase == "live"

    async def run(self) -> None:
        """Keep the board true until cancelled."""
        tries = 0
        while True:
            try:
                await self._attend()
                tries = 0
            except LostError as error:
                self.problem = f"no daemon at {self.path}, retrying"
                if self.lost_at is None and self._board.snapshots:
                    self.problem = f"connection lost: {clean(str(error))}"
            except (
                ProtocolMismatchError,
                BadFrameError,
                RequestError,
                msgspec.DecodeError,
            ) as error:
                self.problem = clean(str(error))
            self._away()
            wait_s = RETRY_S[min(tries, len(RETRY_S) - 1)]
            tries += 1
            try:
                async with asyncio.timeout(wait_s):
                    await asyncio.Event().wait()
            except TimeoutError:
                continue

    def _away(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        if self.lost_at is None and self._board.snapshots:
            self.lost_at = self._now()
        self.phase = "away"
        self.latency_s = None
        self._changed()

    # ---- one connection ----

    async def _attend(self) -> None:
        """From the greeting until the connection ends; raises what ends it before it is live."""
        self._ended.clear()
        self._torn.clear()
        self._behind = False
        self._held = []
        self.path = next(filter(_is_there, self._paths), self._paths[-1])
        link, welcome = await Link.open(self.path, self._told, self._ended.set)
        self._link = link
        missed = welcome.seq - self._board.seq
        replay = welcome.boot == self._boot and missed >= 0
        if replay:
            await self._replay(link, missed)
        if not replay or self._torn.is_set():
            await self._snapshot(link)
        self._boot = welcome.boot
        self.phase, self.problem, self.lost_at = "live", "", None
        self._changed()
        while not self._ended.is_set():
            if self._torn.is_set():
                await self._mend(link)
            await self._pulse(link)

    async def _mend(self, link: Link) -> None:
        """Some events were left out: have them told, or read everything anew."""
        self._torn.clear()
        behind, self._behind = self._behind, False
        if behind:
            await link.ask(Subscribe(after=self._board.seq))
        else:
            await self._snapshot(link)

    async def _replay(self, link: Link, missed: int) -> None:
        """Ask for what was missed. It comes like all events, before or after the answer."""
        after = self._board.seq
        since = self._now() if self.lost_at is None else self.lost_at
        self._board.keep(Gap(since, self._now(), missed))
        self._release()
        await link.ask(Subscribe(after=after))

    async def _snapshot(self, link: Link) -> None:
        """Read everything anew; events that come meanwhile wait for it."""
        self._held = []
        self.phase, self.read = "reading", 0
        board = self._board
        known = board.seq if board.snapshots else None
        since = self._now() if self.lost_at is None else self.lost_at
        board.begin()

        def part(raw: Raw) -> None:
            piece = _PART.decode(raw)
            if piece.jobs:
                self.read = board.load(piece.jobs)
            if piece.providers:
                board.know(piece.providers)
            self._changed()

        answer = await link.ask(Subscribe(snapshot=True), part, wait_s=SNAPSHOT_S_MAX)
        board.commit(msgspec.json.decode(answer, type=_Subscribed).seq)
        self.phase = "live"
        self._torn.clear()
        self._changed()
        tail = RECALLED_EVENTS if known is None else min(board.seq - known, EVENTS_KEPT_MAX)
        events = await self._stored(link, tail) if tail > 0 else []
        if known is not None:
            board.keep(Gap(since, self._now(), len(events), anew=True))
        board.recall(events)
        self._release()
        self._changed()

    async def _stored(self, link: Link, tail: int) -> list[Event]:
        """The last events, for the list of them; none where a newer daemon has other ones."""
        events: list[Event] = []

        def part(raw: Raw) -> None:
            try:
                events.extend(_PART.decode(raw).events)
            except msgspec.ValidationError:
                events.clear()

        await link.ask(Events(tail=tail), part)
        return events

    async def _pulse(self, link: Link) -> None:
        """Wait a while, then ask whether the daemon still answers."""
        try:
            async with asyncio.timeout(PING_EVERY_S):
                await self._first_of(self._ended, self._torn)
        except TimeoutError:
            asked_at = asyncio.get_running_loop().time()
            await link.ask(Ping(), wait_s=SILENCE_S_MAX)
            self.latency_s = asyncio.get_running_loop().time() - asked_at
            self._changed()

    async def _first_of(self, *flags: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(flag.wait()) for flag in flags]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # ---- what comes ----

    def _told(self, told: Told | Resync) -> None:
        """What nobody asked for: an event, or word that some were left out."""
        if isinstance(told, Resync):
            self._behind = True
            self._torn.set()
            return
        try:
            event = _EVENT.decode(told.line)
        except msgspec.ValidationError:
            self._unreadable(told)
            return
        if self._held is not None:
            self._held.append(event)
        else:
            self._apply(event)
            self._changed()

    def _unreadable(self, told: Told) -> None:
        """An event of a newer daemon: if it changed a job, only a snapshot tells how."""
        self._board.seq = max(self._board.seq, told.seq)
        if msgspec.json.decode(told.line, type=_Newer).job is not UNSET:
            self._torn.set()

    def _apply(self, event: Event) -> None:
        if self._board.read(event) == "torn":
            self._torn.set()

    def _release(self) -> None:
        held, self._held = self._held or [], None
        for event in held:
            self._apply(event)

    # ---- what goes ----

    async def ask(self, request: Request) -> Raw:
        """The answer of the daemon. Raises LostError or RequestError."""
        if self._link is None or self.phase == "away":
            raise LostError(self.problem or "not connected yet")
        return await self._link.ask(request)

    async def refresh_providers(self) -> None:
        """Read the rows of the providers again: latencies don't come as events."""
        try:
            rows = msgspec.json.decode(await self.ask(Providers()), type=list[ProviderRow])
        except (LostError, RequestError, msgspec.DecodeError):
            return
        self._board.know(rows)
        self._changed()


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False
