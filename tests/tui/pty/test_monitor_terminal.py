"""What only a real terminal shows: how it is left behind, what reaches it, what its faults do."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.fakes.socket_daemon import SocketDaemon, crowd, failure, job, paused, provider
from tests.tui.pty.terminal import IGNORING_HANGUP, ROOT, SEQUENCES, START, Terminal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LEFT = (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?1003l", b"\x1b[?2004l")
"""The usual screen is back, the cursor is seen, no mouse and no pasting is reported."""


@pytest.fixture
async def terminal() -> AsyncIterator[Terminal]:
    one = Terminal()
    yield one
    one.close()


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[SocketDaemon]:
    one = SocketDaemon(tmp_path / "s", crowd(20), [provider("veo"), provider("cogvideox")])
    await one.start()
    yield one
    await one.stop()


def restored(terminal: Terminal) -> bool:
    return all(sequence in terminal.output for sequence in LEFT)


async def test_q_ends_with_0_restores_the_terminal_and_says_that_the_daemon_goes_on(
    terminal: Terminal, daemon: SocketDaemon
) -> None:
    terminal.start("monitor", "--socket", str(daemon.path))
    await terminal.sees("live", "generate 61%")
    terminal.type("q")
    assert await terminal.ended() == 0
    assert restored(terminal)
    assert "the daemon goes on" in terminal.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_it_and_the_terminal_is_as_before(
    terminal: Terminal, daemon: SocketDaemon, number: signal.Signals
) -> None:
    terminal.start("monitor", "--socket", str(daemon.path))
    await terminal.sees("live")
    terminal.signal(number)
    assert await terminal.ended() == 128 + number
    assert restored(terminal)


async def test_it_opens_without_a_daemon_and_finds_it_when_it_comes(
    terminal: Terminal, tmp_path: Path
) -> None:
    terminal.start("monitor", "--socket", str(tmp_path / "s"))
    await terminal.sees("no daemon at", "retrying")
    daemon = SocketDaemon(tmp_path / "s", [job(1)], [provider("veo")])
    await daemon.start()
    await terminal.sees("live", "a red kite")
    await daemon.stop()


async def test_without_a_terminal_it_ends_with_2_and_names_the_command_to_use(
    tmp_path: Path,
) -> None:
    ran = subprocess.run(  # noqa: ASYNC221  nothing else runs in this test
        [sys.executable, "-c", START, "monitor", "--socket", str(tmp_path / "s")],
        check=False,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert "genq status" in ran.stderr


async def test_a_terminal_that_stops_reading_stalls_neither_the_stream_nor_the_end(
    terminal: Terminal, daemon: SocketDaemon
) -> None:
    terminal.start("monitor", "--socket", str(daemon.path))
    await terminal.sees("live")
    terminal.reading(False)
    async with asyncio.timeout(15):
        for turn in range(20_000):  # more than any buffer between us holds
            daemon.tell("polled", 1 + turn % 20, progress=turn % 100 / 100)
            if turn % 500 == 0:
                await daemon.drained()
        await daemon.drained()
    daemon.tell("polled", 8, progress=0.99)
    terminal.reading(True)
    await terminal.sees("99%")
    terminal.type("q")
    assert await terminal.ended() == 0


async def test_a_signal_ends_it_though_the_terminal_takes_nothing(
    terminal: Terminal, daemon: SocketDaemon
) -> None:
    terminal.start("monitor", "--socket", str(daemon.path))
    await terminal.sees("live")
    terminal.reading(False)
    for turn in range(4_000):
        daemon.tell("polled", 1 + turn % 20, progress=turn % 100 / 100)
        if turn % 100 == 0:
            await daemon.drained()
    terminal.signal(signal.SIGTERM)
    assert await terminal.ended() == 128 + signal.SIGTERM


async def test_a_terminal_that_is_gone_ends_it_even_if_hangups_are_ignored(
    terminal: Terminal, daemon: SocketDaemon
) -> None:
    terminal.start("monitor", "--socket", str(daemon.path), code=IGNORING_HANGUP + START)
    await terminal.sees("live")
    terminal.hang_up()
    assert await terminal.ended() == 129


ALLOWED = re.compile(
    rb"\x1b\[[0-9;]*m"  # colours
    rb"|\x1b\[[0-9]*;?[0-9]*H"  # the cursor to a place
    rb"|\x1b\[\?(?:1049|25|1000|1003|1006|1015|1016|1004|2004|2026|2048|7)[hl]"
    rb"|\x1b\[\?(?:2026|2048)\$p"  # what can you do?
    rb"|\x1b\[[<>=][0-9;]*u"  # the keyboard
    rb"|\x1b\]22;[a-z-]+\x07"  # the pointer's shape
)
HOSTILE = (
    "\x1b]52;c;aGFjaw==\x07\x1b]0;title\x1b\\ \x9b31m \x1b[2J \u202eevil [/red] "
    "[@click=app.quit]q[/]"
)


async def test_only_sequences_of_ours_reach_the_terminal_whatever_texts_hold(
    tmp_path: Path,
) -> None:
    terminal = Terminal((160, 48))
    hostile = job(
        1,
        state="failed",
        name=HOSTILE,
        prompt=HOSTILE,
        batch=HOSTILE,
        labels=(HOSTILE,),
        by=HOSTILE,
        remote_id=HOSTILE,
        reason=HOSTILE,
        errors_consecutive=3,
        error=failure(message=HOSTILE, kind=HOSTILE, rule=HOSTILE, advice=HOSTILE, code=HOSTILE),
    )
    row = provider("veo", engine=HOSTILE, gate=paused(None, "auth", HOSTILE))
    daemon = SocketDaemon(tmp_path / "s", [hostile], [row])
    daemon.refuse[1] = HOSTILE
    await daemon.start()
    terminal.start("monitor", "--socket", str(tmp_path / "s"))
    await terminal.sees("live", "evil")
    daemon.tell("poll_failed", 1, error=hostile.error, detail=HOSTILE, by=HOSTILE)
    for keys in ("h", "w", "e", "\x1b", "2", "3", "4", "\r", "\x1b", "1", "\r", "\x1b", "c"):
        terminal.type(keys)
        await asyncio.wait_for(terminal.quiet(), 5)
    terminal.type("q")
    await terminal.quiet()
    terminal.type("q")
    assert await terminal.ended() == 0
    sequences = set(SEQUENCES.findall(bytes(terminal.output)))
    strange = [one for one in sequences if not ALLOWED.fullmatch(one)]
    assert strange == []
    left = SEQUENCES.sub(b"", bytes(terminal.output)).decode()
    assert not re.search("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e]", left)
    terminal.close()
    await daemon.stop()


async def test_after_a_storm_of_resizes_the_last_size_is_the_one_that_is_used(
    terminal: Terminal, daemon: SocketDaemon
) -> None:
    terminal.start("monitor", "--socket", str(daemon.path))
    await terminal.sees("live")
    for turn in range(40):
        terminal.resize(70 + turn, 20 + turn % 10)
    terminal.resize(160, 40)
    await terminal.sees("── events")
    terminal.output.clear()
    terminal.type("\x0c")
    await terminal.sees("── events")
    terminal.type("q")
    assert await terminal.ended() == 0


def started(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE)


async def test_a_daemon_that_is_killed_leaves_rows_that_say_stale_and_comes_back(
    terminal: Terminal, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "tests.fakes.socket_daemon", str(tmp_path / "s"), "12", "1000"]
    first = started(words)
    terminal.start("monitor", "--socket", str(tmp_path / "s"))
    await terminal.sees("live", "IN DOUBT")
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    await terminal.sees("stale")
    terminal.output.clear()
    second = started(words)
    await terminal.sees("live")
    terminal.type("3")
    await terminal.sees("connection lost")
    terminal.type("q")
    assert await terminal.ended() == 0
    second.communicate()


async def test_one_changed_row_costs_less_than_a_kilobyte_and_an_unseen_one_nothing(
    tmp_path: Path,
) -> None:
    terminal = Terminal((120, 30))
    jobs = [job(number) for number in range(1, 2_001)]
    daemon = SocketDaemon(tmp_path / "s", jobs, [provider("veo")])
    await daemon.start()
    terminal.start("monitor", "--socket", str(tmp_path / "s"))
    await terminal.sees("of 2,000")
    await terminal.quiet()
    terminal.output.clear()
    daemon.tell("poll_failed", 20, errors_consecutive=4, errors_total=4)
    await terminal.sees("4/5!")
    await terminal.quiet(0.2)
    assert len(terminal.output) < 1_000
    terminal.output.clear()
    for number in range(1_000, 1_500):
        daemon.tell("poll_failed", number, errors_consecutive=4, errors_total=4)
    await daemon.drained()
    await terminal.quiet(0.2)
    assert len(terminal.output) < 200
    terminal.close()
    await daemon.stop()


async def test_without_colours_no_colour_leaves_and_the_cursor_is_reversed(
    terminal: Terminal, daemon: SocketDaemon
) -> None:
    terminal.start("monitor", "--socket", str(daemon.path), NO_COLOR="1")
    await terminal.sees("live", "generate 61%")
    terminal.type("j")
    await terminal.quiet()
    codes = re.findall(rb"\x1b\[([0-9;]*)m", bytes(terminal.output))
    parts = {part for code in codes for part in code.split(b";") if part}
    assert parts <= {b"0", b"1", b"2", b"4", b"7"}  # reset, bold, dim, underlined, reversed
    assert b"7" in parts


async def test_a_locale_without_utf_8_gets_ascii_signs(
    terminal: Terminal, daemon: SocketDaemon
) -> None:
    daemon.jobs = {1: job(1, state="generating", progress=0.61)}
    terminal.start("monitor", "--socket", str(daemon.path), LANG="C", LC_ALL="C")
    await terminal.sees("live", "generate 61%")
    await terminal.quiet()
    assert terminal.text.isascii()


async def test_e_lends_the_terminal_to_the_editor_and_takes_it_back(
    terminal: Terminal, tmp_path: Path
) -> None:
    daemon = SocketDaemon(tmp_path / "s", [job(1)], [provider("veo")])
    await daemon.start()
    editor = tmp_path / "editor"
    editor.write_text(
        '#!/bin/sh\necho "the editor has it"\nsed -i "s/^priority.*/priority = 7/" "$1"\n'
    )
    editor.chmod(0o755)
    terminal.start("monitor", "--socket", str(tmp_path / "s"), EDITOR=str(editor), VISUAL="")
    await terminal.sees("live", "a red kite")
    terminal.type("EE")  # one editor, not one over the other
    await terminal.sees("the editor has it")
    terminal.output.clear()
    await terminal.sees("a red kite", "filter:")
    assert b"\x1b[?1049h" in terminal.output
    assert [act.changes for act in daemon.acts] == [{"priority": 7}]
    assert b"the editor has it" not in terminal.output
    terminal.type("q")
    assert await terminal.ended() == 0
    assert restored(terminal)
    await daemon.stop()
