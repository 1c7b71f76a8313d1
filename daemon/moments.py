"""What the core is told of time and chance, for one provider: its daily reset is its own."""

from collections.abc import Mapping

from daemon.clock import Clock
from daemon.config import next_reset
from daemon.core.judge import Moment
from daemon.providers import Provider

DAY_S_MAX = 25 * 3_600.0
"""The longest day there is: one on which clocks are put back."""


class Moments:
    """Makes Moments. The next reset is worked out once, and again when it has passed."""

    def __init__(self, *, clock: Clock, providers: Mapping[str, Provider]) -> None:
        self._clock = clock
        self._providers = providers
        self._resets: dict[str, float] = {}

    def of(self, provider: str) -> Moment:
        """This moment, as the decisions about a job of `provider` need it."""
        now = self._clock.now()
        known = self._providers.get(provider)
        at = self._resets.get(provider, 0.0)
        if not now < at <= now + DAY_S_MAX and known is not None:  # over, or the clock was set back
            at = self._resets[provider] = next_reset(known.daily_reset, now)
        return Moment(now, self._clock.jitter(), at)

    def forget(self) -> None:
        """The configuration changed: work the resets out anew."""
        self._resets.clear()
