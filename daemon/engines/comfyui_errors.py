"""ComfyUI's refusals and failed runs in words (comfyui.md, "Submit" and "Poll"), and its rules."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from daemon.core.faults import Rule
from daemon.core.suggest import shown
from daemon.engines.answers import Said, text_of

INTERRUPTED = "interrupted"
NO_MEDIA = "no_media"
"""Not ComfyUI's: the run succeeded, and nothing that it saved can be filed."""
NODES_NAMED_MAX = 5
FILES_NAMED_MAX = 5
_OUT_OF_MEMORY = ("torch.OutOfMemoryError", "torch.cuda.OutOfMemoryError", "OutOfMemoryError")

RULES: tuple[Rule, ...] = (
    Rule(
        name="comfyui.unusable",
        phase="submit",
        kind="local.decode",
        do="fail",
        why="the workflow or a picture can't be used: correct it, then requeue",
    ),
    *(
        Rule(
            name=f"comfyui.memory-{number}",
            phase="poll",
            kind="provider.failed",
            code=code,
            do="fail",
            why="the server's memory is too small for it: ask for less, or free it, then requeue",
        )
        for number, code in enumerate(_OUT_OF_MEMORY, 1)
    ),
    Rule(
        name="comfyui.no-media",
        phase="poll",
        code=NO_MEDIA,
        do="hold",
        reason="operator",
        why="it stays in the server's output folder; for a result add a node to the workflow that "
        "saves a picture or a clip, then `genq requeue --fresh`",
    ),
    Rule(
        name="comfyui.poll-404",
        phase="poll",
        http="404",
        do="tolerate",
        why="something else than ComfyUI answers at this address; the server may come back",
    ),
)


def read_error(body: Any, now: float) -> Said | None:  # noqa: ARG001 - no answer names a time
    """The error in a parsed refusal, with the nodes that it is about.

    >>> node = {"class_type": "KSampler", "errors": [{"message": "too small", "details": "steps"}]}
    >>> body = {"error": {"type": "t", "message": "invalid"}, "node_errors": {"3": node}}
    >>> read_error(body, 0.0)
    Said(code='t', message="node '3' ('KSampler'): too small: steps", retry_after_s=None)
    """
    if not isinstance(body, Mapping):
        return None
    error = body.get("error")
    code = text_of(error.get("type")) if isinstance(error, Mapping) else ""
    said = _sentence(error) if isinstance(error, Mapping) else text_of(error)
    nodes = in_words(body.get("node_errors"))
    if not nodes and not said and not code:
        return None
    return Said(code or None, nodes or said)


def in_words(node_errors: Any) -> str:
    """What is wrong with which node; empty if nothing is.

    >>> in_words({}), in_words(None)
    ('', '')
    """
    if not isinstance(node_errors, Mapping):
        return ""
    told = [
        f"node {place}: {'; '.join(_complaints(content)) or 'refused'}"
        for place, content in _places(node_errors)
    ]
    more = f"; and {len(told) - NODES_NAMED_MAX} nodes more" if len(told) > NODES_NAMED_MAX else ""
    return "; ".join(told[:NODES_NAMED_MAX]) + more


def failure_of(status: Mapping[str, Any]) -> Said:
    """Why a run ended badly, out of the messages in its history.

    >>> failure_of({"messages": [["execution_interrupted", {"node_id": "3", "node_type": "K"}]]})
    Said(code='interrupted', message="interrupted at the server, at node '3' ('K')", \
retry_after_s=None)
    """
    for kind, content in _messages(status.get("messages")):
        node = f"node {shown(content.get('node_id'))} ({shown(content.get('node_type'))})"
        if kind == "execution_error":
            words = text_of(content.get("exception_message")) or "no reason was given"
            return Said(text_of(content.get("exception_type")) or None, f"{node}: {words}")
        if kind == "execution_interrupted":
            return Said(INTERRUPTED, f"interrupted at the server, at {node}")
    return Said(message="the server gave no reason")


def empty(names: Sequence[str]) -> Said:
    """Of a run that is over and has no results; `names` are those of the files that it saved.

    >>> empty(["a.latent"]).message
    "the run is over, but what it saved is no picture, clip, sound or model: 'a.latent'"
    """
    if not names:
        return Said(message="the run is over, but no node has saved anything: add one that does")
    told = [shown(name) for name in names[:FILES_NAMED_MAX]]
    more = len(names) - len(told)
    files = ", ".join([*told, f"and {more} more"] if more else told)
    message = "the run is over, but what it saved is no picture, clip, sound or model"
    return Said(NO_MEDIA, f"{message}: {files}")


def _messages(found: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Pairs of a kind and its content; what went wrong before what was stopped for it."""
    pairs = [
        (str(one[0]), one[1])
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, list) and len(one) == 2 and isinstance(one[1], Mapping)
    ]
    yield from sorted(pairs, key=lambda pair: pair[0] != "execution_error")


def _places(node_errors: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for node, content in node_errors.items():
        kind = content.get("class_type") if isinstance(content, Mapping) else None
        yield f"{shown(node)} ({shown(kind)})" if kind else shown(node), content


def _complaints(content: Any) -> Iterator[str]:
    errors = content.get("errors") if isinstance(content, Mapping) else None
    for one in errors if isinstance(errors, list) else []:
        if isinstance(one, Mapping) and (sentence := _sentence(one)):
            yield sentence


def _sentence(error: Mapping[str, Any]) -> str:
    """Message and details; some messages hold their details already."""
    message, details = text_of(error.get("message")), text_of(error.get("details"))
    if not message or not details or details in message:
        return message or details
    return details if message in details else f"{message}: {details}"
