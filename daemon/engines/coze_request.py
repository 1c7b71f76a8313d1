"""What a run of a Coze workflow is asked with (coze.md, "Submit"), and what may be asked at all.

All but a few of a job's params are inputs of its workflow, which only its author knows.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from daemon.engines.answers import text_of
from daemon.engines.engine import Problem, Request
from daemon.engines.params import Param, problems_of

ID_CHARS_MAX = 64
_ELSEWHERE = {
    "parameters": "give each input of the workflow as a param of its own",
    "is_async": "is always true",
    "prompt_key": "belongs to the provider's section",
    "image_key": "belongs to the provider's section",
    "output_path": "belongs to the provider's section",
}


def _is_id(value: Any) -> bool:
    """Whether `value` is an id. They are digits in a text, which a shell easily makes a number."""
    text = text_of(value)
    return len(text) <= ID_CHARS_MAX and text.isascii() and text.replace("_", "").isalnum()


def _is_ext(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and "user_id" not in value
        and all(isinstance(one, str) for one in value.values())
    )


_ID = Param(f"an id of up to {ID_CHARS_MAX} letters and digits", _is_id)
PARAMS: Mapping[str, Param] = {
    "workflow_id": _ID,
    "bot_id": _ID,
    "app_id": _ID,
    "ext": Param("a table of texts without user_id, which is set for each submit", _is_ext),
}
"""Params that aren't inputs of the workflow."""


class Asking(Struct, frozen=True, kw_only=True):
    """The section's half of every run; a job's params may replace all but the two keys."""

    workflow_id: str = ""
    prompt_key: str = "prompt"
    image_key: str = "image"
    bot_id: str = ""
    app_id: str = ""
    ext: Mapping[str, str] = {}

    def workflow(self, params: Mapping[str, Any]) -> str:
        """The workflow that a job with `params` runs; empty if none is named."""
        return text_of(params.get("workflow_id")) or self.workflow_id

    def problems(self, prompt: str, params: Mapping[str, Any], images: int) -> Iterator[Problem]:
        """Every problem that a job has, as far as it can be told without its workflow."""
        elsewhere = dict(_ELSEWHERE)
        if self.prompt_key:
            elsewhere[self.prompt_key] = "give it as the job's prompt"
        if self.image_key:
            elsewhere[self.image_key] = "give pictures as the job's images"
        known = {name: one for name, one in params.items() if name in PARAMS or name in elsewhere}
        yield from problems_of(known, PARAMS, elsewhere=elsewhere)
        if not self.workflow(params):
            yield Problem("params.workflow_id", "name a workflow, here or in the section")
        if all(params.get(name) or getattr(self, name) for name in ("bot_id", "app_id")):
            yield Problem("params.app_id", "a run has a bot_id or an app_id, never both")
        if prompt.strip() and not self.prompt_key:
            yield Problem("prompt", "the provider's section has no prompt_key that takes it")
        if images and not self.image_key:
            yield Problem("images", "the provider's section has no image_key that takes them")

    def body(
        self, request: Request, workflow: str, pictures: Sequence[str], key: str
    ) -> dict[str, Any]:
        """The JSON of a run. `key` goes along as the user, whom the debug page shows."""
        params = request.params
        inputs = {name: one for name, one in params.items() if name not in PARAMS}
        if request.prompt.strip():
            inputs[self.prompt_key] = request.prompt
        if pictures:
            inputs[self.image_key] = pictures[0] if len(pictures) == 1 else list(pictures)
        body: dict[str, Any] = {"workflow_id": workflow, "parameters": inputs, "is_async": True}
        for name in ("bot_id", "app_id"):
            if given := text_of(params.get(name)) or getattr(self, name):
                body[name] = given
        return {**body, "ext": {**self.ext, **params.get("ext", {}), "user_id": key}}
