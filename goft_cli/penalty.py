"""Public path: the penalty that a training adds to its loss, and the mixin that adds it."""

from goft_cli.tuner.penalty import PenaltyMixin, total_penalty

__all__ = ["PenaltyMixin", "total_penalty"]
