"""What goes wrong at the mock, call by call: by its script, its quota, and by chance that repeats.

No random number is drawn. `draw` makes one of a seed and what is asked, so that the same seed
brings the same trouble to the same jobs, in whatever order their calls come.
"""

import hashlib
import math

from msgspec import Struct

from daemon.clock import Clock
from daemon.core.job import Phase
from daemon.core.outcomes import Effect, Fault
from daemon.engines.mock_fate import Fate
from daemon.engines.mock_ledger import MockLedger
from daemon.engines.mock_settings import PROMPT_CHARS_MAX, MockSettings
from daemon.engines.mock_weather import Script

_BITS = 53
"""Of a chance: a float holds no more below 1."""
LOST = Fault(
    "submit", "transport.timeout.read", message="the mock's answer was lost", effect="unknown"
)


def draw(*what: int | str) -> int:
    """A number of 64 bits that depends on nothing but `what`.

    >>> draw(0, "poll", 3) == draw(0, "poll", 3) != draw(1, "poll", 3)
    True
    """
    text = "/".join(map(str, what)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def chance(*what: int | str) -> float:
    """A number from 0 up to 1, never 1, that depends on nothing but `what`.

    >>> 0 <= chance(0, "poll", 3) < 1
    True
    """
    return (draw(*what) >> (64 - _BITS)) / (1 << _BITS)


def happens(share: float, *what: int | str) -> bool:
    """Whether `what` is among the `share` that it happens to.

    >>> happens(0.0, 7, "lost"), happens(1.0, 7, "lost")
    (False, True)
    """
    return share > 0 and chance(*what) < share


class Call(Struct, frozen=True):
    """The `number`-th submit of a job, from 0, and the number that its chances are drawn from."""

    number: int
    lot: int


class _Asked(Struct):
    """How often a job's tasks were asked about since the start, and what they meet."""

    script: Script
    polls: int = 0
    fetches: int = 0


class Trouble:
    """What each call to a mock meets. It counts calls in memory, so a restart counts anew; that
    takes some 100 bytes for each job, and as much for each task that polls or scripts depend on.
    """

    def __init__(
        self, settings: MockSettings, script: Script, *, clock: Clock, ledger: MockLedger
    ) -> None:
        self._settings = settings
        self._script = script
        self._clock = clock
        self._ledger = ledger
        self._submits: dict[int, int] = {}
        self._asked: dict[str | int, _Asked] = {}
        self._jobs: dict[str, int] = {}
        self._arrived = 0
        self._quota_until = -math.inf

    def begin(self, job: int) -> Call:
        """Count a submit of `job`."""
        number = self._submits.get(job, 0)
        self._submits[job] = number + 1
        lot = draw(self._settings.seed, job, number) >> 32  # an id has room for 32 bits
        return Call(number, lot)

    def on_arrival(self, prompt: str, call: Call) -> Fault | None:
        """What keeps a request from being accepted."""
        script = self._script.of(prompt[:PROMPT_CHARS_MAX])
        scripted = script.fault(("prepare", "submit"), call.number)
        if scripted is not None:
            return scripted
        wait_s = self._quota_wait_s()
        if wait_s > 0:
            message = "the mock's quota is used up"
            return answered("submit", 429, "mock_quota", message, retry_after_s=wait_s)
        if happens(self._settings.submit_refused, call.lot, "refused"):
            return answered("submit", 503, "mock_refused", "the mock takes nothing just now")
        return LOST if self._is_lost(call) and not _arrives(call) else None

    def on_answer(self, call: Call) -> Fault | None:
        """What keeps the answer to a request that was accepted from being heard."""
        return LOST if self._is_lost(call) and _arrives(call) else None

    async def on_poll(self, remote_id: str, fate: Fate) -> Fault | None:
        """What keeps a task's state from being told. Raises OSError if the ledger can't be read."""
        if not (self._settings.polls_504 or self._script.has("poll")):
            return None
        asked = await self._asked_about(remote_id)
        call, asked.polls = asked.polls, asked.polls + 1
        scripted = asked.script.fault(("poll",), call)
        if scripted is None and happens(self._settings.polls_504, fate.lot, "poll", call):
            return answered("poll", 504, None, "the mock's gateway timed out")
        return scripted

    async def on_fetch(self, remote_id: str) -> Fault | None:
        """What keeps a result from being fetched. Raises OSError if the ledger can't be read."""
        if not self._script.has("download"):
            return None
        asked = await self._asked_about(remote_id)
        call, asked.fetches = asked.fetches, asked.fetches + 1
        return asked.script.fault(("download",), call)

    def _quota_wait_s(self) -> float:
        """How long requests are refused from now on: the n-th that arrives uses the quota up."""
        settings, now = self._settings, self._clock.monotonic()
        if now >= self._quota_until:
            self._arrived += 1
            if settings.quota_every and self._arrived % settings.quota_every == 0:
                self._quota_until = now + settings.quota_for_s
        return self._quota_until - now

    def _is_lost(self, call: Call) -> bool:
        return happens(self._settings.lost_answers, call.lot, "lost")

    async def _asked_about(self, remote_id: str) -> _Asked:
        """A script is played once for each job, however often it is submitted."""
        job = self._jobs.get(remote_id)
        asked = self._asked.get(remote_id if job is None else job)
        if asked is None:
            entry = await self._ledger.entry(remote_id) if self._script.outcomes else None
            if entry is None:
                return self._asked.setdefault(remote_id, _Asked(self._script.of("")))
            self._jobs[remote_id] = entry.job
            script = self._script.of(entry.prompt)
            asked = self._asked.setdefault(entry.job, _Asked(script))
        return asked


def answered(
    phase: Phase, http: int, code: str | None, message: str, *, retry_after_s: float | None = None
) -> Fault:
    """The mock's refusal: before a submit was accepted, or afterwards."""
    effect: Effect = "none" if phase == "submit" else "accepted"
    return Fault(phase, "http", http, code, message, retry_after_s, effect)


def _arrives(call: Call) -> bool:
    """Of the requests whose answer is lost, one half was accepted."""
    return happens(0.5, call.lot, "arrives")
