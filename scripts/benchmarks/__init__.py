"""Modules of `scripts/bench_*.py` and `gpu_report.py`: measurements, and what they share."""
