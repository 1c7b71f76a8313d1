"""The script `dev`, run in a checkout of its own with a Python that only notes what it is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Answers as a real one where it is asked for code (its version, ensurepip, the file lock), makes a
# folder that looks like an environment, and notes everything else, with the folder it stood in.
FAKE_PYTHON = """\
#!/bin/sh
case "$*" in
-c\\ import\\ ensurepip) exit {no_ensurepip} ;;
-c*) exec "{real}" "$@" ;;
*venv*) mkdir -p .venv/bin; cp "{fake}" .venv/bin/python; cp "{fake}" .venv/bin/lint-imports ;;
esac
echo "$PWD: $*" >>"{notes}"
case "$*" in *"{fails}"*) exit 7 ;; esac
"""


class Checkout:
    """A folder with a space in its name that holds `dev`, a lock and a Python of our making."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout"
        self.root.mkdir()
        shutil.copy(ROOT / "dev", self.root / "dev")
        self.lock = self.root / "requirements.lock"
        self.lock.write_text("yarl==1\n")
        self.python = folder / "python that notes"
        self._notes = folder / "notes"
        self.make_python()

    def make_python(self, *, ensurepip: bool = True, fails: str = "no call at all") -> None:
        text = FAKE_PYTHON.format(
            no_ensurepip=int(not ensurepip),
            real=sys.executable,
            fake=self.python,
            notes=self._notes,
            fails=fails,
        )
        self.python.write_text(text)
        self.python.chmod(0o755)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.root / "dev"), *arguments],
            cwd=self.root.parent,
            env={"PYTHON": str(self.python), **environment},
            stderr=subprocess.PIPE,
            text=True,
        )

    def dev(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run `dev` from another folder; return its exit code and what it said on stderr."""
        process = self.start(*arguments, **environment)
        _, said = process.communicate(timeout=30)
        return process.returncode, said

    def asked(self) -> list[str]:
        """Return what Python was asked since the last time, without the folder."""
        notes = self._notes.read_text() if self._notes.exists() else ""
        self._notes.unlink(missing_ok=True)
        folder = f"{os.path.realpath(self.root)}: "
        assert all(line.startswith(folder) for line in notes.splitlines())
        return [line.removeprefix(folder) for line in notes.splitlines()]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


PIP = "-m pip install -qq --disable-pip-version-check"
SET_UP = [
    "-m venv --clear .venv",
    f"{PIP} --require-hashes -r requirements.lock",
    f"{PIP} --no-deps --no-build-isolation -e .",
]
TESTS = "-m pytest -n 4"


@pytest.mark.parametrize("arguments", [(), ("tset",), ("--help",)])
def test_an_unknown_verb_gets_the_usage_and_exit_2(
    checkout: Checkout, arguments: tuple[str, ...]
) -> None:
    code, said = checkout.dev(*arguments)
    assert code == 2
    assert said.startswith("usage: ./dev run ")
    assert checkout.asked() == []


def test_the_first_call_sets_up_and_the_next_does_not(checkout: Checkout) -> None:
    assert checkout.dev("test", "-k", "two words") == (
        0,
        "dev: setting up .venv, once; it takes about half a minute\n",
    )
    assert checkout.asked() == [*SET_UP, f"{TESTS} -k two words"]
    assert checkout.dev("test") == (0, "")
    assert checkout.asked() == [TESTS]


def test_a_changed_lock_sets_up_again(checkout: Checkout) -> None:
    checkout.dev("test")
    checkout.asked()
    checkout.lock.write_text("yarl==2\n")
    checkout.dev("test")
    assert checkout.asked() == [*SET_UP, TESTS]


def test_a_moved_checkout_sets_up_again(checkout: Checkout) -> None:
    checkout.dev("test")
    checkout.asked()
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    checkout.dev("test")
    assert checkout.asked() == [*SET_UP, TESTS]


def test_a_set_up_that_failed_is_done_again(checkout: Checkout) -> None:
    checkout.make_python(fails="--require-hashes")
    assert checkout.dev("test")[0] == 7
    assert checkout.asked() == SET_UP[:2]
    checkout.make_python()
    assert checkout.dev("test")[0] == 0
    assert checkout.asked() == [*SET_UP, TESTS]


def test_two_calls_at_once_set_up_once(checkout: Checkout) -> None:
    both = [checkout.start("bench"), checkout.start("bench")]
    for process in both:
        process.communicate(timeout=30)
    assert [process.returncode for process in both] == [0, 0]
    assert checkout.asked() == [*SET_UP, "-m bench", "-m bench"]


def test_a_python_without_ensurepip_installs_with_its_own_pip(checkout: Checkout) -> None:
    checkout.make_python(ensurepip=False)
    assert checkout.dev("stop")[0] == 0
    pip = PIP.replace("pip", f"pip --python {os.path.realpath(checkout.root)}/.venv/bin/python", 1)
    assert checkout.asked() == [
        "-m pip --version",
        "-m venv --clear --without-pip .venv",
        f"{pip} --require-hashes -r requirements.lock",
        f"{pip} --no-deps --no-build-isolation -e .",
        "-m daemon.demo --stop",
    ]


def test_a_python_without_any_pip_is_told_what_to_install(checkout: Checkout) -> None:
    checkout.make_python(ensurepip=False, fails="pip --version")
    code, said = checkout.dev("run")
    assert code == 1
    assert said.endswith("can make no environment; on Debian: apt install python3-venv\n")


def test_a_machine_without_a_fitting_python_is_told_so(checkout: Checkout, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("dirname", "cat", "cksum"):
        (programs / name).symlink_to(str(shutil.which(name)))
    code, said = checkout.dev("run", PYTHON="", PATH=str(programs))
    assert code == 1
    assert said.startswith("dev: no Python 3.11, 3.12 or 3.13 found; ")


def test_check_stops_at_the_first_tool_that_fails(checkout: Checkout) -> None:
    checkout.make_python(fails="mypy")
    assert checkout.dev("check")[0] == 7
    assert checkout.asked()[3:] == ["-m ruff format --check .", "-m ruff check .", "-m mypy"]


def test_check_ends_with_the_coverage_of_core_and_wire(checkout: Checkout) -> None:
    assert checkout.dev("check", "--system")[0] == 0
    *_, contracts, tests, coverage = checkout.asked()
    assert contracts == "--no-logo"
    assert tests == f"{TESTS} --cov --system"
    assert coverage.endswith("--include=daemon/core/*,daemon/wire/* --fail-under=100")
