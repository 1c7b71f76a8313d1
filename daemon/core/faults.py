"""Rules: which action follows a fault. Ordered data, first match wins (resilience.md 1.4).

Three lists stand one behind the other: the guard, which nothing can shadow; the provider's rules
(the operator's, then the engine's); the shared ones at the end of this file.
"""

import functools
import re
from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct

from daemon.core.kinds import FOREIGN
from daemon.core.outcomes import Fault

Do = Literal["tolerate", "retry", "resubmit", "fail", "pause", "hold", "reconcile"]
DOS: tuple[Do, ...] = ("tolerate", "retry", "resubmit", "fail", "pause", "hold", "reconcile")
RulePhase = Literal["prepare", "submit", "poll", "download", "any"]
RULE_PHASES: tuple[RulePhase, ...] = ("prepare", "submit", "poll", "download", "any")
Until = Literal["", "operator", "daily", "space"]
UNTILS: tuple[Until, ...] = ("", "operator", "daily", "space")
PauseCause = Literal["quota", "auth", "space", "operator"]


class Rule(Struct, frozen=True, kw_only=True):
    """If every field given matches, do this. Interfaces.md 3, `[[providers.X.rules]]`.

    `http` is a number or a class (`504`, `5xx`), `kind` a glob, `code` is compared as text,
    `message` is a regular expression that ignores case. `counted` is false where an answer burns
    nothing (quota while polling); `cause` names what a pause closes the gate for; `reason` is the
    held job's, also where a limit holds it.
    """

    name: str
    phase: RulePhase = "any"
    kind: str | None = None
    http: str | None = None
    code: str | None = None
    message: str | None = None
    effect: str | None = None
    do: Do
    wait_s: float | None = None
    limit: int | None = None
    until: Until = ""
    why: str = ""
    cause: PauseCause = "quota"
    reason: str = ""
    counted: bool = True


@functools.cache
def pattern(text: str) -> re.Pattern[str]:
    """The compiled form of a rule's `message`. Raises re.error on a bad one.

    >>> bool(pattern("timed? ?out").search("Request Timed out"))
    True
    """
    return re.compile(text, re.IGNORECASE)


def http_matches(wanted: str, status: int | None) -> bool:
    """Whether `status` is what a rule's `http` asks for.

    >>> http_matches("5xx", 504), http_matches("504", 500), http_matches("5xx", None)
    (True, False, False)
    """
    if status is None:
        return False
    if wanted.endswith("xx"):
        return str(status)[:1] == wanted[:1]
    return str(status) == wanted


def matches(rule: Rule, fault: Fault) -> bool:
    """Whether every field that `rule` gives holds for `fault`.

    >>> matches(Rule(name="r", http="5xx", do="tolerate"), Fault("poll", "http", http=504))
    True
    """
    return (
        rule.phase in ("any", fault.phase)
        and (rule.kind is None or fnmatchcase(fault.kind, rule.kind))
        and (rule.http is None or http_matches(rule.http, fault.http))
        and (rule.code is None or rule.code == fault.code)
        and (rule.effect is None or rule.effect == fault.effect)
        and (rule.message is None or pattern(rule.message).search(fault.message) is not None)
    )


def _shut(slug: str, http: str, why: str, *, phase: RulePhase = "submit") -> Rule:
    """A refusal that no waiting mends: an operator opens the gate."""
    return Rule(
        name=f"shared.{slug}",
        phase=phase,
        http=http,
        do="pause",
        cause="auth",
        until="operator",
        why=f"{why}, then `genq resume`",
    )


GUARD = Rule(
    name="guard",
    phase="submit",
    effect="unknown",
    do="reconcile",
    why="the answer to a paid request was lost: it may have been accepted, so it is not sent again",
)

SHARED: tuple[Rule, ...] = (
    Rule(
        name="shared.verdict",
        kind="provider.failed",
        do="fail",
        why="the provider says that the task failed; a requeue submits, and pays, anew",
    ),
    Rule(
        name="shared.accepted",
        phase="submit",
        effect="accepted",
        do="reconcile",
        why="the request was accepted, but its id was lost: it is not sent again",
    ),
    Rule(
        name="shared.foreign",
        kind=FOREIGN,
        do="hold",
        reason="lost",
        why="the mock knows no real task, and a real provider none of the mock's: run the one "
        "that has it and requeue; --fresh submits, and pays, anew",
    ),
    Rule(
        name="shared.prepare-decode",
        phase="prepare",
        kind="local.decode",
        do="fail",
        why="the picture can't be used: give another one and add the job again",
    ),
    Rule(
        name="shared.nospace",
        kind="local.nospace",
        do="pause",
        cause="space",
        until="space",
        why="the disk is full: free some space, work goes on by itself",
    ),
    Rule(
        name="shared.prepare",
        phase="prepare",
        do="retry",
        limit=2,
        why="a picture could not be made ready",
    ),
    _shut("auth", "401", "the key was refused: set a valid one, reload"),
    _shut("forbidden", "403", "the key has no right to this: check the account"),
    _shut("balance", "402", "the account has no balance: top it up"),
    Rule(
        name="shared.quota",
        phase="submit",
        http="429",
        do="pause",
        why="the provider's quota is used up; jobs wait, no attempt is burnt",
    ),
    Rule(
        name="shared.quota-later",
        http="429",
        do="tolerate",
        counted=False,
        why="the provider asks for fewer calls; its polls are spaced out",
    ),
    Rule(
        name="shared.refused",
        phase="submit",
        http="4xx",
        do="fail",
        why="the provider refused the request: change it and add the job again",
    ),
    Rule(
        name="shared.submit",
        phase="submit",
        effect="none",
        do="retry",
        why="the request surely reached nobody or was surely refused; it is tried again",
    ),
    *(
        Rule(
            name=f"shared.{slug}",
            phase="poll",
            http=http,
            do="hold",
            reason="lost",
            why=f"the provider {has} the task: requeue asks again, --fresh pays again",
        )
        for slug, http, has in (("lost", "404", "doesn't know"), ("gone", "410", "has dropped"))
    ),
    _shut(
        "poll-auth",
        "401",
        "the key was refused: set a valid one (the task goes on meanwhile)",
        phase="poll",
    ),
    Rule(
        name="shared.poll-slow",
        phase="poll",
        http="408",
        do="tolerate",
        why="the provider was slow to answer; the task goes on",
    ),
    Rule(
        name="shared.poll-forbidden",
        phase="poll",
        http="4xx",
        do="hold",
        reason="lost",
        why="the provider refuses to tell about the task; its id is kept, requeue asks again",
    ),
    Rule(
        name="shared.poll",
        phase="poll",
        do="tolerate",
        why="the network or a gateway failed; the task goes on at the provider",
    ),
    *(
        Rule(
            name=f"shared.link-{status}",
            phase="download",
            http=status,
            do="hold",
            reason="link_expired",
            why="the result's link has expired; requeue asks the provider for a fresh one",
        )
        for status in ("403", "404", "410")
    ),
    Rule(
        name="shared.private-link",
        phase="download",
        kind="local.address",
        do="hold",
        reason="download",
        why="the link leads into a private network: allow the place it names, then requeue",
    ),
    Rule(
        name="shared.missing",
        phase="download",
        kind="local.missing",
        do="hold",
        reason="link_expired",
        why="the result that came inside an answer is gone from this machine; "
        "requeue asks the provider for it again",
    ),
    Rule(
        name="shared.too-large",
        phase="download",
        kind="local.toolarge",
        do="hold",
        reason="download",
        why="the result is over download_max_mb: raise it, then requeue",
    ),
    Rule(
        name="shared.download",
        phase="download",
        do="retry",
        why="the download failed; the result is kept at the provider and tried again",
    ),
)
"""Every phase ends with a rule that takes what is left."""

LAST_RESORT = Rule(
    name="none",
    do="hold",
    reason="lost",
    why="no rule covers this answer: look at the error, then requeue or cancel",
)


def classify(fault: Fault, rules: tuple[Rule, ...]) -> Rule:
    """The rule that decides about `fault`. Total: the guard first, a last resort at the end.

    >>> classify(Fault("submit", "http", http=504, effect="unknown"), ()).name
    'guard'
    >>> classify(Fault("poll", "http", http=504, effect="accepted"), ()).name
    'shared.poll'
    """
    if matches(GUARD, fault):
        return GUARD
    fitting = (
        rule for rule in (*rules, *SHARED) if matches(rule, fault) and not _is_wrong(rule, fault)
    )
    return next(fitting, LAST_RESORT)


def _is_wrong(rule: Rule, fault: Fault) -> bool:
    """Whether it could pay twice, or wait for a failed task. Such a rule is passed over."""
    paid = fault.phase == "submit" and fault.effect != "none"
    # A code says why a call was refused, or why a task failed: asking on takes the kind by name.
    dead = fault.phase == "poll" and fault.kind == "provider.failed" and rule.kind is None
    return rule.do in ("retry", "tolerate", "pause") and (paid or dead)
