"""The examples in the docstrings of what engines over HTTP are made of."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = (
    "answers",
    "echoes",
    "embedding",
    "fetching",
    "guard",
    "params",
    "retry_after",
    "targets",
    "transport",
    "cogvideox_errors",
    "veo_errors",
    "veo_results",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name: str) -> None:
    module = importlib.import_module(f"daemon.engines.{name}")
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0
