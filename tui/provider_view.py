"""Providers and the daemon as text: `genq providers` and `genq status`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from daemon.core.job import STATES
from daemon.core.times import describe_when
from tui.text import Cell, Column, Style, clean, cut, pad, paint, size, table, width
from tui.wording import STATE_SHOWN, gate_shown

LABEL_CELLS = 13
UNCOLLECTED_SHOWN = 8
"""Ids of jobs without their paid result that a status names."""
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

    def fact(label: str, text: str, style: Style = "") -> str:
        room = None if cells is None else cells - LABEL_CELLS
        shown = clean(text) if room is None else cut(clean(text), room)
        return f"{pad(label, LABEL_CELLS)}{paint(shown, style, colour=colour)}"

    yield from _count_lines(status["counts"], cells=cells, colour=colour)
    if owed := status["uncollected"]:
        ids = daemon.get("uncollected_jobs", [])
        shown = ", ".join(map(str, ids[:UNCOLLECTED_SHOWN]))
        which = f"{shown}{', …' if owed > UNCOLLECTED_SHOWN else ''} (genq why ID)" if ids else ""
        yield fact("uncollected", f"{owed:,} perhaps paid, no result: {which}", "yellow")
    for place, problem in enumerate(daemon["problems"]):
        yield fact("problems" if place == 0 else "", str(problem), "red")
    if status["providers"]:
        yield ""
        rows = [_brief(row, now) for row in status["providers"]]
        yield from table(_BRIEF, rows, cells=cells, colour=colour)
    yield ""
    up = describe_when(daemon["started_at"], now)
    yield fact("daemon", f"{daemon['version']}, pid {daemon['pid']}, started {up}")
    yield fact("socket", str(daemon["socket"]))
    yield fact("config", str(daemon["config"] or "built-in defaults"))
    yield fact("journal", size(daemon["journal_bytes"]))


def _count_lines(counts: Mapping[str, int], *, cells: int | None, colour: bool) -> Iterator[str]:
    """How many jobs are in each state, over as many lines as that takes."""
    line, taken = pad("jobs", LABEL_CELLS), LABEL_CELLS
    for name in STATES:
        if not counts.get(name):
            continue
        shown = STATE_SHOWN[name]
        text = f"{counts[name]:,} {shown.text}"
        if cells is not None and taken > LABEL_CELLS and taken + width(text) > cells:
            yield line.rstrip()
            line, taken = " " * LABEL_CELLS, LABEL_CELLS
        line += paint(text, shown.style, colour=colour) + "   "
        taken += width(text) + 3
    yield f"{line}none" if not any(counts.values()) else line.rstrip()
