"""Google's errors (veo-gemini.md, "Errors" and "429 in detail"), and the rules that follow."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from daemon.core.faults import PauseCause, Rule
from daemon.engines.answers import Said, beginning, text_of
from daemon.engines.retry_after import duration_s, longest

WORDS_CHARS_MAX = 1_200
"""Of the message proper, so that the quotas named behind it are never cut off."""
MINUTE_S = 60.0
SPEND_WINDOW_S = 600.0
"""Limits on spending look at the last ten minutes."""
DETAILS_MAX = 20
NO_OPERATION = "not_an_operation"
"""Our own code: the id of a task can't be one, and nobody was asked."""
_RETRY_IN = re.compile(r"retry in ([0-9][0-9hms.]*s)")


def _shut(slug: str, code: str, why: str) -> Rule:
    return _submit(
        slug,
        code=code,
        do="pause",
        cause="auth",
        until="operator",
        why=f"{why}, then `genq resume`",
    )


def _submit(slug: str, **fields: Any) -> Rule:
    return Rule(name=f"veo.{slug}", phase="submit", **fields)


_AUTH: PauseCause = "auth"
RULES: tuple[Rule, ...] = (
    _submit(
        "no-quota",
        message=r"\blimit: 0(?![\d.])|\[quota \S+: 0\]",
        effect="none",
        do="pause",
        cause=_AUTH,
        until="operator",
        why="this account has no quota for the model, waiting is useless: see to it, "
        "then `genq resume`",
    ),
    _submit(
        "daily",
        message=r"\[quota \S*PerDay",
        do="pause",
        until="daily",
        why="the quota of the day is used up; no attempt is burnt",
    ),
    _submit(
        "spending",
        http="429",
        message=r"\bspend",
        do="pause",
        wait_s=SPEND_WINDOW_S,
        why="the limit on spending within ten minutes is reached; no attempt is burnt",
    ),
    _submit(
        "quota",
        code="RESOURCE_EXHAUSTED",
        do="pause",
        why="the quota is used up; no attempt is burnt",
    ),
    _submit(
        "quota-words",
        message="exceeded your current quota",
        do="pause",
        why="the quota is used up; no attempt is burnt",
    ),
    _shut("key-invalid", "API_KEY_INVALID", "the key is refused: set a valid one"),
    _shut("key-unknown", "UNAUTHENTICATED", "the key is refused: set a valid one"),
    _shut("key-rights", "PERMISSION_DENIED", "the key has no right to this: check the account"),
    _shut("billing", "FAILED_PRECONDITION", "billing or region: check the account"),
    _shut("model-gone", "NOT_FOUND", "the provider has no such model any more: name another"),
    _submit(
        "model",
        http="404",
        do="pause",
        cause=_AUTH,
        until="operator",
        why="the provider has no such model, or not at this address: correct model or base_url, "
        "then `genq resume`",
    ),
    _submit(
        "invalid",
        code="INVALID_ARGUMENT",
        do="fail",
        why="the provider refused the request: change it and add the job again",
    ),
    _submit(
        "picture",
        kind="local.decode",
        do="fail",
        why="the picture can't be sent to this provider: give another one and add the job again",
    ),
    Rule(
        name="veo.poll-key",
        phase="poll",
        code="API_KEY_INVALID",
        do="pause",
        cause=_AUTH,
        until="operator",
        why="the key is refused: set a valid one; the task goes on and is asked for meanwhile",
    ),
    Rule(
        name="veo.poll-quota",
        phase="poll",
        kind="provider.error",
        code="RESOURCE_EXHAUSTED",
        do="tolerate",
        counted=False,
        why="the provider asks for fewer calls; its polls are spaced out",
    ),
    Rule(
        name="veo.no-operation",
        phase="poll",
        code=NO_OPERATION,
        do="hold",
        reason="lost",
        why="the task's id is no operation's name: attach the right one",
    ),
)


def read_error(body: Any, now: float) -> Said | None:  # noqa: ARG001 - no message names a moment
    """The error in a parsed body, with the quotas it names behind its words.

    >>> read_error([{"error": {"status": "NOT_FOUND", "message": "gone"}}], 0.0)
    Said(code='NOT_FOUND', message='gone', retry_after_s=None)
    """
    if isinstance(body, list) and body:  # "occasionally wrapped in a one-element list"
        body = body[0]
    error = body.get("error") if isinstance(body, Mapping) else None
    if isinstance(error, str):
        return Said(message=error)
    if not isinstance(error, Mapping):
        return None
    details = _details(error)
    quotas = list(_quotas(details))
    words = text_of(error.get("message"))
    message = " ".join([beginning(words, WORDS_CHARS_MAX), *(f"[quota {one}]" for one in quotas)])
    return Said(_code(error, details), message.strip(), _wait_s(words, details, quotas))


def _details(error: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = error.get("details")
    if not isinstance(found, list):
        return []
    return [one for one in found[:DETAILS_MAX] if isinstance(one, Mapping)]


def _of_type(details: list[Mapping[str, Any]], name: str) -> Iterator[Mapping[str, Any]]:
    return (one for one in details if text_of(one.get("@type")).endswith(f".{name}"))


def _code(error: Mapping[str, Any], details: list[Mapping[str, Any]]) -> str | None:
    """The status's name; of a bad key the reason, for INVALID_ARGUMENT says many things."""
    reasons = [text_of(one.get("reason")) for one in details]
    if "API_KEY_INVALID" in reasons:
        return "API_KEY_INVALID"
    return text_of(error.get("status")) or text_of(error.get("code")) or None


def _quotas(details: list[Mapping[str, Any]]) -> Iterator[str]:
    """`quotaId: quotaValue` of each quota that was exceeded."""
    for failure in _of_type(details, "QuotaFailure"):
        violations = failure.get("violations")
        for one in violations[:DETAILS_MAX] if isinstance(violations, list) else ():
            if isinstance(one, Mapping) and (quota := text_of(one.get("quotaId"))[:100]):
                value = text_of(one.get("quotaValue"))[:20]
                yield f"{quota}: {value}" if value else quota


def _wait_s(words: str, details: list[Mapping[str, Any]], quotas: list[str]) -> float | None:
    """RetryInfo, or the words; a quota by the minute lasts no longer than that."""
    told = [duration_s(text_of(one.get("retryDelay"))) for one in _of_type(details, "RetryInfo")]
    if match := _RETRY_IN.search(words):
        told.append(duration_s(match[1]))
    wait = longest(*told)
    by_minute = any("PerMinute" in quota for quota in quotas)
    return MINUTE_S if wait is None and by_minute else wait
