"""Where a client looks for the daemon."""

from pathlib import Path

import pytest

from daemon.wire.sockets import NoSocketError, candidates, choose, how_to_start, path_problem

STATE = Path("/srv/genq/state")
RUNTIME = {"XDG_RUNTIME_DIR": "/run/user/7"}


def test_a_named_socket_is_the_only_one() -> None:
    both = {**RUNTIME, "GENQ_SOCKET": "env.sock"}
    assert candidates("given.sock", both, STATE) == [Path("given.sock")]
    assert candidates(None, both, STATE) == [Path("env.sock")]


def test_without_a_name_the_system_comes_first_and_the_state_folder_last() -> None:
    assert candidates(None, {**RUNTIME, "GENQ_SOCKET": ""}, STATE) == [
        Path("/run/genq/genq.sock"),
        Path("/run/user/7/genq/genq.sock"),
        Path("/srv/genq/state/genq.sock"),
    ]


def test_places_that_are_not_there_are_left_out() -> None:
    assert candidates(None, {}, None) == [Path("/run/genq/genq.sock")]
    assert candidates(None, {"XDG_RUNTIME_DIR": "relative"}, None) == [Path("/run/genq/genq.sock")]


def test_the_first_that_exists_is_chosen(tmp_path: Path) -> None:
    second, third = tmp_path / "b", tmp_path / "c"
    second.touch()
    third.touch()
    assert choose([tmp_path / "a", second, third]) == second


def test_a_named_socket_is_chosen_though_it_is_missing(tmp_path: Path) -> None:
    assert choose([tmp_path / "missing"]) == tmp_path / "missing"


def test_where_none_exists_all_of_them_are_named_and_how_to_start_one() -> None:
    paths = candidates(None, RUNTIME, STATE)
    with pytest.raises(NoSocketError) as caught:
        choose(paths, exists=lambda _: False)
    message = str(caught.value)
    assert all(str(path) in message for path in paths)
    assert message.endswith("start it with: genqd run")


def test_who_named_a_configuration_is_told_to_start_with_it() -> None:
    with pytest.raises(NoSocketError, match=r"genqd run --config 'my config\.toml'$"):
        choose(candidates(None, RUNTIME, STATE), exists=lambda _: False, config="my config.toml")


def test_a_path_may_have_107_bytes_in_utf_8() -> None:
    assert path_problem(Path("/" + "x" * 106)) is None
    assert path_problem(Path("/" + "x" * 107)) is not None
    problem = path_problem(Path("/" + "é" * 54))
    assert problem is not None
    assert "109 bytes" in problem


def test_the_line_that_starts_a_daemon_is_one_for_the_shell() -> None:
    assert how_to_start(Path("/run/genq/genq.sock")) == "start it with: systemctl start genqd"
    assert how_to_start(Path("a b")) == "start it with: genqd run --socket 'a b'"
