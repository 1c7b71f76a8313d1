"""A performer that answers from a script, and notes what it was asked to do."""

import asyncio
from collections.abc import Callable

from daemon.clock import Clock
from daemon.core.effects import Effect, Prepare
from daemon.core.job import Job
from daemon.core.outcomes import Outcome, Prepared

Answer = Outcome | Exception | Callable[[Job], Outcome]


class ScriptedPerformer:
    """Waits until an effect is due, then gives the next answer of its kind.

    `answers` maps the name of an effect ("Submit") to its answers, the last of which repeats.
    `gates` holds effects back: an asyncio.Event by name.
    """

    def __init__(self, clock: Clock, answers: dict[str, list[Answer]]) -> None:
        self.clock = clock
        self.answers = answers
        self.asked: list[tuple[int, str]] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.released: list[int] = []

    async def perform(self, job: Job, effect: Effect) -> Outcome:
        at = getattr(effect, "at", 0.0)
        await self.clock.sleep(at - self.clock.now())
        name = type(effect).__name__
        self.asked.append((job.id, name))
        if name in self.gates:
            await self.gates[name].wait()
        if isinstance(effect, Prepare) and name not in self.answers:
            return Prepared(self.clock.key(), "mock:", "digest")
        answers = self.answers[name]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(job) if callable(answer) else answer

    def count(self, name: str) -> int:
        """How often an effect of this name was performed."""
        return sum(kind == name for _, kind in self.asked)
