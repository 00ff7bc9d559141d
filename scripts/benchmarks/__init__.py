"""The parts of `scripts/bench_*.py`: one module per measurement, one for what they share."""
