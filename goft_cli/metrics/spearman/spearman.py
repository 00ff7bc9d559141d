"""Spearman's correlation, as GLUE's STS-B reports it."""

from __future__ import annotations

from collections.abc import Sequence

import evaluate

from goft_cli.metrics.correlation import correlation
from goft_cli.metrics.signature import of_numbers


class Spearman(evaluate.Metric):
    """Rank correlation of predicted and true values."""

    def _info(self) -> evaluate.MetricInfo:
        return of_numbers("From -1 to 1; 0 where predictions or references are all the same.")

    def _compute(  # pyright: ignore[reportIncompatibleMethodOverride] - takes no options
        self, predictions: Sequence[float], references: Sequence[float]
    ) -> dict[str, float]:
        from scipy.stats import spearmanr

        return {"spearman": correlation(spearmanr, predictions, references)}
