"""The listening socket's file: whose it is, who may use it, and who removes it."""

import os
import socket
import stat
from pathlib import Path

import pytest

from daemon.serving.binding import BindError, TakenError, bind, inherit, listen


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "genq.sock"


def connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


@pytest.mark.parametrize("mode", [0o660, 0o600, 0o666])
def test_the_socket_has_the_mode_that_was_asked_for(path: Path, mode: int) -> None:
    before = os.umask(0o022)
    bound = bind(path, mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert os.umask(before) == 0o022
    connect(path)
    assert bound.name == str(path)
    assert not bound.socket.getblocking()
    bound.close()
    assert not path.exists()


def test_a_stale_socket_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    bound = bind(path, 0o600)
    connect(path)
    bound.close()


def test_a_daemon_that_answers_keeps_its_socket(path: Path) -> None:
    first = bind(path, 0o600)
    with pytest.raises(TakenError, match="another genqd listens at"):
        bind(path, 0o600)
    connect(path)
    first.close()


def test_a_daemon_too_busy_to_answer_keeps_its_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as queued:
        busy.bind(str(path))
        busy.listen(0)
        queued.connect(str(path))
        with pytest.raises(TakenError):
            bind(path, 0o600)
    assert path.exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_refused_and_left(path: Path, kind: str) -> None:
    match kind:
        case "file":
            path.write_text("mine")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to("elsewhere")
    before = path.lstat()
    with pytest.raises(BindError, match="no socket; it was left") as caught:
        bind(path, 0o600)
    assert not isinstance(caught.value, TakenError)
    assert path.lstat().st_ino == before.st_ino


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BindError, match=r"can't listen at .*No such file"):
        bind(tmp_path / "none" / "genq.sock", 0o600)


def test_a_path_below_a_file_is_an_error_that_says_so(path: Path) -> None:
    path.touch()
    with pytest.raises(BindError, match="can't look at"):
        bind(path / "genq.sock", 0o600)


def test_a_path_that_is_too_long_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BindError, match=r"more than 107: .*choose a shorter one with --socket"):
        bind(tmp_path / ("x" * 107), 0o600)


def test_a_datagram_socket_of_somebody_else_is_left(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(BindError, match="can't tell whose socket"):
            bind(path, 0o600)
        assert path.exists()


def test_closing_leaves_the_socket_of_a_daemon_that_came_later(path: Path) -> None:
    first = bind(path, 0o600)
    path.unlink()
    second = bind(path, 0o600)
    first.close()
    connect(path)
    second.close()
    second.close()


def test_sockets_that_are_meant_for_another_process_are_not_listened_on(path: Path) -> None:
    listening = listen(path, 0o600, {"LISTEN_PID": "1", "LISTEN_FDS": "1"})
    assert listening.path == path
    listening.close()


def test_an_inherited_socket_is_used_and_never_removed(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(path))
        held.listen()
        inherited = inherit(held.dup())
        assert inherited.path is None
        assert inherited.name == str(path)
        inherited.close()
        assert path.exists()


def test_an_abstract_socket_has_a_name_too() -> None:
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(f"\0genq-test-{os.getpid()}-{id(held)}")
        held.listen()
        inherited = inherit(held.dup())
        assert inherited.name == f"@genq-test-{os.getpid()}-{id(held)}"
        inherited.close()


def test_an_inherited_socket_of_another_kind_is_refused(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent, pytest.raises(BindError, match="ListenStream"):
        inherit(silent)
    with socket.socket(socket.AF_INET) as network:
        network.bind(("127.0.0.1", 0))
        network.listen()
        with pytest.raises(BindError, match="ListenStream"):
            inherit(network)
