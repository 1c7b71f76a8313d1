"""Where a job was made out to: a real provider's address, or the mock, which is none.

A job keeps its target for life. Under `--mock`, or after a section got another engine, an engine
may be asked about a task that it can't have: it says so at once, and asks nobody.
"""

from daemon.core.job import Phase
from daemon.core.kinds import FOREIGN
from daemon.core.outcomes import Fault


def is_web(target: str) -> bool:
    """Whether a real provider may be there.

    >>> is_web("https://api.coze.cn"), is_web("mock:")
    (True, False)
    """
    return target.startswith(("http://", "https://"))


def foreign(phase: Phase, target: str) -> Fault:
    """The fault of a call for `target` that this engine can't make. A submit stays as unknown as
    it was: nobody was asked, and nobody has denied it.

    >>> foreign("poll", "mock:").effect, foreign("submit", "mock:").effect
    ('accepted', 'unknown')
    """
    here, there = ("the mock", target) if is_web(target) else ("a real provider", "the mock")
    message = f"it was made out to {there}, and {here} stands in its place"
    return Fault(
        phase, FOREIGN, message=message, effect="unknown" if phase == "submit" else "accepted"
    )
