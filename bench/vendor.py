"""A provider on loopback that is never done, and the least that polls it: programs of their own.

`python -m bench.vendor serve` prints its port and serves until it is ended; `python -m bench.vendor
poll PORT COUNT SECONDS` asks about COUNT tasks each SECONDS until it is ended, and prints once when
it has begun.
"""

import asyncio
import itertools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from aiohttp import ClientSession, TCPConnector, web

from bench.rig import ROOT

CONNECTIONS_MAX = 100
ACCEPTED = "/api/paas/v4/videos/generations"
ASKED = "/api/paas/v4/async-result"


class Vendor:
    """The provider, running; `base_url` is where. Use it in a `with`."""

    def __enter__(self) -> "Vendor":
        self._process, port = _started("serve")
        self.port = int(port)
        self.base_url = f"http://127.0.0.1:{port}/api/paas/v4"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _end(self._process)


@contextmanager
def bare_poller(vendor: Vendor, count: int, every_s: float) -> Iterator[int]:
    """The process id of a program that polls and does nothing else."""
    process, _ = _started("poll", str(vendor.port), str(count), str(every_s))
    try:
        yield process.pid
    finally:
        _end(process)


def _started(*arguments: str) -> tuple["subprocess.Popen[str]", str]:
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None  # noqa: S101  narrows
    return process, process.stdout.readline().strip()


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


async def _serve() -> None:
    numbers = itertools.count(1)

    async def accept(_: web.Request) -> web.Response:
        return web.json_response({"id": f"task-{next(numbers)}", "task_status": "PROCESSING"})

    async def tell(_: web.Request) -> web.Response:
        return web.json_response({"model": "bench", "task_status": "PROCESSING"})

    app = web.Application()
    app.router.add_post(ACCEPTED, accept)
    app.router.add_get(ASKED + "/{task}", tell)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def _poll(port: int, count: int, every_s: float) -> None:
    async with ClientSession(connector=TCPConnector(limit=CONNECTIONS_MAX)) as session:

        async def watch(number: int) -> None:
            await asyncio.sleep(every_s * number / count)
            while True:
                url = f"http://127.0.0.1:{port}{ASKED}/task-{number}"
                async with session.get(url) as response:
                    await response.json()
                await asyncio.sleep(every_s)

        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(watch(number))
            print("polling", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(_serve())
    else:
        asyncio.run(_poll(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
