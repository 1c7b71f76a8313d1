"""Jobs as text: the table of `genq ls`, and the page of `genq show`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from daemon.core.job import FINISHED, Attempt, Failure, Image, Job, Output, Stage
from daemon.core.times import describe_duration, describe_when
from tui.clock import Clock, short_stamp, stamp
from tui.text import (
    Cell,
    Column,
    age,
    clean,
    clean_lines,
    counted,
    cut,
    pad,
    paint,
    size,
    table,
    width,
    wrap,
)
from tui.wording import failure_shown, job_called, money_shown, state_shown

FACT_LINES_MAX = 20
LABEL_CELLS = 11
UNHAPPY = frozenset({"failed", "held", "in_doubt"})
_COLUMNS = (
    Column("ID", right=True),
    Column("STATE"),
    Column("PROVIDER", cells_max=14),
    Column("TRY", right=True),
    Column("ERR", right=True),
    Column("AGE", right=True),
    Column("NAME, PROMPT OR LAST ERROR", cells_max=200),
)
_STAGE_COLUMNS = (
    Column("STAGE"),
    Column("TRY", right=True),
    Column("STARTED"),
    Column("TOOK", right=True),
    Column("RESULT"),
)
_ATTEMPT_COLUMNS = (
    Column("TRY", right=True),
    Column("SUBMITTED"),
    Column("ENDED"),
    Column("POLLS", right=True),
    Column("RESULT"),
)


def job_table(
    jobs: Iterable[Job], *, now: float, cells: int | None, colour: bool = False
) -> list[str]:
    """A line a job under a head; ERR counts errors in a row, AGE runs from when it was added."""
    rows = [
        (
            Cell(str(job.id)),
            state_shown(job),
            Cell(job.provider),
            Cell(str(job.attempt)),
            _errors(job),
            Cell(age(now - job.created_at), "dim"),
            Cell(_about(job)),
        )
        for job in jobs
    ]
    return table(_COLUMNS, rows, cells=cells, colour=colour)


def _errors(job: Job) -> Cell:
    if not job.errors_consecutive:
        return Cell("0", "dim")
    last = job.errors_consecutive >= job.errors_consecutive_max
    return Cell(str(job.errors_consecutive), "red" if last else "yellow")


def _about(job: Job) -> str:
    unhappy = job.state in UNHAPPY and job.error is not None
    text = failure_shown(job.error) if unhappy and job.error else job.prompt
    return " · ".join(part for part in (job.name, text) if part)


class JobPage:
    """One job, all of it: what it is, every stage and attempt, its last error, its files."""

    def __init__(self, job: Job, sentence: str, *, clock: Clock, cells: int, colour: bool) -> None:
        """`sentence` is the answer of `genq why`."""
        self._job = job
        self._sentence = sentence
        self._clock = clock
        self._cells = cells
        self._colour = colour

    def lines(self) -> Iterator[str]:
        """The page, line by line, cleaned and cut to the width."""
        job = self._job
        state = state_shown(job)
        provider = clean(job.provider)
        room = self._cells - width(f"  {state.text}  {provider}")
        called = cut(clean(job_called(job.id, job.name)), room)
        yield f"{called}  {paint(state.text, state.style, colour=self._colour)}  {provider}"
        yield from self._wrapped(self._sentence)
        yield ""
        yield from self._facts()
        yield from self._titled("stages", self._stages(job.stages))
        attempts = job.attempts if isinstance(job.attempts, tuple) else ()
        yield from self._titled("attempts", self._attempts(attempts))
        yield from self._titled("last error", self._error(job.error))
        yield from self._titled("outputs", self._outputs(job.outputs))

    def _titled(self, title: str, lines: Iterable[str]) -> Iterator[str]:
        for number, line in enumerate(lines):
            if number == 0:
                yield ""
                yield paint(title, "bold", colour=self._colour)
            yield line

    def _wrapped(self, text: str) -> Iterator[str]:
        """A foreign text over as many lines as it needs."""
        yield from wrap(clean(text), self._cells)

    # ---- what it is ----

    def _facts(self) -> Iterator[str]:
        for label, value in self._pairs():
            lines = wrap(clean(value), self._cells - LABEL_CELLS) if value else []
            yield from self._labelled(label, lines)
        lines = clean_lines(self._job.prompt)
        yield from self._labelled(
            "prompt", [part for line in lines for part in wrap(line, self._cells - LABEL_CELLS)]
        )

    def _labelled(self, label: str, lines: Sequence[str]) -> Iterator[str]:
        for number, line in enumerate(lines[:FACT_LINES_MAX]):
            yield f"{pad(label if number == 0 else '', LABEL_CELLS)}{line}"
        if len(lines) > FACT_LINES_MAX:
            yield f"{pad('', LABEL_CELLS)}({len(lines) - FACT_LINES_MAX} lines more: --json)"

    def _pairs(self) -> Iterator[tuple[str, str]]:
        job = self._job
        yield "batch", job.batch or ""
        yield "labels", ", ".join(job.labels)
        yield "priority", str(job.priority) if job.priority else ""
        yield "tries", self._tries()
        yield "added", self._when(job.created_at) + (f", by {job.by}" if job.by else "")
        yield "not before", self._when(job.not_before_at)
        yield "started", self._when(job.started_at)
        yield "next", self._when(job.next_at)
        yield "deadline", self._when(None if job.state in FINISHED else job.deadline_at)
        yield "finished", self._when(job.finished_at)
        yield "after", ", ".join(f"job {number}" for number in job.after)
        yield "remote id", job.remote_id or ""
        yield "money", money_shown(job)
        yield "params", _params(job.params)
        for image in job.images:
            yield "image", _image(image)

    def _tries(self) -> str:
        job = self._job
        parts = [f"attempt {job.attempt}", f"{job.retries} of {job.retries_max} retries"]
        if job.errors_total:
            row = f"{counted(job.errors_consecutive, 'error')} in a row"
            parts.append(
                f"{row} (stops at {job.errors_consecutive_max}), {job.errors_total} in all"
            )
        return ", ".join(parts)

    def _when(self, at: float | None) -> str:
        if at is None:
            return ""
        return f"{stamp(self._clock, at)}, {describe_when(at, self._clock.now())}"

    # ---- what it went through ----

    def _stages(self, stages: Sequence[Stage]) -> Iterator[str]:
        now = self._clock.now()
        rows = [
            (
                Cell(stage.stage),
                Cell(str(stage.attempt)),
                Cell(short_stamp(self._clock, stage.started_at), "dim"),
                Cell(_took(stage, now)),
                Cell(stage.result, "red" if stage.result == "failed" else ""),
            )
            for stage in stages
        ]
        if rows:
            yield from table(_STAGE_COLUMNS, rows, cells=self._cells, colour=self._colour)

    def _attempts(self, attempts: Sequence[Attempt]) -> Iterator[str]:
        rows = [
            (
                Cell(str(one.attempt)),
                Cell(self._short(one.submitted_at), "dim"),
                Cell(self._short(one.finished_at), "dim"),
                Cell(str(one.polls)),
                Cell(one.result or "open"),
            )
            for one in attempts
        ]
        if rows:
            yield from table(_ATTEMPT_COLUMNS, rows, cells=self._cells, colour=self._colour)
        for one in attempts:
            task = f", remote id {one.remote_id}" if one.remote_id else ""
            yield from self._wrapped(f"try {one.attempt}: key {one.key}{task}")
            if one.error is not None:
                yield from self._wrapped(f"try {one.attempt}: {failure_shown(one.error)}")

    def _short(self, at: float | None) -> str:
        return "-" if at is None else short_stamp(self._clock, at)

    def _error(self, error: Failure | None) -> Iterator[str]:
        if error is None:
            return
        yield from self._wrapped(failure_shown(error))
        if error.rule is not None:
            advice = f": {error.advice}" if error.advice else ""
            yield from self._wrapped(f"rule {error.rule}{advice}")

    def _outputs(self, outputs: Sequence[Output]) -> Iterator[str]:
        """One file a line, the path whole: it is there to be copied."""
        for output in outputs:
            yield f"{clean(output.path)}  {size(output.bytes)}  {clean(output.mime)}"


def _took(stage: Stage, now: float) -> str:
    if stage.duration_s is None:
        return describe_duration(now - stage.started_at)
    if stage.duration_s < 60:
        return f"{stage.duration_s:.1f} s"
    return describe_duration(stage.duration_s)


def _params(params: Mapping[str, Any]) -> str:
    encode = msgspec.json.encode
    return ", ".join(f"{name} = {encode(value).decode()}" for name, value in params.items())


def _image(image: Image) -> str:
    return f"{image.source} (sha256 {image.sha256[:12]}…)" if image.sha256 else image.source
