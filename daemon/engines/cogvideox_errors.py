"""Zhipu's error codes (zhipu-cogvideox.md, "Errors"), and the rules that follow from them."""

from collections.abc import Mapping
from typing import Any

from daemon.core.faults import Rule
from daemon.engines.answers import Said, text_of
from daemon.engines.retry_after import reset_s

DUPLICATE = "1231"
"""A request with this `request_id` exists: so the first one arrived."""
MODERATED = frozenset({"1300", "1301"})
REFUSALS = frozenset({"1302", "1303", "1305", "1312"})
"""Refused for being too many: nothing was accepted, whatever the HTTP status."""
BEIJING_UTC_OFFSET_H = 8
"""Codes 1308 and 1310 name the time of a reset as a clock there shows it."""

_KEY = ("1000", "1001", "1002", "1003", "1004")
_ACCOUNT = ("1110", "1111", "1112", "1121")
_BALANCE = ("1113",)
_FAULTS = ("1120", "1230", "1234", "500")
_GONE = ("1211", "1221")
_REQUEST = ("1210", "1212", "1213", "1214", "1215", "1220", "1222", "1261", "434", "435")
_BUSY = ("1302", "1303")
_OVERLOADED = ("1305", "1312")
_DAILY = ("1304",)
_PERIODIC = ("1308", "1310")
_QUOTA = (*_BUSY, *_OVERLOADED, *_DAILY, *_PERIODIC)
SETTLED = frozenset({*_KEY, *_ACCOUNT, *_BALANCE, *_GONE, *_REQUEST, *MODERATED, *_QUOTA})
"""Codes which say by themselves that the request was refused."""


def _shut(slug: str, codes: tuple[str, ...], why: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            name=f"cogvideox.{slug}-{code}",
            phase="submit",
            code=code,
            do="pause",
            cause="auth",
            until="operator",
            why=why,
        )
        for code in codes
    )


def _refused(slug: str, codes: tuple[str, ...], why: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(name=f"cogvideox.{slug}-{code}", phase="submit", code=code, do="fail", why=why)
        for code in codes
    )


def _paused(slug: str, codes: tuple[str, ...], why: str) -> tuple[Rule, ...]:
    return tuple(
        Rule(name=f"cogvideox.{slug}-{code}", code=code, do="pause", why=why) for code in codes
    )


RULES: tuple[Rule, ...] = (
    Rule(
        name="cogvideox.duplicate",
        phase="submit",
        code=DUPLICATE,
        do="reconcile",
        why="the provider knows this request already: it was accepted, but its id was lost",
    ),
    *_shut("key", _KEY, "the key was refused: set a valid one, then `genq resume`"),
    *_shut("account", _ACCOUNT, "the account is locked or inactive: see to it, then `genq resume`"),
    *_shut("balance", _BALANCE, "the account has no balance: top it up, then `genq resume`"),
    *_shut("model", _GONE, "the provider has no such model: name another, then `genq resume`"),
    *_refused("request", _REQUEST, "the provider refused the request: change it and add it again"),
    *_refused("content", tuple(sorted(MODERATED)), "the provider takes no such content"),
    *_paused("busy", _BUSY, "the account has too many tasks in flight; no attempt is burnt"),
    *_paused("overloaded", _OVERLOADED, "the model is overloaded; no attempt is burnt"),
    *_paused("periodic", _PERIODIC, "the quota is used up until the reset that the provider names"),
    Rule(
        name="cogvideox.daily",
        code=_DAILY[0],
        do="pause",
        until="daily",
        why="the quota of the day is used up; no attempt is burnt",
    ),
    *(
        Rule(
            name=f"cogvideox.fault-{code}",
            phase="submit",
            code=code,
            effect="none",
            do="retry",
            why="the provider had a fault of its own; it is tried again",
        )
        for code in _FAULTS
    ),
    Rule(
        name="cogvideox.picture",
        phase="submit",
        kind="local.decode",
        do="fail",
        why="the picture can't be sent to this provider: give another one and add the job again",
    ),
)


def read_error(body: Any, now: float) -> Said | None:
    """The error in a parsed body: `{"error": {"code", "message"}}`, or a bare code and words.

    >>> read_error({"error": {"code": "1302", "message": "busy"}}, 0.0)
    Said(code='1302', message='busy', retry_after_s=None)
    >>> read_error({"id": "t-1"}, 0.0)
    """
    if not isinstance(body, dict):
        return None
    error = body.get("error", body)
    if isinstance(error, str):
        return Said(message=error)
    if not isinstance(error, Mapping):
        return None
    code = text_of(error.get("code")) or None
    message = text_of(error.get("message")) or text_of(error.get("msg"))
    if code is None and not message:
        return None
    until = reset_s(message, now, utc_offset_h=BEIJING_UTC_OFFSET_H) if code in _PERIODIC else None
    return Said(code, message, until)
