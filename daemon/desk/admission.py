"""Rows in, jobs out: all of them, or every problem of all of them. Pure.

What is wrong with each row by itself is found before (weighing.py). Here the rows are seen
together: names are resolved to ids, pictures `job:NAME` become dependencies, cycles are refused
with all their rows.
"""

import graphlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from daemon.core.job import Held, Image, Job, Queued, Stage
from daemon.core.limits import JOB_IMAGE, check_total
from daemon.core.suggest import did_you_mean
from daemon.desk.weighing import Found, too_many
from daemon.providers import Provider
from daemon.wire.messages import Row, RowProblem


class Known(Struct, frozen=True):
    """What admission needs of the daemon: providers, and the jobs that may be referred to."""

    providers: Mapping[str, Provider]
    named: Callable[[str], int | None]
    exists: Callable[[int], bool]
    next_id: int
    now: float
    by: str | None


class Admission(Struct, frozen=True):
    """The jobs of an add, or why there are none; warnings don't stop it."""

    jobs: tuple[Job, ...]
    problems: tuple[RowProblem, ...]
    warnings: tuple[str, ...]


def admit(rows: Sequence[Row], found: Found, known: Known) -> Admission:
    """Jobs with ids from `known.next_id` on, if nothing is wrong with any row.

    `found` is what `check_rows` said of them.
    """
    problems = list(_total(rows))
    if too_many(rows):
        return Admission((), tuple(problems), ())
    first_ids = _first_ids(rows, known.next_id)
    names = _Names(rows, first_ids, known)
    edges: dict[int, set[int]] = {}
    jobs: list[Job] = []
    for index, row in enumerate(rows):
        wrong = list(found.problems.get(index, ()))
        after, images = names.resolve(index, row, wrong)
        problems.extend(wrong)
        if wrong:
            continue
        edges[index] = {owner for one in after if (owner := names.row_of(one)) is not None}
        jobs.extend(_jobs(row, first_ids[index], after, images, known))
    problems.extend(_cycles(rows, edges))
    if problems:
        return Admission((), tuple(problems), ())
    warnings = (*_warnings(rows, known), *_left_out(found))
    return Admission(tuple(jobs), (), warnings)


def _total(rows: Sequence[Row]) -> Iterator[RowProblem]:
    if not rows:
        yield RowProblem(None, None, "there are no jobs in it")
    said = check_total(jobs=sum(row.count for row in rows), total_bytes=0)
    if said is not None:
        yield RowProblem(None, None, said)


def _first_ids(rows: Sequence[Row], next_id: int) -> list[int]:
    """The id of each row's first copy."""
    ids = []
    for row in rows:
        ids.append(next_id)
        next_id += row.count
    return ids


class _Names:
    """Finds what `after` and `job:NAME` refer to: rows of this add first, then older jobs."""

    def __init__(self, rows: Sequence[Row], first_ids: Sequence[int], known: Known) -> None:
        self._known = known
        self._rows: dict[str, list[int]] = {}
        self._counts = [row.count for row in rows]
        self._first_ids = first_ids
        self._owner = dict(zip(first_ids, range(len(rows)), strict=True))
        for index, row in enumerate(rows):
            if row.name is not None:
                self._rows.setdefault(row.name, []).append(index)

    def row_of(self, job: int) -> int | None:
        """The row of this add that `job` is the first copy of, or None for an older job."""
        return self._owner.get(job)

    def resolve(
        self, index: int, row: Row, problems: list[RowProblem]
    ) -> tuple[tuple[int, ...], tuple[Image, ...]]:
        """The ids that `row` comes after, and its pictures with `job:ID` for names."""
        after: dict[int, None] = {}
        images = []
        for place, reference in enumerate(row.after):
            job = self._find(reference, index, f"after[{place}]", problems)
            if job is not None:
                after[job] = None
        for place, image in enumerate(row.images):
            if image.source.startswith(JOB_IMAGE):
                name = image.source.removeprefix(JOB_IMAGE)
                reference = int(name) if name.isascii() and name.isdigit() else name
                job = self._find(reference, index, f"images[{place}]", problems)
                if job is not None:
                    after[job] = None
                    images.append(Image(f"{JOB_IMAGE}{job}"))
            else:
                images.append(image)
        return tuple(after), tuple(images)

    def _find(
        self, reference: int | str, index: int, field: str, problems: list[RowProblem]
    ) -> int | None:
        if isinstance(reference, int):
            if self._known.exists(reference):
                return reference
            problems.append(RowProblem(index, field, f"there is no job {reference}"))
            return None
        rows = self._rows.get(reference, [])
        if len(rows) > 1 or (rows and self._counts[rows[0]] > 1):
            message = f"{reference!r} names more than one job here: give them names of their own"
            problems.append(RowProblem(index, field, message))
            return None
        if rows:
            return self._first_ids[rows[0]]
        older = self._known.named(reference)
        if older is None:
            hint = did_you_mean(reference, self._rows)
            problems.append(RowProblem(index, field, f"no job is called {reference!r}{hint}"))
        return older


def _cycles(rows: Sequence[Row], edges: Mapping[int, set[int]]) -> Iterator[RowProblem]:
    """One problem for each row of each cycle. Cycles are found one by one and taken out."""
    graph = {row: set(parents) for row, parents in edges.items() if parents}
    while True:
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            ring: list[int] = error.args[1]
            names = " -> ".join(rows[row].name or f"row {row + 1}" for row in reversed(ring))
            for row in dict.fromkeys(ring):
                yield RowProblem(row, "after", f"waits for itself: {names}")
                graph.pop(row, None)
            for parents in graph.values():
                parents.difference_update(ring)
        else:
            return


def _jobs(
    row: Row, first: int, after: tuple[int, ...], images: tuple[Image, ...], known: Known
) -> Iterator[Job]:
    limits = known.providers[row.provider].policy.limits
    for copy in range(row.count):
        yield Job(
            id=first + copy,
            name=row.name,
            provider=row.provider,
            state="held" if row.hold else "queued",
            reason="approval" if row.hold else None,
            batch=row.batch,
            labels=row.labels,
            priority=row.priority,
            prompt=row.prompt,
            params=row.params,
            images=images,
            after=after,
            retries_max=limits.submit_retries,
            errors_consecutive_max=limits.errors_consecutive_max,
            created_at=known.now,
            updated_at=known.now,
            not_before_at=row.not_before_at,
            stages=() if row.hold else (Stage("queue", 0, known.now),),
            by=known.by,
            attempts=(),
            work=Held() if row.hold else Queued(),
        )


def _warnings(rows: Sequence[Row], known: Known) -> Iterator[str]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.provider] = counts.get(row.provider, 0) + row.count
    for name, count in sorted(counts.items()):
        shut = known.providers[name].shut
        if shut is not None:
            jobs = "job waits" if count == 1 else "jobs wait"
            yield f"{name} is closed: {shut.reason}; {count} {jobs} for it"


def _left_out(found: Found) -> Iterator[str]:
    for (provider, name), (count, why) in sorted(found.left_out.items()):
        jobs = "1 job" if count == 1 else f"{count:,} jobs"
        yield f"{provider}: its default params.{name} is left out of {jobs}: {why}"
