"""A process that decodes and draws, so that no hostile picture and no long encode meets the loop.

It is a Python of its own, which loads Pillow with its first call: the daemon itself never does. A
fork server would start it sooner, and take more memory than it for as long as the daemon lives. A
worker ends by itself when the daemon's end of its pipe is gone.
"""

import contextlib
import multiprocessing
import os
import pickle
import resource
import signal
import threading
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

ADDRESS_BYTES_MAX = 2 * 1024**3
"""Address space of a worker: some copies of a 40 megapixel picture, not of a bomb."""
NICENESS = 5
"""Workers yield to the daemon's loop when the machine is busy."""
END_S_MAX = 2.0
"""Seconds that an idle worker gets to end before it is killed."""
_starting = threading.Lock()


class WorkerDiedError(Exception):
    """The process ended in the middle of a call; the message tells how."""


class WorkerHungError(Exception):
    """The call took longer than its limit."""


class Worker:
    """One process, and the pipe to it. For one thread at a time, but for `kill`.

    Raises OSError when no process can be started.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.calls = 0
        self.broken = False
        self._pipe, theirs = context.Pipe()
        # Not by two threads at once: multiprocessing looks at all its children while it starts one.
        with theirs, _starting:
            self._process = context.Process(target=serve, args=(theirs,), daemon=True)
            self._process.start()

    def call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        limit_s: float,
    ) -> Any:
        """What `function` returns or raises, over there. All of it has to be picklable.

        Raises WorkerDiedError, and WorkerHungError after `limit_s`: the worker is `broken` then.
        """
        self.calls += 1
        request = pickle.dumps((function, args, kwargs))
        try:
            self._pipe.send_bytes(request)
            if not self._pipe.poll(limit_s):
                self.broken = True
                raise WorkerHungError
            answer = self._pipe.recv_bytes()
        except (EOFError, ConnectionError):
            self.broken = True
            raise WorkerDiedError(self._epitaph()) from None
        done, value = pickle.loads(answer)  # noqa: S301 - from our own process
        if done:
            return value
        raise value

    def kill(self) -> None:
        """End the process at once, whatever it is doing; from any thread."""
        if self._process.is_alive():  # else its id may be another process's by now
            self._process.kill()

    def end(self) -> None:
        """Let the process go, by force if it doesn't hear. It is gone when this returns."""
        self._pipe.close()
        if not self.broken:
            self._process.join(END_S_MAX)
        self.kill()
        self._process.join(END_S_MAX)

    def _epitaph(self) -> str:
        self._process.join(END_S_MAX)
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit status {code}"


def serve(pipe: Connection) -> None:
    """Answer calls until the other end of `pipe` is gone: the whole life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl+c is for the daemon to act on
    os.nice(NICENESS)
    _limit_memory()
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            pipe.send_bytes(_answer(pipe.recv_bytes()))


def _limit_memory() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    soft = ADDRESS_BYTES_MAX if hard == resource.RLIM_INFINITY else min(ADDRESS_BYTES_MAX, hard)
    with contextlib.suppress(OSError, ValueError):  # not every system limits this
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _answer(request: bytes) -> bytes:
    try:
        function, args, kwargs = pickle.loads(request)  # noqa: S301 - from our own daemon
        return pickle.dumps((True, function(*args, **kwargs)))
    except Exception as error:  # noqa: BLE001 - it is raised again, on the other side
        error.add_note(traceback.format_exc())
        return pickle.dumps((False, _portable(error)))


def _portable(error: Exception) -> Exception:
    """`error`, or its text where it wouldn't survive the journey."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made in the line itself
    except Exception:  # noqa: BLE001 - whatever a strange exception's constructor raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
