"""Suggestions for mistyped words, and values made harmless for messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.core.suggest import SHOWN_CHARS_MAX, did_you_mean, nearest, shown

KEYS = ("provider", "prompt", "priority", "concurrency")


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("concurency", "concurrency"),
        ("Provider", "provider"),
        ("PROMPT", "prompt"),
        ("promt", "prompt"),
        ("prioritty", "priority"),
        ("zebra", None),
        ("", None),
        ("p" * 100_000, None),
    ],
)
def test_the_nearest_choice_is_found_whatever_its_case(word: str, near: str | None) -> None:
    assert nearest(word, KEYS) == near


def test_a_choice_is_given_as_it_is_written() -> None:
    assert nearest("cogvideox", ["CogVideoX", "veo"]) == "CogVideoX"


def test_a_suggestion_ends_a_sentence_and_is_empty_when_nothing_is_near() -> None:
    assert did_you_mean("promt", KEYS) == "; did you mean 'prompt'?"
    assert did_you_mean("zebra", KEYS) == ""
    assert did_you_mean("promt", []) == ""


@given(
    st.one_of(
        st.text(max_size=200),
        st.integers(),
        st.floats(),
        st.none(),
        st.booleans(),
        st.lists(st.text()),
        st.dictionaries(st.text(), st.text()),
        st.dates(),
    )
)
def test_no_value_brings_control_codes_or_length_into_a_message(value: object) -> None:
    text = shown(value)
    assert text.isprintable()
    # An escape takes up to ten characters, quotes and the ellipsis three.
    assert len(text) <= 10 * SHOWN_CHARS_MAX + 3


def test_a_number_too_long_to_be_written_out_is_named_instead() -> None:
    assert shown(10**5_000) == "a huge number"


def test_a_value_of_another_type_is_shown_as_its_text() -> None:
    assert shown(b"\x1b") == repr(str(b"\x1b"))
    assert shown((1, 2)) == "a list"
