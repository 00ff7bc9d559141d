"""Modules of `scripts/make_demo_rows.py`: generators of each demo's rows, in pure Python."""
