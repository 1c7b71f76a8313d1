"""What goes over the socket, as types. The page for people is docs/protocol.md.

Client to daemon: a Hello, then Requests, each with an `id` of the client's choosing. Daemon to
client: a Welcome, then for each request any number of Parts and Progress frames and exactly one Ok
or Error with its id; and, once subscribed, events: objects that carry `seq` and no `id`.

One JSON object a line. A part is an object of lists, `{"jobs": [...]}`; the lists of all parts of
an answer, joined in order, belong to its Ok (or Error) under the same names.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from daemon.core.job import Image, State
from daemon.core.times import At
from daemon.wire.refusals import ErrorBody, ErrorCode, RequestError, RowProblem, refusal

__all__ = ["ErrorBody", "ErrorCode", "RequestError", "RowProblem", "refusal"]

PROTOCOL = 1
FRAME_BYTES_MAX = 1_048_576
"""The longest line that the daemon takes, without its newline."""
ANSWER_BYTES_MAX = 8_388_608
"""The longest line that it sends: a job or an event is never cut, and one may outgrow a frame."""
PART_BYTES_MAX = 524_288
"""A long answer, or a long `add`, is cut into parts of about this size."""
PICTURE_CHUNK_BYTES = 393_216
"""Raw bytes of a picture in one frame; base64 makes them a third longer."""
REQUEST_ID_MAX = 2**53 - 1
"""What every language's JSON can hold."""

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A number of things, a seq or a job's id: what the journal can be asked about."""


class Hello(Struct, frozen=True, kw_only=True):
    """The first frame of a client. Both first frames keep this form in every protocol."""

    hello: Literal["genq"]
    protocol: int
    version: str = ""


class Welcome(Struct, frozen=True, kw_only=True):
    """The daemon's first frame. `boot` names this run of it, `seq` its newest durable event."""

    hello: Literal["genq"]
    protocol: int
    version: str = ""
    boot: str = ""
    seq: int = 0


class Row(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job to add, as the client read it (interfaces.md 4). Files are named by their hash.

    `after` takes ids and names; an image's source may be a file's path (with `sha256`), a URL, or
    `job:NAME`.
    """

    provider: str
    prompt: str = ""
    images: tuple[Image, ...] = ()
    name: str | None = None
    batch: str | None = None
    labels: tuple[str, ...] = ()
    priority: int = 0
    not_before_at: At | None = None
    after: tuple[int | str, ...] = ()
    hold: bool = False
    count: int = 1
    params: dict[str, Any] = {}


class Request(Struct, frozen=True, kw_only=True, tag_field="op"):
    """Base of all requests. A frame must carry an `id` from 1 up; clients number what they send."""

    id: Annotated[int, Meta(ge=1, le=REQUEST_ID_MAX)] = 0


class Ping(Request, frozen=True, kw_only=True, tag="ping"):
    """Answered with `{"at": now}`."""


class Status(Request, frozen=True, kw_only=True, tag="status"):
    """Answered with interfaces.md 2, `status`."""


class Ls(Request, frozen=True, kw_only=True, tag="ls"):
    """Jobs, in parts (`{"jobs": [...]}`); the Ok carries `{"count": n}`. All conditions must hold.

    `recent` keeps all unfinished jobs and only so many of the last finished ones. `sort` is a key
    of interfaces.md 1, with a leading `-` for descending; without it oldest first.
    """

    ids: tuple[Count, ...] | None = None
    states: tuple[str, ...] = ()
    provider: str | None = None
    batch: str | None = None
    filter: str | None = None
    sort: str | None = None
    limit: Count | None = None
    recent: Count | None = None


class Show(Request, frozen=True, kw_only=True, tag="show"):
    """One job with its attempts."""

    job: Count


class Why(Request, frozen=True, kw_only=True, tag="why"):
    """One job's sentence."""

    job: Count


class Providers(Request, frozen=True, kw_only=True, tag="providers"):
    """The list of providers, in one frame."""


class Act(Request, frozen=True, kw_only=True, tag="act"):
    """Do `verb` to `jobs`. Answered with `{"changed": [...], "refused": [...], "jobs": [...]}`.

    `jobs` of the answer are the changed ones after the change, without prompt and params. A job
    that isn't in one of `states` by then, if there are any, is refused: whoever agreed saw another.
    """

    verb: Literal["cancel", "requeue", "hold", "release", "approve", "resolve", "edit"]
    jobs: tuple[Count, ...]
    reason: str = ""
    fresh: bool = False
    how: Literal["attach", "pay-again", "write-off"] | None = None
    remote_id: str = ""
    changes: dict[str, Any] = {}
    states: tuple[State, ...] = ()


class Pause(Request, frozen=True, kw_only=True, tag="pause"):
    """Close the gates of `providers` (none: all) for the operator, until a time or for good."""

    providers: tuple[str, ...] = ()
    until_at: At | None = None
    reason: str = ""


class Resume(Request, frozen=True, kw_only=True, tag="resume"):
    """Open the gates of `providers` (none: all): interfaces.md 1."""

    providers: tuple[str, ...] = ()


class AddBegin(Request, frozen=True, kw_only=True, tag="add_begin"):
    """Begin an add; answered with `{"add": token}`. It ends with the connection."""

    dry_run: bool = False


class AddRows(Request, frozen=True, kw_only=True, tag="add_rows"):
    """Some rows more, in order."""

    add: Count
    rows: tuple[Row, ...]


class AddNeed(Request, frozen=True, kw_only=True, tag="add_need"):
    """Which of these pictures the daemon doesn't have: `{"need": [sha256, ...]}`."""

    add: Count
    sha256: tuple[str, ...]


class AddPicture(Request, frozen=True, kw_only=True, tag="add_picture"):
    """A chunk of a picture, base64 in `data`, in order; `last` ends it and checks the hash."""

    add: Count
    sha256: str
    data: bytes
    last: bool = False


class AddCommit(Request, frozen=True, kw_only=True, tag="add_commit"):
    """All or nothing: `{"first": id, "count": n, "warnings": [...]}`, or an Error with problems.

    Ids are `first` to `first + count - 1`, in the order of the rows (each `count` times). A dry
    run checks everything, adds nothing, and answers with `first` null.
    """

    add: Count


class AddAbort(Request, frozen=True, kw_only=True, tag="add_abort"):
    """Forget an add that was begun."""

    add: Count


class Subscribe(Request, frozen=True, kw_only=True, tag="subscribe"):
    """Events from now on, or from after `after`; with `snapshot`, jobs and providers first.

    The snapshot comes in parts (`{"jobs": [...]}`, `{"providers": [...]}`). The Ok carries
    `{"seq": n, "boot": id}`, and what follows are the events after `n`. If `after` is too old, or
    newer than the journal, the first event is a `snapshot`, which says so. A second one replaces
    the first.
    """

    after: Count | None = None
    snapshot: bool = False
    job: Count | None = None


class Events(Request, frozen=True, kw_only=True, tag="events"):
    """Stored events after `after` (none: from the oldest kept), in parts (`{"events": [...]}`); no
    subscription.

    `tail` gives only the last so many. The Ok carries `{"seq": newest}`.
    """

    after: Count | None = None
    tail: Count | None = None
    job: Count | None = None


class Wait(Request, frozen=True, kw_only=True, tag="wait"):
    """Until none of the jobs can go on by itself; Progress frames meanwhile.

    No ids and no batch: all unfinished jobs of now. The Ok carries interfaces.md 2, `wait`, and
    `timed_out`.
    """

    jobs: tuple[Count, ...] | None = None
    batch: str | None = None
    timeout_s: Annotated[float, Meta(ge=0)] | None = None


AnyRequest = (
    Ping
    | Status
    | Ls
    | Show
    | Why
    | Providers
    | Act
    | Pause
    | Resume
    | AddBegin
    | AddRows
    | AddNeed
    | AddPicture
    | AddCommit
    | AddAbort
    | Subscribe
    | Events
    | Wait
)


class Reply(Struct, frozen=True, kw_only=True):
    """A frame of the daemon about a request, as a client gets it: one of the four is set.

    Values stay encoded until somebody knows their type. `id` is None where the daemon could not
    read one.
    """

    id: int | None
    ok: Raw | UnsetType = UNSET
    part: Raw | UnsetType = UNSET
    progress: Raw | UnsetType = UNSET
    error: ErrorBody | UnsetType = UNSET
