"""Benchmarks: what genq costs, beside what else this machine does in the same sitting."""
