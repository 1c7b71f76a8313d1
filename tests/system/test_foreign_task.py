"""A task of the mock's, and a daemon that runs the real engine in its place: held at once."""

from pathlib import Path

import pytest

from tests.fakes.installation import Installation, until

COZE = """
generate_s = 60

[providers.coze]
engine = "coze"
base_url = "http://127.0.0.1:9"
api_key = { file = "key" }
workflow_id = "7400000000000000001"
poll_interval_s = 0.05
"""


@pytest.fixture
def genq(tmp_path: Path) -> Installation:
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text("pat_1\n")
    return Installation(tmp_path, COZE)


def test_a_task_of_the_mocks_is_held_by_the_real_engine_and_goes_on_with_the_mock(
    genq: Installation,
) -> None:
    try:
        genq.start("--mock")
        genq.add("coze", "--prompt", "a fox")
        task = until(lambda: genq.show(1)["remote_id"])
        genq.stop()
        genq.start()
        job = genq.until(1, "held")
        assert (job["reason"], job["remote_id"], job["errors_total"]) == ("lost", task, 1)
        assert job["error"]["rule"] == "shared.foreign"
        assert "made out to the mock" in genq.ask("why", "1").out
        genq.stop()
        genq.start("--mock")
        assert genq.ask("release", "1").code == 0
        assert genq.show(1)["state"] == "generating"
    finally:
        genq.kill()
