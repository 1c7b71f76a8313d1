"""The configured providers at run time: engine, policy, limits, and why one can't work."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from daemon.core.gate import Closure, Gate, GateCause
from daemon.core.policy import Policy
from daemon.core.schedule import Pace
from daemon.engines.engine import Engine
from daemon.media.pictures import PictureLimits


class Shut(Struct, frozen=True):
    """Why the configuration keeps a provider's gate closed: a missing key, or `enabled = false`."""

    cause: GateCause
    reason: str


class Provider:
    """One configured provider. `engine` is None where this version has none of that kind."""

    def __init__(  # noqa: PLR0913 - what a section of the configuration comes to
        self,
        name: str,
        *,
        kind: str,
        engine: Engine | None,
        policy: Policy,
        params: Mapping[str, Any],
        pictures: PictureLimits,
        enabled: bool = True,
        shut: Shut | None = None,
        price: str = "",
        daily_reset: str = "00:00 UTC",
        key: object = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.engine = engine
        self.policy = policy
        self.params = params
        self.pictures = pictures
        self.enabled = enabled
        self.shut = shut
        self.price = price
        self.daily_reset = daily_reset
        self.key = key
        """Only to be compared: another one may be accepted where the last was refused."""
        self.poll_pace = Pace(policy.limits.polls_per_minute)
        self.submit_pace = Pace(policy.limits.submits_per_minute)

    @property
    def download_bytes_max(self) -> int:
        """The largest result that is fetched."""
        return self.policy.limits.download_max_mb * 1024 * 1024


def configured(gate: Gate, shut: Shut | None) -> Gate:
    """`gate` as the configuration wants it: what an earlier one closed is open again.

    >>> configured(Gate(), Shut("auth", "no key")).causes[0].source
    'config'
    >>> configured(configured(Gate(), Shut("auth", "no key")), None).causes
    ()
    """
    causes: Iterable[Closure] = (
        one for one in gate.causes if one.source != "config" or one.cause == "space"
    )
    if shut is not None:
        causes = (*causes, Closure(shut.cause, None, shut.reason, "config"))
    return msgspec.structs.replace(gate, causes=tuple(causes))
