"""Coze's error codes (coze.md, "Errors"), and the rules that follow from them.

Codes decide first. Then words do, but only the provider's own: that one of our connections timed
out says nothing about a run.
"""

from collections.abc import Iterator
from typing import Any

from daemon.core.faults import Do, Rule
from daemon.engines.answers import Said, text_of

STRAY = "execute_id"
"""Not Coze's: an answer that is an error and names a run nevertheless."""
NO_RECORD = "no_record"
"""Not Coze's: the run's history is there, and empty."""
NEEDS_INPUT = "needs_input"
"""Not Coze's: a question or input node stopped the run."""
NO_LINK = "no_link"
"""Not Coze's: the run succeeded, and no link was found in its output."""
FATAL_WORDS = "timeout|timed out|access plugin|server error"

_PLUGIN = ("720701001", "720701002")
_KEY = ("4100", "700012006")
_ACCOUNT = ("4011", "4019", "4022")
_PLAN = ("6003",)
_RIGHTS = ("4101",)
_REQUEST = ("4000", "4004", "4010", "720702001", "720702002")
_CONTENT = ("4014", "4105")
_WORKFLOW = ("4006", "4012", "4015", "4021", "4200", "6031", "6039")
_STUDIO_WORKFLOW = ("720701003", "720702004", "720702011")
_UPLOAD = ("4300", "4301", "4302", "4303", "4304")
_FAULTS = ("4009", "4013", "5000")
_NOT_FOUND = "4314"
_NOT_VISIBLE_MAX = 3


def _each(
    slug: str, codes: tuple[str, ...], do: Do, why: str, *, phase: Any = "submit", **more: Any
) -> Iterator[Rule]:
    for code in codes:
        yield Rule(name=f"coze.{slug}-{code}", phase=phase, code=code, do=do, why=why, **more)


RULES: tuple[Rule, ...] = (
    *_each(
        "plugin",
        _PLUGIN,
        "fail",
        "the workflow's plugin can't be reached: waiting is of no use; see to it, then requeue",
        phase="any",
    ),
    *_each(
        "key",
        _KEY,
        "pause",
        "the token was refused: set a valid one, then `genq resume`",
        phase="any",
        cause="auth",
        until="operator",
    ),
    *_each(
        "account",
        _ACCOUNT,
        "pause",
        "the account has no tokens or balance: top it up, then `genq resume`",
        cause="auth",
        until="operator",
    ),
    *_each(
        "plan",
        _PLAN,
        "pause",
        "asynchronous runs need a paid plan: change it, then `genq resume`",
        cause="auth",
        until="operator",
    ),
    Rule(
        name="coze.daily",
        code="4008",
        do="pause",
        until="daily",
        why="the use of the day is up; no attempt is burnt",
    ),
    Rule(
        name="coze.busy",
        code="4020",
        do="pause",
        why="too many requests a minute; no attempt is burnt",
    ),
    *_each("rights", _RIGHTS, "fail", "the token has no right to this: give it, then requeue"),
    *_each(
        "request", _REQUEST, "fail", "the provider refused the request: change it and add it again"
    ),
    *_each("content", _CONTENT, "fail", "the provider takes no such content"),
    *_each(
        "workflow",
        (*_WORKFLOW, *_STUDIO_WORKFLOW),
        "fail",
        "the workflow can't be run like this: publish or correct it, then requeue",
    ),
    *_each("upload", _UPLOAD, "fail", "the provider doesn't take the picture: give another one"),
    *_each(
        "fault",
        _FAULTS,
        "retry",
        "the provider had a fault of its own; it is tried again",
        effect="none",
    ),
    Rule(
        name="coze.risk",
        phase="submit",
        code="4102",
        effect="none",
        do="retry",
        wait_s=300,
        limit=3,
        why="the provider's risk control stopped the request; it is tried again late, a few times",
    ),
    Rule(
        name="coze.needs-input",
        phase="poll",
        code=NEEDS_INPUT,
        do="fail",
        why="the workflow asks somebody a question, and a queue has no answer: remove that node",
    ),
    Rule(
        name="coze.no-link",
        phase="poll",
        code=NO_LINK,
        do="hold",
        reason="operator",
        why="the output has no link where it is looked for: correct output_path, then requeue",
    ),
    *_each(
        "not-visible",
        (_NOT_FOUND, NO_RECORD),
        "tolerate",
        "the provider has no record of the run; just after a submit that may be so",
        phase="poll",
        limit=_NOT_VISIBLE_MAX,
    ),
    Rule(
        name="coze.words",
        kind="provider.*",
        message=FATAL_WORDS,
        do="fail",
        why="the provider's words tell of a fault that waiting doesn't mend; see to it, requeue",
    ),
    Rule(
        name="coze.picture",
        phase="submit",
        kind="local.decode",
        do="fail",
        why="the picture can't be sent to this provider: give another one and add the job again",
    ),
)


def code_of(value: Any) -> str | None:
    """A code, which comes as a number or as text; None for none, and for zero, which is success.

    >>> code_of(720701002), code_of("720701002"), code_of("0"), code_of(""), code_of(None)
    ('720701002', '720701002', None, None, None)
    """
    code = text_of(value)
    return None if code.strip("0") == "" else code


def read_error(body: Any, now: float) -> Said | None:  # noqa: ARG001 - nothing says when to come again
    """The error in a parsed body: `{"code", "msg", "detail": {"logid"}}` with a code that isn't 0.

    >>> read_error({"code": 4009, "msg": "busy", "detail": {"logid": "2026"}}, 0.0)
    Said(code='4009', message='busy (logid 2026)', retry_after_s=None)
    >>> read_error({"code": 0, "msg": "", "data": []}, 0.0)
    """
    if not isinstance(body, dict):
        return None
    code, words = code_of(body.get("code")), text_of(body.get("msg"))
    detail = body.get("detail")
    logid = text_of(detail.get("logid")) if isinstance(detail, dict) else ""
    run = text_of(body.get("execute_id"))
    if run:
        return Said(STRAY, signed(f"{words or code}: the run {run} may have begun", logid))
    return None if code is None else Said(code, signed(words, logid))


def signed(words: str, logid: str) -> str:
    """What the provider says, with the name that its support knows it by.

    >>> signed("busy", "2026"), signed("", "")
    ('busy (logid 2026)', 'the provider gave no reason')
    """
    words = words or "the provider gave no reason"
    return f"{words} (logid {logid})" if logid else words
