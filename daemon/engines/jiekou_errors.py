"""jiekou.ai's errors (jiekou-images.md, "Errors"), and the rules that follow from them.

The symbol in `reason` is what counts; `code` repeats the HTTP status.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from daemon.core.faults import Do, Rule
from daemon.engines.answers import Said, text_of

PROHIBITED = "PROHIBITED_CONTENT"
UNAVAILABLE = "SERVICE_NOT_AVAILABLE"
REFUSALS = frozenset({UNAVAILABLE, PROHIBITED})
"""Nothing was made, whatever the HTTP status."""

_KEY = ("FAILED_TO_AUTH", "INVALID_API_KEY", "ACCESS_DENY")
_BALANCE = ("NOT_ENOUGH_BALANCE",)
_GONE = ("MODEL_NOT_FOUND",)
_REQUEST = ("INVALID_REQUEST_BODY",)
_QUOTA = ("RATE_LIMIT_EXCEEDED", "TOKEN_LIMIT_EXCEEDED")
_OVERLOADED = "RPM limit exceeded|server overload"
SETTLED = frozenset({*REFUSALS, *_KEY, *_BALANCE, *_GONE, *_REQUEST, *_QUOTA})
"""Reasons which say by themselves that the request was refused."""
_UNSEEN_MAX = 3
"""Looks in a row that may find no task: it may be that it can't be seen yet."""


def _each(
    slug: str, codes: tuple[str, ...], do: Do, why: str, *, phase: Any = "submit", **more: Any
) -> Iterator[Rule]:
    for code in codes:
        symbol = code.lower().replace("_", "-")
        yield Rule(name=f"jiekou.{slug}-{symbol}", phase=phase, code=code, do=do, why=why, **more)


def _shut(slug: str, codes: tuple[str, ...], why: str) -> Iterator[Rule]:
    yield from _each(slug, codes, "pause", why, cause="auth", until="operator")


RULES: tuple[Rule, ...] = (
    *_shut("key", _KEY, "the key was refused: set a valid one, then `genq resume`"),
    *_shut("balance", _BALANCE, "the account has no balance: top it up, then `genq resume`"),
    *_shut("model", _GONE, "the provider has no such model: name another, then `genq resume`"),
    Rule(
        name="jiekou.route",
        phase="submit",
        http="404",
        do="pause",
        cause="auth",
        until="operator",
        why="the model's route isn't there: correct model or base_url, then `genq resume`",
    ),
    *_each(
        "request", _REQUEST, "fail", "the provider refused the request: change it and add it again"
    ),
    *_each("content", (PROHIBITED,), "fail", "the provider takes no such content"),
    *_each(
        "quota",
        _QUOTA,
        "pause",
        "too many requests a minute for this account; no attempt is burnt",
        phase="any",
    ),
    Rule(
        name="jiekou.overloaded",
        kind="provider.error",
        message=_OVERLOADED,
        do="pause",
        why="the model is overloaded, or asked too often; no attempt is burnt",
    ),
    *_each(
        "fault",
        (UNAVAILABLE,),
        "retry",
        "the service wasn't there, and took nothing; it is tried again",
        effect="none",
    ),
    # Whatever the status: a task that is held seconds after it was paid for invites to pay again,
    # and three looks more cost nothing. Is it still not there then, it is lost, as with any 404 of
    # a poll: its id is kept, and a late result taken. Half an hour later the same words mean that
    # the task failed; as they are the same, they are never a verdict.
    Rule(
        name="jiekou.not-visible",
        phase="poll",
        message="task.{0,40}not.{0,10}(found|exist)",
        do="tolerate",
        limit=_UNSEEN_MAX + 1,
        reason="lost",
        why="the provider doesn't know the task; just after a submit that may be so; once it is "
        "held, requeue asks again, --fresh pays again",
    ),
    Rule(
        name="jiekou.picture",
        phase="submit",
        kind="local.decode",
        do="fail",
        why="the picture can't be sent to this provider: give another one and add the job again",
    ),
)


def read_error(body: Any, now: float) -> Said | None:  # noqa: ARG001 - nothing says when to come again
    """The error in a parsed body: `{"code", "reason", "message", "metadata": {"details"}}`.

    Refused content has one symbol, wherever it is said.

    >>> read_error({"code": 403, "reason": "NOT_ENOUGH_BALANCE", "message": "no"}, 0.0)
    Said(code='NOT_ENOUGH_BALANCE', message='no', retry_after_s=None)
    >>> read_error({"images": []}, 0.0)
    """
    if not isinstance(body, dict):
        return None
    error = body.get("error", body)
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, Mapping):
        return None
    code = text_of(error.get("reason")) or text_of(error.get("code"))
    words = [text_of(error.get("message"))]
    metadata = error.get("metadata")
    if isinstance(metadata, Mapping):
        words.append(text_of(metadata.get("details")))
    message = ": ".join(filter(None, words))
    if not code and not message:
        return None
    if PROHIBITED in f"{code} {message}".upper():
        code = PROHIBITED
    return Said(code or None, message or code)
