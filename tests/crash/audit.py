"""What must hold after any kill, looked at from outside: ledger, `ls`, `show`, `events`, files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from daemon.core.machine import TABLE
from tests.fakes.installation import fold, without_derived

AT_REST = frozenset({"succeeded", "failed", "cancelled", "in_doubt", "held"})
Row = dict[str, Any]


class Paid(NamedTuple):
    """A paid request that a vendor accepted, as the vendor counts it."""

    job: int
    key: str
    remote_id: str
    fails: bool = False


class Seen(NamedTuple):
    """All that can be seen of an installation at rest."""

    jobs: Sequence[Row]
    events: Sequence[Row]
    paid: Sequence[Paid]
    alarms: Sequence[str] = ()


def violations(seen: Seen, asked: Mapping[int, int]) -> list[str]:
    """What doesn't hold; `asked` is how often operators asked for each job, at most."""
    return [
        *_paid_once(seen, asked),
        *_stream(seen.events),
        *_folds(seen),
        *_kept(seen),
        *_files(seen.jobs),
        *(f"the log has an error: {line}" for line in seen.alarms),
    ]


def _paid_once(seen: Seen, asked: Mapping[int, int]) -> Iterator[str]:
    for key, count in Counter(one.key for one in seen.paid).items():
        if count > 1:
            yield f"key {key} was accepted {count} times"
    for job, count in Counter(one.job for one in seen.paid).items():
        if count > asked.get(job, 0):
            yield f"job {job} was accepted {count} times, asked for {asked.get(job, 0)} times"


def _stream(events: Sequence[Row]) -> Iterator[str]:
    """No hole, and each job's events in an order that the machine's table knows."""
    states: dict[Any, tuple[Any, int]] = {}
    first = events[0]["seq"] if events else 1
    for place, event in enumerate(events, start=first):
        if event["seq"] != place:
            yield f"the stream has a hole before {event['seq']}"
            return
        job = event.get("job")
        if event["type"] == "added":
            states[job] = event["value"]["state"], event["value"]["rev"]
        elif job in states:
            state, rev = states[job]
            after = event.get("state", state)
            if after not in TABLE[state].get(event["type"], ()):
                yield f"event {event['seq']}: {event['type']} of job {job} in {state} to {after}"
            if event["rev"] != rev + 1:
                yield f"event {event['seq']}: revision {event['rev']} of job {job} after {rev}"
            states[job] = after, event["rev"]


def _folds(seen: Seen) -> Iterator[str]:
    """The stream tells the same as the journal."""
    folded = fold(list(seen.events))
    for job in seen.jobs:
        bare = {key: value for key, value in job.items() if key != "attempts"}
        told = folded.get(job["id"])
        if told is not None and without_derived(bare) != without_derived(told):
            yield f"job {job['id']} isn't what its events say"


def _kept(seen: Seen) -> Iterator[str]:
    """Nothing that was paid for is forgotten, and no job is left where nobody sees to it."""
    jobs = {job["id"]: job for job in seen.jobs}
    for one in jobs.values():
        if one["state"] not in AT_REST:
            yield f"job {one['id']} stays {one['state']}"
    for paid in seen.paid:
        job: Row | None = jobs.get(paid.job)
        attempts = job["attempts"] if job is not None else ()
        record = next((one for one in attempts if one["key"] == paid.key), None)
        if job is None or record is None:
            yield f"job {paid.job} knows nothing of the accepted key {paid.key}"
        elif not _accounted(job, record, paid):
            yield (
                f"job {paid.job} is {job['state']}, its attempt {record['result']}, but "
                f"{paid.remote_id} was accepted"
            )


def _accounted(job: Row, record: Row, paid: Paid) -> bool:
    """Whether an accepted request has a result on disk, a verdict, or is shown to somebody."""
    if record["attempt"] == job["attempt"] and job["state"] in ("in_doubt", "held"):
        return True
    match record["result"]:
        case "succeeded":
            return bool(job["outputs"])
        case "failed":
            return paid.fails
        case "cancelled" | "written-off" | "abandoned":  # an operator said so
            return bool(job["billed"] != "no")
        case None:  # watched
            return bool(job["remote_id"] == paid.remote_id)
        case _:
            return False


def _files(jobs: Sequence[Row]) -> Iterator[str]:
    """Every output is there as it was told, under one name each."""
    names = Counter(output["path"] for job in jobs for output in job["outputs"])
    for name, count in names.items():
        if count > 1:
            yield f"{name} is {count} outputs"
    for job in jobs:
        if job["state"] == "succeeded" and not job["outputs"]:
            yield f"job {job['id']} succeeded without an output"
        for output in job["outputs"]:
            path = Path(output["path"])
            content = path.read_bytes() if path.is_file() else b""
            told = output["bytes"], output["sha256"]
            if (len(content), hashlib.sha256(content).hexdigest()) != told:
                yield f"{path} isn't the file that job {job['id']} tells of"
