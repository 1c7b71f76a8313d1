"""`genq stats`: what became of the jobs, by provider, stage, fault or day."""

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from daemon.core.job import FINISHED, Failure, Job
from daemon.core.times import parse_duration, parse_time
from daemon.wire.messages import Ls
from tui.clock import Clock
from tui.console import Console
from tui.options import Parser, UsageError
from tui.session import connect
from tui.text import clean

BY = ("provider", "stage", "fault", "day")
DAY_S = 86_400.0
ENDS = ("succeeded", "failed", "cancelled", "held", "in_doubt")
Rows = list[dict[str, Any]]


def arguments(parser: Parser) -> None:
    """What `stats` takes."""
    add = parser.options.add_argument
    add("--by", choices=BY, default="provider", help="what a row stands for; provider if not given")
    add("--since", metavar="TIME", help="jobs added since then: a TIME, or 2h, 7d: so long ago")
    parser.epilog = "example: genq stats --by fault --since 1d"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Print the rows."""
    since = _since(asked.since, console.clock)
    with connect(asked, console) as session:
        jobs = session.jobs(Ls(), Job)
    chosen = [job for job in jobs if since is None or job.created_at >= since]
    makers: dict[str, Callable[[Sequence[Job]], Rows]] = {
        "provider": by_provider,
        "stage": by_stage,
        "fault": by_fault,
        "day": by_day,
    }
    rows = makers[asked.by](chosen)
    if console.json:
        console.value({"by": asked.by, "since_at": since, "rows": rows})
    elif rows:
        console.lines(_table(rows))
    else:
        console.note("no jobs")
    return 0


def _since(text: str | None, clock: Clock) -> float | None:
    """The moment that `--since` means: never one to come. Raises UsageError."""
    if text is None:
        return None
    now = clock.now()
    try:
        return now - parse_duration(text.removeprefix("-"))
    except ValueError:
        pass
    try:
        at = parse_time(text, now=now, utc_offset_s=clock.local(now).tm_gmtoff)
    except ValueError as error:
        raise UsageError(f"--since: {error}; or 2h, 7d: so long ago") from None
    return at - DAY_S if ":" in text and at > now else at


def by_provider(jobs: Sequence[Job]) -> Rows:
    """A row a provider: how many jobs ended how, attempts, errors, and how long one takes."""
    rows = []
    for name, group in _grouped(jobs, lambda job: job.provider):
        states = Counter(job.state for job in group)
        took = [
            job.finished_at - job.started_at
            for job in group
            if job.state == "succeeded" and job.finished_at and job.started_at
        ]
        rows.append(
            {
                "provider": name,
                "jobs": len(group),
                **{end: states[end] for end in ENDS},
                "unfinished": sum(job.state not in FINISHED for job in group),
                "attempts": sum(job.attempt for job in group),
                "errors": sum(job.errors_total for job in group),
                "p50_s": quantile(took, 0.5),
                "p95_s": quantile(took, 0.95),
            }
        )
    return rows


def by_stage(jobs: Sequence[Job]) -> Rows:
    """A row a stage: how often it ended how, and how long it takes when it ends well."""
    rows = []
    stages = [stage for job in jobs for stage in job.stages if stage.duration_s is not None]
    for name, group in _grouped(stages, lambda stage: stage.stage):
        took = [
            one.duration_s for one in group if one.result == "ok" and one.duration_s is not None
        ]
        rows.append(
            {
                "stage": name,
                "n": len(group),
                "ok": len(took),
                "retry": sum(one.result == "retry" for one in group),
                "failed": sum(one.result == "failed" for one in group),
                "p50_s": quantile(took, 0.5),
                "p95_s": quantile(took, 0.95),
            }
        )
    return rows


def by_fault(jobs: Sequence[Job]) -> Rows:
    """A row a kind of last error, the commonest first: where, what, which rule, which jobs."""
    rows = []
    faulty = [job for job in jobs if job.error is not None]
    for (provider, *what), group in _grouped(faulty, _fault):
        rows.append(
            {
                "provider": provider,
                **dict(zip(("phase", "kind", "http", "code", "rule"), what, strict=True)),
                "jobs": len(group),
                "ids": [job.id for job in group][:5],
                "last_at": max(job.updated_at for job in group),
            }
        )
    rows.sort(key=lambda row: -row["jobs"])
    return rows


def _fault(job: Job) -> tuple[Any, ...]:
    error = job.error or Failure("submit", "")
    return (job.provider, error.phase, error.kind, error.http, error.code, error.rule)


def by_day(jobs: Sequence[Job]) -> Rows:
    """A row a day (UTC): how many were added, and how many ended how."""
    days: dict[str, Counter[str]] = defaultdict(Counter)
    for job in jobs:
        days[_day(job.created_at)]["added"] += 1
        if job.finished_at is not None:
            days[_day(job.finished_at)][job.state] += 1
    names = ("added", "succeeded", "failed", "cancelled")
    return [{"day": day, **{name: days[day][name] for name in names}} for day in sorted(days)]


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d")


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value below which `share` of them lie; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 3)


def _grouped(items: Iterable[Any], key: Callable[[Any], Any]) -> list[tuple[Any, list[Any]]]:
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return sorted(groups.items(), key=lambda pair: str(pair[0]))


def _table(rows: Rows) -> list[str]:
    """Rows under their names, numbers to the right."""
    heads = [name for name in rows[0] if name not in ("ids", "last_at")]
    cells = [[_shown(row[name]) for name in heads] for row in rows]
    widths = [max(len(head), *(len(row[at]) for row in cells)) for at, head in enumerate(heads)]
    numeric = [all(isinstance(row[name], int | float | None) for row in rows) for name in heads]

    def line(texts: Sequence[str]) -> str:
        columns = zip(texts, widths, numeric, strict=True)
        return "  ".join(
            text.rjust(width) if right else text.ljust(width) for text, width, right in columns
        ).rstrip()

    return [line([head.upper() for head in heads]), *map(line, cells)]


def _shown(value: Any) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.1f}"
        case _:
            return clean(str(value))
