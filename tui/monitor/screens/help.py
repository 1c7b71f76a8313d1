"""The keys of a screen, from the table of actions."""

from collections.abc import Sequence

from tui.monitor.actions import Action
from tui.monitor.sheet import Cells, Page
from tui.text import Cell, cut, pad

KEY_CELLS = 12
QUERY_HELP = (
    "filter: state:failed,held provider:veo batch:x label:y id:3-9 err:>2 attempt:>1",
    'age:>2h name:foo words "quoted text"; ! before a term turns it round',
)


def help_sheet(actions: Sequence[Action], page: Page) -> list[Cells]:
    """A line a key, and what a filter may say."""
    lines: list[Cells] = [(Cell(" keys of this screen: j k scroll, esc closes", "bold"),), ()]
    for action in actions:
        text = cut(action.title, max(0, page.cells - KEY_CELLS - 2))
        lines.append((Cell(f" {pad(action.shown, KEY_CELLS)}", "cyan"), Cell(text)))
    if any(action.id == "filter" for action in actions):
        lines.append(())
        lines += [(Cell(f" {cut(line, page.cells - 2)}", "dim"),) for line in QUERY_HELP]
    return lines
