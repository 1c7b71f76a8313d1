"""The one table of actions: from it come the bindings, the foot line, the help and the palette.

An action's id is the name of the method that does it (`action_<id>`), on the screen or the app.
"""

from typing import Final

from msgspec import Struct
from textual.binding import Binding, BindingType

EVERYWHERE = "everywhere"
LISTS = "lists"
JOBS = "jobs"
DETAIL = "detail"
PROVIDERS = "providers"
EVENTS = "events"
FAILURES = "failures"


class Action(Struct, frozen=True):
    """Something an operator can do. `keys` as Textual names them, `shown` as people do.

    `brief` is its word in the foot line, which it stands in if there is one. `changes`: it changes
    jobs or gates, so it needs a live connection and is not there when the monitor only reads.
    """

    id: str
    keys: str
    shown: str
    title: str
    where: tuple[str, ...]
    brief: str = ""
    changes: bool = False
    priority: bool = False


ACTIONS: Final = (
    Action("open", "enter", "enter", "open", (JOBS, PROVIDERS, EVENTS, FAILURES), "open"),
    Action("filter", "slash", "/", "narrow the list while you type", (JOBS,), "filter"),
    Action("search", "slash", "/", "find in the events", (EVENTS,), "find"),
    Action("sort", "s", "s", "sort by…", (JOBS,), "sort"),
    Action("reverse", "S", "S", "reverse the order", (JOBS,)),
    Action("mark", "space", "space", "mark, or take the mark away", (JOBS,)),
    Action("mark_to_here", "ctrl+@,ctrl+space", "ctrl+space", "mark to here", (JOBS,)),
    Action("unmark", "u", "u", "take all marks away", (JOBS,)),
    Action("cancel", "c", "c", "cancel…", (JOBS, DETAIL, FAILURES), "cancel", changes=True),
    Action("requeue", "r", "r", "requeue…", (JOBS, DETAIL, FAILURES), "requeue", changes=True),
    Action("requeue_failed", "R", "R", "requeue all failed that are listed…", (JOBS,), "", True),
    Action("hold", "h", "h", "hold, or release a held one", (JOBS, DETAIL), "hold", changes=True),
    Action("raise", "plus", "+", "priority up by 10", (JOBS, DETAIL), changes=True),
    Action("lower", "minus", "-", "priority down by 10", (JOBS, DETAIL), changes=True),
    Action("approve", "a", "a", "approve: release what waits for it", (JOBS, DETAIL), "", True),
    Action("resolve", "D", "D", "resolve a doubt…", (JOBS, DETAIL), changes=True),
    Action("edit", "E", "E", "edit in $EDITOR…", (JOBS, DETAIL), changes=True),
    Action("why", "w", "w", "say why it is where it is", (JOBS, DETAIL), "why"),
    Action("pane", "t", "t", "detail pane", (JOBS,), "detail"),
    Action("error", "e", "e", "the last error in full", (DETAIL, JOBS, FAILURES)),
    Action("previous", "left_square_bracket", "[", "previous job", (DETAIL,), "previous"),
    Action("next", "right_square_bracket", "]", "next job", (DETAIL,), "next"),
    Action("gate", "p", "p", "pause… or resume", (PROVIDERS,), "pause or resume", True),
    Action("follow", "f", "f", "follow: stay at the newest", (EVENTS,), "follow"),
    Action("level", "l", "l", "all, without progress, or only trouble", (EVENTS,), "level"),
    Action("match", "n", "n", "next match", (EVENTS,)),
    Action("match_before", "N", "N", "previous match", (EVENTS,)),
    Action("copy_id", "y", "y", "copy the id", (JOBS, DETAIL, PROVIDERS, EVENTS, FAILURES)),
    Action("copy_request", "Y", "Y", "copy the request", (JOBS, DETAIL)),
    Action("copy_path", "ctrl+y", "ctrl+y", "copy the path of the result", (JOBS, DETAIL)),
    Action("line_down", "j,down", "j ↓", "down", (LISTS, DETAIL)),
    Action("line_up", "k,up", "k ↑", "up", (LISTS, DETAIL)),
    Action("page_down", "pagedown,ctrl+f", "PgDn", "a page down", (LISTS, DETAIL)),
    Action("page_up", "pageup,ctrl+b", "PgUp", "a page up", (LISTS, DETAIL)),
    Action("first", "g,home", "g", "to the first", (LISTS, DETAIL)),
    Action("last", "G,end", "G", "to the last", (LISTS, DETAIL)),
    Action("jobs", "1", "1", "jobs", (EVERYWHERE,), "jobs"),
    Action("providers", "2", "2", "providers", (EVERYWHERE,), "providers"),
    Action("events", "3", "3", "events", (EVERYWHERE,), "events"),
    Action("failures", "4", "4", "failures, by kind", (EVERYWHERE,), "failures"),
    Action("save", "ctrl+s", "ctrl+s", "save what is listed as NDJSON or CSV…", (EVERYWHERE,)),
    Action("freeze", "z", "z", "freeze the view, or let it go on", (EVERYWHERE,)),
    Action("mouse", "M", "M", "mouse on or off", (EVERYWHERE,)),
    Action("redraw", "ctrl+l", "ctrl+l", "draw everything anew", (EVERYWHERE,)),
    Action("palette", "ctrl+p", "ctrl+p", "find an action", (EVERYWHERE,), priority=True),
    Action("help", "question_mark,f1", "?", "help", (EVERYWHERE,), "help"),
    Action("back", "escape", "esc", "back", (EVERYWHERE,), "back"),
    Action("leave", "q", "q", "quit (ctrl+c too); the daemon goes on", (EVERYWHERE,), "quit"),
)
CHANGING: Final = frozenset(action.id for action in ACTIONS if action.changes)
"""The actions that ask the daemon to change something."""


def available(*where: str) -> list[Action]:
    """The actions of these places, in the order of the table.

    >>> [action.id for action in available("providers")][:2]
    ['open', 'gate']
    """
    return [action for action in ACTIONS if set(action.where) & set(where)]


def bindings(*where: str) -> list[BindingType]:
    """The keys of these places, as Textual takes them."""
    return [
        Binding(
            action.keys,
            action.id,
            action.title,
            show=False,
            id=action.id,
            tooltip=action.title,
            priority=action.priority,
        )
        for action in available(*where)
    ]
