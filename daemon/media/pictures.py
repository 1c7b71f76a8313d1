"""Pictures made to fit a provider's limits, and all other work with pixels, off the loop.

A pool of worker processes, none before the first call. Each call has a worker to itself, so that
one which dies or hangs takes nobody else's work along.
"""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from msgspec import Struct

from daemon.media import fitting
from daemon.media.fitting import PictureError, PictureLimits, check_pixels
from daemon.media.sniff import PICTURES, read_head, seems_whole, sniff
from daemon.media.worker import Worker, WorkerDiedError, WorkerHungError

__all__ = ["Fitted", "PictureError", "PictureLimits", "PicturePool", "PoolClosedError"]

CALL_S_MAX = 60.0
"""Seconds of one call, from its worker's start."""
CALLS_PER_WORKER_MAX = 200
"""Then a fresh process takes over: what decoders leak goes with the old one."""
REST_S = 10.0
"""Seconds after the last call at which idle workers end: each holds some 20 MB."""

P = ParamSpec("P")
T = TypeVar("T")

CLOSED = "the picture workers have ended: the daemon stops"


class PoolClosedError(Exception):
    """The pool was closed before the call was done: the daemon stops."""


class Fitted(Struct, frozen=True):
    """A picture that may be sent: a file of `bytes` bytes. `scaled`: a JPEG made from the
    original, smaller or of the same size, else the original itself.
    """

    path: Path
    mime: str
    width: int
    height: int
    bytes: int
    scaled: bool


class PicturePool:
    """At most `workers` processes; what `fit` makes is kept in the folder `cache`."""

    def __init__(
        self,
        workers: int,
        cache: Path,
        *,
        call_s_max: float = CALL_S_MAX,
        rest_s: float = REST_S,
    ) -> None:
        self._cache = cache
        self._call_s_max = call_s_max
        self._rest_s = rest_s
        self._resting: asyncio.TimerHandle | None = None
        # One thread for each worker: it waits at the pipe, and is the queue's other end.
        self._threads = ThreadPoolExecutor(max(1, workers), thread_name_prefix="pictures")
        self._lock = threading.Lock()
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._closing = threading.Event()
        self._fitting: dict[Path, asyncio.Task[Fitted]] = {}

    async def fit(self, path: Path, limits: PictureLimits, *, sha256: str | None = None) -> Fitted:
        """The picture in `path` within `limits`: itself when it fits, type and all, else a JPEG.

        The same picture and limits are worked on once, also by callers at the same time; `sha256`,
        where it is known for sure, spares reading the file for it. Raises PictureError when the
        picture can't be sent, OSError when the disk fails or is full, and PoolClosedError.
        """
        as_it_is = await asyncio.to_thread(_inspect, path, limits)
        if as_it_is is not None:
            return as_it_is
        content = sha256 or await asyncio.to_thread(_hash, path)
        # The types aren't in the name: they decide whether a JPEG is made, never which.
        target = self._cache / f"{content}-{limits.max_kb}-{limits.max_side}.jpg"
        task = self._fitting.get(target)
        if task is None:
            task = asyncio.create_task(self._compress(path, target, limits))
            self._fitting[target] = task
            task.add_done_callback(lambda done: self._forget(target, done))
        return await asyncio.shield(task)  # one caller's end isn't the others'

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `function` returns or raises in a worker process; all has to be picklable.

        Raises PictureError when the worker dies twice, or takes longer than its limit, and
        PoolClosedError.
        """
        if self._closing.is_set():
            raise PoolClosedError(CLOSED)
        loop = asyncio.get_running_loop()
        try:
            result: T = await loop.run_in_executor(
                self._threads, self._call, function, args, kwargs
            )
        finally:
            if self._resting is not None:
                self._resting.cancel()
            self._resting = loop.call_later(self._rest_s, self._rest)
        return result

    async def prune(self, keep: Collection[str]) -> int:
        """Remove what was made from pictures whose SHA-256 isn't in `keep`; return how many."""
        fitting_now = {target.stem for target in self._fitting}
        return await asyncio.to_thread(self._prune, keep, fitting_now)

    async def close(self) -> None:
        """End every worker, also one that hangs; calls under way raise PoolClosedError.

        All processes are gone when this returns. Safe to call twice.
        """
        with self._lock:
            self._closing.set()
            workers = list(self._workers)
        if self._resting is not None:
            self._resting.cancel()
        for worker in workers:
            worker.kill()
        await asyncio.to_thread(self._threads.shutdown)
        for worker in self._idle:
            await asyncio.to_thread(worker.end)
        self._idle.clear()

    async def _compress(self, path: Path, target: Path, limits: PictureLimits) -> Fitted:
        made = await asyncio.to_thread(_read_made, target)
        if made is None:
            await self.run(fitting.compress, path, target, limits)
            made = await asyncio.to_thread(_read_made, target)
        if made is None:
            raise PictureError("the scaled picture vanished from the cache: try again")
        return made

    def _forget(self, target: Path, done: "asyncio.Task[Fitted]") -> None:
        del self._fitting[target]
        if not done.cancelled():
            done.exception()  # it is known, even if every caller has gone

    def _call(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        end = ""
        # A worker may be killed for another's hunger for memory, even while it is idle: only what
        # ends a fresh one too is to blame.
        for fresh in (False, True):
            worker = self._take(fresh=fresh)
            try:
                return worker.call(function, args, kwargs, limit_s=self._call_s_max)
            except WorkerHungError:
                raise PictureError(
                    f"the picture kept its worker busy for {self._call_s_max:g} s, the limit"
                ) from None
            except WorkerDiedError as error:
                if self._closing.is_set():
                    raise PoolClosedError(CLOSED) from None
                end = str(error)
            finally:
                self._put_back(worker)
        raise PictureError(
            f"the picture ended its worker twice ({end}): "
            "it is damaged, or takes more memory than there is"
        )

    def _take(self, *, fresh: bool) -> Worker:
        with self._lock:
            if self._idle and not fresh and not self._closing.is_set():
                return self._idle.pop()
        if not self._closing.is_set():
            worker = Worker()
            with self._lock:
                self._workers.add(worker)
            if not self._closing.is_set():
                return worker
            self._put_back(worker)  # `close` came too early to see it
        raise PoolClosedError(CLOSED)

    def _put_back(self, worker: Worker) -> None:
        with self._lock:
            usable = not (
                worker.broken or self._closing.is_set() or worker.calls >= CALLS_PER_WORKER_MAX
            )
            if usable:
                self._idle.append(worker)
            else:
                self._workers.discard(worker)
        if not usable:
            worker.end()

    def _rest(self) -> None:
        """Nobody has needed a worker for a while: those that are idle end."""
        if self._closing.is_set():
            return
        with self._lock:
            idle, self._idle = self._idle, []
            self._workers.difference_update(idle)
        for worker in idle:
            self._threads.submit(worker.end)

    def _prune(self, keep: Collection[str], fitting_now: Collection[str]) -> int:
        removed = 0
        for path in list(self._cache.iterdir()) if self._cache.is_dir() else []:
            name = path.name.partition(".")[0]
            if name in fitting_now or (name[:64] in keep and path.suffix == ".jpg"):
                continue
            path.unlink(missing_ok=True)
            removed += 1
        return removed


def _inspect(path: Path, limits: PictureLimits) -> Fitted | None:
    """The picture as it is, if it fits. Raises PictureError for one that is refused unseen."""
    try:
        head, size = read_head(path), path.stat().st_size
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise PictureError(f"the picture can't be read: {error.strerror}") from error
    found = sniff(head)
    if found is None or found.mime not in PICTURES:
        what = found.mime if found else "no picture"
        raise PictureError(f"the file is {what}: use a PNG, JPEG, WebP, GIF or BMP")
    if found.width is None or found.height is None:
        raise PictureError(f"the {found.mime} is damaged: its header gives no size")
    check_pixels(found.width, found.height, limits.max_mpixel)
    too_large = size > limits.max_bytes or max(found.width, found.height) > limits.max_side
    if too_large or found.mime not in limits.types:
        return None
    if not seems_whole(path, found.mime):
        return None  # half a picture costs as much: a worker decodes it, or refuses it
    return Fitted(path, found.mime, found.width, found.height, size, scaled=False)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_made(path: Path) -> Fitted | None:
    """What an earlier `compress` made, if it is there and whole."""
    if not path.is_file():
        return None
    found = sniff(read_head(path))
    if found is None or found.width is None or found.height is None:
        return None
    size = path.stat().st_size
    return Fitted(path, found.mime, found.width, found.height, size, scaled=True)
