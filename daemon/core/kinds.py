"""What sort of fault a Fault is (resilience.md 1.2). docs/policy.md says what each means."""

import errno

FOREIGN = "local.target"
"""Of a call about a job that was made out to another kind of provider: the mock, or a real one."""
KINDS = (
    "http",
    "transport.dns",
    "transport.connect",
    "transport.tls",
    "transport.reset",
    "transport.timeout.connect",
    "transport.timeout.read",
    "transport.timeout.total",
    "protocol",
    "provider.failed",
    "provider.error",
    "local.decode",
    "local.nospace",
    "local.toolarge",
    "local.address",
    "local.missing",
    FOREIGN,
    "local.io",
    "internal",
)
"""An engine may go into more detail behind a dot."""
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says when there is no room."""


def local_kind(error: OSError) -> str:
    """The kind of what went wrong with a file on this machine.

    >>> local_kind(OSError(errno.ENOSPC, "no space left")), local_kind(OSError("?"))
    ('local.nospace', 'local.io')
    """
    return "local.nospace" if error.errno in DISK_FULL else "local.io"
