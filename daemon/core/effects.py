"""What I/O a state calls for. A value: the runner performs it and answers with an outcome."""

from msgspec import Struct

from daemon.core.job import Intent, Remote


class Prepare(Struct, frozen=True):
    """Check and scale the pictures; choose the target; make the digest."""


class Submit(Struct, frozen=True):
    """Send the paid request once. Only ever performed for an intent that is on disk."""

    intent: Intent


class Lookup(Struct, frozen=True):
    """Ask the intent's target, not before `at`, whether the key arrived."""

    intent: Intent
    at: float


class Poll(Struct, frozen=True):
    """Ask how the task is doing, not before `at`. `slow`: a watch of paid work, no slot."""

    remote: Remote
    at: float
    slow: bool = False


class Fetch(Struct, frozen=True):
    """Download every result, not before `at`."""

    remote: Remote
    at: float


class Stop(Struct, frozen=True):
    """Tell the provider to cancel, not before `at`, where it can be told."""

    remote: Remote
    at: float


Effect = Prepare | Submit | Lookup | Poll | Fetch | Stop
