"""The commands that only look: status, ls, show, why, providers, ping, events, wait."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from daemon.core.job import Attempt, Failure, Image, Output, Stage
from daemon.wire import messages
from daemon.wire.messages import ErrorBody
from tests.fakes.console import FakeConsole, genq
from tests.fakes.daemon import NOW, FakeDaemon, provider_row
from tui.cli import run
from tui.text import width

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTILE = "red\x1b]52;c;cm0=\x07 \u202egnp \x9b31m 红风筝\nkite" + "x" * 500
ESCAPES = "\x1b\x9b\x07\u202e"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    fake = FakeDaemon(tmp_path / "s")
    fake.start()
    yield fake
    fake.stop()


def fill(daemon: FakeDaemon) -> None:
    """Have one job in each of several states, with everything that can be hostile hostile."""
    error = Failure("poll", "http", 504, "13\x1b", HOSTILE, "cogvideox.3", HOSTILE)
    daemon.put(1, prompt="a red kite")
    daemon.put(2, reason="backoff", prompt="一只猫走在月球上", provider="cogvideox")
    daemon.put(
        12,
        name="shot-03",
        provider="cogvideox",
        state="generating",
        progress=0.61,
        batch="episode-1",
        labels=("night",),
        priority=5,
        prompt=HOSTILE,
        params={"duration": 5, "note": HOSTILE},
        images=(Image("/refs/fox.png", "ab" * 32), Image("https://x.test/\x1b.png")),
        after=(3,),
        attempt=2,
        retries=1,
        retries_max=5,
        errors_consecutive=3,
        errors_consecutive_max=5,
        errors_total=7,
        remote_id="operations/" + "y" * 90,
        started_at=NOW - 50,
        next_at=NOW + 8,
        deadline_at=NOW + 900,
        by="ana",
        error=error,
        stages=(Stage("queue", 0, NOW - 60, 10.0, "ok"), Stage("generate", 2, NOW - 48)),
        attempts=(Attempt(1, "k", HOSTILE, NOW - 55, NOW - 54, NOW - 52, 3, "failed", error),),
        outputs=(Output("/out/episode-1/12-shot\x1b.png", 81_234, "ab", "image/png"),),
    )
    daemon.put(13, state="failed", error=error, errors_consecutive=5, errors_consecutive_max=5)
    daemon.put(14, state="succeeded", finished_at=NOW, prompt="done")
    daemon.put(15, state="in_doubt")
    cause = {"cause": "quota", "until_at": NOW + 401, "reason": HOSTILE}
    gate = {"state": "paused", "until_at": NOW + 401, "reason": HOSTILE, "causes": [cause]}
    latency = {"submit": {"p50_s": 0.8, "p95_s": 2.2, "n": 9}}
    daemon.providers = [
        provider_row("mock"),
        provider_row("cogvideox", latency=latency),
        provider_row("veo", gate=gate, quota_consecutive=3),
        provider_row("jiekou", enabled=False),
    ]
    daemon.status_problems = [HOSTILE]
    daemon.events = [
        {"seq": 7, "at": NOW, "type": "added", "job": 1, "provider": "mock"}
        | {"value": {"id": 1, "name": "n", "prompt": HOSTILE}},
        {"seq": 8, "at": NOW, "type": "poll_failed", "job": 12, "provider": "cogvideox"}
        | {"errors_consecutive": 3, "error": {"phase": "poll", "kind": HOSTILE, "message": "m"}},
        {"seq": 9, "at": NOW, "type": "provider_paused", "provider": "veo", "by": HOSTILE}
        | {"gate": {"causes": [{"cause": "quota", "reason": HOSTILE}]}},
        {"seq": 10, "at": NOW, "type": "saved", "job": 12, "provider": "veo", "detail": HOSTILE}
        | {"outputs": [{"path": "/out/a"}, {"path": "/out/b"}], "progress": 1.0},
    ]


LOOKS = (
    ("status",),
    ("ls",),
    ("show", "12"),
    ("why", "12"),
    ("providers",),
    ("events",),
    ("ping",),
)


@pytest.mark.parametrize("words", LOOKS)
def test_json_is_one_value_a_line_and_nothing_else(
    daemon: FakeDaemon, words: tuple[str, ...]
) -> None:
    fill(daemon)
    ran = genq(daemon.path, "--json", *words)
    assert (ran.code, ran.err) == (0, "")
    assert [json.loads(line) for line in ran.out.splitlines()]


@pytest.mark.parametrize("words", LOOKS)
def test_nothing_foreign_reaches_the_terminal_as_control_codes(
    daemon: FakeDaemon, words: tuple[str, ...]
) -> None:
    fill(daemon)
    for environ in ({}, {"NO_COLOR": "1"}):
        console = FakeConsole(terminal=True, **environ)
        assert genq(daemon.path, *words, console=console).code == 0
        plain = console.told
        for style in ("0", "1", "2", "31", "32", "33", "36"):
            plain = plain.replace(f"\x1b[{style}m", "")
        assert not set(plain) & set(ESCAPES)
        assert ("\x1b" in console.told) == (not environ and words[0] not in ("why", "ping"))


@pytest.mark.parametrize("words", LOOKS)
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_no_line_is_wider_than_the_terminal_but_those_to_copy(
    daemon: FakeDaemon, words: tuple[str, ...], columns: int
) -> None:
    fill(daemon)
    console = FakeConsole(terminal=True, NO_COLOR="1", COLUMNS=str(columns))
    genq(daemon.path, *words, console=console)
    for line in console.told.splitlines():
        is_to_copy = "/out/" in line or str(daemon.path) in line or words[0] == "why"
        assert is_to_copy or width(line) <= columns


def test_status_tells_counts_gates_problems_and_the_socket(daemon: FakeDaemon) -> None:
    fill(daemon)
    out = genq(daemon.path, "status").out
    assert "2 queued   1 generate   1 IN DOUBT   1 done   1 failed" in out
    assert "uncollected  1 perhaps paid" in out
    assert "problems     red␛]52" in out
    assert "paused: quota, in 6:41" in out
    assert "not enabled" in out
    assert "0.1.0, pid 4242, started 2 h 05 min ago" in out
    assert str(daemon.path) in out


def test_status_of_an_empty_daemon_says_none(daemon: FakeDaemon) -> None:
    daemon.providers = []
    out = genq(daemon.path, "status").out
    assert out.startswith("jobs         none\n")
    assert "uncollected" not in out
    assert "problems" not in out


def test_bare_genq_in_a_pipe_prints_the_status(daemon: FakeDaemon) -> None:
    assert genq(daemon.path).out == genq(daemon.path, "status").out
    assert genq(daemon.path, "--json").value["daemon"]["pid"] == 4242


def test_ls_aligns_chinese_by_cells_and_uses_the_words_of_the_screen(daemon: FakeDaemon) -> None:
    fill(daemon)
    console = FakeConsole(terminal=True, NO_COLOR="1")
    lines = genq(daemon.path, "ls", console=console).out.splitlines()
    assert lines[:4] == [
        "ID  STATE         PROVIDER   TRY  ERR   AGE  NAME, PROMPT OR LAST ERROR",
        " 1  queued        mock         0    0  1:00  a red kite",
        " 2  waiting       cogvideox    0    0  1:00  一只猫走在月球上",
        "12  generate 61%  cogvideox    2    3  1:00  shot-03 · red␛]52;c;cm0=␇ ·gnp �31…",
    ]
    assert "poll HTTP 504" in lines[4]
    assert "IN DOUBT" in lines[6]


def test_ls_passes_its_conditions_on_and_prints_what_it_gets(daemon: FakeDaemon) -> None:
    fill(daemon)
    words = ["ls", "--state", "done,failed", "--provider", "mock", "--batch", "b", "--json"]
    words += ["--filter", "kite", "--sort", "-id", "--limit", "3"]
    assert genq(daemon.path, *words).value == []
    asked = daemon.asked(messages.Ls)[-1]
    assert asked.filter == "kite state:succeeded,failed"
    assert (asked.provider, asked.batch, asked.sort, asked.limit) == ("mock", "b", "-id", 3)
    got = genq(daemon.path, "ls", "--state", "DONE,failed", "--sort", "-id", "--json").value
    assert [job["id"] for job in got] == [14, 13]


@pytest.mark.parametrize(
    ("terminal", "words", "recent"),
    [
        (True, [], 50),
        (True, ["--all"], None),
        (True, ["--json"], None),
        (False, [], None),
    ],
)
def test_only_a_terminal_is_spared_old_jobs(
    daemon: FakeDaemon, terminal: bool, words: list[str], recent: int | None
) -> None:
    for number in range(1, 61):
        daemon.put(number, state="succeeded")
    console = FakeConsole(terminal=terminal)
    ran = genq(daemon.path, "ls", *words, console=console)
    assert daemon.asked(messages.Ls)[-1].recent == recent
    assert ("the last 50 jobs" in ran.err) == (recent is not None)
    if "--json" in words:
        assert [job["id"] for job in ran.value] == list(range(1, 61))


def test_no_jobs_is_no_error(daemon: FakeDaemon) -> None:
    ran = genq(daemon.path, "ls", "--provider", "veo")
    assert (ran.code, ran.out, ran.err) == (0, "", "no jobs\n")


def test_show_has_everything_about_a_job(daemon: FakeDaemon) -> None:
    fill(daemon)
    out = genq(daemon.path, "show", "12").out
    for fragment in (
        "job 12 (shot-03)  generate 61%  cogvideox",
        "batch      episode-1",
        "tries      attempt 2, 1 of 5 retries, 3 errors in a row (stops at 5), 7 in all",
        "added      2023-11-14 22:12:20, 1 min ago, by ana",
        "next       2023-11-14 22:13:28, in 0:08",
        "after      job 3",
        "y" * 90,
        "params     duration = 5, note = ",
        "image      /refs/fox.png (sha256 abababababab…)",
        "generate    2  11-14 22:12:32    0:48  running",
        "try 1: key k, remote id red␛",
        "try 1: poll HTTP 504 13␛: red",
        "rule cogvideox.3: red",
        "81 kB  image/png",
    ):
        assert fragment in out


def test_show_cuts_a_long_prompt_and_says_so(daemon: FakeDaemon) -> None:
    daemon.put(1, prompt="line\n" * 400)
    out = genq(daemon.path, "show", "1").out
    assert out.count("line\n") == 20
    assert "(380 lines more: --json)" in out


def test_why_prints_the_sentence_alone(daemon: FakeDaemon) -> None:
    daemon.put(5)
    assert genq(daemon.path, "why", "5").out == "It waits.\n"
    assert genq(daemon.path, "why", "5", "--json").value["id"] == 5


@pytest.mark.parametrize("verb", ["show", "why"])
def test_an_unknown_id_is_told_and_ends_with_1(daemon: FakeDaemon, verb: str) -> None:
    ran = genq(daemon.path, verb, "99", "--json")
    assert (ran.code, ran.out, ran.err) == (1, "", "genq: there is no job 99\n")


def test_providers_tell_why_a_gate_is_shut_and_how_long_stages_take(daemon: FakeDaemon) -> None:
    fill(daemon)
    out = genq(daemon.path, "providers").out
    assert "veo: quota (3 in a row), ends in 6:41: red␛" in out
    assert "0.8/2.2" in out


def test_a_gate_shut_for_good_says_who_opens_it(daemon: FakeDaemon) -> None:
    cause = {"cause": "auth", "until_at": None, "reason": "401"}
    gate = {"state": "closed", "until_at": None, "reason": "401", "causes": [cause]}
    daemon.providers = [provider_row("veo", gate=gate)]
    out = genq(daemon.path, "providers").out
    assert "closed: auth" in out
    assert "veo: auth, until it is resumed: 401" in out


# ---- ping ----


def test_ping_answers_and_measures(daemon: FakeDaemon) -> None:
    assert genq(daemon.path, "ping", "--json").value == {"ok": True, "latency_s": 0.0}
    assert genq(daemon.path, "ping").out == f"genqd answers in 0.0 ms at {daemon.path}\n"


def test_ping_waits_no_longer_than_asked(tmp_path: Path) -> None:
    console = FakeConsole()
    ran = genq(tmp_path / "none", "ping", "--wait", "2.05", "--json", console=console)
    assert (ran.code, ran.out) == (3, "")
    assert str(tmp_path / "none") in ran.err
    assert sum(console.fake_clock.slept) == pytest.approx(2.05)


def test_ping_ends_as_soon_as_there_is_an_answer(tmp_path: Path) -> None:
    fake = FakeDaemon(tmp_path / "s")
    console = FakeConsole()

    class Starting(type(console.fake_clock)):  # type: ignore[misc]
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if len(self.slept) == 3:
                fake.start()

    console.clock = Starting()
    assert genq(fake.path, "ping", "--wait", "60", console=console).code == 0
    fake.stop()


# ---- events ----


def seqs(out: str) -> list[int]:
    return [json.loads(line)["seq"] for line in out.splitlines()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [7, 8, 9, 10]),
        (["--after", "8"], [9, 10]),
        (["--tail", "1"], [10]),
        (["--tail", "0"], []),
        (["--job", "12"], [8, 10]),
        (["--job", "12", "--tail", "1"], [10]),
    ],
)
def test_events_end_at_the_newest(
    daemon: FakeDaemon, words: list[str], expected: list[int]
) -> None:
    fill(daemon)
    assert seqs(genq(daemon.path, "events", "--json", *words).out) == expected


def test_an_event_is_a_line_that_tells_what_happened(daemon: FakeDaemon) -> None:
    fill(daemon)
    lines = genq(daemon.path, "events").out.splitlines()
    assert lines[0].startswith("11-14 22:13:20      7  added             job 1       mock")
    assert "job 1 (n); red␛]52" in lines[0]
    assert lines[1].endswith(": m; 3 errors in a row")
    assert "quota: red" in lines[2]
    assert "100%; /out/a and 1 file more; red" in lines[3]


@pytest.mark.parametrize("words", [["--job", "9"], ["--job", "9", "--follow"]])
def test_the_events_of_an_unknown_job_end_with_1(daemon: FakeDaemon, words: list[str]) -> None:
    fill(daemon)
    ran = genq(daemon.path, "events", *words)
    assert (ran.code, ran.out, ran.err) == (1, "", "genq: there is no job 9\n")


def test_a_forgotten_job_may_have_left_events_and_a_known_one_none(daemon: FakeDaemon) -> None:
    fill(daemon)
    daemon.put(99)
    assert genq(daemon.path, "events", "--job", "99").code == 0
    del daemon.jobs[12]
    assert genq(daemon.path, "events", "--job", "12").code == 0


class GaveUpError(Exception):
    """Stands for ctrl+c: the fake clock raises it when the test has seen enough."""


def following(daemon: FakeDaemon, *words: str, pauses: int = 1) -> tuple[FakeConsole, list[int]]:
    """Follow until the daemon has been away `pauses` times, and what was told till then."""
    console = FakeConsole()
    slept = 0

    def sleep(seconds: float) -> None:
        nonlocal slept
        slept += 1
        if slept > pauses:
            raise GaveUpError

    console.fake_clock.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(GaveUpError):
        run(["--socket", str(daemon.path), "events", "--follow", "--json", *words], console)
    return console, seqs(console.told)


def test_following_goes_on_after_the_daemon_went_away_without_a_hole_or_a_double(
    daemon: FakeDaemon,
) -> None:
    fill(daemon)
    daemon.hang_up_after = 2
    console, got = following(daemon, "--after", "6", pauses=2)
    assert got == [7, 8, 9, 10]
    assert [one.after for one in daemon.asked(messages.Subscribe)] == [6, 8, 10]
    assert console.noted.count("connecting again") == 3


def test_a_tail_is_followed_from_where_it_ends(daemon: FakeDaemon) -> None:
    fill(daemon)
    daemon.errors[messages.Subscribe] = ErrorBody("stopping", "the daemon stops")
    _, got = following(daemon, "--tail", "2")
    assert got == [9, 10]
    assert daemon.asked(messages.Subscribe)[0].after == 10


def test_following_alone_starts_at_now(daemon: FakeDaemon) -> None:
    fill(daemon)
    daemon.errors[messages.Subscribe] = ErrorBody("stopping", "the daemon stops")
    _, got = following(daemon)
    assert got == []
    assert daemon.asked(messages.Subscribe)[0].after is None


def test_following_needs_a_daemon_to_begin_with(tmp_path: Path) -> None:
    ran = genq(tmp_path / "none", "events", "--follow")
    assert (ran.code, ran.out) == (3, "")


# ---- wait ----


@pytest.mark.parametrize(
    ("waited", "code"),
    [
        ({"succeeded": [1, 2]}, 0),
        ({}, 0),
        ({"succeeded": [1], "failed": [2]}, 1),
        ({"succeeded": [1], "cancelled": [2]}, 1),
        ({"stuck": [2]}, 1),
        ({"succeeded": [1], "unfinished": [2], "timed_out": True}, 4),
    ],
)
def test_wait_tells_by_its_exit_code_how_it_ended(
    daemon: FakeDaemon, waited: dict[str, Any], code: int
) -> None:
    daemon.waited = waited
    ran = genq(daemon.path, "wait", "--json")
    empty: dict[str, list[int]] = {"succeeded": [], "failed": [], "cancelled": [], "stuck": []}
    expected = {**empty, "unfinished": [], **waited}
    expected.pop("timed_out", None)
    assert (ran.code, ran.value) == (code, expected)
    assert ran.err == ""


def test_wait_asks_for_what_was_named(daemon: FakeDaemon) -> None:
    genq(daemon.path, "wait", "3", "4", "3", "--timeout", "1.5")
    genq(daemon.path, "wait", "--batch", "b")
    genq(daemon.path, "wait")
    got = [(one.jobs, one.batch, one.timeout_s) for one in daemon.asked(messages.Wait)]
    assert got == [((3, 4), None, 1.5), (None, "b", None), (None, None, None)]


def test_wait_is_quiet_in_a_pipe_unless_something_went_wrong(daemon: FakeDaemon) -> None:
    daemon.waited = {"succeeded": [1]}
    ran = genq(daemon.path, "wait")
    assert (ran.out, ran.err) == ("", "")
    daemon.waited = {"succeeded": [1], "failed": [2, 3]}
    ran = genq(daemon.path, "wait")
    assert (ran.out, ran.err) == ("", "1 done, 2 failed (2, 3)\n")


def test_wait_moves_a_bar_on_a_terminal_and_leaves_none(daemon: FakeDaemon) -> None:
    daemon.waited = {"succeeded": [1, 2, 3], "failed": [4]}
    ran = genq(daemon.path, "wait", console=FakeConsole(terminal=True))
    assert "4 of 4  3 done, 1 failed  0:00" in ran.err
    assert ran.err.endswith("\r\x1b[K")
    assert ran.out == "3 done, 1 failed (4)\n"


def test_wait_moves_no_bar_where_a_line_can_not_be_erased(daemon: FakeDaemon) -> None:
    daemon.waited = {"succeeded": [1]}
    ran = genq(daemon.path, "wait", console=FakeConsole(terminal=True, TERM="dumb"))
    assert (ran.out, ran.err) == ("1 done\n", "")


def test_a_wait_for_an_unknown_job_ends_with_1(daemon: FakeDaemon) -> None:
    daemon.errors[messages.Wait] = ErrorBody("unknown_id", "there is no job 9")
    ran = genq(daemon.path, "wait", "9", "--json", console=FakeConsole(terminal=True))
    assert (ran.code, ran.out) == (1, "")
    assert "there is no job 9" in ran.err
