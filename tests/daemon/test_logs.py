"""The log's own file: what is written there, what on stderr, and how it is rotated."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import structlog

from daemon import logs
from daemon.redaction import Redactor
from tests.fakes.installation import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def written(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / logs.LOG_FILE).read_text().splitlines()]


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_every_line_is_in_the_file_when_the_log_has_ended(tmp_path: Path) -> None:
    stop = logs.start(tmp_path, level="info", redactor=Redactor(), now=lambda: 5.0)
    log = structlog.get_logger()
    for number in range(100):
        log.info("counted", number=number)
    stop()
    assert [one["number"] for one in written(tmp_path)] == list(range(100))
    assert written(tmp_path)[0] == {"number": 0, "event": "counted", "level": "info", "at": 5.0}


def test_what_is_below_the_level_is_not_written(tmp_path: Path) -> None:
    stop = logs.start(tmp_path, level="warning", redactor=Redactor(), now=lambda: 5.0)
    structlog.get_logger().info("small")
    structlog.get_logger().error("large")
    stop()
    assert [one["event"] for one in written(tmp_path)] == ["large"]


def test_warnings_are_on_stderr_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stop = logs.start(tmp_path, level="info", redactor=Redactor(), now=lambda: 5.0)
    structlog.get_logger().info("small")
    structlog.get_logger().warning("odd")
    stop()
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "odd"


def test_a_traceback_is_in_its_line(tmp_path: Path) -> None:
    stop = logs.start(tmp_path, level="info", redactor=Redactor(), now=lambda: 5.0)
    try:
        int("lost")
    except ValueError:
        structlog.get_logger().exception("failed")
    stop()
    (line,) = written(tmp_path)
    assert line["level"] == "error"
    assert "ValueError" in str(line["exception"])


@pytest.mark.parametrize(
    "name", ["X-Amz-Signature", "X-Tos-Signature", "x-signature", "x-oss-signature", "q-signature"]
)
def test_what_signs_a_link_is_not_in_the_log(tmp_path: Path, name: str) -> None:
    stop = logs.start(tmp_path, level="info", redactor=Redactor(), now=lambda: 5.0)
    structlog.get_logger().info("fetched", link=f"https://bucket.test/a.png?w=9&{name}=5ec&h=9")
    stop()
    (line,) = written(tmp_path)
    assert line["link"] == f"https://bucket.test/a.png?w=9&{name}=[hidden]&h=9"


def test_a_line_that_ends_in_key_hides_nothing_of_the_next() -> None:
    problems = "c.toml:9: bogus: unknown key\n/etc/genq/c.toml:10: foo: unknown key"
    assert Redactor().text(problems) == problems
    assert Redactor().text("Authorization: Key abcdefgh12345") == "Authorization: Key [hidden]"


def test_an_earlier_log_is_added_to(tmp_path: Path) -> None:
    for name in ("first", "second"):
        stop = logs.start(tmp_path, level="info", redactor=Redactor(), now=lambda: 5.0)
        structlog.get_logger().info(name)
        stop()
    assert [one["event"] for one in written(tmp_path)] == ["first", "second"]


def test_a_large_log_is_put_aside_and_only_so_many_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LOG_BYTES_MAX", 100)
    for number in range(logs.LOG_FILES_MAX + 3):
        stop = logs.start(tmp_path, level="info", redactor=Redactor(), now=lambda: 5.0)
        structlog.get_logger().info("x" * 200, number=number)
        stop()
    kept = sorted(path.name for path in tmp_path.iterdir())
    ages = [f"{logs.LOG_FILE}.{age}" for age in range(1, logs.LOG_FILES_MAX + 1)]
    assert kept == [logs.LOG_FILE, *ages]
    youngest = json.loads((tmp_path / ages[0]).read_text())
    assert youngest["number"] == logs.LOG_FILES_MAX + 2


def test_a_log_that_can_not_be_put_aside_goes_on_and_is_put_aside_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LOG_BYTES_MAX", 100)
    folder, away = tmp_path / "logs", tmp_path / "away"
    folder.mkdir()
    lines = logs.Lines(folder / logs.LOG_FILE)
    lines.info("before")
    until(lambda: (folder / logs.LOG_FILE).stat().st_size == len("before\n"))
    folder.rename(away)
    lines.info("a" * 200)
    until(lambda: (away / logs.LOG_FILE).stat().st_size > 200)
    lines.info("b" * 200)
    until(lambda: (away / logs.LOG_FILE).stat().st_size > 400)
    away.rename(folder)
    lines.info("after")
    lines.close()
    told = "".join(path.read_text() for path in folder.iterdir())
    assert sorted(map(len, told.split())) == [5, 6, 200, 200]


def test_lines_that_nobody_could_write_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = logs.start(tmp_path, level="info", redactor=Redactor(), now=lambda: 5.0)
    log = structlog.get_logger()
    with monkeypatch.context() as crowded:
        crowded.setattr(logs, "QUEUE_LINES_MAX", 0)
        for _ in range(3):
            log.info("lost")
    log.info("kept")
    stop()
    assert [(one["event"], one.get("lines")) for one in written(tmp_path)] == [
        ("lines_dropped", 3),
        ("kept", None),
    ]
