"""The peer and the ceilings, each a process of its own: `python -m bench.peers WHAT FOLDER N`.

Prints one JSON object. Nothing of genq is imported here.
"""

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from huey import SqliteHuey  # type: ignore[import-untyped]

LOOK_S = 0.005
HUEY_THREADS = 4


def drain(folder: Path, count: int) -> dict[str, float]:
    """Huey as its documentation starts it: SQLite, four threads; enqueue all, then work it off."""
    huey = SqliteHuey("bench", filename=str(folder / "huey.db"))

    @huey.task()  # type: ignore[untyped-decorator]  # Huey has no types
    def nothing(number: int) -> None:
        """A job that does nothing."""

    began = time.perf_counter()
    for number in range(count):
        nothing(number)
    added = time.perf_counter()
    consumer = huey.create_consumer(workers=HUEY_THREADS)
    consumer.start()
    while huey.storage.queue_size():
        time.sleep(LOOK_S)
    ended = time.perf_counter()
    consumer.stop(graceful=True)
    return {"add_s": added - began, "drain_s": ended - added}


def insert(folder: Path, count: int) -> dict[str, float]:
    """The least that an add can be: read the lines, keep them in one transaction, synced."""
    lines = [json.dumps({"prompt": f"a red kite, take {number}"}) for number in range(count)]
    (folder / "in.jsonl").write_text("\n".join(lines))
    began = time.perf_counter()
    script = (
        "import json, sqlite3, sys\n"
        "link = sqlite3.connect(sys.argv[2], isolation_level=None)\n"
        "link.execute('PRAGMA journal_mode=WAL'); link.execute('PRAGMA synchronous=FULL')\n"
        "link.execute('CREATE TABLE jobs (id INTEGER PRIMARY KEY, body BLOB)')\n"
        "rows = [(json.dumps(json.loads(line)),) for line in open(sys.argv[1])]\n"
        "link.execute('BEGIN'); link.executemany('INSERT INTO jobs (body) VALUES (?)', rows)\n"
        "link.execute('COMMIT')\n"
    )
    paths = [str(folder / "in.jsonl"), str(folder / "ceiling.db")]
    subprocess.run([sys.executable, "-c", script, *paths], check=True)
    took = time.perf_counter() - began
    with sqlite3.connect(paths[1]) as link:
        assert link.execute("SELECT count(*) FROM jobs").fetchone()[0] == count  # noqa: S101
    return {"add_s": took}


def rest(folder: Path, seconds: int) -> dict[str, float]:
    """A Huey consumer that has nothing to do."""
    huey = SqliteHuey("bench", filename=str(folder / "huey.db"))
    consumer = huey.create_consumer(workers=HUEY_THREADS)
    consumer.start()
    print(json.dumps({"ready": 1}), flush=True)
    time.sleep(seconds)
    consumer.stop(graceful=True)
    return {}


def run(what: str, folder: Path, number: int) -> dict[str, Any]:
    """What `what` measured, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, what, str(folder), str(number)],
        cwd=Path(__file__).resolve().parent.parent,
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    measure = {"drain": drain, "insert": insert, "rest": rest}[sys.argv[1]]
    print(json.dumps(measure(Path(sys.argv[2]), int(sys.argv[3]))))
