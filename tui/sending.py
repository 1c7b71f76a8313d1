"""What the daemon is sent of a job file's rows, and where in the file what it says belongs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from daemon.core.times import parse_time
from daemon.wire.messages import ErrorBody, RowProblem
from daemon.wire.messages import Row as Sent
from tui.clock import Clock
from tui.jobfile import Problem, Row
from tui.pictures import PictureError, Pictures

SINGLE = "genq add"
"""What problems of a job from the command line begin with, in place of a file's name."""
_OPTIONS = {
    "provider": "PROVIDER",
    "images": "--image",
    "labels": "--label",
    "not_before": "--not-before",
    "params": "--set",
}


def sent_rows(
    rows: Sequence[Row],
    source: str,
    folder: Path,
    pictures: Pictures,
    clock: Clock,
    problems: list[Problem],
) -> Iterator[Sent]:
    """The rows as the daemon takes them; pictures that can't be read are noted in `problems`."""
    now = clock.now()
    utc_offset_s = clock.local(now).tm_gmtoff
    for row in rows:
        images = []
        not_before_at = None
        for place, image in enumerate(row.images):
            try:
                images.append(pictures.image(image, folder))
            except PictureError as error:
                problems.append(_problem(row, source, f"images[{place}]", str(error)))
        if row.not_before is not None:
            try:
                not_before_at = parse_time(row.not_before, now=now, utc_offset_s=utc_offset_s)
            except ValueError as error:
                problems.append(_problem(row, source, "not_before", str(error)))
        yield Sent(
            provider=row.provider,
            prompt=row.prompt,
            images=tuple(images),
            name=row.name,
            batch=row.batch,
            labels=tuple(row.labels),
            priority=row.priority,
            not_before_at=not_before_at,
            after=tuple(row.after),
            hold=row.hold,
            count=row.count,
            params=_absolute(row.params, folder),
        )


def _absolute(params: dict[str, Any], folder: Path) -> dict[str, Any]:
    """`params` with the path of a ComfyUI workflow made absolute, as the daemon is elsewhere."""
    workflow = params.get("workflow")
    if not isinstance(workflow, str) or not workflow:
        return params
    return {**params, "workflow": str(folder / workflow)}


def all_placed(body: ErrorBody, rows: Sequence[Row], source: str) -> list[Problem]:
    """The daemon's problems, each where its row stands in the file."""
    found = [placed(problem, rows, source) for problem in body.problems]
    return found or [Problem(source, 0, "", body.message)]


def placed(problem: RowProblem, rows: Sequence[Row], source: str) -> Problem:
    """A problem of the daemon's, with the line of its row."""
    if problem.row is None or not 0 <= problem.row < len(rows):
        return Problem(source, 0, problem.field or "", problem.message)
    return _problem(rows[problem.row], source, problem.field or "", problem.message)


def _problem(row: Row, source: str, field: str, message: str) -> Problem:
    if source == SINGLE:
        return of_single(field, message)
    return Problem(source, row.line, field, message)


def of_single(field: str, message: str) -> Problem:
    """A problem of a job from the command line, under the name of its option."""
    name = field.partition("[")[0].partition(".")[0]
    option = _OPTIONS.get(name, f"--{name}" if name else "")
    key = field.removeprefix("params.") if name == "params" and "." in field else ""
    return Problem(SINGLE, 0, f"{option} {key}".rstrip(), message)
