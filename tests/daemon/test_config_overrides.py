from pathlib import Path

import pytest

from daemon.overrides import Overrides, Paused, load, save

BOTH = Overrides(
    concurrency={"veo": 1, "mock": 1000},
    paused={"veo": Paused(), "coze": Paused(until_at=1_790_000_000.5, reason='out of "money"\n')},
)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "overrides.toml"
    assert load(path) == (Overrides(), None)
    save(path, BOTH)
    assert load(path) == (BOTH, None)
    save(path, Overrides())
    assert load(path) == (Overrides(), None)
    assert [one.name for one in tmp_path.iterdir()] == ["overrides.toml"]


@pytest.mark.parametrize(
    "content",
    [
        b"[concurrency",
        b"\xff",
        b"[concurency]\nveo = 1\n",
        b"[concurrency]\nveo = 0\n",
        b"[concurrency]\nveo = 1001\n",
        b"[concurrency]\nveo = 'one'\n",
        b"concurrency = 3\n",
        b"[paused.veo]\nuntil = 3\n",
        b"[paused.veo]\nuntil_at = inf\n",
        b"a = " + b"[" * 5000 + b"]" * 5000,
        b"#" * (1024 * 1024 + 1),
    ],
)
def test_a_damaged_file_does_not_count_and_is_kept_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "overrides.toml"
    for number in (1, 2):
        path.write_bytes(content)
        overrides, problem = load(path)
        aside = tmp_path / f"overrides.toml.damaged-{number}"
        assert overrides == Overrides()
        assert problem is not None
        assert f"kept as {aside}" in problem
        assert aside.read_bytes() == content
        assert not path.exists()


def test_a_file_that_can_not_be_read_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "overrides.toml"
    path.mkdir()
    overrides, problem = load(path)
    assert overrides == Overrides()
    assert problem == f"{path} can't be read (Is a directory): its overrides don't count"
    assert path.is_dir()


def test_not_more_than_99_damaged_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "overrides.toml"
    for number in range(1, 100):
        (tmp_path / f"overrides.toml.damaged-{number}").touch()
    path.write_bytes(b"[")
    problem = load(path)[1]
    assert problem is not None
    assert "too many" in problem
    assert path.read_bytes() == b"["


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "overrides.toml"
    path.mkdir()
    (path / "inside").touch()
    with pytest.raises(OSError, match="directory"):
        save(path, BOTH)
    assert [one.name for one in tmp_path.iterdir()] == ["overrides.toml"]
