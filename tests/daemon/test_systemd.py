"""What a service manager is told, and what it hands over; without a real one."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.systemd import Notifier, inherited

CHILD = """
import fcntl, os, sys
from daemon.systemd import inherited
given = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[1:]]
for place, number in enumerate(given, 3):
    os.dup2(number, place)
os.environ["LISTEN_PID"] = str(os.getpid())
found = {
    name: (sock.getsockname(), os.get_inheritable(sock.fileno()))
    for name, sock in inherited(os.environ, os.getpid()).items()
}
print(found)
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(1)
        yield sock


def test_each_state_is_one_message(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.ready()
    notifier.status("3 running,\n2 queued")
    notifier.reloading(12.5)
    notifier.extend_timeout(90)
    notifier.stopping()
    assert [manager.recv(4_096) for _ in range(5)] == [
        b"READY=1",
        b"STATUS=3 running, 2 queued",
        b"RELOADING=1\nMONOTONIC_USEC=12500000",
        b"EXTEND_TIMEOUT_USEC=90000000",
        b"STOPPING=1",
    ]


def test_an_abstract_address_is_one_too() -> None:
    name = f"genq-notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        sock.settimeout(1)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert sock.recv(100) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "/none/here"}])
def test_without_a_manager_nothing_happens(environ: dict[str, str]) -> None:
    Notifier(environ).ready()


def test_a_manager_that_does_not_read_is_not_waited_for(manager: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    for _ in range(2_000):
        notifier.status("x" * 1_000)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": "77", "LISTEN_FDS": "0"},
        {"LISTEN_PID": "77", "LISTEN_FDS": "many"},
        {"LISTEN_PID": "77"},
        {"LISTEN_FDS": "1"},
    ],
)
def test_sockets_for_another_process_or_none_are_not_taken(environ: dict[str, str]) -> None:
    assert inherited(environ, 77) == {}


def handed_over(folder: Path, names: str | None, count: int) -> str:
    """What a process finds that was started with `count` sockets from descriptor 3 on."""
    sockets = []
    for number in range(count):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(folder / str(number)))
        sock.listen()
        sockets.append(sock)
    environ = {**os.environ, "LISTEN_FDS": str(count)}
    if names is not None:
        environ["LISTEN_FDNAMES"] = names
    numbers = [sock.fileno() for sock in sockets]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, numbers)],
        env=environ,
        pass_fds=numbers,
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    for sock in sockets:
        sock.close()
    return done.stdout.decode().strip()


def test_a_socket_comes_with_its_name_and_is_not_passed_on(tmp_path: Path) -> None:
    assert handed_over(tmp_path, "genqd.socket", 1) == str(
        {"genqd.socket": (str(tmp_path / "0"), False)}
    )


def test_sockets_of_one_name_or_none_are_all_there(tmp_path: Path) -> None:
    found = handed_over(tmp_path, "a:a", 3)
    assert found == str(
        {
            "a": (str(tmp_path / "0"), False),
            "a.1": (str(tmp_path / "1"), False),
            "unknown": (str(tmp_path / "2"), False),
        }
    )
    assert handed_over(tmp_path / "..", None, 0) == "{}"
