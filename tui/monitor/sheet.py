"""One job as lines: what it is, why it is there, its stages, attempts, last error, files. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from daemon.core.job import Attempt, Job, Output, Stage, StageResult
from daemon.core.times import MINUTE_S, describe_duration
from tui.clock import Clock, short_stamp
from tui.monitor.symbols import FULL, RULE
from tui.text import Cell, Style, age, clean, counted, cut, pad, size, width, wrap
from tui.wording import failure_shown, job_called, money_shown, state_shown

PROMPT_LINES_MAX = 6
ERROR_LINES_MAX = 5
LABEL_CELLS = 9
SEPARATOR = " · "
LAST_ERROR = " Last error, rule "
"""From here on the daemon's sentence says what has lines of its own here."""
BAR_CELLS = (8, 60)
Cells = tuple[Cell, ...]

_RESULTS: dict[StageResult, Style] = {
    "running": "cyan",
    "ok": "green",
    "retry": "yellow",
    "failed": "red",
    "interrupted": "yellow",
    "cancelled": "dim",
}


class Page(Struct, frozen=True):
    """What a sheet is written with: the room and the time."""

    cells: int
    now: float
    clock: Clock


def job_sheet(job: Job, sentence: str, page: Page, *, whole: bool) -> list[Cells]:
    """All lines about `job`; `sentence` is the daemon's why. Not `whole`: the rest is on its way.

    Texts are cleaned already, but for those that only a whole job carries.
    """
    lines = [*_head(job, page), *_why(sentence, page)]
    lines += [*_error(job, page, ERROR_LINES_MAX), *_about(job, page)]
    if not whole:
        return [*lines, (Cell(" reading the rest…", "dim"),)]
    if job.stages:
        lines += [_rule("stages", page), *_stages(job.stages, page)]
    if isinstance(job.attempts, tuple) and job.attempts:
        lines += [_rule("attempts", page), *_attempts(job.attempts, page)]
    if job.outputs:
        lines += [_rule("files", page), *_outputs(job.outputs, page)]
    if job.params:
        lines += [_rule("params", page), *_params(job, page)]
    return lines


def short_sheet(job: Job, sentence: str, page: Page, *, whole: bool) -> list[Cells]:
    """The same for a few lines: what went wrong first, and the stages on one of them."""
    lines = [*_head(job, page)]
    if whole and job.stages:
        lines.append(_stages_in_brief(job, page.now))
    lines += _error_in_brief(job)
    lines += [*_why(sentence, page), *_outputs(job.outputs, page), *_about(job, page)]
    return lines


def _head(job: Job, page: Page) -> Iterator[Cells]:
    """State, errors in a row and try, on a rule; what has no room follows under it."""
    lines = [""]
    for part in headline(job).split(SEPARATOR):
        longer = f"{lines[-1]}{SEPARATOR}{part}" if lines[-1] else part
        if width(longer) <= page.cells - (6 if len(lines) == 1 else 2):
            lines[-1] = longer
        else:
            lines.append(part)
    yield _rule(lines[0], page)
    for line in lines[1:]:
        yield (Cell(f" {line}", "bold"),)


def _why(sentence: str, page: Page) -> Iterator[Cells]:
    said = sentence.partition(LAST_ERROR)[0]
    for line in wrap(said, page.cells - 2) if said else []:
        yield (Cell(f" {line}", "cyan"),)


def headline(job: Job) -> str:
    """State, errors and try on one line: `12 generate 61% · 3 errors in a row · try 2`.

    >>> headline(Job(id=12, provider="veo", state="held", created_at=0.0, updated_at=0.0))
    '12 held · try 0'
    """
    parts = [f"{job.id} {state_shown(job).text}"]
    if job.reason:
        parts[0] += f" ({job.reason})"
    if job.errors_consecutive:
        stops = f" (stops at {job.errors_consecutive_max})" if job.errors_consecutive_max else ""
        parts.append(f"{counted(job.errors_consecutive, 'error')} in a row{stops}")
    retries = f", retry {job.retries} of {job.retries_max}" if job.retries else ""
    parts.append(f"try {job.attempt}{retries}")
    return SEPARATOR.join(parts)


def error_sheet(job: Job, page: Page) -> list[Cells]:
    """The last error in full, its rule and its advice."""
    title = _rule(job_called(job.id, job.name), page)
    if job.error is None:
        return [title, (Cell(" there is none", "dim"),)]
    return [title, *_error(job, page, 10_000)]


def _rule(title: str, page: Page, style: Style = "bold") -> Cells:
    text = cut(title, max(0, page.cells - 6))
    rest = max(0, page.cells - width(text) - 4)
    return Cell(RULE * 2 + " ", "dim"), Cell(text, style), Cell(" " + RULE * rest, "dim")


def _about(job: Job, page: Page) -> Iterator[Cells]:
    room = page.cells - 2
    name = f"{job.name}: " if job.name else ""
    prompt = wrap(name + job.prompt, room) if job.prompt or name else []
    for line in prompt[:PROMPT_LINES_MAX]:
        yield (Cell(f" {line}"),)
    if len(prompt) > PROMPT_LINES_MAX:
        yield (Cell(f" … {counted(len(prompt) - PROMPT_LINES_MAX, 'line')} more: Y", "dim"),)
    for label, value in _facts(job, page):
        for line in wrap(value, room - LABEL_CELLS) if value else []:
            yield Cell(f" {pad(label, LABEL_CELLS)}", "dim"), Cell(line)
            label = ""  # noqa: PLW2901  it stands once


def _facts(job: Job, page: Page) -> Iterator[tuple[str, str]]:
    yield "provider", job.provider
    added = short_stamp(page.clock, job.created_at)
    yield "added", f"{added}{f' by {job.by}' if job.by else ''}"
    yield "batch", " · ".join([*([job.batch] if job.batch else []), *job.labels])
    yield "priority", str(job.priority) if job.priority else ""
    yield "after", ", ".join(str(number) for number in job.after)
    yield "remote", job.remote_id or ""
    yield "money", money_shown(job)
    yield "pictures", ", ".join(clean(image.source) for image in job.images)
    if job.errors_total:
        yield "errors", f"{job.errors_consecutive} in a row, {job.errors_total} in all"


def _error(job: Job, page: Page, lines_max: int) -> Iterator[Cells]:
    if job.error is None:
        return
    lines = wrap(f"last error: {failure_shown(job.error)}", page.cells - 2)
    for line in lines[:lines_max]:
        yield (Cell(f" {line}", "red" if job.state == "failed" else "yellow"),)
    if len(lines) > lines_max:
        yield (Cell(f" … {counted(len(lines) - lines_max, 'line')} more: e", "dim"),)
    if job.error.rule is not None:
        advice = f": {job.error.advice}" if job.error.advice else ""
        for line in wrap(f"rule {job.error.rule}{advice}", page.cells - 2):
            yield (Cell(f" {line}", "dim"),)


def _error_in_brief(job: Job) -> Iterator[Cells]:
    if job.error is not None:
        style: Style = "red" if job.state == "failed" else "yellow"
        yield (Cell(f" last error: {failure_shown(job.error)}", style),)
        if job.error.rule is not None:
            yield (
                Cell(f" rule {job.error.rule}: {job.error.advice or 'e shows all of it'}", "dim"),
            )


def _stages(stages: Sequence[Stage], page: Page) -> Iterator[Cells]:
    """A line a stage, its stretch of time drawn to scale over the life of the job."""
    low, high = BAR_CELLS
    room = max(low, min(high, page.cells - 40))
    begin = stages[0].started_at
    span = max(0.001, _end(stages[-1], page.now) - begin)
    for stage in stages:
        start = int((stage.started_at - begin) / span * room)
        length = max(1, round((_end(stage, page.now) - stage.started_at) / span * room))
        start = min(start, room - 1)
        bar = " " * start + FULL * min(length, room - start)
        style = _RESULTS.get(stage.result, "")
        yield (
            Cell(f" {pad(stage.stage, 9)}"),
            Cell(pad(bar, room), style),
            Cell(f" {pad(_took(stage, page.now), 8, right=True)} "),
            Cell(f"{pad(stage.result, 11)}", style),
            Cell(f" try {stage.attempt}" if stage.attempt else "", "dim"),
        )


def _stages_in_brief(job: Job, now: float) -> Cells:
    """The stages of the last try, each with what it took: `submit 0.2 s > generate 0:35`."""
    last = [stage for stage in job.stages if stage.attempt in (0, job.attempt)]
    cells: list[Cell] = []
    for stage in last:
        text = f" {'> ' if cells else ''}{stage.stage} {_took(stage, now)}"
        if stage.result not in ("ok", "running"):
            text += f" {stage.result}"
        cells.append(Cell(text, _RESULTS.get(stage.result, "")))
    return tuple(cells)


def _end(stage: Stage, now: float) -> float:
    if stage.duration_s is None:
        return max(now, stage.started_at)
    return stage.started_at + stage.duration_s


def _took(stage: Stage, now: float) -> str:
    return age(now - stage.started_at) if stage.duration_s is None else lasted(stage.duration_s)


def lasted(seconds: float) -> str:
    """How long something took, as exactly as matters.

    >>> lasted(0.24), lasted(252.9)
    ('0.2 s', '4:12')
    """
    return f"{seconds:.1f} s" if seconds < MINUTE_S else describe_duration(seconds)


def _attempts(attempts: Sequence[Attempt], page: Page) -> Iterator[Cells]:
    head = f" {'#':>2} {'SUBMITTED':<14} {'POLLS':>5} {'RESULT':<12} ERROR"
    yield (Cell(head, "dim"),)
    for one in attempts:
        at = one.submitted_at
        when = "-" if at is None else short_stamp(page.clock, at)
        error = clean(failure_shown(one.error)) if one.error is not None else ""
        text = (
            f" {one.attempt:>2} {when:<14} {one.polls:>5} {pad(clean(one.result or 'open'), 12)} "
        )
        yield Cell(text), Cell(cut(error, max(0, page.cells - width(text))), "dim")


def _outputs(outputs: Sequence[Output], page: Page) -> Iterator[Cells]:
    for output in outputs:
        tail = f"  {size(output.bytes)}  {clean(output.mime)}"
        for place, line in enumerate(wrap(clean(output.path), page.cells - 2 - width(tail))):
            yield Cell(f" {line}"), Cell(tail if place == 0 else "", "dim")


def _params(job: Job, page: Page) -> Iterator[Cells]:
    for name, value in job.params.items():
        text = f"{clean(name)} = {clean(_json(value))}"
        yield (Cell(f" {cut(text, page.cells - 2)}"),)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
