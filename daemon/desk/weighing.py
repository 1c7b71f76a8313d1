"""Each job by itself: what its provider takes, which is asked of its engine.

An engine may read files for its check (a workflow), but no network: not for the event loop.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from daemon.core.commands import Edit
from daemon.core.job import Job
from daemon.core.limits import ADD_JOBS_MAX, check_job
from daemon.core.suggest import did_you_mean
from daemon.engines.defaults import Asked, ask
from daemon.providers import Provider
from daemon.wire.messages import Row, RowProblem


class Found(Struct, frozen=True):
    """What was found of rows, each by itself: the problems, by the row's index where there are
    any; and the defaults left out, by provider and param, with the jobs concerned and why.
    """

    problems: Mapping[int, Sequence[RowProblem]] = {}
    left_out: Mapping[tuple[str, str], tuple[int, str]] = {}


def check_rows(rows: Sequence[Row], providers: Mapping[str, Provider]) -> Found:
    """What is wrong with each row by itself. Engines may read files: not for the event loop.

    Rows that are too many together aren't looked at.
    """
    if too_many(rows):
        return Found()
    problems: dict[int, list[RowProblem]] = {}
    left_out: dict[tuple[str, str], tuple[int, str]] = {}
    for index, row in enumerate(rows):
        wrong = list(_row_problems(index, row, providers))
        asked = asked_of(providers.get(row.provider), row.prompt, row.params, len(row.images))
        wrong += [RowProblem(index, one.field, one.message) for one in asked.problems]
        if wrong:
            problems[index] = wrong
        for name, message in asked.left_out.items():
            jobs, first = left_out.get((row.provider, name), (0, message))
            left_out[row.provider, name] = (jobs + row.count, first)
    return Found(problems, left_out)


def asked_of(
    provider: Provider | None, prompt: str, params: Mapping[str, Any], images: int
) -> Asked:
    """What a job asks of `provider`, its defaults included as far as they apply. Of none, or one
    without an engine, nothing can be known.
    """
    if provider is None or provider.engine is None:
        return Asked(params, (), {})
    return ask(provider.engine, prompt, params, images, defaults=provider.params)


def too_many(rows: Sequence[Row]) -> bool:
    """Whether there are more jobs in `rows` than one add may have."""
    return sum(row.count for row in rows) > ADD_JOBS_MAX


def edit_problem(job: Job, asked: Edit, provider: Provider | None) -> str | None:
    """Why `asked` would make a job that could not be added, or None.

    The engine may read files: not for the event loop.
    """
    after = msgspec.structs.replace(
        job,
        prompt=job.prompt if asked.prompt is None else asked.prompt,
        name=job.name if asked.name is None else (asked.name or None),
        labels=job.labels if asked.labels is None else asked.labels,
        priority=job.priority if asked.priority is None else asked.priority,
        params=job.params if asked.params is None else asked.params,
    )
    found = check_job(
        provider=after.provider,
        prompt=after.prompt,
        images=(),
        name=after.name,
        batch=None,
        labels=after.labels,
        priority=after.priority,
        after=(),
        count=1,
        params_json=msgspec.json.encode(after.params),
    )
    if not found:
        asked_for = asked_of(provider, after.prompt, after.params, len(job.images))
        found = [(one.field, one.message) for one in asked_for.problems]
    return "; ".join(f"{field}: {message}" for field, message in found) or None


def _row_problems(index: int, row: Row, providers: Mapping[str, Provider]) -> Iterator[RowProblem]:
    checked = check_job(
        provider=row.provider,
        prompt=row.prompt,
        images=[image.source for image in row.images],
        name=row.name,
        batch=row.batch,
        labels=row.labels,
        priority=row.priority,
        after=row.after,
        count=row.count,
        params_json=msgspec.json.encode(row.params),
    )
    for field, message in checked:
        yield RowProblem(index, field, message)
    if any(field == "provider" for field, _ in checked):
        return
    provider = providers.get(row.provider)
    if provider is None:
        hint = did_you_mean(row.provider, providers)
        there_are = ", ".join(sorted(providers))
        yield RowProblem(index, "provider", f"unknown provider{hint} (there are: {there_are})")
        return
    if provider.engine is None:
        reason = provider.shut.reason if provider.shut else "it has no engine"
        yield RowProblem(index, "provider", f"{row.provider}: {reason}")
