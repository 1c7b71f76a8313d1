"""From the configuration to running providers: which engine, with which key, under which policy."""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from daemon.clock import Clock
from daemon.config import (
    KeyProblem,
    Loaded,
    ProviderSection,
    Secret,
    played,
    policy_for,
    provider_key,
    read_headers,
)
from daemon.core.faults import Rule
from daemon.core.policy import Abilities
from daemon.engines.comfyui_files import WorkflowFiles, unusable
from daemon.engines.comfyui_workflow import WorkflowError
from daemon.engines.echoes import spellings
from daemon.engines.engine import Engine
from daemon.engines.mock import MockEngine
from daemon.engines.mock_ledger import MockLedger
from daemon.engines.mock_settings import Kind, MockSettings
from daemon.engines.mock_weather import CLEAR, Script, load_script
from daemon.engines.settings import settings_for
from daemon.media.drawing import draw_clip, draw_still
from daemon.media.pictures import PictureLimits, PicturePool
from daemon.providers import Provider, Shut

LEDGER_FILE = "mock-ledger.jsonl"
VIDEO_KINDS = ("cogvideox", "veo", "coze")
"""Engines whose results are videos: the mock that plays one makes videos too."""


class AssemblyError(Exception):
    """A provider can't be built from its section; the message names the file."""


REAL: Mapping[str, tuple[str, str]] = {
    "cogvideox": ("daemon.engines.cogvideox", "CogVideoX"),
    "comfyui": ("daemon.engines.comfyui", "ComfyUI"),
    "coze": ("daemon.engines.coze", "Coze"),
    "jiekou": ("daemon.engines.jiekou", "Jiekou"),
    "veo": ("daemon.engines.veo", "Veo"),
}
"""Where each engine is. They are imported when one is configured: HTTP costs a start 0.2 s."""


def engine_class(kind: str) -> Any:
    """The class of a real engine, or None where this version has none of that kind."""
    if kind not in REAL:
        return None
    module, name = REAL[kind]
    return getattr(import_module(module), name)


def engine_rules(kind: str) -> tuple[Rule, ...]:
    """The built-in rules of an engine, for `genqd config check`."""
    found: Any = MockEngine if kind == "mock" else engine_class(kind)
    rules: tuple[Rule, ...] = () if found is None else found.rules
    return rules


def mock_settings(settings: Mapping[str, Any]) -> MockSettings:
    """The mock's own keys, out of a section's. They were checked when the file was read."""
    given = {key: str(value or "") if key == "script" else value for key, value in settings.items()}
    return msgspec.convert(given, MockSettings)


class Assembler:
    """Builds providers; keeps what they share: the picture pool and the mock's ledger."""

    def __init__(
        self,
        *,
        clock: Clock,
        state_dir: Path,
        pictures: PicturePool,
        environ: Mapping[str, str],
        learn: Callable[[Iterable[str]], None],
    ) -> None:
        self._clock = clock
        self._pictures = pictures
        self._environ = environ
        self._learn = learn
        self.ledger = MockLedger(state_dir / LEDGER_FILE)
        self.spool = state_dir / "spool"

    def build(self, loaded: Loaded) -> dict[str, Provider]:
        """Every configured provider, by name. Reads keys and scripts: not for the event loop.

        Raises AssemblyError for a weather script that can't be used.
        """
        return {
            name: self._provider(section, loaded.config.providers[name].engine, loaded)
            for name, section in played(loaded.config).items()
        }

    def _provider(self, section: ProviderSection, kind: str, loaded: Loaded) -> Provider:
        key = provider_key(
            section, self._environ, where=loaded.where("providers", section.name, "api_key")
        )
        headers = self._headers(section, loaded)
        engine = self._engine(section, kind, key, headers, loaded)
        return Provider(
            section.name,
            kind=section.engine,
            engine=engine,
            policy=policy_for(
                section,
                () if engine is None else engine.rules,
                Abilities() if engine is None else engine.abilities,
            ),
            params=section.params,
            pictures=PictureLimits(
                section.image_max_kb, section.image_max_side, section.image_max_mpixel
            ),
            enabled=section.enabled,
            shut=_shut(section, engine, key, headers, loaded),
            price=section.price,
            daily_reset=section.quota_daily_reset,
            key=key,
        )

    def _headers(self, section: ProviderSection, loaded: Loaded) -> dict[str, Secret] | KeyProblem:
        folder = self._environ.get("CREDENTIALS_DIRECTORY")
        where = loaded.where("providers", section.name, "headers")
        found = read_headers(
            section.headers, self._environ, Path(folder) if folder else None, where=where
        )
        if not isinstance(found, KeyProblem):
            for name, given in section.headers.items():
                if not isinstance(given, str):
                    self._learn(spellings(found[name].reveal()))
        return found

    def _engine(
        self,
        section: ProviderSection,
        kind: str,
        key: Secret | KeyProblem | None,
        headers: dict[str, Secret] | KeyProblem,
        loaded: Loaded,
    ) -> Engine | None:
        """The engine, also where its key is missing: jobs are checked against it all the same."""
        if section.engine == "mock":
            return self._mock(section, kind, loaded)
        found = engine_class(section.engine)
        if found is None:
            return None
        if isinstance(key, Secret):
            self._learn(spellings(key.reveal()))
        settings = settings_for(
            section,
            key if isinstance(key, Secret) else None,
            {} if isinstance(headers, KeyProblem) else headers,
            {own: _place(section, own, loaded) for own in section.settings},
        )
        engine: Engine = found(settings, clock=self._clock, spool=self.spool)
        return engine

    def _mock(self, section: ProviderSection, kind: str, loaded: Loaded) -> Engine:
        settings = mock_settings(section.settings)
        plays = None if kind == "mock" else Abilities(cancel=settings.cancel, progress=True)
        makes: Kind = "video" if kind in VIDEO_KINDS else "image"
        return MockEngine(
            settings,
            clock=self._clock,
            ledger=self.ledger,
            stills=lambda *size: self._pictures.run(draw_still, *size),
            clips=lambda *size: self._pictures.run(draw_clip, *size),
            script=_script(settings, section.name, loaded),
            plays=plays,
            kind=makes,
        )


def _shut(
    section: ProviderSection,
    engine: Engine | None,
    key: Secret | KeyProblem | None,
    headers: dict[str, Secret] | KeyProblem,
    loaded: Loaded,
) -> Shut | None:
    """Why the configuration keeps this provider's gate closed, if it does."""
    if not section.enabled:
        where = loaded.where("providers", section.name, "enabled")
        return Shut("operator", f"it isn't enabled ({where or 'enabled = false'})")
    for problem in (key, headers):
        if isinstance(problem, KeyProblem):
            return Shut("auth", problem.message)
    if engine is None:
        return Shut("operator", f"this version has no engine {section.engine}; `--mock` plays it")
    return None


def workflow_problem(section: ProviderSection, loaded: Loaded) -> str | None:
    """Why the workflow that a section names can't be used now, with its place. Reads the file.

    It is no problem of the configuration: it may come later, and jobs may bring their own.
    """
    path = section.settings.get("workflow")
    if section.engine != "comfyui" or not path:
        return None
    try:
        WorkflowFiles().read(path)
    except (OSError, WorkflowError) as error:
        return unusable(_place(section, "workflow", loaded), path, error)
    return None


def _place(section: ProviderSection, key: str, loaded: Loaded) -> str:
    """Where a section has `key`: file and line, and its name."""
    return f"{loaded.where('providers', section.name, key)}: providers.{section.name}.{key}"


def script_problems(loaded: Loaded) -> list[str]:
    """All that is wrong with the weather scripts: `build` would raise. Reads files.

    For `genqd config check` and the doctor.
    """
    problems: list[str] = []
    for name, section in played(loaded.config).items():
        try:
            if section.engine == "mock":
                _script(mock_settings(section.settings), name, loaded)
        except AssemblyError as error:
            problems += str(error).splitlines()
    return problems


def _script(settings: MockSettings, name: str, loaded: Loaded) -> Script:
    """The weather script that a section names. Raises AssemblyError with all its problems."""
    if not settings.script:
        return CLEAR
    path = Path(settings.script)
    try:
        found = load_script(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        where = loaded.where("providers", name, "script") or "script"
        why = error.strerror if isinstance(error, OSError) else "it isn't UTF-8 text"
        raise AssemblyError(f"{where}: providers.{name}.script: {path}: {why}") from None
    if not isinstance(found, Script):
        raise AssemblyError("\n".join(f"{one.field}: {one.message}" for one in found))
    return found
