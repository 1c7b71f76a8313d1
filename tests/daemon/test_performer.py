"""What a request is made of: the defaults that apply, pictures of a type that is taken."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image as Drawing

from daemon.core.effects import Poll, Prepare, Submit
from daemon.core.gate import Gate
from daemon.core.job import Image, Intent, Job, Remote
from daemon.core.outcomes import Accepted, Fault, Outcome, Pending, Prepared
from daemon.core.policy import Limits, Policy
from daemon.engines.engine import Problem, Request
from daemon.media.downloads import Filing
from daemon.media.inputs import InputStore
from daemon.media.pictures import PictureLimits, PicturePool
from daemon.performer import IoPerformer
from daemon.providers import Provider
from tests.fakes.clock import settle
from tests.fakes.shell import Shell

JPEG_ONLY = frozenset({"image/jpeg"})


class Vendor:
    """An engine that knows `size`, and takes pictures of some types."""

    def __init__(self, types: frozenset[str] | None) -> None:
        self.types = types
        self.requests: list[Request] = []
        self.polled: list[str] = []

    def check(self, prompt: str, params: Mapping[str, Any], images: int) -> list[Problem]:
        del prompt, images
        return [Problem(f"params.{name}", "unknown") for name in params if name != "size"]

    def picture_types(self, params: Mapping[str, Any]) -> frozenset[str] | None:
        del params
        return self.types

    async def choose(self, request: Request) -> str:
        del request
        return "https://vendor.test"

    async def submit(self, request: Request, *, key: str, target: str) -> Accepted:
        self.requests.append(request)
        return Accepted(key, target)

    async def poll(self, remote_id: str, *, target: str) -> Pending:
        del target
        self.polled.append(remote_id)
        return Pending()


async def _room() -> None:
    """There is enough."""


class Bench:
    """A performer with a vendor, and a folder of pictures."""

    def __init__(self, folder: Path) -> None:
        self.inputs = InputStore(folder / "inputs")
        self.pool = PicturePool(1, folder / "cache")
        self.folder = folder
        self.shell = Shell({})

    def poll(self, performer: IoPerformer, remote_id: str, after_s: float) -> asyncio.Task[Outcome]:
        """A look at a task, due in `after_s` seconds."""
        at = self.shell.clock.now() + after_s
        look = Poll(Remote("k", "https://vendor.test", remote_id, 0.0, at), at)
        return asyncio.get_running_loop().create_task(performer.perform(JOB, look))

    def performer(
        self, vendor: Vendor, limits: Limits | None = None, **defaults: Any
    ) -> IoPerformer:
        """One that works for `vendor`, in a section with these limits and defaults."""
        provider = Provider(
            "p",
            kind="jiekou",
            engine=vendor,  # type: ignore[arg-type]  # polls and downloads aren't reached
            policy=Policy(limits=limits or Limits()),
            params=defaults,
            pictures=PictureLimits(),
        )
        return IoPerformer(
            book=self.shell.book,
            clock=self.shell.clock,
            inputs=self.inputs,
            pictures=self.pool,
            filing=Filing(self.folder / "outputs"),
            provider=lambda _: provider,
            room=_room,
        )

    async def asked(self, vendor: Vendor, job: Job, **defaults: Any) -> Request:
        """What `vendor` is asked for `job`, in a section with these defaults."""
        performer = self.performer(vendor, **defaults)
        ready = await performer.perform(job, Prepare())
        assert isinstance(ready, Prepared), ready
        intent = Intent(1, ready.key, ready.target, ready.digest, 0.0)
        await performer.perform(job, Submit(intent))
        return vendor.requests[-1]

    async def webp(self) -> Image:
        """A small picture, as a client sent it."""
        Drawing.new("RGB", (32, 16), "red").save(self.folder / "a", "WEBP")
        content = (self.folder / "a").read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        upload = await self.inputs.begin(sha256)
        await upload.write(content)
        await upload.commit()
        return Image("a.webp", sha256)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    await made.inputs.open()
    yield made
    await made.pool.close()


JOB = Job(id=1, provider="p", prompt="a fox", created_at=0.0, updated_at=0.0)


async def test_a_request_has_the_defaults_that_apply_under_the_jobs_own(bench: Bench) -> None:
    plain = await bench.asked(Vendor(None), JOB, size="1K", hue=7)
    assert plain.params == {"size": "1K"}
    own = msgspec.structs.replace(JOB, params={"size": "4K"})
    assert (await bench.asked(Vendor(None), own, size="1K", hue=7)).params == {"size": "4K"}


async def test_a_picture_is_sent_in_a_type_that_the_engine_takes(bench: Bench) -> None:
    job = msgspec.structs.replace(JOB, images=(await bench.webp(),))
    (kept,) = (await bench.asked(Vendor(None), job)).pictures
    assert (kept.mime, kept.sha256) == ("image/webp", job.images[0].sha256)
    (made,) = (await bench.asked(Vendor(JPEG_ONLY), job)).pictures
    assert (made.mime, made.sha256) == ("image/jpeg", None)
    assert made.path is not None
    assert made.path.read_bytes().startswith(b"\xff\xd8\xff")


async def test_what_is_no_longer_at_hand_may_have_been_sent(bench: Bench) -> None:
    vendor = Vendor(None)
    sent = Submit(Intent(1, "k", "https://vendor.test", "d", 0.0))
    outcome = await bench.performer(vendor).perform(JOB, sent)
    assert isinstance(outcome, Fault)
    assert (outcome.phase, outcome.effect, vendor.requests) == ("submit", "unknown", [])


async def test_a_slow_watch_takes_its_turn_when_it_is_due_and_keeps_nobody_waiting(
    bench: Bench,
) -> None:
    vendor = Vendor(None)
    performer = bench.performer(vendor, Limits(polls_per_minute=60))
    looks = [bench.poll(performer, "watched", 300.0), bench.poll(performer, "dropped", 200.0)]
    await settle()
    looks.pop().cancel()
    looks += [bench.poll(performer, "a", 10.0), bench.poll(performer, "b", 10.0)]
    await bench.shell.run(10.5)
    assert vendor.polled == ["a"]
    await bench.shell.run(1.0)
    assert vendor.polled == ["a", "b"]
    await bench.shell.run(290.0)
    assert vendor.polled == ["a", "b", "watched"]
    await asyncio.gather(*looks)


async def test_a_look_that_waits_is_spaced_by_what_another_was_told_meanwhile(bench: Bench) -> None:
    vendor = Vendor(None)
    look = bench.poll(bench.performer(vendor), "a", 10.0)
    await bench.shell.run(5.0)
    bench.shell.book.gates["p"] = Gate(polls_spaced_until=bench.shell.clock.now() + 60.0)
    await bench.shell.run(50.0)
    assert vendor.polled == []
    await bench.shell.run(20.0)
    assert (await look, vendor.polled) == (Pending(), ["a"])
