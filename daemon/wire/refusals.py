"""Why a request was not done: the body of an Error frame, and the exception that carries it."""

from typing import Literal

from msgspec import Struct

ErrorCode = Literal[
    "protocol",
    "bad_frame",
    "too_large",
    "unknown_op",
    "bad_request",
    "unknown_id",
    "unknown_provider",
    "bad_query",
    "bad_jobs",
    "limit",
    "no_space",
    "stopping",
    "internal",
]


class RowProblem(Struct, frozen=True):
    """What is wrong with a row of an add. `row` counts from 0; None: with the whole."""

    row: int | None
    field: str | None
    message: str


class ErrorBody(Struct, frozen=True, omit_defaults=True):
    """Why a request was not done. `message` is one line for people, and says the way out.

    `at` is the offset of the bad place in a query.
    """

    code: ErrorCode
    message: str
    problems: tuple[RowProblem, ...] = ()
    at: int | None = None


class RequestError(Exception):
    """A request that can't be done, with the body of its Error frame."""

    def __init__(self, body: ErrorBody) -> None:
        super().__init__(body.message)
        self.body = body


def refusal(
    code: ErrorCode,
    message: str,
    *,
    problems: tuple[RowProblem, ...] = (),
    at: int | None = None,
) -> RequestError:
    """The RequestError with this body.

    >>> refusal("unknown_id", "no job 7").body.code
    'unknown_id'
    """
    return RequestError(ErrorBody(code, message, problems, at))
