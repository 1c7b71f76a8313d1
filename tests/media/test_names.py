import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.media.names import NAME_BYTES_MAX, output_name, reduce_name


@given(st.text())
def test_any_name_is_reduced_to_harmless_characters(name: str) -> None:
    reduced = reduce_name(name)
    assert len(reduced.encode()) <= NAME_BYTES_MAX
    assert re.fullmatch(r"[\w.-]*", reduced)
    assert not reduced.startswith((".", "-"))
    assert reduce_name(reduced) == reduced


@pytest.mark.parametrize(
    ("name", "reduced"),
    [
        ("shot-03", "shot-03"),
        ("../../etc/passwd", "etc-passwd"),
        ("a\x1b[31mred\u202e", "a-31mred"),
        ("cafe\u0301", "café"),
        ("-rf", "rf"),
        ("...", ""),
    ],
)
def test_a_name_keeps_letters_digits_and_three_signs(name: str, reduced: str) -> None:
    assert reduce_name(name) == reduced


def test_a_long_name_is_cut_between_characters() -> None:
    assert reduce_name("镜" * 40) == "镜" * 26


def test_a_file_is_named_by_id_name_and_number() -> None:
    assert output_name(7, "a fox", 0, "mp4") == "7-a-fox.mp4"
    assert output_name(7, "a fox", 2, "png") == "7-a-fox-3.png"
    assert output_name(7, "***", 0, "png") == "7.png"
