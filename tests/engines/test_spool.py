from __future__ import annotations

import base64
import os
import stat
from typing import TYPE_CHECKING

import pytest

from daemon.core.job import Result
from daemon.engines.spool import BASE64_CHARS, Spool, is_spooled
from tests.fakes.vendors.customer import Bucket

if TYPE_CHECKING:
    from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


async def test_what_is_kept_can_be_fetched(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "state" / "spool")
    result = await spool.keep("task-1", b"clip" * 1_000_000)
    assert result == Result("spool:task-1")
    assert is_spooled(result)
    bucket = Bucket()
    assert await spool.fetch(result, bucket) is None
    assert bucket.content == b"clip" * 1_000_000
    assert stat.S_IMODE((tmp_path / "state" / "spool").stat().st_mode) == 0o700


async def test_base64_is_decoded_piece_by_piece(tmp_path: Path) -> None:
    spool, content = Spool(tmp_path), os.urandom(BASE64_CHARS)
    result = await spool.keep_base64("task-1", base64.b64encode(content).decode())
    bucket = Bucket()
    assert await spool.fetch(result, bucket) is None
    assert bucket.content == content


@pytest.mark.parametrize("content", ["", "*", "AAA", "AA==AAAA", "AAAA\n"])
async def test_what_is_no_base64_leaves_no_file(tmp_path: Path, content: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        await Spool(tmp_path).keep_base64("task-1", content)
    assert contents(tmp_path) == {}


async def test_a_name_is_taken_anew(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    await spool.keep("task-1", b"old")
    await spool.keep("task-1", b"new")
    assert contents(tmp_path) == {"task-1": b"new"}


@pytest.mark.parametrize("name", ["", "..", "a/b", "a.part", "x" * 200])
async def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="can't name"):
        await Spool(tmp_path).keep(name, b"x")
    fault = await Spool(tmp_path).fetch(Result(f"spool:{name}"), Bucket())
    assert fault is not None
    assert (fault.kind, fault.effect) == ("local.missing", "accepted")


async def test_sweeping_spares_what_is_wanted_and_what_is_young(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for name, written_at in (("wanted", 100), ("young", 300), ("old", 100)):
        await spool.keep(name, b"x")
        os.utime(tmp_path / name, (written_at, written_at))
    assert await spool.sweep({"spool:wanted"}, before=200.0) == 1
    assert set(contents(tmp_path)) == {"wanted", "young"}
    assert await Spool(tmp_path / "none").sweep(set(), before=200.0) == 0
