import pytest

from daemon.core.outcomes import Fault
from daemon.engines.engine import Problem
from daemon.engines.mock_weather import (
    CLEAR,
    OUTCOMES_MAX,
    SCRIPT_CHARS_MAX,
    Script,
    load_script,
)


def loaded(text: str) -> Script:
    script = load_script(text, "weather.toml")
    assert isinstance(script, Script), script
    return script


def problems(text: str) -> list[tuple[str, str]]:
    found = load_script(text, "weather.toml")
    assert isinstance(found, list), found
    return [(one.field, one.message) for one in found]


def only_fault(text: str) -> Fault:
    (outcome,) = loaded("[[outcome]]\n" + text).outcomes
    return outcome.fault


def test_a_table_becomes_a_fault_word_for_word() -> None:
    script = loaded("""
        [[outcome]]
        match = "shot-03"
        phase = "submit"
        kind = "provider.error"
        http = 429
        code = 1302
        message = "too many"
        retry_after_s = 30
        times = 2
    """)
    (outcome,) = script.outcomes
    assert (outcome.match, outcome.times) == ("shot-03", 2)
    assert outcome.fault == Fault(
        "submit", "provider.error", 429, "1302", "too many", retry_after_s=30.0, effect="none"
    )


def test_an_empty_text_is_clear_weather() -> None:
    assert loaded("# nothing goes wrong\n") == CLEAR


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        ('phase = "prepare"\nkind = "transport.reset"', "none"),
        ('phase = "submit"\nhttp = 400', "none"),
        ('phase = "submit"\nhttp = 429', "none"),
        ('phase = "submit"\nhttp = 408', "unknown"),
        ('phase = "submit"\nhttp = 500', "unknown"),
        ('phase = "submit"\nhttp = 503\neffect = "none"', "none"),
        ('phase = "submit"\nhttp = 400\neffect = "unknown"', "unknown"),
        ('phase = "submit"\nkind = "transport.connect"', "none"),
        ('phase = "submit"\nkind = "transport.timeout.connect"', "none"),
        ('phase = "submit"\nkind = "transport.timeout.read"', "unknown"),
        ('phase = "submit"\nkind = "transport.timeout.total"', "unknown"),
        ('phase = "submit"\nkind = "transport.reset"', "unknown"),
        ('phase = "submit"\nkind = "protocol"', "unknown"),
        ('phase = "poll"\nhttp = 504', "accepted"),
        ('phase = "download"\nkind = "transport.reset"', "accepted"),
    ],
)
def test_the_effect_is_what_such_a_fault_leaves_behind(text: str, effect: str) -> None:
    assert only_fault(text).effect == effect


def test_outcomes_are_met_in_order_each_so_many_times() -> None:
    script = loaded("""
        [[outcome]]
        phase = "poll"
        http = 504
        times = 2
        [[outcome]]
        phase = "submit"
        http = 429
        [[outcome]]
        phase = "poll"
        kind = "transport.reset"
    """)
    polls = [script.fault(("poll",), call) for call in range(4)]
    assert [one and one.kind for one in polls] == ["http", "http", "transport.reset", None]
    submits = [script.fault(("prepare", "submit"), call) for call in range(2)]
    assert [one and one.http for one in submits] == [429, None]


def test_a_job_meets_only_what_its_prompt_calls_for() -> None:
    script = loaded("""
        [[outcome]]
        match = "狐狸"
        phase = "poll"
        http = 504
        [[outcome]]
        phase = "poll"
        http = 500
    """)

    def met(prompt: str) -> list[int | None]:
        faults = [script.of(prompt).fault(("poll",), call) for call in range(3)]
        return [None if one is None else one.http for one in faults]

    assert met("一只纸狐狸") == [504, 500, None]
    assert met("a harbour") == [500, None, None]


def test_a_script_knows_the_phases_that_it_has() -> None:
    script = loaded('[[outcome]]\nphase = "poll"\nhttp = 504\n')
    assert script.has("poll")
    assert script.has("submit", "poll")
    assert not script.has("submit", "prepare", "download")
    assert script.of("anything").has("poll")


def test_every_problem_is_told_at_once_with_its_line() -> None:
    text = '''times = 3
[[outcome]]
match = """
http = 1
[[outcome]]
"""
phase = "pol"
http = 99
mesage = "x"

[[outcome]]
kind = "transport.timeout"
times = 0
code = 1.5
retry_after_s = -1
'''
    found = problems(text)
    assert [field for field, _ in found] == [
        "weather.toml:1: times",
        "weather.toml:7: outcome[0].phase",
        "weather.toml:8: outcome[0].http",
        "weather.toml:9: outcome[0].mesage",
        "weather.toml:12: outcome[1].kind",
        "weather.toml:13: outcome[1].times",
        "weather.toml:14: outcome[1].code",
        "weather.toml:15: outcome[1].retry_after_s",
        "weather.toml:11: outcome[1]",
    ]
    messages = [message for _, message in found]
    assert messages[:4] == [
        "belongs to an outcome: put it below an [[outcome]] line",
        "expected one of prepare, submit, poll, download, got 'pol'; did you mean 'poll'?",
        "expected a status from 100 to 599, got 99",
        "unknown key; did you mean 'message'?",
    ]
    assert messages[4].startswith("expected one of http, transport.dns, ")
    assert messages[4].endswith("got 'transport.timeout'; did you mean 'transport.timeout.read'?")
    assert messages[5:] == [
        "expected a whole number from 1 to 1,000,000, got 0",
        "expected text or a whole number, got 1.5",
        "expected seconds from 0 to 604,800, got -1",
        "phase is missing: one of prepare, submit, poll, download",
    ]


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        (
            'phase = "poll"',
            "weather.toml:1: outcome[0]",
            "http and kind are missing: one of them says what goes wrong",
        ),
        (
            'phase = "poll"\nkind = "http"',
            "weather.toml:3: outcome[0].kind",
            'kind "http" needs a status: http = 503',
        ),
        (
            'phase = "poll"\nhttp = 504\neffect = "unknown"',
            "weather.toml:4: outcome[0].effect",
            "after a failed poll it is accepted",
        ),
        (
            'phase = "submit"\nhttp = 504\neffect = "accepted"',
            "weather.toml:4: outcome[0].effect",
            "after a failed submit it is one of none, unknown",
        ),
        (
            'phase = "poll"\nhttp = true',
            "weather.toml:3: outcome[0].http",
            "expected a status from 100 to 599, got true",
        ),
        (
            'phase = "poll"\nhttp = 504\nretry_after_s = nan',
            "weather.toml:4: outcome[0].retry_after_s",
            "expected seconds from 0 to 604,800, got nan",
        ),
        (
            'phase = "poll"\nhttp = 504\nwhen = "now"',
            "weather.toml:4: outcome[0].when",
            "unknown key; there are match, phase, kind, http, code, message, retry_after_s, "
            "times, effect",
        ),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(text: str, field: str, message: str) -> None:
    assert problems("[[outcome]]\n" + text) == [(field, message)]


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("[[outcomes]]", "weather.toml:1: outcomes", "unknown key; did you mean 'outcome'?"),
        (
            "[outcome]\nhttp = 504",
            "weather.toml:1: outcome",
            "expected [[outcome]] tables, got a table",
        ),
        ("outcome = [1]", "weather.toml:1: outcome", "expected [[outcome]] tables, got a list"),
        (
            "\n[[outcome]]\nphase = poll",
            "weather.toml:3",
            "not TOML: Invalid value (column 9)",
        ),
        (
            "[[outcome]]\nphase = ",
            "weather.toml",
            "not TOML: Invalid value (at end of document)",
        ),
    ],
)
def test_a_file_that_is_no_script_is_refused(text: str, field: str, message: str) -> None:
    assert problems(text) == [(field, message)]


def test_inline_tables_are_tables_too() -> None:
    text = 'outcome = [\n{phase = "poll", http = 504},\n{phase = "poll", http = 5}]'
    assert problems(text) == [
        ("weather.toml:3: outcome[1].http", "expected a status from 100 to 599, got 5")
    ]


def test_a_script_over_its_limits_is_refused() -> None:
    many = '[[outcome]]\nphase = "poll"\nhttp = 504\n' * (OUTCOMES_MAX + 1)
    assert problems(many) == [
        ("weather.toml:1: outcome", "1,001 tables; the limit is 1,000"),
    ]
    long = "#" * (SCRIPT_CHARS_MAX + 1)
    assert problems(long) == [
        ("weather.toml", "has 262,145 characters; the limit of a script is 262,144"),
    ]


def test_control_characters_never_reach_a_message() -> None:
    found = load_script('"\\u001b[2J" = 1\n[[outcome]]\nphase = "\\u001b[2J"\nhttp = 1', "w")
    assert isinstance(found, list)
    assert all(isinstance(one, Problem) for one in found)
    assert "\x1b" not in "".join(one.field + one.message for one in found)
