import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.engines.mock_fate import Fate, fate_of, remote_id_of

FATE = Fate(
    accepted_at=1_000_000.25,
    generate_s=2.5,
    fails=False,
    outputs=1,
    kind="image",
    width=640,
    height=360,
    duration_s=5.0,
    lot=7,
    serial=1,
)
FATES = st.builds(
    Fate,
    accepted_at=st.floats(0, 1e11),
    generate_s=st.floats(0, 366 * 86_400),
    fails=st.booleans(),
    outputs=st.integers(0, 100),
    kind=st.sampled_from(["image", "video"]),
    width=st.integers(16, 4096),
    height=st.integers(16, 4096),
    duration_s=st.integers(1_000, 10_000).map(lambda ms: ms / 1_000),
    lot=st.integers(0, (1 << 32) - 1),
    serial=st.integers(0, (1 << 32) - 1),
)


@given(FATES)
def test_an_id_says_everything_about_its_task(fate: Fate) -> None:
    assert fate_of(remote_id_of(fate)) == fate


@given(FATES, st.integers(0, 69), st.sampled_from("0123456789abcdef"))
def test_an_id_with_a_mistake_in_it_is_no_task(fate: Fate, place: int, digit: str) -> None:
    right = remote_id_of(fate)
    at = len("mock-") + place
    wrong = right[:at] + digit + right[at + 1 :]
    assert wrong == right or fate_of(wrong) is None


@pytest.mark.parametrize("text", ["", "mock-", "mock-" + "0" * 69, "cgt-2025", "mock-" + "g" * 70])
def test_what_no_mock_has_given_is_no_task(text: str) -> None:
    assert fate_of(text) is None


def test_an_id_in_capitals_or_with_a_line_break_is_no_task() -> None:
    right = remote_id_of(FATE)
    assert fate_of(right) is not None
    assert fate_of(right.upper()) is None
    assert fate_of(right + "\n") is None
