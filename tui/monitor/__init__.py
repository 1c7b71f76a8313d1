"""The monitor: a live view of the daemon's jobs, and the keys to act on them."""
