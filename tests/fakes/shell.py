"""The shell around the core, put together with fakes: book, supervisor, clock, store."""

import msgspec
from msgspec import UNSET

from daemon.book import Book
from daemon.core.changes import added
from daemon.core.job import Attempt, Job, Queued, Stage
from daemon.core.judge import Moment
from daemon.core.policy import Abilities, Limits, Policy
from daemon.media.pictures import PictureLimits
from daemon.providers import Provider
from daemon.supervisor import Supervisor
from tests.fakes.clock import FakeClock, settle
from tests.fakes.performer import Answer, ScriptedPerformer
from tests.fakes.store import MemoryStore

LIMITS = Limits(concurrency=2, poll_interval_s=10.0, submit_timeout_s=60.0, backoff_base_s=2.0)


class Shell:
    """A daemon without a socket, files or a network; one provider called `p`."""

    def __init__(
        self,
        answers: dict[str, list[Answer]],
        *,
        limits: Limits = LIMITS,
        abilities: Abilities | None = None,
        store: MemoryStore | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.store = store or MemoryStore()
        self.book = Book(self.store, now=self.clock.now)
        self.performer = ScriptedPerformer(self.clock, answers)
        policy = Policy(limits=limits, abilities=abilities or Abilities())
        provider = Provider(
            "p",
            kind="mock",
            engine=object(),  # type: ignore[arg-type]  # the scripted performer asks nobody
            policy=policy,
            params={},
            pictures=PictureLimits(),
        )
        self.providers = {"p": provider}
        self.book.configure({"p": limits.cancel_grace_s})
        self.supervisor = Supervisor(
            book=self.book,
            clock=self.clock,
            performer=self.performer,
            providers=self.providers,
            moment=lambda _: Moment(self.clock.now()),
            released=lambda _: None,
        )

    def add(self, count: int = 1, **fields: object) -> list[int]:
        """Queue `count` jobs; their ids."""
        now = self.clock.now()
        ids = []
        for _ in range(count):
            job = Job(
                id=self.book.next_job_id,
                provider="p",
                created_at=now,
                updated_at=now,
                retries_max=5,
                errors_consecutive_max=5,
                stages=(Stage("queue", 0, now),),
                attempts=(),
                work=Queued(),
            )
            job = msgspec.structs.replace(job, **fields)
            self.book.record([added(job)])
            ids.append(job.id)
        return ids

    def take_over(self, left: MemoryStore) -> None:
        """Have the jobs that are in the journal of a daemon which is gone, as a start does."""
        self.book.load(left.rows.values())
        self.book.index()

    def job(self, number: int) -> Job:
        """The job as memory has it."""
        return self.book.jobs[number]

    def attempt(self, number: int) -> Attempt:
        """The job's first attempt."""
        attempts = self.job(number).attempts
        assert attempts is not UNSET
        return attempts[0]

    async def run(self, seconds: float = 0.0) -> None:
        """Let everything happen that is due within `seconds`."""
        await settle()
        await self.clock.advance(seconds)

    async def stop(self, grace_s: float = 30.0) -> None:
        """Stop the supervisor, moving the clock on while it waits."""
        import asyncio

        task = asyncio.get_running_loop().create_task(self.supervisor.stop(grace_s))
        for _ in range(100):
            await settle()
            if task.done():
                break
            await self.clock.advance(1.0)
        await task
