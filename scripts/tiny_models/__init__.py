"""The parts of `scripts/make_tiny_models.py`: one module per model, one for what they share."""
