from __future__ import annotations

import doctest
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from daemon.engines.comfyui_workflow import (
    Workflow,
    WorkflowError,
    adjusted,
    filled,
    problems_with,
    read_workflow,
    seed_of,
    workflow_of,
)

EXAMPLES = Path(__file__).parents[2] / "examples" / "workflows"
VALUES: dict[str, str | int] = {
    "prompt": "a fox",
    "negative_prompt": "",
    "seed": 7,
    "name": "shot-01",
    "width": 640,
    "height": 480,
    "image": "a.png",
    "image_2": "b.png",
}


def text(value: Any, **more: Any) -> Workflow:
    """A workflow with one node."""
    return workflow_of({"6": {"class_type": "Text", "inputs": {"text": value, **more}}})


def fill(value: Any, **values: Any) -> Any:
    return filled(text(value), {**VALUES, **values})["6"]["inputs"]["text"]


def problems(
    workflow: Workflow, prompt: str = "", images: int = 0, params: Any = None
) -> list[str]:
    found = problems_with(workflow, prompt, params or {}, images)
    return [f"{one.field}: {one.message}" for one in found]


@pytest.mark.parametrize("module", ["", "_answers", "_errors", "_progress", "_workflow"])
def test_the_examples_in_docstrings_hold(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"daemon.engines.comfyui{module}"))
    assert found.failed == 0
    assert found.attempted > 0


# ---- reading ----


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is no JSON"),
        (b"{", "it is no JSON"),
        (b"\xff\xfe", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "expected a JSON object of nodes"),
        (b"{}", "it has no nodes"),
        (b'{"nodes": [], "links": []}', "Export (API)"),
        (b'{"3": 1}', "node '3' has no class_type"),
        (b'{"3": {"class_type": 1, "inputs": {}}}', "node '3' has no class_type"),
        (b'{"3": {"class_type": "K"}}', "node '3' has no inputs"),
        (b'{"3": {"class_type": "K", "inputs": []}}', "node '3' has no inputs"),
        (b'{"\\u001b[2J": 1}', "node '\\x1b[2J'"),
    ],
)
def test_what_is_no_workflow_is_refused_with_a_reason(content: bytes, words: str) -> None:
    with pytest.raises(WorkflowError) as caught:
        read_workflow(content)
    assert words in str(caught.value)


def test_a_file_may_begin_with_a_byte_order_mark() -> None:
    assert read_workflow(b'\xef\xbb\xbf{"3": {"class_type": "K", "inputs": {}}}').nodes


def test_inputs_are_not_nested_without_end() -> None:
    value: Any = "{{prompt}}"
    for _ in range(40):
        value = [value]
    with pytest.raises(WorkflowError, match="nested"):
        text(value)


@pytest.mark.parametrize("name", ["text-to-image.json", "image-to-image.json"])
def test_the_workflows_that_are_shipped_can_be_used(name: str) -> None:
    workflow = read_workflow((EXAMPLES / name).read_bytes())
    pictures = 1 if name.startswith("image") else 0
    size = {} if pictures else {"width": 640, "height": 480}
    params = {"seed": 1, "negative_prompt": "rain", **size}
    assert problems(workflow, "a fox", pictures, params) == []
    assert "{{" not in json.dumps(filled(workflow, VALUES))


# ---- filling ----


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("{{prompt}}", "a fox"),
        ("{{ prompt }}, oil on canvas, {{name}}", "a fox, oil on canvas, shot-01"),
        ("{{seed}}", 7),
        ("{{ width }}", 640),
        ("{{height}}", 480),
        ("seed {{seed}}", "seed 7"),
        (" {{seed}}", " 7"),
        ("{{image}}", "a.png"),
        ("{{image_2}}", "b.png"),
        ("{{negative_prompt}}", ""),
        (["4", 0], ["4", 0]),
        (["{{name}}", {"deep": ["{{seed}}"]}], ["shot-01", {"deep": [7]}]),
        (20, 20),
        (None, None),
        (True, True),
        ("{red|blue} {{red|blue}} {prompt}", "{red|blue} {{red|blue}} {prompt}"),
    ],
)
def test_placeholders_are_replaced_wherever_they_stand(value: Any, found: Any) -> None:
    filled_in = fill(value)
    assert filled_in == found
    assert type(filled_in) is type(found)


def test_what_is_filled_in_is_not_filled_in_again() -> None:
    assert fill("{{prompt}}", prompt="{{seed}} \\1 {{name}}") == "{{seed}} \\1 {{name}}"


def test_filling_leaves_the_workflow_as_it_is() -> None:
    workflow = text(["{{seed}}"])
    before = json.dumps(workflow.nodes)
    filled(adjusted(workflow, {"6.text": "other"}), VALUES)
    assert json.dumps(workflow.nodes) == before


def test_only_inputs_are_filled_in() -> None:
    node = {"class_type": "{{name}}", "inputs": {}, "_meta": {"title": "{{prompt}}"}}
    assert filled(workflow_of({"1": node}), VALUES) == {"1": node}


def test_a_seed_is_the_same_for_the_same_request_and_another_for_the_next() -> None:
    seeds = {seed_of(job, key) for job in range(20) for key in ("a", "b")}
    assert len(seeds) == 40
    assert all(0 <= seed < 2**32 for seed in seeds)
    assert seed_of(3, "a") == seed_of(3, "a")


# ---- inputs that a job sets ----


def test_an_input_is_set_by_its_node_and_name() -> None:
    workflow = text("{{prompt}}", steps=20, **{"a.b": 1})
    params = {"6.steps": 4, "6.a.b": 2, "seed": 1}
    assert adjusted(workflow, params).nodes["6"]["inputs"] == {
        "text": "{{prompt}}",
        "steps": 4,
        "a.b": 2,
    }


def test_a_table_under_a_nodes_id_sets_its_inputs() -> None:
    workflow = text("x", steps=20)
    assert problems(workflow, params={"6": {"steps": 4}}) == []
    assert adjusted(workflow, {"6": {"steps": 4}}).nodes["6"]["inputs"]["steps"] == 4


def test_an_input_that_a_job_sets_may_hold_placeholders_of_its_own() -> None:
    workflow = text("a cat")
    assert problems(workflow, "a fox", params={"6.text": "{{prompt}}, in oil"}) == []
    (problem,) = problems(workflow, params={"6.text": "{{promt}}"})
    assert "did you mean 'prompt'?" in problem


def test_an_input_that_is_set_takes_its_placeholder_away() -> None:
    workflow = text("{{prompt}}")
    assert problems(workflow, "", params={"6.text": "a cat"}) == []
    (problem,) = problems(workflow, "a fox", params={"6.text": "a cat"})
    assert problem.startswith("prompt: the workflow has no place for it")


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"66.text": "x"}, "params.66.text: the workflow has no node '66'; did you mean '6'?"),
        ({"x.text": "x"}, "params.x.text: the workflow has no node 'x'; there are '6'"),
        ({"6.txt": "x"}, "params.6.txt: node '6' ('Text') has no such input; did you mean 'text'?"),
        ({"6.": "x"}, "params.6.: node '6' ('Text') has no such input; there are 'text'"),
        ({"6": {"txt": 1}}, "params.6.txt: node '6' ('Text') has no such input; did you mean"),
        ({"6": 4}, "params.6: unknown param"),
        ({"sed": 4}, "params.sed: unknown param; did you mean 'seed'?"),
        ({"prompt": "x"}, "params.prompt: give it as the job's prompt"),
        ({"image_2": "x"}, "params.image_2: give pictures as the job's images"),
    ],
)
def test_a_param_that_leads_nowhere_is_refused_with_the_nearest(
    params: dict[str, Any], words: str
) -> None:
    (problem,) = problems(text("x"), params=params)
    assert problem.startswith(words)


# ---- checks ----


@pytest.mark.parametrize(
    ("template", "prompt", "images", "params", "words"),
    [
        ("{{promt}}", "", 0, {}, "params.workflow: unknown placeholder 'promt'; did you mean"),
        ("{{image-2}}", "", 0, {}, "params.workflow: unknown placeholder 'image-2'"),
        ("{{ }}", "", 0, {}, "params.workflow: unknown placeholder ''; there are prompt"),
        ("x", "a fox", 0, {}, "prompt: the workflow has no place for it: put {{prompt}} where"),
        ("x", "", 0, {"seed": 1}, "params.seed: the workflow has no place for it"),
        ("x", "", 0, {"width": 1}, "params.width: the workflow has no place for it"),
        ("{{width}}", "", 0, {}, "params.width: the workflow asks for it: a whole number from 1"),
        ("{{width}}", "", 0, {"width": 0}, "params.width: expected a whole number from 1"),
        ("{{width}}", "", 0, {"width": "1"}, "params.width: expected a whole number from 1"),
        ("{{seed}}", "", 0, {"seed": -1}, "params.seed: expected a whole number from 0"),
        ("{{seed}}", "", 0, {"seed": 2**64}, "params.seed: expected a whole number from 0"),
        ("{{negative_prompt}}", "", 0, {"negative_prompt": 1}, "params.negative_prompt: expected"),
        ("{{image}}", "", 0, {}, "images: the workflow asks for 1, got 0"),
        ("{{image}}{{image_2}}", "", 1, {}, "images: the workflow asks for 2, got 1"),
        ("{{image}}", "", 2, {}, "images: the workflow has places for 1, got 2"),
        ("x", "", 1, {}, "images: the workflow has places for 0, got 1"),
    ],
)
def test_what_a_workflow_and_a_job_have_against_each_other_is_named(
    template: str, prompt: str, images: int, params: dict[str, Any], words: str
) -> None:
    (problem,) = problems(text(template), prompt, images, params=params)
    assert problem.startswith(words)


@pytest.mark.parametrize(
    ("template", "prompt", "images", "params"),
    [
        ("x", "", 0, {}),
        ("x", " \n", 0, {}),
        ("{{prompt}}", "", 0, {}),
        ("{{seed}} {{name}} {{negative_prompt}}", "", 0, {}),
        ("{{seed}}", "", 0, {"seed": 2**64 - 1}),
        ("{{width}} {{height}}", "", 0, {"width": 1, "height": 16_384}),
        ("{{image}} {{image_2}}", "", 2, {}),
    ],
)
def test_what_fits_is_taken(
    template: str, prompt: str, images: int, params: dict[str, Any]
) -> None:
    assert problems(text(template), prompt, images, params=params) == []


def test_an_input_that_a_job_sets_is_not_nested_without_end() -> None:
    value: Any = "x"
    for _ in range(40):
        value = [value]
    (problem,) = problems(text("y"), params={"6.text": value})
    assert problem.startswith("params: an input is nested")
