"""Jobs that went wrong, gathered by what went wrong. Pure; texts are cleaned already."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from daemon.core.job import Failure, Job, State

QUOTED_CHARS_MAX = 80
"""So much of a message tells it from others, in a filter too."""
_ORDER: Final[dict[State, int]] = {"in_doubt": 0, "failed": 1, "held": 2}

Key = tuple[State, str, str, str]
"""State, provider, phase, and the beginning of the message."""


class Trouble(Struct, frozen=True):
    """Jobs with the same error: `failure` is that of the one that changed last."""

    key: Key
    jobs: tuple[int, ...]
    failure: Failure
    last_at: float


def kind(job: Job) -> Key | None:
    """What `job` is grouped by; None if nothing is wrong with it.

    >>> kind(Job(id=1, provider="veo", state="failed", created_at=0.0, updated_at=0.0)) is None
    True
    """
    if job.state not in _ORDER or job.error is None:
        return None
    return job.state, job.provider, job.error.phase, job.error.message[:QUOTED_CHARS_MAX]


def troubles(jobs: Iterable[Job]) -> list[Trouble]:
    """Doubts first, then what failed, then what is held with an error; the most frequent first.

    >>> error = Failure(phase="poll", kind="http", http=504, message="Gateway Time-out")
    >>> times = {"created_at": 0.0, "updated_at": 0.0}
    >>> lost = [Job(id=n, provider="veo", state="failed", error=error, **times) for n in (1, 2)]
    >>> [(one.key[0], one.jobs) for one in troubles(lost)]
    [('failed', (1, 2))]
    """
    groups: dict[Key, list[tuple[float, int, Failure]]] = {}
    for job in jobs:
        key = kind(job)
        if key is not None and job.error is not None:
            groups.setdefault(key, []).append((job.updated_at, job.id, job.error))
    found = []
    for key, members in groups.items():
        at, _, failure = max(members, key=lambda member: member[:2])
        numbers = tuple(sorted(number for _, number, _ in members))
        found.append(Trouble(key, numbers, failure, at))
    return sorted(found, key=lambda one: (_ORDER[one.key[0]], -len(one.jobs), one.key))


def query_for(trouble: Trouble) -> str:
    """The filter that lists its jobs.

    >>> error = Failure(phase="poll", kind="http", message='said "no"')
    >>> query_for(Trouble(("held", "veo", "poll", 'said "no"'), (1,), error, 0.0))
    'state:held provider:veo "said \\\\"no\\\\""'
    """
    state, provider, _, said = trouble.key
    quoted = said.replace("\\", "\\\\").replace('"', '\\"')
    return f"state:{state} provider:{provider}" + (f' "{quoted}"' if said else "")
