import os
import pickle
from pathlib import Path

import msgspec
import pytest

from daemon.config import (
    Ground,
    KeyProblem,
    KeySource,
    Secret,
    parse,
    provider_key,
    read_headers,
    read_key,
)

GROUND = Ground(Path("/cfg/config.toml"), Path("/cfg"), Path("/cwd"))


def key_file(folder: Path, content: bytes = b"s3cret\n", mode: int = 0o600) -> KeySource:
    path = folder / "key"
    path.write_bytes(content)
    path.chmod(mode)
    return KeySource("file", str(path))


def test_a_key_is_read_from_a_variable_a_file_or_a_credential(tmp_path: Path) -> None:
    assert read_key(KeySource("env", "K"), {"K": "s3cret"}) == Secret("s3cret")
    assert read_key(key_file(tmp_path), {}) == Secret("s3cret")
    credential = KeySource("credential", "key")
    (tmp_path / "key").chmod(0o440)  # as the service manager shows it
    assert read_key(credential, {}, tmp_path) == Secret("s3cret")


def test_a_secret_shows_itself_to_nobody_who_does_not_ask() -> None:
    secret = Secret("s3cret")
    assert secret.reveal() == "s3cret"
    for shown in (str(secret), repr(secret), f"{secret}", f"{[secret]}", f"{secret!r:>30}"):
        assert "s3cret" not in shown
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)
    assert secret == Secret("s3cret") != Secret("other")
    assert secret != "s3cret"
    assert hash(secret) == hash(Secret("other"))


def test_a_secret_does_not_leave_the_process() -> None:
    with pytest.raises(TypeError, match="stays in its process"):
        pickle.dumps(Secret("s3cret"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o644])
def test_a_key_file_that_others_can_read_or_write_is_not_read(tmp_path: Path, mode: int) -> None:
    problem = read_key(key_file(tmp_path, mode=mode), {})
    assert isinstance(problem, KeyProblem)
    assert f"chmod 600 {tmp_path / 'key'}" in problem.message
    assert "s3cret" not in problem.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"two\nlines", "one line"),
        (b"a b", "one line"),
        (b"k\xc3\xa9y", "one line"),
        (b"k\0y", "one line"),
        (b"k" * 70_000, "too large"),
    ],
)
def test_what_is_no_key_is_told_without_being_repeated(
    tmp_path: Path, content: bytes, words: str
) -> None:
    problem = read_key(key_file(tmp_path, content), {})
    assert isinstance(problem, KeyProblem)
    assert words in problem.message


def test_a_key_that_is_missing_says_what_would_set_it(tmp_path: Path) -> None:
    loaded = parse("[providers.veo]\nengine = 'veo'\napi_key = { env = 'K' }\n", GROUND)
    where = loaded.where("providers", "veo", "api_key")
    problem = provider_key(loaded.config.providers["veo"], {}, where=where)
    assert str(problem) == (
        "$K isn't set: set it where the daemon starts, and restart (/cfg/config.toml:3 names it)"
    )
    gone = read_key(KeySource("file", str(tmp_path / "none")), {})
    assert str(gone) == f"the key file {tmp_path / 'none'}: No such file or directory"
    credential = read_key(KeySource("credential", "veo"), {})
    assert "LoadCredential=veo:PATH" in str(credential)


def test_a_folder_or_a_pipe_is_no_key_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        assert str(read_key(KeySource("file", str(path)), {})).endswith("is no file")


def test_an_engine_without_keys_needs_none_and_the_others_say_that_none_is_named() -> None:
    text = (
        "[providers.m]\nengine = 'mock'\napi_key = { env = 'K' }\n[providers.v]\nengine = 'veo'\n"
    )
    providers = parse(text, GROUND).config.providers
    assert provider_key(providers["m"], {}) is None
    problem = provider_key(providers["v"], {})
    assert isinstance(problem, KeyProblem)
    assert "below [providers.v]" in problem.message


def test_the_folder_of_credentials_is_the_services(tmp_path: Path) -> None:
    (tmp_path / "zhipu").write_text("s3cret")
    text = "[providers.v]\nengine = 'veo'\napi_key = { credential = 'zhipu' }\n"
    section = parse(text, GROUND).config.providers["v"]
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert provider_key(section, environ) == Secret("s3cret")
    assert isinstance(provider_key(section, {}), KeyProblem)


def test_headers_are_read_like_keys_and_may_hold_spaces(tmp_path: Path) -> None:
    source = key_file(tmp_path, b"Bearer s3cret\n")
    given: dict[str, str | KeySource] = {
        "X-A": "plain",
        "X-B": source,
        "X-C": KeySource("env", "C"),
    }
    assert read_headers(given, {"C": "c"}) == {
        "X-A": Secret("plain"),
        "X-B": Secret("Bearer s3cret"),
        "X-C": Secret("c"),
    }
    problem = read_headers(given, {}, where="config.toml:3")
    assert str(problem).startswith("header X-C: $C isn't set")
    assert "config.toml:3" in str(problem)
