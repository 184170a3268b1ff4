"""Benchmarks of CPU time and memory of the stages: ``make bench``, ``python -m benchmarks``."""
