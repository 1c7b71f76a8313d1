"""The TIME grammar, durations, and how both are said to people."""

import math
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.times import (
    AT_MAX,
    DAY_S,
    describe_duration,
    describe_when,
    parse_duration,
    parse_time,
)

# Sunday 2026-11-22 10:00:00 UTC
NOW = 1_795_341_600.0
SHANGHAI_S = 8 * 3_600
NEW_YORK_S = -5 * 3_600
KABUL_S = 4 * 3_600 + 1_800


def utc(text: str) -> float:
    return datetime.fromisoformat(text + "+00:00").timestamp()


def test_the_moment_that_the_tables_count_from_is_right() -> None:
    assert utc("2026-11-22T10:00") == NOW


@pytest.mark.parametrize(
    ("text", "offset_s", "at"),
    [
        ("+90s", 0, NOW + 90),
        ("+10m", 0, NOW + 600),
        ("+2h", SHANGHAI_S, NOW + 7_200),
        ("+1d", NEW_YORK_S, NOW + 86_400),
        ("+0s", 0, NOW),
        ("+1.5h", 0, NOW + 5_400),
        ("  +10m\n", 0, NOW + 600),
        ("10:01", 0, utc("2026-11-22T10:01")),
        ("10:00", 0, utc("2026-11-23T10:00")),
        ("09:59", 0, utc("2026-11-23T09:59")),
        ("9:59", 0, utc("2026-11-23T09:59")),
        ("00:00", 0, utc("2026-11-23T00:00")),
        ("10:00:30", 0, utc("2026-11-22T10:00:30")),
        ("18:30", SHANGHAI_S, utc("2026-11-22T10:30")),
        ("17:30", SHANGHAI_S, utc("2026-11-23T09:30")),
        ("01:00", SHANGHAI_S, utc("2026-11-22T17:00")),
        ("05:30", NEW_YORK_S, utc("2026-11-22T10:30")),
        ("23:00", NEW_YORK_S, utc("2026-11-23T04:00")),
        ("14:31", KABUL_S, utc("2026-11-22T10:01")),
        ("2026-12-01T08:30", 0, utc("2026-12-01T08:30")),
        ("2026-12-01 08:30", 0, utc("2026-12-01T08:30")),
        ("2026-12-01T08:30", SHANGHAI_S, utc("2026-12-01T00:30")),
        ("2026-12-01T08:30:15.25", NEW_YORK_S, utc("2026-12-01T13:30:15.250")),
        ("2026-12-01T08:30Z", SHANGHAI_S, utc("2026-12-01T08:30")),
        ("2026-12-01T08:30+08:00", NEW_YORK_S, utc("2026-12-01T00:30")),
        ("2026-12-01", 0, utc("2026-12-01T00:00")),
        ("2026-12-01", SHANGHAI_S, utc("2026-11-30T16:00")),
        ("20261201T083000", 0, utc("2026-12-01T08:30")),
        ("2020-02-29", 0, utc("2020-02-29T00:00")),
    ],
)
def test_a_time_is_read_as_people_write_it(text: str, offset_s: int, at: float) -> None:
    assert parse_time(text, now=NOW, utc_offset_s=offset_s) == at


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "+",
        "+10",
        "+10 m",
        "+-10m",
        "-10m",
        "10m",
        "+1w",
        "+1h30m",
        "++10m",
        "24:00",
        "12:60",
        "12",
        "1:2",
        "12:30:61",
        "٠٩:٣٠",
        "2026-02-29",
        "2026-13-01",
        "2026-12-01T25:00",
        "2026-12-01T08:30+99:00",
        "12/01/2026",
        "+10m\0",
        "+nanm",
        "+infs",
    ],
)
def test_what_is_no_time_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected ISO 8601, HH:MM .*\+90s, \+10m, \+2h, \+1d"):
        parse_time(text, now=NOW, utc_offset_s=0)


@pytest.mark.parametrize(
    "text",
    ["1969-12-31T23:59:59Z", "0001-01-01", "9999-12-31T23:00", "+9999999d", f"+{'9' * 400}s"],
)
def test_a_time_out_of_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a time between 1970 and 9999"):
        parse_time(text, now=NOW, utc_offset_s=0)


@given(
    now=st.floats(min_value=DAY_S, max_value=4e9),
    minute=st.integers(0, 24 * 60 - 1),
    offset_s=st.integers(-14 * 4, 14 * 4).map(lambda quarters: quarters * 900),
)
def test_a_clock_time_is_the_next_one_within_a_day(now: float, minute: int, offset_s: int) -> None:
    text = f"{minute // 60:02}:{minute % 60:02}"
    at = parse_time(text, now=now, utc_offset_s=offset_s)
    assert 0 < at - now <= DAY_S
    zone = timezone(timedelta(seconds=offset_s))
    # `now` has fractions that a float can't keep exactly.
    assert datetime.fromtimestamp(round(at), zone).strftime("%H:%M") == text


@given(st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(9999, 12, 29)))  # noqa: DTZ001
def test_an_iso_time_with_a_zone_ignores_where_we_are(moment: datetime) -> None:
    text = moment.replace(tzinfo=timezone(timedelta(hours=2))).isoformat()
    here = parse_time(text, now=0.0, utc_offset_s=SHANGHAI_S)
    assert here == parse_time(text, now=NOW, utc_offset_s=0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("10m", 600), ("2h", 7_200), ("3d", 259_200), ("0.5h", 1_800), (" 0s ", 0)],
)
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-1s", "+1s", "1.s", ".5h", "1H", "1h 2m", "٣d"])
def test_what_is_no_duration_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match="expected a number with s, m, h or d, such as 90s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0:00"),
        (0, "0:00"),
        (0.9, "0:00"),
        (7, "0:07"),
        (59.9, "0:59"),
        (60, "1:00"),
        (252, "4:12"),
        (3_599, "59:59"),
        (3_600, "1 h 00 min"),
        (7_500, "2 h 05 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d"),
        (86_400 + 3_599, "1 d"),
        (86_400 + 3_600, "1 d 1 h"),
        (3 * 86_400, "3 d"),
    ],
)
def test_a_duration_is_said_in_the_units_of_its_size(seconds: float, text: str) -> None:
    assert describe_duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds_ahead", "text"),
    [
        (401, "in 6:41"),
        (0.2, "in 0:01"),
        (400.2, "in 6:41"),
        (7_200, "in 2 h 00 min"),
        (0, "now"),
        (-0.9, "now"),
        (-1, "1 s ago"),
        (-59, "59 s ago"),
        (-60, "1 min ago"),
        (-239, "3 min ago"),
        (-3_600, "1 h 00 min ago"),
        (-3 * 86_400, "3 d ago"),
    ],
)
def test_a_moment_is_said_by_its_distance_from_now(seconds_ahead: float, text: str) -> None:
    assert describe_when(1_000_000 + seconds_ahead, 1_000_000) == text


def test_every_accepted_time_can_be_shown_by_a_calendar() -> None:
    assert datetime.fromtimestamp(AT_MAX, timezone(timedelta(hours=14))).year == 9999
    assert math.isfinite(AT_MAX)
