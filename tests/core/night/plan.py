"""What a night is made of: the providers and their policies, and how much of everything happens."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from daemon.core.faults import Rule
from daemon.core.policy import Abilities, Limits, Policy
from tests.core.world import Chance, between, happens, one_of

HOUR = 3_600.0


class Plan(Struct, frozen=True, kw_only=True):
    """How many of what, in how many hours, with whom."""

    policies: Mapping[str, Policy]
    jobs: int = 30
    hours: float = 8.0
    commands: int = 40
    crashes: int = 5
    storms: int = 30
    pauses: int = 2
    reloads: int = 3
    jumps: float = 0.25
    """The share of restarts at which the machine's clock is put forward or back."""


def veo() -> Policy:
    """Quotas are its trouble; no lookup, no cancel, no progress."""
    return Policy(
        rules=(
            Rule(name="veo.1", phase="submit", http="400", do="hold"),
            Rule(
                name="veo.2", phase="submit", http="429", message="day", do="pause", until="daily"
            ),
        ),
        limits=Limits(submit_retries=3),
        abilities=Abilities(retention_s=10 * HOUR),
    )


def comfyui() -> Policy:
    """Short intervals, lookup and cancel; its tasks vanish with its server."""
    return Policy(
        rules=(
            Rule(name="comfyui.1", phase="download", http="404", do="resubmit", limit=1),
            Rule(name="comfyui.2", phase="poll", http="403", do="resubmit", limit=1),
            Rule(name="comfyui.3", phase="prepare", kind="internal", do="hold"),
        ),
        limits=Limits(
            concurrency=2,
            poll_interval_s=5.0,
            generate_timeout_s=600.0,
            submit_timeout_s=60.0,
            errors_consecutive_max=10,
            on_limit="fail",
        ),
        abilities=Abilities(lookup=True, cancel=True, progress=True, retention_s=6 * HOUR),
    )


def jiekou() -> Policy:
    """Synchronous and cheap: what is in doubt is sent again, once."""
    return Policy(
        limits=Limits(
            concurrency=4,
            submit_timeout_s=180.0,
            on_unknown="resubmit",
            submits_per_minute=30,
        ),
        abilities=Abilities(synchronous=True, retention_s=2 * HOUR),
    )


def coze() -> Policy:
    """Looks slowly, lists what it runs; a wide gate that ramps."""
    return Policy(
        rules=(Rule(name="coze.1", phase="poll", kind="transport.*", do="fail"),),
        limits=Limits(concurrency=6, poll_interval_s=60.0, submit_timeout_s=120.0),
        abilities=Abilities(lookup=True, retention_s=8 * HOUR),
    )


def stormy() -> Plan:
    """Eight hours of everything, with four providers."""
    return Plan(policies={"veo": veo(), "comfyui": comfyui(), "jiekou": jiekou(), "coze": coze()})


def rewritten(policy: Policy, chance: Chance) -> Policy:
    """`policy` as somebody edits it at night: other limits, and rules that come and go."""
    limits = msgspec.structs.replace(
        policy.limits,
        concurrency=1 + int(between(chance, 0, 6)),
        poll_interval_s=policy.limits.poll_interval_s * one_of(chance, (0.5, 1.0, 2.0)),
        errors_consecutive_max=1 + int(between(chance, 0, 8)),
        submit_retries=int(between(chance, 0, 6)),
        on_limit=one_of(chance, ("hold", "fail")),
        cancel_grace_s=one_of(chance, (0.0, 60.0, 300.0)),
        submits_per_minute=one_of(chance, (0, 0, 6)),
    )
    rules = policy.rules
    if happens(chance, 0.5):
        added = Rule(name="edited", phase="poll", http="5xx", do="tolerate", wait_s=20.0, limit=4)
        rules = (added, *rules[1:])
    return msgspec.structs.replace(policy, limits=limits, rules=rules)
