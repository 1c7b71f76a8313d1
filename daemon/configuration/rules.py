"""An operator's rules: `[[providers.X.rules]]` (interfaces.md 3, resilience.md 1.4)."""

import re
import warnings
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from daemon.configuration.kinds import Check, choice, is_plain, seconds, text, whole
from daemon.configuration.places import Place
from daemon.core.faults import DOS, RULE_PHASES, UNTILS, Rule, pattern
from daemon.core.kinds import KINDS
from daemon.core.suggest import did_you_mean, shown

RULES_MAX = 200
_HTTP = re.compile(r"[1-5](?:[0-9]{2}|xx)", re.ASCII)


def rules(value: Any, place: Place) -> Any:
    """Check of a provider's rules. They are named `<provider>.<n>`, from 1."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        place.refuse(f"expected [[{'.'.join(map(str, place.path))}]] tables, got {shown(value)}")
        return ()
    if len(value) > RULES_MAX:
        place.refuse(f"has {len(value):,} rules; the limit is {RULES_MAX}")
        return ()
    provider = place.path[-2]
    checked = (
        _rule(table, f"{provider}.{number}", place.below(number - 1))
        for number, table in enumerate(value, start=1)
    )
    return tuple(rule for rule in checked if rule is not None)


def _rule(table: Mapping[str, Any], name: str, place: Place) -> Rule | None:
    before = len(place.reading.problems)
    fields = {}
    for key, value in table.items():
        if key not in FIELDS:
            hint = did_you_mean(key, FIELDS) or f"; there are {', '.join(FIELDS)}"
            place.below(key).refuse(f"unknown key{hint}")
        else:
            fields[key] = FIELDS[key](value, place.below(key))
    if "do" not in table:
        place.refuse(f"do is missing: one of {', '.join(DOS)}")
    if len(place.reading.problems) > before:
        return None
    rule = Rule(name=name, **fields, **_cause(fields.get("until", "")))
    _check_sense(rule, place)
    return rule


def _cause(until: str) -> Mapping[str, Any]:
    """What a pause closes the gate for; without `until` that is the quota."""
    return {"cause": until} if until in ("operator", "space") else {}


def _check_sense(rule: Rule, place: Place) -> None:
    """Refuse what is well written and would never do what it says, or pay twice."""
    if rule.until and rule.do != "pause":
        place.below("until").refuse(f'only do = "pause" lasts until something, not {rule.do}')
    if rule.phase == "submit" and rule.effect == "unknown":
        place.below("effect").refuse(
            "a lost answer is never a rule's matter, for it may have been paid: set on_unknown"
        )
    if rule.do == "resubmit":
        if rule.limit is None:
            place.below("do").refuse("resubmit pays again: it needs a limit, such as limit = 1")
        if rule.phase in ("prepare", "download"):
            place.below("do").refuse(f"there is nothing to resubmit in {rule.phase}: use retry")
    elif rule.do in ("retry", "tolerate") and rule.phase == "submit" and rule.effect != "none":
        place.below("do").refuse(
            f"{rule.do} repeats a submit only where nothing can have been paid: "
            'add effect = "none", or use resubmit with a limit, which may pay again'
        )
    elif rule.do == "reconcile" and rule.phase != "submit":
        place.below("do").refuse('reconcile asks about a submit: add phase = "submit"')


def _kind(value: Any, place: Place) -> Any:
    text(value, place)
    if isinstance(value, str) and not any(_may_match(value, kind) for kind in KINDS):
        hint = did_you_mean(value, KINDS) or f"; there are {', '.join(KINDS)}"
        place.refuse(f"{shown(value)} matches no kind of fault{hint}")
    return value


def _may_match(glob: str, kind: str) -> bool:
    return fnmatchcase(kind, glob) or glob.startswith(f"{kind}.")


def _http(value: Any, place: Place) -> Any:
    status = str(value) if type(value) is int and 0 <= value <= 999 else value
    if not isinstance(status, str) or not _HTTP.fullmatch(status.lower()):
        place.refuse(f'expected a status such as 504, or a class such as "5xx", got {shown(value)}')
        return value
    return status.lower()


def _code(value: Any, place: Place) -> Any:
    """A provider's code, compared as text: some send numbers, some text."""
    if type(value) is int and abs(value) < 1 << 64:
        return str(value)
    return text(value, place)


def _message(value: Any, place: Place) -> Any:
    if not isinstance(value, str):
        place.refuse(f"expected a regular expression in quotes, got {shown(value)}")
    elif value == "":
        place.refuse("is empty, which every message matches: leave it out to say so")
    elif is_plain(value, place):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Python finds doubtful isn't what was meant
            try:
                pattern(value)
            except (re.error, OverflowError, RecursionError, Warning) as error:
                place.refuse(f"isn't a regular expression: {error}")
    return value


FIELDS: Mapping[str, Check] = {
    "phase": choice(*RULE_PHASES),
    "kind": _kind,
    "http": _http,
    "code": _code,
    "message": _message,
    "effect": choice("none", "unknown", "accepted"),
    "do": choice(*DOS),
    "wait_s": seconds(),
    "limit": whole(1, 1_000),
    "until": choice(*UNTILS),
    "why": text,
}
"""The keys of a rule, in the order of interfaces.md 3."""
