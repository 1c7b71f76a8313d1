"""Coze: a published workflow is run asynchronously, and its history asked for the result.

What a run needs is the workflow's own matter: all but a few params are its inputs. The target of
a job is the workflow's address, `…/v1/workflows/ID`, so that its runs are found whatever the
configuration says later.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import FormData

from daemon.clock import Clock
from daemon.core.faults import Rule
from daemon.core.job import Result
from daemon.core.outcomes import Absent, Accepted, Fault, Pending, Ready, Stopped
from daemon.core.policy import Abilities
from daemon.core.suggest import shown
from daemon.engines.answers import Dialect, Said, excerpt, text_of
from daemon.engines.coze_errors import (
    NEEDS_INPUT,
    NO_LINK,
    NO_RECORD,
    RULES,
    STRAY,
    code_of,
    read_error,
    signed,
)
from daemon.engines.coze_output import links_in
from daemon.engines.embedding import encoded, unusable
from daemon.engines.engine import Picture, Problem, Request, Sink
from daemon.engines.http import Call, Http
from daemon.engines.params import Param, matching, problems_of
from daemon.engines.settings import EngineSettings
