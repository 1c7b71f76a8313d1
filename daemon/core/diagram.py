"""The transition table as a picture that GitHub draws: for ARCHITECTURE.md, never by hand."""

from collections.abc import Mapping

from daemon.core.job import State
from daemon.core.machine import Row

BEGIN = "<!-- diagram: begin -->"
END = "<!-- diagram: end -->"


class MarkersMissingError(Exception):
    """The text has no place for the diagram."""

    def __init__(self) -> None:
        super().__init__(f"the text needs a line {BEGIN!r} and, below it, a line {END!r}")


def mermaid(table: Mapping[State, Row]) -> str:
    """`table` as a Mermaid state diagram: an arrow for each pair of states, and its events.

    What leaves a state as it is isn't drawn.

    >>> print(mermaid({"queued": {"held": frozenset({"held"}), "edited": frozenset({"queued"})}}))
    stateDiagram-v2
        [*] --> queued: added
        [*] --> held: added
        queued --> held: held
    """
    lines = ["stateDiagram-v2", "    [*] --> queued: added", "    [*] --> held: added"]
    for state, row in table.items():
        arrows: dict[State, list[str]] = {}
        for event, targets in row.items():
            for target in sorted(targets - {state}):
                arrows.setdefault(target, []).append(event)
        lines += [f"    {state} --> {to}: {', '.join(by)}" for to, by in arrows.items()]
    return "\n".join(lines)


def replaced(text: str, diagram: str) -> str:
    """`text` with `diagram` between its two markers. Raises MarkersMissingError.

    >>> replaced(f"a\\n{BEGIN}\\nold\\n{END}\\nb", "new").split("\\n")[2:5]
    ['```mermaid', 'new', '```']
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise MarkersMissingError
    return f"{before}{BEGIN}\n```mermaid\n{diagram}\n```\n{END}{after}"
