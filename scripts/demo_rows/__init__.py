"""The parts of `scripts/make_demo_rows.py`: a generator of each demo's rows, in pure Python."""
