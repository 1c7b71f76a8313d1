"""What operators ask of the daemon, sent off and told of when it is done."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import msgspec

from daemon.core.job import Job
from daemon.wire.messages import Act, Request, RequestError, Why
from tui.monitor import orders
from tui.monitor.feed import Feed
from tui.monitor.link import LostError
from tui.text import Style

Say = Callable[[str, Style], None]
Unmark = Callable[[Iterable[int | str]], None]
Spawn = Callable[[Coroutine[Any, Any, None]], None]


class _Why(msgspec.Struct):
    sentence: str = ""


class Errands:
    """`asked` has what is being done to which job; `changed` is called when that changes.

    `unmark` is told what an action has changed: the next one is not meant for it.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        unmark: Unmark,
        spawn: Spawn,
        say: Say,
        changed: Callable[[], None],
    ) -> None:
        self.asked: dict[int, str] = {}
        self._priorities: dict[int, int] = {}
        self._feed = feed
        self._unmark = unmark
        self._spawn = spawn
        self._say = say
        self._changed = changed

    def act(self, act: Act) -> None:
        """Ask for something to be done to jobs; say what came of it."""
        self._spawn(self._act(act))

    def reprioritize(self, jobs: Iterable[Job], by: int) -> None:
        """Ask for other priorities; two keys in quick succession are two steps."""
        wanted: dict[int, list[int]] = {}
        for job in jobs:
            number = self._priorities.get(job.id, job.priority) + by
            number = max(-orders.PRIORITY_MAX, min(orders.PRIORITY_MAX, number))
            self._priorities[job.id] = number
            wanted.setdefault(number, []).append(job.id)
        for number, ids in wanted.items():
            self.act(Act(verb="edit", jobs=tuple(ids), changes={"priority": number}))

    async def _act(self, act: Act) -> None:
        outcomes: list[orders.Outcome] = []
        for number in act.jobs:
            self.asked[number] = act.verb
        self._changed()
        try:
            for piece in orders.requests(act):
                raw = await self._feed.ask(piece)
                outcome = msgspec.json.decode(raw, type=orders.Outcome)
                outcomes.append(outcome)
                if act.verb != "edit":  # a priority is often changed in several steps
                    self._unmark(outcome.changed)
        except (LostError, RequestError, msgspec.DecodeError) as error:
            done = f"{orders.told(act, outcomes).text}; then " if outcomes else ""
            self._say(f"{done}{act.verb}: {error}", "red")
        else:
            cell = orders.told(act, outcomes)
            self._say(cell.text, cell.style)
        finally:
            for number in act.jobs:
                self.asked.pop(number, None)
                if self._priorities.get(number) == act.changes.get("priority"):
                    self._priorities.pop(number, None)  # no later one is on its way
            self._changed()

    def request(self, request: Request, done: str) -> None:
        """Ask for something else; say `done`, or why not."""
        self._spawn(self._request(request, done))

    async def _request(self, request: Request, done: str) -> None:
        try:
            raw = await self._feed.ask(request)
            outcome = msgspec.json.decode(raw, type=orders.Outcome)
        except (LostError, RequestError, msgspec.DecodeError) as error:
            self._say(str(error), "red")
            return
        refused = [one.why for one in outcome.refused]
        self._say(refused[0] if refused else done, "yellow" if refused else "green")

    def why(self, number: int) -> None:
        """Say why a job is where it is."""
        self._spawn(self._why(number))

    async def _why(self, number: int) -> None:
        try:
            raw = await self._feed.ask(Why(job=number))
            sentence = msgspec.json.decode(raw, type=_Why).sentence
        except (LostError, RequestError, msgspec.DecodeError) as error:
            self._say(str(error), "red")
        else:
            self._say(f"job {number}: {sentence}", "")
