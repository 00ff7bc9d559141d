"""The parts of `scripts/bench_adapters.py` and `scripts/bench_rotation.py`."""
