import asyncio
import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from daemon.core.faults import classify
from daemon.core.job import Result
from daemon.core.outcomes import Absent, Accepted, Fault, Pending, Ready, Stopped
from daemon.core.policy import Abilities
from daemon.engines.engine import Engine, Picture, Problem, Request
from daemon.engines.mock import CHUNK_BYTES_MAX, TARGET, MockEngine
from daemon.engines.mock_fate import fate_of
from daemon.engines.mock_ledger import LEDGER_NAME, Cancelled, Entry, MockLedger
from daemon.engines.mock_settings import MockSettings
from daemon.engines.mock_weather import CLEAR, Script, load_script
from daemon.media.drawing import draw_clip, draw_still
from tests.fakes.clock import FakeClock, settle

LOST = Fault(
    "submit", "transport.timeout.read", message="the mock's answer was lost", effect="unknown"
)


class Pencil:
    """Notes what it is asked to draw, and makes `content` of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.content = b"picture"

    async def draw(self, *what: Any) -> bytes:
        self.asked.append(what)
        return self.content


class Bucket:
    """A sink that keeps what it is given, and when."""

    def __init__(self, clock: FakeClock) -> None:
        self.chunks: list[bytes] = []
        self.times: list[float] = []
        self._clock = clock

    async def write(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.times.append(self._clock.monotonic())


class FullLedger(MockLedger):
    """A ledger on a full disk."""

    async def append(self, line: Entry | Cancelled) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


class Rehearsal:
    """A mock with its clock and its ledger; `engine` starts one, `restart` another."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.pencil = Pencil()
        self.path = folder / LEDGER_NAME
        self._keys = 0

    def engine(
        self,
        *,
        script: Script = CLEAR,
        plays: Abilities | None = None,
        ledger: MockLedger | None = None,
        **settings: Any,
    ) -> MockEngine:
        """An engine with a memory of its own; without further settings all takes no time."""
        return MockEngine(
            MockSettings(**{"submit_s": 0, "generate_s": 0, **settings}),
            clock=self.clock,
            ledger=MockLedger(self.path) if ledger is None else ledger,
            stills=self.pencil.draw,
            clips=self.pencil.draw,
            script=script,
            plays=plays,
        )

    async def submit(
        self,
        engine: MockEngine,
        job: int = 1,
        *,
        key: str | None = None,
        prompt: str = "a fox",
        pictures: tuple[Picture, ...] = (),
        **params: Any,
    ) -> Accepted | Fault:
        self._keys += 1
        request = Request(job=job, name=None, prompt=prompt, params=params, pictures=pictures)
        return await engine.submit(request, key=key or f"key-{self._keys}", target=TARGET)

    async def accepted(self, engine: MockEngine, job: int = 1, **more: Any) -> str:
        answer = await self.submit(engine, job, **more)
        assert isinstance(answer, Accepted), answer
        assert answer.target == TARGET
        return answer.remote_id

    async def fetched(self, engine: MockEngine, remote_id: str, number: int = 0) -> bytes:
        bucket = Bucket(self.clock)
        result = Result(f"mock:{remote_id}/{number}")
        assert await engine.fetch(result, bucket, target=TARGET) is None
        return b"".join(bucket.chunks)

    def ledger(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@pytest.fixture
def rehearsal(tmp_path: Path) -> Rehearsal:
    return Rehearsal(tmp_path)


def script(text: str) -> Script:
    made = load_script(text, "weather.toml")
    assert isinstance(made, Script), made
    return made


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def remove(path: Path) -> None:
    path.unlink()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a thread's work to show, without time going on."""
    for _ in range(100_000):
        if condition():
            return
        await settle(1)
    raise AssertionError("it never came true")


async def poll(engine: MockEngine, remote_id: str) -> Pending | Ready | Fault:
    return await engine.poll(remote_id, target=TARGET)


# ---- submit ----


async def test_what_is_accepted_stands_in_the_ledger(rehearsal: Rehearsal) -> None:
    engine: Engine = rehearsal.engine()
    request = Request(
        job=7, name="shot-07", prompt="a fox", params={"kind": "video", "duration": 4}
    )
    answer = await engine.submit(request, key="k7", target=await engine.choose(request))
    assert isinstance(answer, Accepted)
    (line,) = rehearsal.ledger()
    assert line == {
        "type": "accepted",
        "at": 1_000_000.0,
        "key": "k7",
        "remote_id": answer.remote_id,
        "job": 7,
        "prompt": "a fox",
        "kind": "video",
        "width": 640,
        "height": 360,
        "duration_s": 4.0,
        "pictures": 0,
        "picture_bytes": 0,
    }


async def test_a_submit_is_in_the_ledger_before_it_is_answered(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(submit_s=0.2)
    answer = asyncio.create_task(rehearsal.submit(engine))
    await rehearsal.clock.advance(0.05)
    assert rehearsal.ledger() == []
    await rehearsal.clock.advance(0.05)
    await until(lambda: rehearsal.clock.next_wake_at is not None)
    assert len(rehearsal.ledger()) == 1
    assert not answer.done()
    await rehearsal.clock.advance(0.1)
    assert isinstance(await answer, Accepted)


async def test_a_key_that_is_sent_twice_is_accepted_twice(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine()
    first = await rehearsal.accepted(engine, key="k1")
    again = await rehearsal.accepted(engine, key="k1")
    after_a_restart = await rehearsal.accepted(rehearsal.engine(), key="k1")
    assert len({first, again, after_a_restart}) == 3
    assert [line["key"] for line in rehearsal.ledger()] == ["k1", "k1", "k1"]


async def test_a_long_prompt_is_cut_in_the_ledger(rehearsal: Rehearsal) -> None:
    await rehearsal.accepted(rehearsal.engine(), prompt="狐" * 100_000)
    assert rehearsal.ledger()[0]["prompt"] == "狐" * 2_000


async def test_picture_files_are_read_and_links_are_not(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    large = write(tmp_path / "a.png", b"x" * 1_500_000)
    small = write(tmp_path / "b.png", b"y" * 10)
    await rehearsal.accepted(
        rehearsal.engine(),
        pictures=(
            Picture("a.png", path=large),
            Picture("b.png", path=small),
            Picture("https://x.test/c.png", url="https://x.test/c.png"),
        ),
    )
    (line,) = rehearsal.ledger()
    assert (line["pictures"], line["picture_bytes"]) == (3, 1_500_010)


async def test_a_missing_picture_keeps_the_request_from_being_sent(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    engine = rehearsal.engine()
    gone = Picture("refs/fox.png", path=tmp_path / "gone.png")
    assert await rehearsal.submit(engine, pictures=(gone,)) == Fault(
        "submit",
        "local.io",
        message="refs/fox.png: No such file or directory",
        effect="none",
    )
    assert rehearsal.ledger() == []


async def test_without_a_state_folder_nothing_is_accepted(tmp_path: Path) -> None:
    rehearsal = Rehearsal(tmp_path / "gone")
    answer = await rehearsal.submit(rehearsal.engine())
    assert isinstance(answer, Fault)
    assert (answer.kind, answer.effect) == ("local.io", "none")
    assert answer.message == "the mock's ledger: No such file or directory"


async def test_on_a_full_disk_nothing_is_accepted(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(ledger=FullLedger(rehearsal.path))
    answer = await rehearsal.submit(engine)
    assert isinstance(answer, Fault)
    assert (answer.phase, answer.kind, answer.effect) == ("submit", "local.nospace", "none")


async def test_a_refused_submit_surely_did_nothing(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(submit_refused=1)
    answer = await rehearsal.submit(engine)
    assert isinstance(answer, Fault)
    assert (answer.kind, answer.http, answer.code) == ("http", 503, "mock_refused")
    assert answer.effect == "none"
    assert rehearsal.ledger() == []


async def test_one_half_of_the_lost_answers_were_accepted(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(lost_answers=1)
    answers = await asyncio.gather(*[rehearsal.submit(engine, job) for job in range(200)])
    assert answers == [LOST] * 200
    assert 80 <= len(rehearsal.ledger()) <= 120


@pytest.mark.parametrize("weather", [{"lost_answers": 1}, {"submit_refused": 1}])
async def test_a_failure_takes_as_long_as_an_answer(
    rehearsal: Rehearsal, weather: dict[str, Any]
) -> None:
    engine = rehearsal.engine(submit_s=0.2, **weather)
    for job in range(10):
        answer = asyncio.create_task(rehearsal.submit(engine, job))
        await rehearsal.clock.advance(0.1)
        await until(lambda: rehearsal.clock.next_wake_at is not None)
        await rehearsal.clock.advance(0.05)
        assert not answer.done()
        await rehearsal.clock.advance(0.05)
        assert isinstance(await answer, Fault)


async def test_every_third_submit_uses_up_the_quota_for_a_while(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(quota_every=3, quota_for_s=5)

    async def status() -> tuple[int | None, float | None] | None:
        answer = await rehearsal.submit(engine)
        return (answer.http, answer.retry_after_s) if isinstance(answer, Fault) else None

    assert [await status() for _ in range(3)] == [None, None, (429, 5.0)]
    await rehearsal.clock.advance(2)
    assert await status() == (429, 3.0)
    await rehearsal.clock.advance(3)
    assert [await status() for _ in range(3)] == [None, None, (429, 5.0)]
    assert len(rehearsal.ledger()) == 4


async def test_a_request_made_out_to_another_is_neither_taken_nor_denied(
    rehearsal: Rehearsal,
) -> None:
    engine = rehearsal.engine(lookup=True)
    request = Request(job=1, name=None, prompt="a fox", params={})
    for answer in (
        await engine.submit(request, key="k1", target="https://api.coze.cn"),
        await engine.lookup("k1", target="https://api.coze.cn"),
    ):
        assert isinstance(answer, Fault)
        assert (answer.phase, answer.kind, answer.effect) == ("submit", "local.target", "unknown")
        assert "https://api.coze.cn" in answer.message
    assert rehearsal.ledger() == []


# ---- chance ----


async def met(rehearsal: Rehearsal, jobs: range, **settings: Any) -> dict[int, str]:
    """What each of `jobs` meets at its first submit: refused, lost, or its task's fate."""
    engine = rehearsal.engine(**settings)
    answers = await asyncio.gather(*[rehearsal.submit(engine, job) for job in jobs])
    found = {}
    for job, answer in zip(jobs, answers, strict=True):
        if isinstance(answer, Fault):
            found[job] = answer.kind
        else:
            fate = fate_of(answer.remote_id)
            assert fate is not None
            found[job] = f"{fate.generate_s} {fate.fails}"
    return found


async def test_the_same_seed_brings_the_same_weather_in_any_order(rehearsal: Rehearsal) -> None:
    mixed: dict[str, Any] = {
        "submit_refused": 0.2,
        "lost_answers": 0.2,
        "failures": 0.3,
        "generate_s": (1.0, 3.0),
    }
    first = await met(rehearsal, range(100), **mixed)
    backwards = await met(rehearsal, range(99, -1, -1), **mixed)
    other = await met(rehearsal, range(100), seed=1, **mixed)
    assert first == backwards
    assert first != other
    assert {"http", "transport.timeout.read"} < set(first.values())


async def test_a_job_that_was_refused_has_a_new_chance(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(submit_refused=0.5)
    answers = [await rehearsal.submit(engine) for _ in range(50)]
    assert {type(answer) for answer in answers} == {Accepted, Fault}


async def test_tasks_take_a_time_within_the_range(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(generate_s=(1.0, 3.0))
    fates = [fate_of(await rehearsal.accepted(engine, job)) for job in range(50)]
    times = [fate.generate_s for fate in fates if fate is not None]
    assert min(times) >= 1
    assert max(times) <= 3
    assert max(times) - min(times) > 1.5


async def test_a_share_of_the_tasks_fails_for_good(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(failures=0.25)
    tasks = [await rehearsal.accepted(engine, job) for job in range(100)]
    ends = [await poll(engine, task) for task in tasks]
    faults = [end for end in ends if isinstance(end, Fault)]
    assert 10 <= len(faults) <= 40
    assert {(one.phase, one.kind, one.effect) for one in faults} == {
        ("poll", "provider.failed", "accepted")
    }
    assert ends == [await poll(engine, task) for task in tasks]


async def test_a_share_of_the_polls_meets_a_gateway(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(polls_504=0.5)
    task = await rehearsal.accepted(engine)
    answers = [await poll(engine, task) for _ in range(100)]
    faults = [answer for answer in answers if isinstance(answer, Fault)]
    assert 30 <= len(faults) <= 70
    assert {(one.http, one.effect) for one in faults} == {(504, "accepted")}
    assert all(isinstance(answer, Fault | Ready) for answer in answers)


# ---- poll ----


async def test_a_task_goes_on_by_the_clock_and_then_is_ready(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(generate_s=10, outputs=2)
    task = await rehearsal.accepted(engine)
    told = []
    for _ in range(10):
        told.append(await poll(engine, task))
        await rehearsal.clock.advance(1)
    assert told == [Pending(tenth / 10) for tenth in range(10)]
    assert await poll(engine, task) == Ready((Result(f"mock:{task}/0"), Result(f"mock:{task}/1")))


async def test_progress_is_told_in_few_steps(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(generate_s=100)
    task = await rehearsal.accepted(engine)
    told = set()
    for _ in range(400):
        told.add(await poll(engine, task))
        await rehearsal.clock.advance(0.25)
    assert len(told) == 20


async def test_a_mock_without_outputs_is_ready_with_nothing(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(outputs=0)
    assert await poll(engine, await rehearsal.accepted(engine)) == Ready(())


async def test_a_clock_that_was_set_back_shows_no_negative_progress(rehearsal: Rehearsal) -> None:
    task = await rehearsal.accepted(rehearsal.engine(generate_s=10))
    earlier = FakeClock(now=999_000.0)
    rehearsal.clock = earlier
    assert await poll(rehearsal.engine(), task) == Pending(0.0)


async def test_a_restart_finds_the_task_as_it_was(rehearsal: Rehearsal) -> None:
    task = await rehearsal.accepted(rehearsal.engine(generate_s=10, outputs=3), prompt="a fox")
    await rehearsal.clock.advance(5)
    after = rehearsal.engine(generate_s=99, outputs=1, failures=1)
    assert await poll(after, task) == Pending(0.5)
    await rehearsal.clock.advance(5)
    ready = await poll(after, task)
    assert isinstance(ready, Ready)
    assert len(ready.results) == 3
    await rehearsal.fetched(after, task)
    assert rehearsal.pencil.asked[0][0] == "a fox"


@pytest.mark.parametrize("task", ["mock-12", ""])
async def test_a_task_that_the_mock_has_not_given_is_unknown(
    rehearsal: Rehearsal, task: str
) -> None:
    engine = rehearsal.engine()
    for answer in (
        await engine.poll(task, target=TARGET),
        await engine.cancel(task, target=TARGET),
    ):
        assert isinstance(answer, Fault)
        assert (answer.phase, answer.http, answer.effect) == ("poll", 404, "accepted")


async def test_a_task_of_a_real_provider_is_held_at_once(rehearsal: Rehearsal) -> None:
    engine, real = rehearsal.engine(), "https://open.bigmodel.cn/api/paas/v4"
    task = await rehearsal.accepted(engine)
    result, bucket = Result(f"mock:{task}/0"), Bucket(rehearsal.clock)
    for answer in (
        await engine.poll(task, target=real),
        await engine.cancel(task, target=real),
        await engine.fetch(result, bucket, target=real),
    ):
        assert isinstance(answer, Fault)
        assert (answer.kind, answer.effect) == ("local.target", "accepted")
        assert real in answer.message
        assert classify(answer, engine.rules).name == "shared.foreign"


async def test_an_unreadable_ledger_does_not_lose_the_task(tmp_path: Path) -> None:
    rehearsal = Rehearsal(tmp_path)
    task = await rehearsal.accepted(rehearsal.engine())
    remove(rehearsal.path)
    rehearsal.path.mkdir()
    engine = rehearsal.engine(lookup=True)
    result, bucket = Result(f"mock:{task}/0"), Bucket(rehearsal.clock)
    answers = [
        await poll(engine, task),
        await engine.cancel(task, target=TARGET),
        await engine.fetch(result, bucket, target=TARGET),
        await engine.lookup("key-1", target=TARGET),
    ]
    faults = [answer for answer in answers if isinstance(answer, Fault)]
    assert [fault.kind for fault in faults] == ["local.io"] * 4
    assert [fault.effect for fault in faults] == ["accepted"] * 3 + ["unknown"]


# ---- fetch ----


async def test_the_prompt_is_drawn_in_the_size_asked_for(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(outputs=2)
    task = await rehearsal.accepted(engine, prompt="纸狐狸", width=320, height=200)
    assert await rehearsal.fetched(engine, task, 0) == b"picture"
    await rehearsal.fetched(engine, task, 1)
    (text, seed, *size), (_, other_seed, *_) = rehearsal.pencil.asked
    assert (text, size) == ("纸狐狸", [320, 200])
    assert seed != other_seed


async def test_a_clip_has_frames_by_its_length_and_fewer_when_it_is_huge(
    rehearsal: Rehearsal,
) -> None:
    engine = rehearsal.engine()
    small = await rehearsal.accepted(engine, kind="video", duration=2.5)
    huge = await rehearsal.accepted(engine, kind="video", duration=10, width=4096, height=4096)
    await rehearsal.fetched(engine, small)
    await rehearsal.fetched(engine, huge)
    assert [asked[2:] for asked in rehearsal.pencil.asked] == [
        (640, 360, 20, 2.5),
        (4096, 4096, 2, 10.0),
    ]


async def test_a_result_is_drawn_alike_each_time(rehearsal: Rehearsal) -> None:
    task = await rehearsal.accepted(rehearsal.engine())
    await rehearsal.fetched(rehearsal.engine(), task)
    await rehearsal.fetched(rehearsal.engine(seed=5), task)
    assert rehearsal.pencil.asked[0] == rehearsal.pencil.asked[1]


async def test_real_pictures_are_made(rehearsal: Rehearsal) -> None:
    async def stills(text: str, seed: int, width: int, height: int) -> bytes:
        return draw_still(text, seed, width, height)

    async def clips(*what: Any) -> bytes:
        return draw_clip(*what)

    engine = MockEngine(
        MockSettings(submit_s=0, generate_s=0),
        clock=rehearsal.clock,
        ledger=MockLedger(rehearsal.path),
        stills=stills,
        clips=clips,
    )
    still = await rehearsal.accepted(engine, width=64, height=48)
    assert (await rehearsal.fetched(engine, still)).startswith(b"\x89PNG")
    clip = await rehearsal.accepted(engine, width=64, height=48, kind="video", duration=1)
    made = await rehearsal.fetched(engine, clip)
    assert (made[:4], made[8:12], made.count(b"ANMF")) == (b"RIFF", b"WEBP", 8)


async def test_a_result_comes_in_chunks_spread_over_its_time(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(download_s=3)
    rehearsal.pencil.content = bytes(range(256)) * (CHUNK_BYTES_MAX // 100)
    task = await rehearsal.accepted(engine)
    bucket = Bucket(rehearsal.clock)
    done = asyncio.create_task(engine.fetch(Result(f"mock:{task}/0"), bucket, target=TARGET))
    await until(lambda: rehearsal.clock.next_wake_at is not None)
    await rehearsal.clock.advance(3)
    assert await done is None
    assert b"".join(bucket.chunks) == rehearsal.pencil.content
    assert bucket.times == [1.0, 2.0, 3.0]
    assert max(map(len, bucket.chunks)) == CHUNK_BYTES_MAX


async def test_without_the_ledger_some_picture_is_drawn(rehearsal: Rehearsal) -> None:
    task = await rehearsal.accepted(rehearsal.engine(), width=320)
    remove(rehearsal.path)
    assert await rehearsal.fetched(rehearsal.engine(), task) == b"picture"
    ((text, _, *size),) = rehearsal.pencil.asked
    assert (text, size) == ("a picture from the mock", [320, 360])


@pytest.mark.parametrize(
    "url", ["{task}/1", "{task}/", "{task}", "{task}/0/", "mock-0/0", "../{task}/0", "{task}/0000"]
)
async def test_a_result_that_the_mock_has_not_named_is_gone(rehearsal: Rehearsal, url: str) -> None:
    engine = rehearsal.engine()
    task = await rehearsal.accepted(engine)
    bucket = Bucket(rehearsal.clock)
    result = Result("mock:" + url.format(task=task))
    fault = await engine.fetch(result, bucket, target=TARGET)
    assert fault is not None
    assert (fault.phase, fault.http, fault.effect) == ("download", 404, "accepted")
    assert bucket.chunks == []


# ---- cancel and lookup ----


async def test_a_cancelled_task_stays_cancelled_over_a_restart(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(generate_s=10)
    task = await rehearsal.accepted(engine)
    assert await engine.cancel(task, target=TARGET) == Stopped("unknown", ended=True)
    assert await engine.cancel(task, target=TARGET) == Stopped("unknown", ended=True)
    assert [line["type"] for line in rehearsal.ledger()] == ["accepted", "cancelled"]
    await rehearsal.clock.advance(20)
    for one in (engine, rehearsal.engine()):
        answer = await poll(one, task)
        assert isinstance(answer, Fault)
        assert (answer.kind, answer.code, answer.effect) == (
            "provider.failed",
            "cancelled",
            "accepted",
        )


async def test_a_cancel_that_comes_too_late_gives_the_result(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(generate_s=10)
    task = await rehearsal.accepted(engine)
    await rehearsal.clock.advance(10)
    assert await engine.cancel(task, target=TARGET) == Ready((Result(f"mock:{task}/0"),))
    assert [line["type"] for line in rehearsal.ledger()] == ["accepted"]


async def test_a_lookup_finds_the_first_task_of_a_key(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(lookup=True)
    first = await rehearsal.accepted(engine, key="k1")
    await rehearsal.accepted(engine, key="k1")
    for one in (engine, rehearsal.engine(lookup=True)):
        assert await one.lookup("k1", target=TARGET) == Accepted(first, TARGET)
        assert await one.lookup("k2", target=TARGET) == Absent()


async def test_a_lookup_finds_every_request_that_arrived_though_its_answer_was_lost(
    rehearsal: Rehearsal,
) -> None:
    engine = rehearsal.engine(lookup=True, lost_answers=1)
    for job in range(20):
        await rehearsal.submit(engine, job, key=f"k{job}")
    found = [await engine.lookup(f"k{job}", target=TARGET) for job in range(20)]
    arrived = {line["job"]: Accepted(line["remote_id"], TARGET) for line in rehearsal.ledger()}
    assert found == [arrived.get(job, Absent()) for job in range(20)]
    assert 0 < len(arrived) < 20


async def test_a_task_is_absent_until_it_is_registered(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(lookup=True, register_s=0.6)
    task = await rehearsal.accepted(engine, key="k1")
    assert await engine.lookup("k1", target=TARGET) == Absent()
    await rehearsal.clock.advance(0.6)
    assert await engine.lookup("k1", target=TARGET) == Accepted(task, TARGET)


# ---- script ----


async def test_a_script_is_played_before_everything_goes_normally(rehearsal: Rehearsal) -> None:
    stormy = script("""
        [[outcome]]
        match = "fox"
        phase = "prepare"
        kind = "transport.connect"
        [[outcome]]
        match = "fox"
        phase = "submit"
        http = 429
        code = "RESOURCE_EXHAUSTED"
        retry_after_s = 2
        times = 2
        [[outcome]]
        match = "fox"
        phase = "submit"
        kind = "transport.timeout.read"
    """)
    engine = rehearsal.engine(script=stormy)
    faults = [await rehearsal.submit(engine, 1) for _ in range(4)]
    told = [(one.phase, one.http, one.effect) for one in faults if isinstance(one, Fault)]
    assert told == [
        ("prepare", None, "none"),
        ("submit", 429, "none"),
        ("submit", 429, "none"),
        ("submit", None, "unknown"),
    ]
    assert rehearsal.ledger() == []
    assert isinstance(await rehearsal.submit(engine, 1), Accepted)
    assert isinstance(await rehearsal.submit(engine, 2, prompt="a harbour"), Accepted)
    assert isinstance(await rehearsal.submit(engine, 3), Fault)


async def test_scripted_polls_are_found_by_the_prompt_after_a_restart_too(
    rehearsal: Rehearsal,
) -> None:
    stormy = script('[[outcome]]\nmatch = "fox"\nphase = "poll"\nhttp = 504\ntimes = 2')
    fox = await rehearsal.accepted(rehearsal.engine(), 1, prompt="a fox")
    harbour = await rehearsal.accepted(rehearsal.engine(), 2, prompt="a harbour")
    for engine in (rehearsal.engine(script=stormy), rehearsal.engine(script=stormy)):
        answers = [await poll(engine, fox) for _ in range(3)]
        assert [isinstance(answer, Fault) for answer in answers] == [True, True, False]
        assert isinstance(await poll(engine, harbour), Ready)


async def test_scripted_downloads_fail_before_a_byte_is_written(rehearsal: Rehearsal) -> None:
    expiring = script('[[outcome]]\nphase = "download"\nhttp = 403\nmessage = "expired"')
    engine = rehearsal.engine(script=expiring)
    task = await rehearsal.accepted(engine)
    bucket = Bucket(rehearsal.clock)
    fault = await engine.fetch(Result(f"mock:{task}/0"), bucket, target=TARGET)
    assert fault == Fault("download", "http", 403, message="expired", effect="accepted")
    assert bucket.chunks == []
    assert await rehearsal.fetched(engine, task) == b"picture"


async def test_a_scripted_verdict_is_for_the_jobs_it_names_alone(rehearsal: Rehearsal) -> None:
    failing = script("""
        [[outcome]]
        match = "fox"
        phase = "poll"
        kind = "provider.failed"
        code = 720701002
    """)
    engine = rehearsal.engine(script=failing)
    fox = await rehearsal.accepted(engine, 1, prompt="a fox")
    harbour = await rehearsal.accepted(engine, 2, prompt="a harbour")
    verdict = await poll(engine, fox)
    assert isinstance(verdict, Fault)
    assert (verdict.kind, verdict.code, verdict.effect) == (
        "provider.failed",
        "720701002",
        "accepted",
    )
    assert isinstance(await poll(engine, harbour), Ready)
    remove(rehearsal.path)  # and with it the prompts
    assert isinstance(await poll(rehearsal.engine(script=failing), fox), Ready)


# ---- params and playing others ----


def test_params_are_checked_and_the_nearest_name_is_offered(rehearsal: Rehearsal) -> None:
    params = {"kind": "film", "widht": 640, "width": 8, "height": 360.5, "duration": True}
    assert rehearsal.engine().check("a fox", params, 0) == [
        Problem("params.kind", "expected image or video, got 'film'"),
        Problem("params.widht", "unknown param; did you mean 'width'?"),
        Problem("params.width", "expected a whole number of pixels from 16 to 4096, got 8"),
        Problem("params.height", "expected a whole number of pixels from 16 to 4096, got 360.5"),
        Problem("params.duration", "expected seconds from 1 to 10, got true"),
    ]


def test_params_within_their_limits_and_any_pictures_are_taken(rehearsal: Rehearsal) -> None:
    params = {"kind": "video", "width": 16, "height": 4096, "duration": 1.5}
    assert rehearsal.engine().check("", params, 99) == []
    assert rehearsal.engine().check("a fox", {}, 0) == []


def test_an_unknown_param_that_is_like_none_is_told_which_there_are(rehearsal: Rehearsal) -> None:
    (problem,) = rehearsal.engine().check("", {"cfg": 7}, 0)
    assert problem.message == "unknown param; there are kind, width, height, duration"


async def test_playing_another_provider_takes_whatever_params_it_has(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine(plays=Abilities())
    params: dict[str, Any] = {"aspectRatio": "16:9", "width": "wide", "duration": 8, "kind": 3}
    assert engine.check("a fox", params, 2) == []
    await rehearsal.accepted(engine, **params)
    (line,) = rehearsal.ledger()
    assert (line["kind"], line["width"], line["duration_s"]) == ("image", 640, 8.0)


def test_the_mock_can_do_what_it_is_told_it_can(rehearsal: Rehearsal) -> None:
    assert rehearsal.engine().abilities == Abilities(cancel=True, progress=True)
    modest = rehearsal.engine(lookup=True, cancel=False)
    assert modest.abilities == Abilities(lookup=True, progress=True)


async def test_playing_another_provider_it_can_do_what_that_one_can(rehearsal: Rehearsal) -> None:
    plays = Abilities(lookup=True, synchronous=True, retention_s=3_600)
    engine = rehearsal.engine(plays=plays, generate_s=10)
    assert engine.abilities == msgspec.structs.replace(plays, synchronous=False)
    assert await poll(engine, await rehearsal.accepted(engine)) == Pending(None)


async def test_a_kind_is_made_for_jobs_that_name_none(rehearsal: Rehearsal) -> None:
    engine = MockEngine(
        MockSettings(submit_s=0, generate_s=0),
        clock=rehearsal.clock,
        ledger=MockLedger(rehearsal.path),
        stills=rehearsal.pencil.draw,
        clips=rehearsal.pencil.draw,
        plays=Abilities(),
        kind="video",
    )
    await rehearsal.accepted(engine)
    await rehearsal.accepted(engine, kind="image")
    assert [line["kind"] for line in rehearsal.ledger()] == ["video", "image"]


@pytest.mark.parametrize("span", [(3.0, 1.0), (-1.0, 1.0), -1.0, float("nan"), float("inf")])
def test_a_range_of_times_that_makes_no_sense_is_refused(span: Any) -> None:
    with pytest.raises(ValueError, match="generate_s is seconds from 0"):
        MockSettings(generate_s=span)


async def test_closing_twice_does_no_harm(rehearsal: Rehearsal) -> None:
    engine = rehearsal.engine()
    await engine.close()
    await engine.close()
    assert await poll(engine, await rehearsal.accepted(engine)) != Ready(())
