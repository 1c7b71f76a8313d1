"""What sort of fault a Fault is (resilience.md 1.2). docs/policy.md says what each means."""

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
