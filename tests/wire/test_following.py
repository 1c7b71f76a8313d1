"""The stream goes on over everything that happens to daemon and connection."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from daemon.wire import codec
from daemon.wire.client import Client, ProtocolMismatchError, ServerError, UnreachableError
from daemon.wire.codec import Told
from daemon.wire.following import RETRY_FIRST_S, RETRY_S_MAX, follow
from daemon.wire.messages import ErrorBody, Subscribe
from tests.fakes.peer import WELCOME, Peer, Reply, script

OTHER = b'{"hello":"genq","protocol":2,"version":"7.0"}\n'


class Scene:
    """A peer per connection, and a note of what the follower did meanwhile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.peers: list[Peer] = []
        self.plan: list[Reply | None] = []
        self.slept: list[float] = []
        self.away: list[str] = []

    def connect(self) -> Client:
        """The next connection of the plan; None: nobody listens."""
        reply = self.plan.pop(0)
        path = self._folder / f"peer-{len(self.peers)}-{len(self.plan)}"
        if reply is not None:
            self.peers.append(Peer(path, reply))
        return Client.connect(path)

    def follow(self, *plan: Reply | None, after: int | None = None) -> Iterator[Told]:
        self.plan = list(plan)
        return follow(
            self.connect,
            after=after,
            sleep=self.slept.append,
            away=lambda error: self.away.append(str(error)),
        )

    def asked(self, index: int) -> Subscribe:
        found = codec.decode_request(self.peers[index].heard[1].strip())
        assert isinstance(found, Subscribe)
        return found


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    for peer in scene.peers:
        peer.close()


def events(first: int, last: int) -> bytes:
    return b"".join(b'{"seq":%d,"type":"edited"}\n' % seq for seq in range(first, last + 1))


def stream(seq: int, first: int, last: int, end: bytes = b"") -> Reply:
    """Welcomes, takes a subscription at `seq`, and tells some events."""
    subscribed = codec.encode_ok(1, {"seq": seq, "boot": "b1"})
    return script(WELCOME, subscribed + events(first, last) + end)


def test_it_begins_where_it_is_told_to(scene: Scene) -> None:
    told = scene.follow(stream(4, 5, 6), after=4)
    assert [one.seq for one in islice(told, 2)] == [5, 6]
    assert scene.asked(0).after == 4


def test_after_a_resync_it_asks_again_on_a_new_connection(scene: Scene) -> None:
    told = scene.follow(stream(7, 8, 9, b'{"resync":9}\n'), stream(9, 10, 11))
    assert [one.seq for one in islice(told, 4)] == [8, 9, 10, 11]
    assert (scene.asked(0).after, scene.asked(1).after) == (None, 9)
    assert scene.away == []
    assert scene.slept == []


def test_when_the_daemon_goes_it_comes_back_after_the_last_event(scene: Scene) -> None:
    gone = stream(7, 8, 9, codec.encode_error(None, ErrorBody("stopping", "genqd is stopping")))
    told = scene.follow(gone, None, None, stream(9, 10, 10))
    assert [one.seq for one in islice(told, 3)] == [8, 9, 10]
    assert scene.asked(1).after == 9
    assert scene.away == ["genqd is stopping"]
    assert scene.slept == [RETRY_FIRST_S, 2 * RETRY_FIRST_S, 4 * RETRY_FIRST_S]


def test_the_pauses_between_attempts_have_a_limit(scene: Scene) -> None:
    gone = script(WELCOME, None)
    told = scene.follow(gone, *[None] * 9, stream(7, 8, 8))
    assert next(told).seq == 8
    assert scene.slept[-1] == RETRY_S_MAX
    assert scene.asked(1).after is None


def test_a_daemon_that_refuses_at_first_is_asked_again(scene: Scene) -> None:
    full = script(codec.encode_error(None, ErrorBody("limit", "too many clients")))
    told = scene.follow(script(WELCOME, None), full, stream(7, 8, 8))
    assert next(told).seq == 8
    assert len(scene.away) == 1


def test_without_a_daemon_at_the_beginning_it_says_so(scene: Scene) -> None:
    with pytest.raises(UnreachableError):
        next(scene.follow(None))


def test_a_refusal_at_the_beginning_is_an_error(scene: Scene) -> None:
    full = script(codec.encode_error(None, ErrorBody("limit", "too many clients")))
    with pytest.raises(ServerError):
        next(scene.follow(full))


def test_another_version_that_comes_back_is_an_error(scene: Scene) -> None:
    with pytest.raises(ProtocolMismatchError):
        next(scene.follow(script(WELCOME, None), script(OTHER)))


def test_a_resync_after_which_nobody_listens_is_waited_out(scene: Scene) -> None:
    told = scene.follow(stream(7, 8, 8, b'{"resync":8}\n'), None, stream(8, 9, 9))
    assert [one.seq for one in islice(told, 2)] == [8, 9]
    assert len(scene.away) == 1
