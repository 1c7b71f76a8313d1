"""A section's `params` are defaults: one that doesn't apply to a job is left out, and told.

One section serves several models, routes or workflows, and what fits one of them may be nonsense
for another. What the job itself asks for is never left out: it is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from daemon.engines.engine import Problem

SELECTORS = frozenset({"model", "workflow", "workflow_id"})
"""Params that say what is run. Without one of them something else would be run, and paid for."""


class Checking(Protocol):
    """The half of an engine that checks jobs."""

    def check(self, prompt: str, params: Mapping[str, Any], images: int) -> list[Problem]:
        """Every problem that a job has."""


class Asked(Struct, frozen=True):
    """What a job asks for: `params` with the defaults that apply. `problems` are left with it;
    `left_out` tells why each other default isn't there.
    """

    params: Mapping[str, Any]
    problems: Sequence[Problem]
    left_out: Mapping[str, str]


def ask(
    engine: Checking,
    prompt: str,
    own: Mapping[str, Any],
    images: int,
    *,
    defaults: Mapping[str, Any],
) -> Asked:
    """What a job with its `own` params asks for. The engine may read files for its check."""
    params = {**defaults, **own}
    spare = set(defaults) - set(own) - SELECTORS
    left_out: dict[str, str] = {}
    while True:
        problems = engine.check(prompt, params, images)
        wrong = dict(_defaults_among(problems, spare & set(params)))
        if not wrong:
            return Asked(params, problems, left_out)
        left_out |= wrong
        params = {name: value for name, value in params.items() if name not in wrong}


def _defaults_among(problems: Sequence[Problem], spare: set[str]) -> Iterator[tuple[str, str]]:
    """Each default that a problem is about. One may be a table: `params.3.steps` is about `3`."""
    for problem in problems:
        field = problem.field.removeprefix("params.")
        for name in spare:
            if problem.field != field and (field == name or field.startswith(f"{name}.")):
                yield name, problem.message
