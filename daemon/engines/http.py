"""HTTP for engines: a request goes out, an answer or a fault comes back. Nothing is retried here.

What a failure may have done at the provider follows resilience.md 1.3: a paid request that had
left the machine when it failed is of unknown effect, a refusal (4xx) of none.
"""

import asyncio
import io
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from aiohttp import ClientTimeout, FormData
from msgspec import Struct
from yarl import URL

from daemon import failpoints
from daemon.clock import Clock
from daemon.core.job import Phase
from daemon.core.outcomes import Effect, Fault
from daemon.engines.answers import (
    ANSWER_BYTES_MAX,
    Answer,
    Dialect,
    Said,
    TooLongError,
    UnreadableError,
    excerpt,
    parsed,
    read,
    read_words,
    safe,
)
from daemon.engines.echoes import spellings
from daemon.engines.engine import Sink
from daemon.engines.fetching import Fetcher
from daemon.engines.guard import Guard
from daemon.engines.retry_after import header_s, longest
from daemon.engines.settings import EngineSettings
from daemon.engines.targets import foreign, is_web
from daemon.engines.transport import FAILURES, ClosedError, Trip, Ways, kind_of, sentence_of

SECRET_CHARS_MIN = 6
"""Shorter values of headers aren't hidden in messages: they are no secrets, and stand in words."""
CODE_CHARS_MAX = 100
AMBIGUOUS = frozenset({302, 303, 408, 499})
"""Statuses below 500 that leave open whether a request was carried out."""


class Call(Struct, frozen=True, kw_only=True):
    """One request. `path` goes behind the target, query and all; a body of bytes is JSON.

    `paid`: this is the request that costs. `effect` is what a failure may have done; without it,
    it follows from the phase and, for a paid request, from what became of it. A form's files are
    given as BytesIO or open files, which aiohttp reads without holding up the loop. `limit_s` is
    over the whole call; without it, the section's limit for the phase.
    """

    phase: Phase
    path: str
    method: str = "GET"
    body: bytes | FormData | None = None
    headers: Mapping[str, str] = {}
    paid: bool = False
    effect: Effect | None = None
    bytes_max: int = ANSWER_BYTES_MAX
    limit_s: float | None = None


class Http:
    """One provider over HTTP.

    `key_header` is the header that carries the key, and what stands before it there. Key and
    configured headers go to the provider's own origin only, and never into a message.
    """

    def __init__(
        self,
        settings: EngineSettings,
        *,
        clock: Clock,
        dialect: Dialect,
        key_header: tuple[str, str] = ("Authorization", "Bearer "),
    ) -> None:
        self._limits = settings.limits
        self._clock = clock
        self._dialect = dialect
        self._proxy = settings.proxy or None
        key = settings.key.reveal() if settings.key is not None else ""
        self._extra = {name: value.reveal() for name, value in settings.headers.items()}
        self._keyed = {key_header[0]: key_header[1] + key} | self._extra if key else self._extra
        self._secrets = _secrets(key, self._extra.values())
        self._guard = Guard(settings.download_hosts, settings.allow_networks)
        self._ways = Ways(self._guard if self._proxy is None else None)
        self._fetcher = Fetcher(
            self._ways,
            self._guard,
            clock=clock,
            timeout=self._timeout(settings.limits.download_timeout_s),
            proxy=self._proxy,
        )

    async def ask(self, call: Call, *, target: str) -> dict[str, Any] | Fault:
        """The JSON object that answers `call` with a 2xx; anything else is a fault."""
        answer = await self.send(call, target=target)
        if isinstance(answer, Fault):
            return answer
        try:
            body = await parsed(answer.body)
        except UnreadableError as error:
            return self.unreadable(call, str(error), http=answer.status)
        if not isinstance(body, dict):
            message = f"expected a JSON object, got: {excerpt(answer.body)}"
            return self.unreadable(call, message, http=answer.status)
        return body

    async def send(self, call: Call, *, target: str) -> Answer | Fault:
        """The complete answer to `call` with a 2xx; anything else is a fault."""
        if not is_web(target):
            return foreign(call.phase, target)
        trip, limit_s = Trip(), self._limit_s(call)
        try:
            async with asyncio.timeout(limit_s):
                answer = await self._exchange(call, target, trip, limit_s)
        except TooLongError as error:
            return self.unreadable(call, str(error), http=200)
        except ClosedError:
            return self._broken(call, trip, "internal", "the engine was closed meanwhile")
        except FAILURES as error:
            kind = kind_of(error, trip)
            words = sentence_of(error, kind, URL(target).host or target)
            return self._broken(call, trip, kind, words)
        return answer if 200 <= answer.status < 300 else await self._refused(call, answer)

    async def fetch_to(
        self, sink: Sink, link: str, *, target: str, keyed: bool = False
    ) -> Fault | None:
        """Stream the result behind `link` into `sink`; None when it is complete.

        A relative link belongs to the origin of `target`; that origin, and no other, gets the
        configured headers and, if `keyed`, the key. Errors of the sink pass through.
        """
        if not is_web(target):
            return foreign("download", target)
        self._guard.trust(target)
        headers = self._keyed if keyed else self._extra
        try:
            fault = await self._fetcher.fetch_to(sink, link, target=target, headers=headers)
        except ClosedError:
            return Fault("download", "internal", message="closed meanwhile", effect="accepted")
        return None if fault is None else self.cleaned(fault)

    def unreadable(self, call: Call, message: str, *, http: int | None = None) -> Fault:
        """An answer that isn't what the provider documents: of a paid request, a doubt."""
        effect = call.effect or _effect_of(call, "unknown")
        return self.cleaned(Fault(call.phase, "protocol", http, None, message, effect=effect))

    def refusal(self, call: Call, said: Said, *, effect: Effect, http: int = 200) -> Fault:
        """An error that the provider reports in an answer that isn't marked as one.

        Its code says more than the status: `effect` is the engine's reading of it.
        """
        code, words, wait_s = said.code, said.message, said.retry_after_s
        return self.cleaned(Fault(call.phase, "provider.error", http, code, words, wait_s, effect))

    def cleaned(self, fault: Fault) -> Fault:
        """`fault` as it may be kept: its words without our key, and not too long."""
        code = None if fault.code is None else safe(fault.code, self._secrets)[:CODE_CHARS_MAX]
        message = safe(fault.message, self._secrets)
        return msgspec.structs.replace(fault, code=code, message=message)

    async def close(self) -> None:
        """Close every connection; safe to call twice."""
        await self._ways.close()

    async def _exchange(self, call: Call, target: str, trip: Trip, limit_s: float) -> Answer:
        self._guard.trust(target)
        session = self._ways.paid() if call.paid else self._ways.shared()
        # A body in a file-like object is sent in pieces.
        body = io.BytesIO(call.body) if isinstance(call.body, bytes) else call.body
        kind = {"Content-Type": "application/json"} if isinstance(call.body, bytes) else {}
        async with session.request(
            call.method,
            URL(target.rstrip("/") + call.path, encoded=True),
            data=body,
            headers={**kind, **self._keyed, **call.headers},
            allow_redirects=False,
            timeout=self._timeout(limit_s),
            proxy=self._proxy,
            trace_request_ctx=trip,
        ) as response:
            trip.answered = True
            failpoints.at("reply_begun")
            headers = {name.lower(): value for name, value in response.headers.items()}
            if response.status < 300:
                return Answer(response.status, headers, await read(response, call.bytes_max))
            words, flaw = await read_words(response, limit_s / 2)
            return Answer(response.status, headers, words, flaw)

    async def _refused(self, call: Call, answer: Answer) -> Fault:
        try:  # a code in what is only a beginning might mean something else than it seems
            body = None if answer.flaw else await parsed(answer.body)
        except UnreadableError:
            body = None
        now = self._clock.now()
        said = self._dialect.read(body, now) or Said(message=excerpt(answer.body, answer.flaw))
        wait_s = longest(header_s(answer.headers, now), said.retry_after_s)
        definite = said.code in self._dialect.refusals or _is_refusal(answer.status)
        effect = call.effect or _effect_of(call, "none" if definite else "unknown")
        message = said.message
        if 300 <= answer.status < 400:
            message = "the provider's address redirects, which isn't followed: correct base_url"
        return self.cleaned(
            Fault(call.phase, "http", answer.status, said.code, message, wait_s, effect)
        )

    def _broken(self, call: Call, trip: Trip, kind: str, message: str) -> Fault:
        effect = call.effect or _effect_of(call, trip.effect)
        return self.cleaned(Fault(call.phase, kind, message=message, effect=effect))

    def _limit_s(self, call: Call) -> float:
        if call.limit_s is not None:
            return call.limit_s
        submits = call.phase == "submit" and call.effect is None
        return self._limits.submit_timeout_s if submits else self._limits.poll_timeout_s

    def _timeout(self, read_s: float) -> ClientTimeout:
        # The limit over the whole is asyncio's: aiohttp's own raises without saying what it
        # waited for, and fails outside of tasks.
        connect_s = self._limits.connect_timeout_s
        return ClientTimeout(
            total=None, connect=connect_s, sock_connect=connect_s, sock_read=read_s
        )


def _is_refusal(status: int) -> bool:
    """Whether `status` surely means that a request was not carried out."""
    return 300 <= status < 500 and status not in AMBIGUOUS


def _effect_of(call: Call, paid: Effect) -> Effect:
    """What a failed call may have done: `paid` if it is the one that costs."""
    if call.phase != "submit":
        return "accepted"
    return paid if call.paid else "none"


def _secrets(key: str, values: Iterable[str]) -> tuple[str, ...]:
    """What no message may hold, longest first, so that none is left in half."""
    known = {one for value in (key, *values) for one in spellings(value)}
    kept = {one for one in known if len(one) >= SECRET_CHARS_MIN} | ({key} if key else set())
    return tuple(sorted(kept, key=len, reverse=True))
