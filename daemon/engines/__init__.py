"""One module a provider: HTTP in, outcomes out; engines count nothing and decide nothing."""
