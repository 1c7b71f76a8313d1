"""What the monitor shows: one screen a file."""
