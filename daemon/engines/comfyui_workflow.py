"""ComfyUI's workflows in the API format: checked, adjusted, and filled in. Pure.

A workflow is a template. What stands in double braces in the inputs of its nodes is replaced by
what the job asks for; a job may also set an input by its node and name, `3.steps`.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from daemon.core.suggest import did_you_mean, shown
from daemon.engines.engine import Problem
from daemon.engines.params import Param, problems_of, text, whole

Nodes = Mapping[str, Mapping[str, Any]]
NESTING_MAX = 32
"""Of lists and tables in the inputs of a node."""
NAMED_MAX = 12
"""So many nodes or inputs are listed in a message."""
SIDE_MAX = 16_384
SEED_MAX = 2**64 - 1
NUMBERS = frozenset({"seed", "width", "height"})
"""A text that is one of these and nothing else becomes a number."""
PICTURES = ("image", "image_2")
PLACEHOLDERS = ("prompt", "negative_prompt", "seed", "name", "width", "height", *PICTURES)
_PLACEHOLDER = re.compile(r"\{\{([^{}|]+)\}\}")
"""With `|` or more braces inside it is a choice that the server makes itself."""
_SIDE = whole(1, SIDE_MAX)
PARAMS: Mapping[str, Param] = {
    "workflow": Param(
        "an absolute path, or the workflow itself", lambda value: isinstance(value, str | dict)
    ),
    "negative_prompt": text(0, 100_000),
    "seed": whole(0, SEED_MAX),
    "width": _SIDE,
    "height": _SIDE,
}
_ELSEWHERE = {
    "prompt": "give it as the job's prompt",
    "name": "give it as the job's name",
    **dict.fromkeys(PICTURES, "give pictures as the job's images"),
}


class WorkflowError(Exception):
    """It can't be a workflow; the message says why."""


class Workflow(Struct, frozen=True):
    """Nodes by their ids, each with `class_type` and `inputs`; and the placeholders in them."""

    nodes: Nodes
    placeholders: frozenset[str]


def read_workflow(content: bytes) -> Workflow:
    """The workflow that a file holds. Raises WorkflowError."""
    try:
        return workflow_of(msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf")))
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise WorkflowError(f"it is no JSON: {error}") from None


def workflow_of(value: Any) -> Workflow:
    """The workflow that `value` is. Raises WorkflowError.

    >>> workflow = workflow_of({"6": {"class_type": "Text", "inputs": {"text": "{{prompt}}"}}})
    >>> sorted(workflow.placeholders)
    ['prompt']
    >>> workflow_of({"nodes": [], "links": []})
    Traceback (most recent call last):
        ...
    daemon.engines.comfyui_workflow.WorkflowError: it is the editor's own format: use Export (API)
    """
    if not isinstance(value, Mapping):
        raise WorkflowError("expected a JSON object of nodes")
    if isinstance(value.get("nodes"), list):
        raise WorkflowError("it is the editor's own format: use Export (API)")
    if not value:
        raise WorkflowError("it has no nodes")
    for node, content in value.items():
        if not isinstance(content, Mapping) or not isinstance(content.get("class_type"), str):
            raise WorkflowError(f"node {shown(node)} has no class_type")
        if not isinstance(content.get("inputs"), Mapping):
            raise WorkflowError(f"node {shown(node)} has no inputs")
    return Workflow(value, _placeholders(value))


def adjusted(workflow: Workflow, params: Mapping[str, Any]) -> Workflow:
    """`workflow` with the inputs that `params` name set to what they give. Raises WorkflowError.

    >>> workflow = workflow_of({"3": {"class_type": "KSampler", "inputs": {"steps": 20}}})
    >>> adjusted(workflow, {"3.steps": 4, "seed": 1}).nodes["3"]["inputs"]
    {'steps': 4}
    """
    given = _inputs(workflow, params)
    if not given:
        return workflow
    nodes = dict(workflow.nodes)
    for (node, name), value in given.items():
        if node in nodes and name in nodes[node]["inputs"]:
            nodes[node] = {**nodes[node], "inputs": {**nodes[node]["inputs"], name: value}}
    return Workflow(nodes, _placeholders(nodes))


def filled(workflow: Workflow, values: Mapping[str, str | int]) -> dict[str, Any]:
    """The graph to send: every placeholder replaced, once, by what `values` have for it.

    >>> inputs = {"seed": "{{seed}}", "text": "{{prompt}}, no {{seed}}", "from": ["4", 0]}
    >>> workflow = workflow_of({"3": {"class_type": "T", "inputs": inputs}})
    >>> filled(workflow, {"seed": 7, "prompt": "a {{seed}}"})["3"]["inputs"]
    {'seed': 7, 'text': 'a {{seed}}, no 7', 'from': ['4', 0]}
    """
    return {
        node: {**content, "inputs": _filled(content["inputs"], values)}
        for node, content in workflow.nodes.items()
    }


def seed_of(job: int, key: str) -> int:
    """The seed of a job that names none: the same for the same paid request. 32 bits, which is
    what every node takes.

    >>> seed_of(1, "0" * 32) == seed_of(1, "0" * 32) != seed_of(2, "0" * 32)
    True
    """
    return int.from_bytes(hashlib.sha256(f"{job}:{key}".encode()).digest()[:4], "big")


# ---- checks ----


def problems_with(
    workflow: Workflow, prompt: str, params: Mapping[str, Any], images: int
) -> Iterator[Problem]:
    """Everything that the workflow can't take of a job, or lacks."""
    own = {name: value for name, value in params.items() if not _is_input(workflow, name, value)}
    yield from problems_of(own, PARAMS, _ELSEWHERE)
    yield from _problems_with_inputs(workflow, params)
    try:
        used = adjusted(workflow, params).placeholders
    except WorkflowError as error:
        yield Problem("params", str(error))
        return
    for name in sorted(used.difference(PLACEHOLDERS)):
        hint = did_you_mean(name, PLACEHOLDERS) or f"; there are {', '.join(PLACEHOLDERS)}"
        yield Problem("params.workflow", f"unknown placeholder {shown(name)}{hint}")
    if prompt.strip() and "prompt" not in used:
        yield Problem("prompt", _no_place("prompt"))
    for name in ("negative_prompt", "seed", "width", "height"):
        if name in params and name not in used:
            yield Problem(f"params.{name}", _no_place(name))
    for name in ("width", "height"):
        if name in used and name not in params:
            yield Problem(f"params.{name}", f"the workflow asks for it: {_SIDE.expected}")
    yield from _problems_with_pictures(used, images)


def _problems_with_inputs(workflow: Workflow, params: Mapping[str, Any]) -> Iterator[Problem]:
    for node, name in _inputs(workflow, params):
        field = f"params.{node}.{name}"
        if node not in workflow.nodes:
            hint = did_you_mean(node, workflow.nodes) or _there_are(workflow.nodes)
            yield Problem(field, f"the workflow has no node {shown(node)}{hint}")
        elif name not in workflow.nodes[node]["inputs"]:
            content = workflow.nodes[node]
            hint = did_you_mean(name, content["inputs"]) or _there_are(content["inputs"])
            kind = shown(content["class_type"])
            yield Problem(field, f"node {shown(node)} ({kind}) has no such input{hint}")


def _problems_with_pictures(used: frozenset[str], images: int) -> Iterator[Problem]:
    places = max((n for n, name in enumerate(PICTURES, 1) if name in used), default=0)
    if images > places:
        yield Problem("images", f"the workflow has places for {places}, got {images}")
    if images < places:
        yield Problem("images", f"the workflow asks for {places}, got {images}")


def _no_place(name: str) -> str:
    return f"the workflow has no place for it: put {{{{{name}}}}} where it belongs"


def _there_are(names: Mapping[str, Any]) -> str:
    listed = ", ".join(shown(name) for name in list(names)[:NAMED_MAX])
    return f"; there are {listed}{', …' if len(names) > NAMED_MAX else ''}" if names else ""


# ---- inputs and placeholders ----


def _is_input(workflow: Workflow, name: str, value: Any) -> bool:
    """Whether a param sets inputs: `3.steps`, or a table under a node's id."""
    return "." in name or (name in workflow.nodes and isinstance(value, Mapping))


def _inputs(workflow: Workflow, params: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """The inputs that `params` set, by node and name. A dotted key of TOML is a table."""
    found: dict[tuple[str, str], Any] = {}
    for name, value in params.items():
        if not _is_input(workflow, name, value):
            continue
        node, dot, rest = name.partition(".")
        if dot:
            found[node, rest] = value
        else:
            found.update({(node, one): content for one, content in value.items()})
    return found


def _placeholders(nodes: Nodes) -> frozenset[str]:
    """What stands in double braces, anywhere in the inputs. Raises WorkflowError."""
    left: list[tuple[Any, int]] = [(content["inputs"], 0) for content in nodes.values()]
    found: set[str] = set()
    while left:
        value, depth = left.pop()
        if depth > NESTING_MAX:
            raise WorkflowError(f"an input is nested more than {NESTING_MAX} deep")
        if isinstance(value, str):
            found.update(name.strip() for name in _PLACEHOLDER.findall(value))
        elif isinstance(value, Mapping | list):
            inner = value.values() if isinstance(value, Mapping) else value
            left.extend((one, depth + 1) for one in inner)
    return frozenset(found)


def _filled(value: Any, values: Mapping[str, str | int]) -> Any:
    match value:
        case str():
            whole_text = _PLACEHOLDER.fullmatch(value)
            if whole_text and (name := whole_text[1].strip()) in NUMBERS:
                return values[name]
            return _PLACEHOLDER.sub(lambda match: str(values[match[1].strip()]), value)
        case list():
            return [_filled(one, values) for one in value]
        case dict():
            return {name: _filled(one, values) for name, one in value.items()}
        case _:
            return value
