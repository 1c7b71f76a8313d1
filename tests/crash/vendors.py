"""Vendors over HTTP that keep count outside of the daemon, and take whatever comes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.crash.audit import Paid, Row
from tests.fakes.installation import CONFIG, ROOT
from tests.fakes.vendors.cogvideox import KEY, CogVideoXServer
from tests.fakes.vendors.comfyui import ComfyUIServer
from tests.fakes.vendors.jiekou import KEY as JIEKOU_KEY
from tests.fakes.vendors.jiekou import JiekouServer
from tests.fakes.vendors.server import Vendor, hangs_up

SECTION = """
base_url = "{base}"
allow_networks = ["127.0.0.0/8"]
submit_timeout_s = 0.4
reconcile_grace_s = 0.2
poll_interval_s = 0.05
backoff_base_s = 0.05
backoff_max_s = 0.1
cancel_grace_s = 0.1
"""


class Witness(Vendor):
    """Calls `at_acceptance` whenever it took money; `tasks_of` has the key and the task of each."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.at_acceptance: Callable[[], None] = lambda: None
        self.tasks_of: list[tuple[str, str]] = []

    @property
    def base(self) -> str:
        """Where a section of the configuration finds it."""
        return self.origin


class Mute(Witness, CogVideoXServer):
    """Finds nothing by a key. Unlike the real one it takes a key twice: the test counts."""

    section = SECTION + 'engine = "cogvideox"\napi_key = {{ env = "ZHIPU_API_KEY" }}\n'

    def __init__(self) -> None:
        super().__init__(processing=2)

    @property
    def base(self) -> str:
        return self.target

    async def _submit(self, request: web.Request) -> web.Response:
        key = (await request.json())["request_id"]
        self._keys.pop(key, None)
        answer = await super()._submit(request)
        self.tasks_of.append((key, self._keys[key]))
        self.at_acceptance()
        return answer


class Finder(Witness, ComfyUIServer):
    """Can be asked for a task by its key. Runs what comes at once."""

    section = (
        SECTION + f'engine = "comfyui"\nworkflow = "{ROOT}/examples/workflows/text-to-image.json"\n'
    )
    section += "params = {{ width = 64, height = 64 }}\n"

    async def _submit(self, request: web.Request) -> web.Response:
        task = (await request.json())["prompt_id"]
        answer = await super()._submit(request)
        self.tasks_of.append((task.replace("-", ""), task))
        self.begin()
        self.end()
        self.at_acceptance()
        return answer


class Inline(Witness, JiekouServer):
    """Answers with the picture itself, and knows no key: nothing can be asked for afterwards."""

    section = (
        SECTION
        + 'engine = "jiekou"\napi_key = {{ env = "JIEKOU_API_KEY" }}\n'
        + 'model = "nano-banana-pro-light-t2i"\nparams = {{ response_format = "b64_json" }}\n'
    )

    async def _submit(self, request: web.Request) -> web.Response:
        answer = await super()._submit(request)
        self.tasks_of.append(("", ""))
        self.at_acceptance()
        return answer


class Serving:
    """A vendor in a thread and a loop of its own, for as long as the block lasts."""

    def __init__(self, vendor: Mute | Finder | Inline) -> None:
        self.vendor = vendor
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.vendor)
            store: Any = getattr(self.vendor, "store", None)
            if isinstance(store, Vendor):
                await stack.enter_async_context(store)
            self._ready.set()
            await self._over.wait()

    def config(self) -> str:
        """A configuration whose provider `mock` is this vendor."""
        section = self.vendor.section.format(base=self.vendor.base)
        return CONFIG.partition("[providers.mock]")[0] + "[providers.mock]\n" + section

    def cut(self, answer: str) -> None:
        """What becomes of the first paid request: `cut` after, `lost` before it is accepted."""
        if answer != "kept":
            self.vendor.will("submit", hangs_up(accepts=answer == "cut"))

    def paid(self, jobs: list[Row]) -> list[Paid]:
        """What was accepted, with the job that says the key is its own; 0 if none does.

        A vendor that knows no keys has one job here, whose attempts came in their order.
        """
        owners = {one["key"]: job["id"] for job in jobs for one in job["attempts"]}
        if isinstance(self.vendor, Inline):
            keys = [*owners, *[""] * len(self.vendor.tasks_of)]
            return [Paid(1, key, "") for key, _ in zip(keys, self.vendor.tasks_of, strict=False)]
        return [Paid(owners.get(key, 0), key, task) for key, task in self.vendor.tasks_of]


ENVIRON = {"ZHIPU_API_KEY": KEY, "JIEKOU_API_KEY": JIEKOU_KEY}
