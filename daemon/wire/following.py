"""`genq events --follow`: the stream goes on, whatever becomes of daemon and connection."""

from collections.abc import Callable, Iterator

from daemon.wire.client import Client, ServerError, UnreachableError
from daemon.wire.codec import Told

RETRY_FIRST_S = 0.2
RETRY_S_MAX = 5.0


def follow(
    connect: Callable[[], Client],
    *,
    after: int | None,
    job: int | None = None,
    sleep: Callable[[float], None],
    away: Callable[[Exception], None],
) -> Iterator[Told]:
    """Events from after `after` (None: from now), each once, in order, without end.

    Where the daemon goes away, or says that we are too slow, it asks again for what came after the
    last one; `away` is told why, once each time. Raises what `connect` raises the first time, and
    ProtocolMismatchError when another version comes back.
    """
    client = connect()
    last = after
    while True:
        try:
            with client:
                last = client.subscribe(after=last, job=job)
                for told in client.told():
                    last = told.seq
                    if not isinstance(told, Told):
                        break
                    yield told
            client = connect()
        except (UnreachableError, ServerError) as error:
            away(error)
            client = _again(connect, sleep)


def _again(connect: Callable[[], Client], sleep: Callable[[float], None]) -> Client:
    """A connection, as soon as there is one."""
    pause_s = RETRY_FIRST_S
    while True:
        sleep(pause_s)
        try:
            return connect()
        except (UnreachableError, ServerError):
            pause_s = min(2 * pause_s, RETRY_S_MAX)
