"""examples/: the storyboard is one and the same in three formats, and its pictures are drawn."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from PIL import Image, ImageChops

from tui.jobfile import FORMATS, Row, read

EXAMPLES = Path(__file__).parents[1] / "examples"
REFS = EXAMPLES / "refs"
REFS_BYTES_MAX = 300_000


def storyboard(form: str) -> list[Row]:
    result = read(str(EXAMPLES / f"storyboard.{form}"))
    assert [str(problem) for problem in result.problems] == []
    return [msgspec.structs.replace(row, line=0) for row in result.rows]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_refs", EXAMPLES / "make_refs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("form", FORMATS)
def test_the_storyboard_is_the_same_in_every_format(form: str) -> None:
    assert storyboard(form) == storyboard("toml")


def test_the_storyboard_has_twelve_jobs_in_two_batches_for_the_mock() -> None:
    rows = storyboard("toml")
    assert sum(row.count for row in rows) == 12
    assert {row.provider for row in rows} == {"mock"}
    assert {row.batch for row in rows} == {"episode-1", "episode-2"}
    assert len({row.name for row in rows}) == 12


def test_some_prompts_of_the_storyboard_are_chinese_and_none_is_empty() -> None:
    prompts = [row.prompt for row in storyboard("toml")]
    assert all(prompts)
    assert 2 <= sum(bool(re.search(r"[\u4e00-\u9fff]", prompt)) for prompt in prompts) < 12


def test_the_first_shot_is_a_chain_from_a_still_to_a_video() -> None:
    by_name = {row.name: row for row in storyboard("toml")}
    still, video = by_name["shot-01-frame"], by_name["shot-01-video"]
    assert still.params["kind"] == "image"
    assert video.images == ["job:shot-01-frame"]
    assert video.params["kind"] == "video"


def test_every_job_or_picture_that_is_referred_to_is_there() -> None:
    rows = storyboard("toml")
    names = {row.name for row in rows}
    for row in rows:
        assert set(row.after) <= names
        for image in row.images:
            if image.startswith("job:"):
                assert image.removeprefix("job:") in names
            else:
                assert (EXAMPLES / image).is_file(), image


def test_the_mock_knows_every_param_of_the_storyboard() -> None:
    for row in storyboard("toml"):
        assert row.params.keys() <= {"kind", "width", "height", "duration"}
        assert ("duration" in row.params) == (row.params["kind"] == "video")


def test_the_script_draws_the_pictures_that_are_kept(script: ModuleType, tmp_path: Path) -> None:
    script.make(tmp_path / "refs")
    drawn = sorted(path.name for path in (tmp_path / "refs").iterdir())
    assert drawn == sorted(path.name for path in REFS.iterdir())
    for name in drawn:
        with Image.open(tmp_path / "refs" / name) as new, Image.open(REFS / name) as kept:
            # Pixels, not bytes: another build of zlib may compress the same picture otherwise.
            assert (new.size, new.mode) == (kept.size, kept.mode)
            assert ImageChops.difference(new, kept).getbbox() is None, name


def test_the_script_writes_the_same_bytes_each_time(script: ModuleType, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        script.make(tmp_path / folder)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_the_pictures_stay_small_enough_to_be_kept_with_the_code() -> None:
    assert sum(path.stat().st_size for path in REFS.iterdir()) < REFS_BYTES_MAX


def test_every_picture_is_used_by_the_storyboard() -> None:
    used = {image for row in storyboard("toml") for image in row.images}
    assert {f"refs/{path.name}" for path in REFS.iterdir()} <= used
