"""What an effect came to: a closed set. Engines translate into it; they count nothing.

Where an outcome says something that only the shell can know (the time, a fresh key), it is a
field, so that the core stays a function of its arguments.
"""

from typing import Literal

from msgspec import Struct

from daemon.core.job import Output, Phase, Result

Effect = Literal["none", "unknown", "accepted"]
"""What a failed call may have done at the provider: nothing, nobody knows, a task lives."""


class Picked(Struct, frozen=True, tag="picked"):
    """The schedule gave the job a slot."""


class Prepared(Struct, frozen=True, tag="prepared"):
    """Pictures are ready. `key` and `target` are for the intent; `digest` covers the request."""

    key: str
    target: str
    digest: str


class Accepted(Struct, frozen=True, tag="accepted"):
    """The provider took the job and named it."""

    remote_id: str
    target: str


class Pending(Struct, frozen=True, tag="pending"):
    """The task goes on. `progress` is a share from 0 to 1 where the provider tells it."""

    progress: float | None = None


class Ready(Struct, frozen=True, tag="ready"):
    """There are results to fetch. From a synchronous submit `remote_id` may be missing."""

    results: tuple[Result, ...]
    remote_id: str | None = None


class Saved(Struct, frozen=True, tag="saved"):
    """Every result is on disk under its final name, synced."""

    outputs: tuple[Output, ...]


class Absent(Struct, frozen=True, tag="absent"):
    """The provider surely has no such task: from a lookup by key, or a server that forgot it."""


class Stopped(Struct, frozen=True, tag="stopped"):
    """The cancel call was made, or the provider has none. `billed` as far as it says.

    `ended`: it says that the task is over, so there is nothing left to watch.
    """

    billed: Literal["no", "unknown"]
    ended: bool = False


class Interrupted(Struct, frozen=True, tag="interrupted"):
    """The daemon stops: costs no attempt, counts no error. A submit it cut is a doubt."""


class Unsent(Struct, frozen=True, tag="unsent"):
    """The daemon stops with the intent on disk, and the request surely never left."""


class Fault(Struct, frozen=True, tag="fault"):
    """A failed call, as data. `kind` is one of resilience.md 1.2; `message` is the provider's."""

    phase: Phase
    kind: str
    http: int | None = None
    code: str | None = None
    message: str = ""
    retry_after_s: float | None = None
    effect: Effect = "none"


Outcome = (
    Picked
    | Prepared
    | Accepted
    | Pending
    | Ready
    | Saved
    | Absent
    | Stopped
    | Interrupted
    | Unsent
    | Fault
)
