"""`genq edit`: a job that waits, as TOML in the operator's editor."""

import argparse
import os
import signal
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from daemon.core.job import Job
from daemon.core.suggest import did_you_mean, shown
from daemon.core.times import parse_time
from daemon.wire.messages import Act, Ls
from tui.clock import Clock
from tui.console import Console
from tui.options import Parser, UsageError, job_id
from tui.session import connect
from tui.text import clean
from tui.wording import job_called

KEYS: Mapping[str, type] = {
    "name": str,
    "prompt": str,
    "labels": list,
    "priority": int,
    "not_before": str,
    "params": dict,
}
FAILED = 1


class NoEditorError(UsageError):
    """There is no editor, or none that can be run."""


class BadTextError(Exception):
    """What came back from the editor can't be taken; the message says why."""


def arguments(parser: Parser) -> None:
    """What `edit` takes."""
    parser.add_argument("id", metavar="ID", type=job_id, help="a queued or held job")
    parser.epilog = "example: EDITOR=nano genq edit 12"


def run(asked: argparse.Namespace, console: Console) -> int:
    """Open the job in $VISUAL or $EDITOR; send what changed. Refused text is kept."""
    with connect(asked, console) as session:
        found = session.jobs(Ls(ids=(asked.id,)), Job)
    if not found:
        return _refused(asked.id, f"there is no job {asked.id}", console)
    if found[0].state not in ("queued", "held"):
        why = f"job {asked.id} is {found[0].state}: only queued and held jobs can be edited"
        return _refused(asked.id, why, console)
    before = _table(found[0])
    path = _written(asked.id, before)
    try:
        changes = changed(before, _edited(path, console), console.clock)
        if changes:
            _send(changes, asked, console)
    except NoEditorError:
        path.unlink()
        raise
    except BadTextError as error:
        code = _refused(asked.id, str(error), console)
        _tell_kept(path, console)
        return code
    except BaseException:  # the daemon went away, or refuses to understand it
        _tell_kept(path, console)
        raise
    path.unlink(missing_ok=True)
    if console.json:
        console.value({"changed": [asked.id] if changes else [], "refused": []})
    else:
        what = f"edited {', '.join(changes)}" if changes else "nothing was changed"
        console.line(clean(f"{job_called(found[0].id, found[0].name)}: {what}"))
    return 0


def _refused(job: int, why: str, console: Console) -> int:
    console.note(clean(f"refused: {why}"))
    if console.json:
        console.value({"changed": [], "refused": [{"id": job, "why": why}]})
    return FAILED


def _tell_kept(path: Path, console: Console) -> None:
    if path.exists():
        console.note(f"what you wrote is kept in {path}")


def _send(changes: Mapping[str, Any], asked: argparse.Namespace, console: Console) -> None:
    """Have the daemon make the changes. Raises BadTextError with its reason not to."""
    with connect(asked, console) as session:
        request = Act(id=0, verb="edit", jobs=(asked.id,), changes=dict(changes))
        answer = session.request(request)
    if answer["refused"]:
        raise BadTextError(answer["refused"][0]["why"])


def _table(job: Job) -> dict[str, Any]:
    """What of a job may be edited."""
    at = job.not_before_at
    return {
        "name": job.name or "",
        "prompt": job.prompt,
        "labels": list(job.labels),
        "priority": job.priority,
        "not_before": "" if at is None else datetime.fromtimestamp(at, tz=UTC).isoformat(),
        "params": dict(job.params),
    }


def _written(job: int, table: Mapping[str, Any]) -> Path:
    """A file of our own with `table` in it."""
    import tempfile

    import tomli_w

    handle, name = tempfile.mkstemp(prefix=f"genq-{job}-", suffix=".toml")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"# job {job}; save to change it, leave as it is to change nothing\n")
        try:
            file.write(tomli_w.dumps(dict(table)))
        except TypeError:
            raise UsageError("its params hold a null, which TOML doesn't have") from None
    return Path(name)


def _edited(path: Path, console: Console) -> dict[str, Any]:
    """What the file holds when the editor is left. Raises BadTextError, NoEditorError."""
    import shlex
    import subprocess

    editor = console.environ.get("VISUAL") or console.environ.get("EDITOR")
    if not editor and not console.can_ask:
        raise NoEditorError("there is no terminal for an editor: name one in $EDITOR")
    editor = editor or "vi"
    try:
        with _interrupts_left_to_the_editor():
            code = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise NoEditorError(f"$EDITOR: {shown(editor)} can't be run: {why}") from None
    if code != 0:
        raise BadTextError(f"the editor ended with {code}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadTextError(f"the editor left no file: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadTextError(f"not UTF-8 at byte {error.start}") from None
    except ValueError as error:
        raise BadTextError(f"not TOML: {error}") from None


@contextmanager
def _interrupts_left_to_the_editor() -> Iterator[None]:
    """Ctrl-C reaches everybody at the terminal: an editor goes on, and would be killed by us."""
    before = signal.signal(signal.SIGINT, lambda *_: None)  # not ignored: that would be inherited
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def changed(before: Mapping[str, Any], after: Mapping[str, Any], clock: Clock) -> dict[str, Any]:
    """The changes for the daemon: keys whose value is another one. Raises BadTextError."""
    changes: dict[str, Any] = {}
    for key, value in after.items():
        if key not in KEYS:
            raise BadTextError(f"{shown(key)}: unknown key{did_you_mean(key, KEYS)}")
        if not isinstance(value, KEYS[key]) or isinstance(value, bool):
            raise BadTextError(f"{key}: expected {_WORDS[KEYS[key]]}, got {shown(value)}")
        if value != before[key]:
            changes[key] = value
    if "not_before" in changes:
        changes["not_before_at"] = _moment(changes.pop("not_before"), clock)
    return changes


_WORDS = {str: "text", list: "a list", int: "a whole number", dict: "a table"}


def _moment(text: str, clock: Clock) -> float:
    now = clock.now()
    if not text:
        return now
    try:
        return parse_time(text, now=now, utc_offset_s=clock.local(now).tm_gmtoff)
    except ValueError as error:
        raise BadTextError(f"not_before: {error}") from None
