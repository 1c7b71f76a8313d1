"""The commands that change jobs and gates: what they send, ask, refuse and tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from daemon.wire import messages
from tests.fakes.console import FakeConsole, genq
from tests.fakes.daemon import NOW, FakeDaemon
from tui.commands.act import JOBS_PER_REQUEST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    fake = FakeDaemon(tmp_path / "s")
    fake.start()
    yield fake
    fake.stop()


def acts(daemon: FakeDaemon) -> list[tuple[str, tuple[int, ...]]]:
    """What was done to which jobs."""
    return [(one.verb, one.jobs) for one in daemon.asked(messages.Act)]


@pytest.mark.parametrize(
    ("words", "fields", "told"),
    [
        ("cancel 12", {"billed": "no"}, "cancelled job 12 (shot-03): it was not billed"),
        ("cancel 12", {"billed": None}, "cancelled job 12 (shot-03): whether it was billed is"),
        ("cancel 12", {"billed": "kept"}, "its result was paid for, and is kept"),
        ("requeue 12", {"state": "failed"}, "requeued job 12 (shot-03)"),
        ("hold 12", {}, "held job 12 (shot-03)"),
        ("release 12", {"state": "held"}, "released job 12 (shot-03)"),
        ("approve 12", {"state": "held"}, "approved job 12 (shot-03)"),
        ("priority 12 -5", {}, "job 12 (shot-03) has priority -5 now"),
        ("priority 12 +7", {}, "job 12 (shot-03) has priority 7 now"),
        ("resolve 12 attach r-1", {"remote_id": "r-1"}, "attached job 12 (shot-03) to r-1"),
        ("resolve 12 write-off", {}, "wrote off job 12 (shot-03)"),
        ("resolve 12 pay-again --yes", {"state": "in_doubt"}, "sent once more, with the same key"),
    ],
)
def test_what_changed_is_told_one_line_a_job(
    daemon: FakeDaemon, words: str, fields: dict[str, Any], told: str
) -> None:
    daemon.put(12, name="shot-03", **fields)
    ran = genq(daemon.path, *words.split())
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count("\n") == 1
    assert told in ran.out
    again = genq(daemon.path, *words.split(), "--json")
    assert again.value == {"changed": [12], "refused": []}


@pytest.mark.parametrize("state", ["generating", "downloading"])
def test_a_requeue_that_goes_on_with_paid_work_says_so(daemon: FakeDaemon, state: str) -> None:
    from daemon.core.job import Job
    from tui.wording import change_shown

    job = Job(id=3, provider="mock", state=state, created_at=NOW, updated_at=NOW)  # type: ignore[arg-type]
    assert "nothing is paid anew" in change_shown("requeue", job)
    job = Job(id=3, provider="mock", state="cancelling", created_at=NOW, updated_at=NOW)
    assert change_shown("cancel", job) == "cancelling job 3: the provider is being told"


def test_an_unknown_id_ends_with_1_and_the_others_are_done(daemon: FakeDaemon) -> None:
    daemon.put(1)
    daemon.put(2, billed="no")
    daemon.refused[1] = "job 1 is succeeded already: there is nothing to cancel"
    ran = genq(daemon.path, "cancel", "1", "99", "2")
    assert ran.code == 1
    assert ran.out == "cancelled job 2: it was not billed\n"
    assert ran.err == f"refused: {daemon.refused[1]}\nrefused: there is no job 99\n"
    ran = genq(daemon.path, "cancel", "1", "99", "2", "--json")
    assert (ran.code, ran.value["changed"]) == (1, [2])
    assert [one["id"] for one in ran.value["refused"]] == [1, 99]


def test_what_is_done_carries_its_reason_and_each_job_once(daemon: FakeDaemon) -> None:
    daemon.put(1, state="failed")
    genq(daemon.path, "requeue", "1", "1", "--reason", "-- wrong lens", "--fresh")
    (act,) = daemon.asked(messages.Act)
    assert (act.jobs, act.reason, act.fresh) == ((1,), "-- wrong lens", True)


def test_foreign_names_are_cleaned_in_what_is_told(daemon: FakeDaemon) -> None:
    daemon.put(1, name="\x1b]0;x\x07")
    ran = genq(daemon.path, "hold", "1", console=FakeConsole(terminal=True))
    assert "\x1b" not in ran.out
    assert "␛]0;x␇" in ran.out


# ---- many jobs at once ----


@pytest.mark.parametrize("words", ["--all-failed", "--filter state:failed"])
def test_in_a_pipe_many_jobs_need_yes_or_nothing_is_done(daemon: FakeDaemon, words: str) -> None:
    daemon.put(1, state="failed")
    ran = genq(daemon.path, "requeue", *words.split(), "--json")
    assert (ran.code, ran.out) == (2, "")
    assert "--yes" in ran.err
    assert daemon.requests == []
    ran = genq(daemon.path, "requeue", *words.split(), "--json", "--yes")
    assert (ran.code, ran.value) == (0, {"changed": [1], "refused": []})


@pytest.mark.parametrize("typed", ["y\n", "YES\n"])
def test_on_a_terminal_the_count_is_agreed_to(daemon: FakeDaemon, typed: str) -> None:
    for number in range(1, 8):
        daemon.put(number, state="failed" if number < 4 else "queued")
    console = FakeConsole(terminal=True, typed=typed)
    ran = genq(daemon.path, "cancel", "--all-failed", console=console)
    assert ran.code == 0
    assert ran.err == "cancel 3 jobs? [y/N] "
    assert acts(daemon) == [("cancel", (1, 2, 3))]


@pytest.mark.parametrize("typed", ["n\n", "\n", "", "yep\n"])
def test_anything_but_yes_leaves_all_as_it_is(daemon: FakeDaemon, typed: str) -> None:
    daemon.put(1, state="failed")
    console = FakeConsole(terminal=True, typed=typed)
    ran = genq(daemon.path, "requeue", "--filter", "state:failed", "--json", console=console)
    assert ran.code == 1
    assert ran.value == {"changed": [], "refused": [{"id": 1, "why": "it was not agreed to"}]}
    assert "nothing was done" in ran.err
    assert acts(daemon) == []


def test_a_cancel_that_is_not_agreed_to_cancels_nothing(daemon: FakeDaemon) -> None:
    daemon.put(1, state="failed")
    ran = genq(daemon.path, "cancel", "--all-failed", console=FakeConsole(terminal=True))
    assert (ran.code, ran.out) == (1, "")
    assert acts(daemon) == []


def test_no_job_that_matches_is_no_error_and_no_question(daemon: FakeDaemon) -> None:
    console = FakeConsole(terminal=True)
    ran = genq(daemon.path, "hold", "--filter", "batch:none", "--json", console=console)
    assert (ran.code, ran.value, ran.err) == (0, {"changed": [], "refused": []}, "")


def test_very_many_jobs_go_in_several_requests(daemon: FakeDaemon) -> None:
    for number in range(1, JOBS_PER_REQUEST + 4):
        daemon.put(number, state="failed")
    ran = genq(daemon.path, "requeue", "--all-failed", "--yes", "--json")
    assert ran.value["changed"] == list(range(1, JOBS_PER_REQUEST + 4))
    assert [len(jobs) for _, jobs in acts(daemon)] == [JOBS_PER_REQUEST, 3]


def test_a_bulk_says_which_of_it_may_cost_again(daemon: FakeDaemon) -> None:
    daemon.put(1, state="failed")
    daemon.put(2, state="succeeded", name="shot-02")
    console = FakeConsole(terminal=True, typed="n\n")
    ran = genq(daemon.path, "requeue", "--filter", "id:1-9", console=console)
    question = "requeue 2 jobs; job 2 (shot-02) may be paid for once more? [y/N]"
    assert question in ran.err


# ---- what may cost again ----

COSTLY = (
    ("requeue 1", {"state": "succeeded"}),
    ("requeue 1", {"state": "cancelled", "billed": "kept"}),
    ("requeue 1 --fresh", {"state": "held", "remote_id": "r", "reason": "poll_limit"}),
    ("requeue 1 --fresh", {"state": "failed", "remote_id": "r"}),
    ("resolve 1 pay-again", {"state": "in_doubt"}),
)
CHEAP = (
    ("requeue 1", {"state": "failed", "remote_id": "r"}),
    ("requeue 1", {"state": "held", "remote_id": "r"}),
    ("requeue 1", {"state": "cancelled", "billed": "no"}),
    ("requeue 1 --fresh", {"state": "failed"}),
    ("resolve 1 attach r", {"state": "in_doubt"}),
    ("resolve 1 write-off", {"state": "in_doubt"}),
    ("resolve 1 pay-again", {"state": "queued"}),
    ("cancel 1", {"state": "generating", "remote_id": "r"}),
)


@pytest.mark.parametrize(("words", "fields"), COSTLY)
def test_in_a_pipe_what_may_cost_again_is_refused_without_yes(
    daemon: FakeDaemon, words: str, fields: dict[str, Any]
) -> None:
    daemon.put(1, **fields)
    ran = genq(daemon.path, *words.split(), "--json")
    assert (ran.code, ran.value["changed"]) == (1, [])
    assert "--yes" in ran.value["refused"][0]["why"]
    assert acts(daemon) == []
    assert genq(daemon.path, *words.split(), "--json", "--yes").value["changed"] == [1]


@pytest.mark.parametrize(("words", "fields"), COSTLY)
@pytest.mark.parametrize("agreed", [True, False])
def test_on_a_terminal_what_may_cost_again_is_asked(
    daemon: FakeDaemon, words: str, fields: dict[str, Any], agreed: bool
) -> None:
    daemon.put(1, **fields)
    console = FakeConsole(terminal=True, typed="y\n" if agreed else "n\n")
    ran = genq(daemon.path, *words.split(), console=console)
    assert "job 1" in ran.err
    assert "[y/N]" in ran.err
    assert ran.code == (0 if agreed else 1)
    assert len(acts(daemon)) == agreed


@pytest.mark.parametrize(("words", "fields"), CHEAP)
@pytest.mark.parametrize("terminal", [True, False])
def test_single_ids_are_not_asked_about_otherwise(
    daemon: FakeDaemon, words: str, fields: dict[str, Any], terminal: bool
) -> None:
    daemon.put(1, **fields)
    ran = genq(daemon.path, *words.split(), console=FakeConsole(terminal=terminal))
    assert (ran.code, ran.err) == (0, "")
    assert len(acts(daemon)) == 1


def test_of_several_only_those_that_cost_are_left_out(daemon: FakeDaemon) -> None:
    daemon.put(1, state="succeeded")
    daemon.put(2, state="failed")
    ran = genq(daemon.path, "requeue", "1", "2", "--json")
    assert (ran.code, ran.value["changed"]) == (1, [2])
    assert "job 1 has its result; a new attempt costs again" in ran.err
    assert acts(daemon) == [("requeue", (2,))]


@pytest.mark.parametrize(
    ("words", "states"),
    [
        ("requeue 1 2", ("failed", "held")),
        ("requeue 1 9", ("failed",)),
        ("requeue 1 2 --yes", ()),
        ("cancel 2", ()),
    ],
)
def test_a_requeue_means_the_jobs_as_they_were_seen(
    daemon: FakeDaemon, words: str, states: tuple[str, ...]
) -> None:
    daemon.put(1, state="failed")
    daemon.put(2, state="held")
    genq(daemon.path, *words.split())
    (asked,) = daemon.asked(messages.Act)
    assert set(asked.states) == set(states)


def test_a_question_names_few_jobs_and_counts_many(daemon: FakeDaemon) -> None:
    for number in range(1, 8):
        daemon.put(number, state="succeeded")
    for words, named in (("1 2", "job 1, job 2:"), ("1 2 3 4 5 6", "6 jobs:")):
        console = FakeConsole(terminal=True, typed="n\n")
        ran = genq(daemon.path, "requeue", *words.split(), console=console)
        assert ran.err.startswith(f"{named} requeue, and perhaps pay once more? [y/N]")


def test_an_answer_is_only_asked_for_where_it_can_be_seen_and_given(daemon: FakeDaemon) -> None:
    daemon.put(1, state="succeeded")
    console = FakeConsole(terminal=True, typed="y\n")
    console.out = FakeConsole().out
    assert not console.can_ask
    assert genq(daemon.path, "requeue", "1", console=console).code == 1


# ---- gates ----


def test_pause_and_resume_tell_each_provider(daemon: FakeDaemon) -> None:
    ran = genq(daemon.path, "pause", "veo", "mock", "--until", "+10m", "--reason", "storm")
    until = "until 2023-11-14 22:23:20, in 10:00"
    assert (ran.code, ran.out) == (0, f"paused veo {until}\npaused mock {until}\n")
    (pause,) = daemon.asked(messages.Pause)
    assert (pause.providers, pause.until_at, pause.reason) == (
        ("veo", "mock"),
        NOW + 600,
        "storm",
    )
    assert genq(daemon.path, "resume", "veo").out == "resumed veo\n"


def test_without_a_provider_all_are_meant(daemon: FakeDaemon) -> None:
    ran = genq(daemon.path, "pause", "--json")
    assert ran.value == {"changed": ["cogvideox", "mock", "veo"], "refused": []}
    (pause,) = daemon.asked(messages.Pause)
    assert (pause.providers, pause.until_at) == ((), None)


def test_a_clock_time_is_the_next_one_where_the_person_is(daemon: FakeDaemon) -> None:
    genq(daemon.path, "pause", "--until", "08:00")
    (pause,) = daemon.asked(messages.Pause)
    assert pause.until_at > NOW
    assert pause.until_at % 86_400 == 8 * 3_600


def test_a_gate_that_stays_as_it_is_says_why_and_ends_with_1(daemon: FakeDaemon) -> None:
    answer = {"changed": [], "refused": [{"id": "veo", "why": "veo is open already"}]}
    daemon.answers[messages.Resume] = answer
    ran = genq(daemon.path, "resume", "veo")
    assert (ran.code, ran.out, ran.err) == (1, "", "refused: veo is open already\n")
    assert genq(daemon.path, "resume", "veo", "--json").value == answer
    daemon.answers[messages.Resume] = {"changed": [], "refused": []}
    ran = genq(daemon.path, "resume")
    assert (ran.code, ran.err) == (0, "no provider had to be resumed\n")
