"""`genqd doctor`: one line a step, what to do, and 1 when something is broken."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.installation import CONFIG, Installation


@pytest.fixture
def genq(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.kill()


def examine(genq: Installation) -> tuple[int, dict[str, Any]]:
    done = genq.genqd("doctor", "--config", str(genq.config), "--json")
    assert done.stdout.count("\n") == 1, done
    return done.returncode, {step["name"]: step for step in json.loads(done.stdout)["steps"]}


def test_without_a_daemon_all_is_well_but_that_it_does_not_run(genq: Installation) -> None:
    code, steps = examine(genq)
    assert code == 0
    bad = {name: step for name, step in steps.items() if step["result"] != "ok"}
    assert list(bad) == ["daemon"]
    assert "genqd run" in bad["daemon"]["advice"]
    assert "there is none yet" in steps["journal"]["message"]
    assert not genq.state.exists(), "nothing is made by looking"


def test_with_a_daemon_it_is_named_and_its_journal_left_alone(genq: Installation) -> None:
    genq.start()
    assert genq.process is not None
    code, steps = examine(genq)
    assert code == 0
    assert {step["result"] for step in steps.values()} == {"ok"}
    assert f"pid {genq.process.pid}" in steps["daemon"]["message"]
    assert "in use" in steps["journal"]["message"]


def test_a_daemon_that_does_not_answer_where_it_should_is_a_failure(genq: Installation) -> None:
    genq.start()
    genq.socket.unlink()
    code, steps = examine(genq)
    assert (code, steps["daemon"]["result"]) == (1, "fail")
    assert "can't be reached" in steps["daemon"]["message"]


def test_a_workflow_that_is_not_there_is_told_with_its_line_and_path(tmp_path: Path) -> None:
    comfyui = '[providers.gpu]\nengine = "comfyui"\nworkflow = "nope.json"\n'
    genq = Installation(tmp_path, config=CONFIG + comfyui)
    line = genq.config.read_text().splitlines().index('workflow = "nope.json"') + 1
    told = f"{genq.config}:{line}: providers.gpu.workflow: '{tmp_path / 'nope.json'}': it can't"
    code, steps = examine(genq)
    assert (code, steps["provider gpu"]["result"]) == (0, "warn")
    assert steps["provider gpu"]["message"].startswith(told)
    genq.start()
    try:
        refused = genq.ask("add", "gpu", "--prompt", "x")
        assert refused.code == 2
        assert told in refused.err
        assert "--set" not in refused.err
        nodes = {"1": {"class_type": "T", "inputs": {"text": "{{prompt}}"}}}
        (tmp_path / "nope.json").write_text(json.dumps(nodes))
        assert genq.ask("add", "gpu", "--prompt", "x", "--hold").code == 0
    finally:
        genq.kill()


def test_a_damaged_journal_is_a_failure_and_the_way_out_is_named(genq: Installation) -> None:
    genq.state.mkdir()
    journal = genq.state / "journal.sqlite3"
    journal.write_bytes(b"no journal at all" * 100)
    code, steps = examine(genq)
    assert (code, steps["journal"]["result"]) == (1, "fail")
    assert "genqd restore" in steps["journal"]["advice"]
    assert journal.read_bytes() == b"no journal at all" * 100


def test_a_bad_configuration_is_the_last_step_and_names_its_line(genq: Installation) -> None:
    genq.config.write_text(CONFIG + "concurency = 3\nsubmit_s = -1\n")
    code, steps = examine(genq)
    assert code == 1
    assert list(steps) == ["program", "configuration"]
    assert "concurency" in steps["configuration"]["message"]
    assert "1 more" in steps["configuration"]["message"]


def test_a_provider_without_key_or_network_is_told_with_what_to_do(genq: Installation) -> None:
    with socket.socket() as taken:  # bound and not listening: a connection is refused
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        genq.config.write_text(
            CONFIG
            + '[providers.coze]\nengine = "coze"\napi_key = { env = "NO_SUCH_KEY" }\n'
            + f'[providers.lan]\nengine = "comfyui"\nbase_url = "http://127.0.0.1:{port}"\n'
        )
        code, steps = examine(genq)
    assert code == 0
    assert steps["provider coze"]["result"] == steps["provider lan"]["result"] == "warn"
    assert "NO_SUCH_KEY" in steps["provider coze"]["advice"]
    assert f"127.0.0.1:{port} can't be reached" in steps["provider lan"]["message"]


def test_a_pause_is_told_by_the_running_daemon(genq: Installation) -> None:
    genq.start()
    assert genq.ask("pause", "mock").code == 0
    _, steps = examine(genq)
    assert steps["provider mock"]["result"] == "warn"
    assert "genq resume mock" in steps["provider mock"]["advice"]


def test_people_read_a_line_a_step_and_advice_below_it(genq: Installation) -> None:
    done = genq.genqd("doctor", "--config", str(genq.config))
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok    program")
    at = next(n for n, line in enumerate(lines) if line.startswith("warn  daemon"))
    assert lines[at + 1].strip().startswith("->")
