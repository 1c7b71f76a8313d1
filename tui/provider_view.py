"""Providers and the daemon as text: `genq providers` and `genq status`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from daemon.core.job import STATES
from daemon.core.times import describe_when
from tui.text import Cell, Column, clean, cut, pad, paint, size, table
from tui.wording import STATE_SHOWN, gate_shown

LABEL_CELLS = 13
_BRIEF = (
    Column("PROVIDER", cells_max=20),
    Column("RUNNING", right=True),
    Column("QUEUED", right=True),
    Column("ERR", right=True),
    Column("GATE"),
)
_STAGES = ("queue", "prepare", "submit", "generate", "download")
_LATENCY = (
    Column("SECONDS p50/p95", cells_max=20),
    *(Column(stage.upper(), right=True) for stage in _STAGES),
)


def _brief(row: Mapping[str, Any], now: float) -> tuple[Cell, ...]:
    errors = int(row["errors_consecutive"])
    return (
        Cell(str(row["name"]), "" if row["enabled"] else "dim"),
        Cell(f"{row['running']}/{row['concurrency']}"),
        Cell(str(row["queued"])),
        Cell(str(errors), "yellow" if errors else "dim"),
        gate_shown(row["gate"], now) if row["enabled"] else Cell("not enabled", "dim"),
    )


def provider_lines(
    rows: Sequence[Mapping[str, Any]], *, now: float, cells: int | None, colour: bool
) -> Iterator[str]:
    """A table of providers, why each shut gate is shut, and how long their stages take."""
    brief = [_brief(row, now) for row in rows]
    yield from table(_BRIEF, brief, cells=cells, colour=colour)
    shut = [(row, cause) for row in rows for cause in row["gate"]["causes"]]
    if shut:
        yield ""
    for row, cause in shut:
        text = _shut(row, cause, now)
        yield text if cells is None else cut(text, cells)
    known = [row for row in rows if row["latency"]]
    if known:
        latencies = [
            (Cell(str(row["name"])), *(_latency(row["latency"].get(stage)) for stage in _STAGES))
            for row in known
        ]
        yield ""
        yield from table(_LATENCY, latencies, cells=cells, colour=colour)


def _shut(row: Mapping[str, Any], cause: Mapping[str, Any], now: float) -> str:
    until = "until it is resumed"
    if cause["until_at"] is not None:
        until = f"ends {describe_when(cause['until_at'], now)}"
    times = row["quota_consecutive"] if cause["cause"] == "quota" else 0
    again = f" ({times} in a row)" if times > 1 else ""
    return clean(f"{row['name']}: {cause['cause']}{again}, {until}: {cause['reason']}")


def _latency(window: Mapping[str, Any] | None) -> Cell:
    if not window or window["p50_s"] is None:
        return Cell("-", "dim")
    return Cell(f"{window['p50_s']:.1f}/{window['p95_s']:.1f}")


def status_lines(
    status: Mapping[str, Any], *, now: float, cells: int | None, colour: bool
) -> Iterator[str]:
    """One screen: what there is to do, who does it, what is wrong, and where the daemon is."""
    daemon = status["daemon"]

    def fact(label: str, text: str) -> str:
        line = f"{pad(label, LABEL_CELLS)}{text}"
        return line if cells is None or colour else cut(line, cells)

    yield fact("jobs", _counts(status["counts"], colour=colour))
    if owed := status["uncollected"]:
        text = f"{owed:,}, paid for or perhaps so, without a result: genq ls --state held,in_doubt"
        yield fact("uncollected", paint(text, "yellow", colour=colour))
    problems = [clean(str(problem)) for problem in daemon["problems"]]
    for place, problem in enumerate(problems):
        yield fact("problems" if place == 0 else "", paint(problem, "red", colour=colour))
    if status["providers"]:
        yield ""
        rows = [_brief(row, now) for row in status["providers"]]
        yield from table(_BRIEF, rows, cells=cells, colour=colour)
    yield ""
    up = describe_when(daemon["started_at"], now)
    yield fact("daemon", clean(f"{daemon['version']}, pid {daemon['pid']}, started {up}"))
    yield fact("socket", clean(str(daemon["socket"])))
    yield fact("config", clean(str(daemon["config"] or "built-in defaults")))
    yield fact("journal", size(daemon["journal_bytes"]))


def _counts(counts: Mapping[str, int], *, colour: bool) -> str:
    parts = []
    for name in STATES:
        if counts.get(name):
            shown = STATE_SHOWN[name]
            parts.append(paint(f"{counts[name]:,} {shown.text}", shown.style, colour=colour))
    return "   ".join(parts) or "none"
