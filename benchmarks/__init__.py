"""What the stages cost, measured: ``make bench`` (or ``python -m benchmarks --help``)."""
