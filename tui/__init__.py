"""genq: the commands and the monitor."""
