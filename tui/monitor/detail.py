"""The one job that is shown whole: asked for when the cursor rests on it, and when it changes."""

from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Raw, Struct

from daemon.core.job import Job
from daemon.wire.messages import Request, RequestError, Show, Why
from tui.monitor.board import cleaned_job
from tui.monitor.link import LostError
from tui.text import clean

REST_S = 0.15
"""A cursor that only passes asks for nothing."""
AGAIN_S = 0.5
"""A job that changes all the time is asked for twice a second."""
STALE_S = 5.0
"""The sentence tells times: it is asked for anew."""


class _Why(Struct):
    sentence: str = ""


class Detail:
    """The whole job and the sentence why, as far as they came."""

    def __init__(self, ask: Callable[[Request], Awaitable[Raw]]) -> None:
        self.whole: Job | None = None
        self.sentence = ""
        self._ask = ask
        self._number: int | None = None
        self._since = 0.0
        self._asked_at = 0.0
        self._asking = False

    def want(self, job: Job | None, now: float) -> bool:
        """`job` is the one to show; whether `load` should be called. Costs nothing if it isn't."""
        number = None if job is None else job.id
        if number != self._number:
            self._number, self._since, self._asked_at = number, now, 0.0
            self.whole, self.sentence = None, ""
        self._since = min(self._since, now)  # the clock may be set back
        self._asked_at = min(self._asked_at, now)
        if job is None or self._asking or now - self._since < REST_S:
            return False
        age_s = now - self._asked_at
        behind = self.whole is None or self.whole.rev < job.rev
        return age_s > (AGAIN_S if behind else STALE_S)

    def due_s(self, now: float) -> float | None:
        """When to ask `want` again, if nothing else happens; None: not at all."""
        if self._number is None or self.whole is not None:
            return None
        return max(0.0, REST_S - (now - self._since)) + 0.01

    async def load(self, now: float) -> None:
        """Ask for the job and its sentence. Without an answer, what is known stands."""
        number = self._number
        if number is None or self._asking:
            return
        self._asking, self._asked_at = True, now
        try:
            shown = msgspec.json.decode(await self._ask(Show(job=number)), type=Job)
            why = msgspec.json.decode(await self._ask(Why(job=number)), type=_Why)
        except (LostError, RequestError, msgspec.DecodeError):
            return
        finally:
            self._asking = False
        if number == self._number:
            self.whole, self.sentence = cleaned_job(shown), clean(why.sentence)

    def merged(self, job: Job) -> Job:
        """`job` as the board knows it, with what only the whole one has."""
        if self.whole is None or self.whole.id != job.id:
            return job
        whole = self.whole
        return msgspec.structs.replace(
            job,
            stages=whole.stages,
            outputs=whole.outputs,
            params=whole.params,
            images=whole.images,
            attempts=whole.attempts,
        )
