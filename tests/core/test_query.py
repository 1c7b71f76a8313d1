"""The query grammar: what each term means, and how a bad one is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.job import STATES, Failure, Job
from daemon.core.query import (
    QUERY_CHARS_MAX,
    SORT_KEYS,
    STATE_WORDS,
    Query,
    QueryError,
    matches,
    parse_query,
    sort_key,
    state_word,
)

HOUR = 3_600.0
NOW = 100 * HOUR
JOB = Job(
    id=12,
    name="Shot-03 飞翔",
    provider="cogvideox",
    state="failed",
    batch="episode-1",
    labels=("night", "red kite"),
    prompt="A red kite over the harbour,\nsoft light: 5 s",
    attempt=2,
    errors_consecutive=3,
    created_at=NOW - 3 * HOUR,
    updated_at=NOW,
    error=Failure("poll", "http", 504, message="Gateway Time-out"),
)


def holds(text: str, job: Job = JOB) -> bool:
    return matches(parse_query(text), job, NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "state:failed",
        "state:held,failed",
        "STATE:Failed",
        "provider:cogvideox",
        "provider:veo,CogVideoX",
        "provider:cog*",
        "batch:episode-1",
        "batch:episode-*",
        "batch:*-1",
        "label:night",
        'label:"red kite"',
        'label:day,"red kite"',
        "name:shot",
        "name:飞翔",
        "name:sh*飞",
        "id:12",
        "id:1,12",
        "id:3-12",
        "id:12-",
        "id:-12",
        "id:>11",
        "err:>2",
        "err:>=3",
        "err:<4",
        "err:<=3",
        "err:=3",
        "err:3",
        "attempt:>1",
        "age:>2h",
        "age:<1d",
        "age:2h-4h",
        "harbour",
        "HARBOUR",
        "gateway",
        "shot-03",
        '"red kite over"',
        '"light: 5"',
        "!12:30",
        "!state:succeeded",
        "!batch:pilot !absent",
        '!"blue kite"',
        "state:failed provider:cogvideox err:>2 kite",
        "\tkite\u3000harbour\n",
    ],
)
def test_a_query_holds_for_the_job_it_describes(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "state:queued",
        "state:waiting",
        "!state:failed",
        "provider:cog",
        "provider:veo",
        "batch:episode",
        "batch:episode-1*1",
        "label:red",
        "name:shot-04",
        "id:1-11",
        "id:13-",
        "id:<12",
        "id:2",
        "err:>3",
        "err:=2",
        "attempt:1",
        "age:>3h",
        "age:<3h",
        "absent",
        "kite absent",
        '"kite red"',
        "!kite",
    ],
)
def test_a_query_does_not_hold_for_another_job(text: str) -> None:
    assert not holds(text)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("done", "succeeded"),
        ("prepare", "preparing"),
        ("submit", "submitting"),
        ("generate", "generating"),
        ("download", "downloading"),
        ('"IN DOUBT"', "in_doubt"),
        *((state, state) for state in STATES),
    ],
)
def test_words_of_the_screen_and_of_the_json_both_name_states(word: str, state: str) -> None:
    job = msgspec.structs.replace(JOB, state=state)
    assert holds(f"state:{word}", job)
    other = "queued" if state != "queued" else "held"
    assert not holds(f"state:{word}", msgspec.structs.replace(JOB, state=other))


def test_waiting_is_queued_with_a_reason_and_queued_is_both() -> None:
    free = msgspec.structs.replace(JOB, state="queued")
    waits = msgspec.structs.replace(JOB, state="queued", reason="backoff")
    held = msgspec.structs.replace(JOB, state="held", reason="operator")
    assert [holds("state:waiting", job) for job in (free, waits, held)] == [False, True, False]
    assert [holds("state:queued", job) for job in (free, waits, held)] == [True, True, False]


def test_fields_without_a_value_fit_no_pattern() -> None:
    bare = Job(id=1, provider="mock", created_at=NOW, updated_at=NOW)
    for text in ("name:x", "batch:*", "label:*", "kite"):
        assert not holds(text, bare)
        assert holds(f"!{text}", bare)


def test_a_quoted_star_and_a_plain_star_both_stand_for_anything() -> None:
    assert holds('label:"red*"')
    assert holds("label:*")


def test_a_backslash_in_quotation_marks_keeps_the_next_character() -> None:
    job = msgspec.structs.replace(JOB, prompt=r'say "hi" \o/')
    assert holds(r'"say \"hi\" \\o/"', job)


def test_a_pattern_of_many_stars_costs_no_more_than_a_search() -> None:
    job = msgspec.structs.replace(JOB, batch="a" * 100)
    assert not holds("batch:" + "a*" * 90 + "b", job)
    assert holds("batch:" + "a*" * 90, job)


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("state:faild", 6, "unknown state 'faild'; did you mean 'failed'?"),
        ("kite state:failed,hold", 18, "unknown state 'hold'; did you mean 'held'?"),
        ("state:zzzz", 6, "unknown state 'zzzz'; the states are queued,"),
        ("stat:failed", 0, "unknown field 'stat'; did you mean 'state'?"),
        ("kite !prov:veo", 6, "unknown field 'prov'"),
        ("http://x.test", 0, "in quotation marks"),
        ("state:", 6, "a word is missing behind ':'"),
        ("state: failed", 6, "a word is missing behind ':'"),
        ("state:failed,", 13, "a word is missing behind ','"),
        ('name:""', 5, "a word is missing behind ':'"),
        ("id:x", 3, "expected a whole number, a range such as 3-9"),
        ("id:9-3", 3, "'9-3' ends before it begins"),
        ("id:-", 3, "expected a whole number"),
        ("id:" + "9" * 5_000, 0, "the limit is 4,096"),
        ("id:" + "9" * 4_000, 3, "expected a whole number"),
        ("err:>", 4, "expected a whole number"),
        ("err:>1.5", 4, "expected a whole number"),
        ("err:>²", 4, "expected a whole number"),
        ("age:>2", 4, "expected > or < and a number with s, m, h or d"),
        ("age:2h", 4, "write age:>2h for older, age:<2h for younger"),
        ("! kite", 0, "stands before a term, without a blank"),
        ("!", 0, "stands before a term, without a blank"),
        ('kite "red', 5, "this quotation mark is never closed"),
        ('"red"kite', 5, "a blank must follow a closing quotation mark"),
        ("kite\0", 4, "must not contain a NUL character"),
    ],
)
def test_a_bad_query_is_refused_with_its_place(text: str, at: int, message: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(text)
    assert message in str(caught.value)
    assert caught.value.at == at


def test_a_message_repeats_no_control_codes() -> None:
    with pytest.raises(QueryError) as caught:
        parse_query("state:\x1b[2J")
    assert "\x1b" not in str(caught.value)


def read(text: str) -> Query | QueryError:
    try:
        return parse_query(text)
    except QueryError as error:
        return error


@given(st.text(st.characters() | st.sampled_from('!":,-<>*='), max_size=60))
def test_any_text_is_a_query_or_is_refused_with_a_place_in_it(text: str) -> None:
    got = read(text)
    if isinstance(got, QueryError):
        assert 0 <= got.at <= len(text)
        assert str(got).isprintable()
    else:
        assert matches(got, JOB, NOW) in (True, False)


def test_the_longest_query_is_read_and_a_longer_one_refused() -> None:
    assert len(parse_query("x" * QUERY_CHARS_MAX).terms) == 1
    with pytest.raises(QueryError, match="the limit is 4,096"):
        parse_query("x" * (QUERY_CHARS_MAX + 1))


def test_every_state_word_means_a_state_or_waiting() -> None:
    assert set(STATE_WORDS.values()) == {*STATES, "waiting"}
    assert state_word("In  Doubt") == "in_doubt"


def job(number: int, **fields: object) -> Job:
    fields = {"provider": "mock", "created_at": 0.0, "updated_at": 0.0, **fields}
    return Job(id=number, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "first", "second"),
    [
        ("id", job(1), job(2)),
        ("state", job(2, state="queued"), job(1, state="held")),
        ("state", job(2, state="generating"), job(1, state="succeeded")),
        ("provider", job(2, provider="a"), job(1, provider="b")),
        ("age", job(2, created_at=9.0), job(1, created_at=1.0)),
        ("errors", job(2, errors_consecutive=1), job(1, errors_consecutive=2)),
        ("errors", job(2, errors_total=1), job(1, errors_total=2)),
        ("attempt", job(2, attempt=1), job(1, attempt=2)),
        ("priority", job(2, priority=-1), job(1, priority=0)),
        ("name", job(2, name="a"), job(1, name="B")),
        ("name", job(2, name="a"), job(1, name=None)),
        ("batch", job(2, batch="a"), job(1, batch=None)),
        ("updated", job(2, updated_at=1.0), job(1, updated_at=2.0)),
    ],
)
def test_jobs_are_sorted_by_the_named_column(key: str, first: Job, second: Job) -> None:
    assert sorted([second, first], key=sort_key(key)) == [first, second]


def test_an_unknown_sort_key_is_refused_with_the_nearest() -> None:
    assert "error" not in SORT_KEYS
    with pytest.raises(QueryError, match="did you mean 'errors'"):
        sort_key("error")
    with pytest.raises(QueryError, match="the keys are id, state"):
        sort_key("zzz")
