"""The rules of genq as types and pure functions: no I/O, no clock, no randomness."""
