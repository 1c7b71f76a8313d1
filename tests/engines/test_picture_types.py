"""What engines say of pictures is what they send: no picture fails at its submit for its type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daemon.assembly import REAL, engine_class
from daemon.engines.cogvideox import PICTURE_MIMES
from daemon.engines.comfyui_calls import PICTURE_TYPES
from daemon.engines.engine import Engine
from daemon.engines.jiekou_models import ROUTES
from daemon.engines.veo import PICTURES
from daemon.media.fitting import MADE
from tests.fakes.clock import FakeClock
from tests.fakes.vendors.customer import settings_of

SENT = {
    "cogvideox": frozenset(PICTURE_MIMES),
    "comfyui": frozenset(PICTURE_TYPES.values()),
    "coze": None,
    "jiekou": frozenset(ROUTES["seedream-4.5"].mimes),
    "veo": frozenset(PICTURES.values()),
}


def engine_of(kind: str, folder: Path, **more: Any) -> Engine:
    settings = settings_of("http://127.0.0.1:9", model="seedream-4.5", **more)
    made: Engine = engine_class(kind)(settings, clock=FakeClock(), spool=folder)
    return made


@pytest.mark.parametrize("kind", REAL)
def test_an_engine_takes_what_it_sends(kind: str, tmp_path: Path) -> None:
    assert engine_of(kind, tmp_path).picture_types({}) == SENT[kind]


@pytest.mark.parametrize("route", [name for name in ROUTES if "*" not in name])
def test_what_jiekou_takes_is_said_by_the_jobs_model(route: str, tmp_path: Path) -> None:
    types = engine_of("jiekou", tmp_path).picture_types({"model": route})
    assert types == frozenset(ROUTES[route].mimes)


def test_every_engine_takes_what_other_pictures_are_made(tmp_path: Path) -> None:
    for kind in REAL:
        types = engine_of(kind, tmp_path).picture_types({})
        assert types is None or MADE in types
    assert all(MADE in route.mimes for route in ROUTES.values())
