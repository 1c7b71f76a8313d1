"""The daemon's own closures, beside those of operators: neither opens what the other has shut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.core.gate import Closure, Gate, state
from daemon.core.judge import close, gate_events, reopen
from daemon.gatekeeper import Gatekeeper
from daemon.overrides import Overrides, Paused, save
from daemon.providers import Shut, configured
from tests.fakes.shell import Shell

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_000_000.0
DISABLED = Shut("operator", "it isn't enabled")


def lunch(gate: Gate) -> Gate:
    return close(gate, "operator", None, "lunch", source="operator")


def test_a_resume_does_not_open_a_provider_that_was_paused_while_it_is_not_enabled() -> None:
    gate = reopen(lunch(configured(Gate(), DISABLED)), NOW)
    assert gate.causes == (Closure("operator", None, DISABLED.reason, "config"),)
    assert state(configured(gate, None), NOW) == "open"


def test_a_pause_outlives_that_its_provider_is_disabled_and_enabled_again() -> None:
    gate = configured(configured(lunch(Gate()), DISABLED), None)
    assert gate == lunch(Gate())
    assert state(reopen(gate, NOW), NOW) == "open"


def test_an_operators_short_pause_does_not_end_one_that_waits_for_an_operator() -> None:
    gate = close(Gate(), "operator", None, "a rule: balance")
    gate = close(gate, "operator", NOW + 60.0, "lunch", source="operator")
    assert state(gate, NOW + 61.0) == "paused"
    assert state(reopen(gate, NOW), NOW) == "open"


async def test_a_pause_in_the_file_counts_for_a_provider_that_is_not_enabled(
    tmp_path: Path,
) -> None:
    file = tmp_path / "overrides.toml"
    save(file, Overrides(paused={"p": Paused(None, "lunch")}))
    shell = Shell({})
    shut = configured(Gate(), DISABLED)
    shell.book.record(gate_events("p", Gate(), shut, None, shell.clock.now()))
    keeper = Gatekeeper(
        book=shell.book,
        clock=shell.clock,
        providers=shell.providers,
        overrides_file=file,
        problem=lambda *_: None,
    )
    await keeper.open()
    keeper.configure()  # it is enabled now
    assert shell.book.gate("p") == lunch(Gate())
