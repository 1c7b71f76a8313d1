"""Fixtures for all tests. What is heavy is imported by the fixture that needs it."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.fakes.replies import Replies


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--system", action="store_true", help="run the tests marked `system` too")


def pytest_configure() -> None:
    """Have Ctrl-C mean something: a suite that was started in the background ignores it, and would
    have everything that it starts ignore it too.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked `system` unless asked for; once asked for, a missing tool is a failure."""
    for marker in item.iter_markers("system"):
        if not item.config.getoption("--system", default=False):
            pytest.skip(f"needs {', '.join(marker.args)}: ./dev check --system")
        missing = [tool for tool in marker.args if shutil.which(tool) is None]
        if missing:
            pytest.fail(f"not installed: {', '.join(missing)}")


@pytest.fixture
def replies() -> Iterator[Replies]:
    """Canned HTTP replies for every aiohttp session, by method and URL; nothing leaves."""
    from tests.fakes.replies import Replies

    canned = Replies()
    with canned:
        yield canned


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder whose path is short: a Unix socket's may have 107 bytes."""
    return tmp_path_factory.mktemp("t")
