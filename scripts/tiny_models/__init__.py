"""Modules of `scripts/make_tiny_models.py`: one per model, and the functions that they share."""
