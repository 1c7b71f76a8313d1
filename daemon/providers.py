"""The configured providers at run time: engine, policy, limits, and why one can't work."""

from collections.abc import Mapping
from typing import Any

from daemon.core.policy import Policy
from daemon.core.schedule import Pace
from daemon.engines.engine import Engine
from daemon.media.pictures import PictureLimits


class Provider:
    """One configured provider. `shut` is why the configuration keeps its gate closed, or None."""

    def __init__(
        self,
        name: str,
        *,
        kind: str,
        engine: Engine,
        policy: Policy,
        params: Mapping[str, Any],
        pictures: PictureLimits,
        enabled: bool = True,
        shut: str | None = None,
        price: str = "",
        daily_reset: str = "",
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
        self.poll_pace = Pace(policy.limits.polls_per_minute)
        self.submit_pace = Pace(policy.limits.submits_per_minute)

    @property
    def download_bytes_max(self) -> int:
        """The largest result that is fetched."""
        return self.policy.limits.download_max_mb * 1024 * 1024
