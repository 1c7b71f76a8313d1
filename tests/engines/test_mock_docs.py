"""What docs/mock.md and examples/weather.toml promise."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon.core.faults import classify
from daemon.core.outcomes import Fault
from daemon.core.policy import Limits
from daemon.engines.mock_ledger import LEDGER_NAME, Cancelled, Entry, MockLedger
from daemon.engines.mock_settings import MockSettings, Shape
from daemon.engines.mock_weather import PLAYED, Script, load_script

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "mock.md").read_text()
WEATHER = (ROOT / "examples" / "weather.toml").read_text()
ENDS = {
    "slow gateway": ["tolerate"] * 4,
    "dead gateway": ["tolerate"] * 5,
    "no quota": ["pause"] * 2,
    "lost answer": ["reconcile"],
    "gateway at submit": ["reconcile"],
    "busy": ["retry"] * 2,
    "plugin timeout": ["fail"],
    "server restarts": ["tolerate"] * 3,
    "refused prompt": ["fail"],
    "upload fails": ["retry"],
    "expired link": ["hold"],
    "slow download": ["retry"] * 2,
}
"""What genq does about each outcome of the example."""
SECTION_KEYS = {"engine", *Limits.__struct_fields__}


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?ms)^```{language}\n(.+?)^```$", GUIDE)


def rows(heading: str) -> dict[str, str]:
    """The first and the second column of the table that begins with `heading`."""
    table = re.search(rf"(?m)^\| {heading} \|.*\n(?:\|.*\n)+", GUIDE)
    assert table is not None
    lines = [line.strip("|").split("|") for line in table[0].splitlines()[2:]]
    return {name: line[1].strip() for line in lines for name in re.findall(r"`(\w+)`", line[0])}


def example() -> Script:
    script = load_script(WEATHER, "examples/weather.toml")
    assert isinstance(script, Script), script
    return script


def met(prompt: str) -> list[Fault]:
    """Every fault that a job with this prompt meets, in the order of its life."""
    script = example().of(prompt)
    assert script.outcomes, f"nothing happens to {prompt!r}"
    return [one.fault for one in script.outcomes for _ in range(one.times)]


@pytest.mark.parametrize("text", [one for one in blocks("toml") if "[[outcome]]" in one])
def test_every_script_of_the_guide_can_be_played(text: str) -> None:
    assert isinstance(load_script(text, "docs/mock.md"), Script)


@pytest.mark.parametrize("text", [one for one in blocks("toml") if "[[outcome]]" not in one])
def test_every_section_of_the_guide_can_be_configured(text: str) -> None:
    (section,) = tomllib.loads(text)["providers"].values()
    assert section["engine"] == "mock"
    own = {key: value for key, value in section.items() if key not in SECTION_KEYS}
    assert set(own) <= set(MockSettings.__struct_fields__)
    assert msgspec.convert(own, MockSettings) != MockSettings()


def test_the_guide_has_every_key_with_its_default() -> None:
    defaults: dict[str, Any] = msgspec.to_builtins(MockSettings())
    told = rows("key")
    assert set(told) - {"match"} >= set(defaults)
    for key, value in defaults.items():
        wanted = list(value) if isinstance(value, tuple) else value
        assert tomllib.loads(f"value = {told[key].strip('`')}")["value"] == wanted, key


def test_the_guide_has_every_param_and_every_kind_of_fault() -> None:
    assert set(rows("param")) == set(Shape.__struct_fields__)
    assert all(f"`{kind}`" in GUIDE for kind in PLAYED)


async def test_the_guides_command_names_keys_that_were_accepted_twice(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    ledger = MockLedger(tmp_path / "state" / LEDGER_NAME)
    for number, key in enumerate(["k1", "k2", "k3", "k2"]):
        line = Entry(
            at=1.0,
            key=key,
            remote_id=f"mock-{number}",
            job=number,
            prompt='a fox with a "key":"k1" in its mouth',
            kind="image",
            width=640,
            height=360,
            duration_s=5.0,
        )
        await ledger.append(line)
        await ledger.append(Cancelled(at=2.0, remote_id=line.remote_id))
    (command,) = blocks("sh")
    assert run(command, tmp_path) == "k2\n"


def run(command: str, folder: Path) -> str:
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, check=True, capture_output=True, text=True, timeout=10
    ).stdout


@pytest.mark.parametrize(("prompt", "does"), ENDS.items())
def test_the_example_weather_has_the_ends_that_it_tells(prompt: str, does: list[str]) -> None:
    assert [classify(fault, ()).do for fault in met(f"A harbour ({prompt})")] == does


def test_every_outcome_of_the_example_is_tried_here() -> None:
    assert [one.match for one in example().outcomes] == list(ENDS)


def test_the_example_touches_no_job_of_the_storyboard() -> None:
    jobs = tomllib.loads((ROOT / "examples" / "storyboard.toml").read_text())["jobs"]
    assert [job["prompt"] for job in jobs if example().of(job["prompt"]).outcomes] == []
