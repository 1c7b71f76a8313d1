"""docs/policy.md: every example is loaded, every outcome on the page meets the rule it says."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from daemon import commands_config
from daemon.assembly import engine_rules, script_problems
from daemon.config import ConfigError, Ground, parse
from daemon.configuration.rules import FIELDS
from daemon.core.explain import Scene, why
from daemon.core.faults import DOS, RULE_PHASES, Rule, classify
from daemon.core.gate import Gate, GateCause
from daemon.core.job import Job, Phase
from daemon.core.kinds import KINDS
from daemon.core.outcomes import Effect, Fault
from daemon.core.policy import Limits, Policy
from tests.core.jobs import NOW, after, downloading, generating, preparing, submitting

PAGE = (Path(__file__).parents[1] / "docs" / "policy.md").read_text(encoding="utf-8")
GROUND = Ground(Path("docs/policy.md"), Path("/etc/genq"))
STUDIO = '[providers.studio]\nengine = "mock"\n'
EFFECTS: dict[Phase, Effect] = {
    "prepare": "none",
    "submit": "none",
    "poll": "accepted",
    "download": "accepted",
}
"""Of an outcome whose effect the page doesn't name."""
JOBS: dict[Phase, Job] = {
    "prepare": preparing(),
    "submit": submitting(),
    "poll": generating(),
    "download": downloading(),
}


def blocks(kind: str) -> list[str]:
    return re.findall(rf"(?ms)^```{kind}\n(.+?)^```$", PAGE)


def table(heading: str) -> list[list[str]]:
    """The cells of the only table whose first column has this heading."""
    (found,) = re.findall(rf"(?m)^\| {heading} \|.*\n((?:\|.*\n)+)", PAGE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in _lines(found)]


def _lines(rows: str) -> list[str]:
    return rows.splitlines()[1:]


def fault_of(text: str) -> Fault:
    """The outcome that `poll http=504` or `poll provider.failed code=1` describes."""
    phase, *words = shlex.split(text)
    (known,) = [one for one in EFFECTS if one == phase]
    given: dict[str, Any] = dict(word.split("=", 1) for word in words if "=" in word)
    kinds = [word for word in words if "=" not in word]
    (kind,) = kinds or ["http"]
    assert kind in KINDS, kind
    if "http" in given:
        given["http"] = int(given["http"])
    return Fault(known, kind, **{"effect": EFFECTS[known], **given})


def rules_of(text: str) -> tuple[Rule, ...]:
    """The operator's and the engine's rules, in the order in which they count."""
    (section,) = parse(text, GROUND).config.providers.values()
    return (*section.rules, *engine_rules(section.engine))


def told() -> Iterator[tuple[str, str, str, str]]:
    """Each outcome on the page: the configuration above it ("" for none), outcome, rule, do."""
    example = ""
    rows = r"^\| outcome \| rule \| do \|\n\|.*\n((?:\|.*\n)+)"
    for match in re.finditer(rf"(?m)^```toml\n((?:(?!```).*\n)+)^```$|{rows}", PAGE):
        if match[1]:
            example = match[1]
        elif match[2]:
            for row in match[2].splitlines():
                yield (example, *re.findall(r"`([^`]+)`", row))
            example = ""


TOLD = list(told())


def test_every_example_has_outcomes_under_it() -> None:
    examples = {example for example, *_ in TOLD if example}
    assert examples == set(blocks("toml"))
    assert any(example == "" for example, *_ in TOLD)


@pytest.mark.parametrize(("example", "outcome", "name", "do"), TOLD)
def test_an_outcome_meets_the_rule_that_stands_beside_it(
    example: str, outcome: str, name: str, do: str
) -> None:
    rule = classify(fault_of(outcome), rules_of(example) if example else ())
    assert (rule.name, rule.do) == (name, do)


def test_every_rule_of_an_example_decides_about_some_outcome() -> None:
    own = {(example, rule.name) for example in blocks("toml") for rule in rules_of(example)}
    mine = {(example, name) for example, name in own if name.startswith("studio.")}
    assert mine == {(example, name) for example, _, name, _ in TOLD if name.startswith("studio.")}


def refused() -> list[tuple[str, str]]:
    (block,) = blocks("toml refused")
    parts = re.split(r"(?m)^(?=\[\[)", block)[1:]
    return [(part, part.partition("# ")[2].partition("\n")[0]) for part in parts]


@pytest.mark.parametrize(("rule", "reason"), refused())
def test_what_the_page_calls_refused_is_refused_for_that_reason(rule: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(STUDIO + rule, GROUND)
    assert len(caught.value.problems) == 1
    assert reason in str(caught.value)


def cell(row: list[str], number: int) -> str:
    return row[number].strip("`")


@pytest.mark.parametrize("row", table("do"), ids=lambda row: row[0])
def test_a_job_is_what_the_table_of_actions_says(row: list[str]) -> None:
    do = cell(row, 0)
    for number, phase in enumerate(JOBS, start=1):
        lines = [f'phase = "{phase}"', f'do = "{do}"']
        if phase == "submit":
            lines.append('effect = "none"')
        if do == "resubmit":
            lines.append("limit = 1")
        text = STUDIO + "[[providers.studio.rules]]\n" + "\n".join(lines)
        if row[number] == "-":
            with pytest.raises(ConfigError):
                parse(text, GROUND)
            continue
        policy = Policy(rules=rules_of(text))
        fault = Fault(phase, "http", http=503, effect=EFFECTS[phase])
        then = after(JOBS[phase], fault, policy)
        assert then.job.state == cell(row, number), (do, phase)
        assert then.job.error is not None
        assert then.job.error.rule == "studio.1"


def test_the_table_of_actions_has_every_action() -> None:
    assert [cell(row, 0) for row in table("do")] == list(DOS)


def test_the_page_has_every_kind_field_phase_and_cause() -> None:
    assert {cell(row, 0) for row in table("kind")} == set(KINDS)
    assert [cell(row, 0) for row in table("field")] == list(FIELDS)
    assert {cell(row, 0) for row in table("cause")} == set(get_args(GateCause))
    assert set(EFFECTS) | {"any"} == set(RULE_PHASES)
    for word in get_args(Effect):
        assert f"`{word}`" in PAGE


@pytest.mark.parametrize(
    ("until", "cause"),
    [("", "quota"), ("daily", "quota"), ("operator", "operator"), ("space", "space")],
)
def test_a_pause_shuts_the_gate_for_the_cause_that_the_page_says(until: str, cause: str) -> None:
    lines = f'[[providers.studio.rules]]\nphase = "submit"\ndo = "pause"\nuntil = "{until}"'
    then = after(
        JOBS["submit"], fault_of("submit http=503"), Policy(rules=rules_of(STUDIO + lines))
    )
    assert [one.cause for one in then.gate.causes] == [cause]
    (row,) = [row for row in table("cause") if cell(row, 0) == cause]
    assert (f'`until = "{until}"`' if until else "no `until`") in row[1]
    assert then.job.retries == 0


def test_every_limit_that_the_page_names_is_a_key_of_the_configuration() -> None:
    words = {*re.findall(r"`([a-z]+_[a-z_]+)`", PAGE)}
    known = {*Limits.__struct_fields__, "quota_daily_reset", "wait_s"}
    public = {"errors_total", "in_doubt"}
    assert words - known - public == {"errors_consecutive"}


def test_the_printed_list_is_the_one_that_the_command_prints(tmp_path: Path) -> None:
    example = next(one for one in blocks("toml") if "internal error" in one)
    file = tmp_path / "config.toml"
    file.write_text(example)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert (
            commands_config.check(file, engine_rules, script_problems, environ={}, cwd=tmp_path)
            == 0
        )
    printed = out.getvalue().splitlines()
    (shown,) = blocks("text")
    places = [printed.index(line) for line in shown.splitlines()]
    assert places == sorted(places)


def test_why_says_the_sentence_of_the_page() -> None:
    example = next(one for one in blocks("toml") if "internal error" in one)
    policy = Policy(rules=rules_of(example))
    job = generating(retries=1)
    then = after(job, fault_of("poll provider.failed message='Internal Error'"), policy)
    (sentence,) = blocks("text why")
    assert why(then.job, Scene(Gate(), NOW)).sentence == sentence.strip()
    assert then.job.error is not None
    assert then.job.error.rule == "studio.1"


def test_the_examples_are_toml_that_people_can_paste() -> None:
    for example in blocks("toml"):
        assert set(tomllib.loads(example)) == {"providers"}
