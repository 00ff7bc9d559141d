"""Mean of Pearson's and Spearman's correlation: the one number for GLUE's STS-B."""

from __future__ import annotations

from collections.abc import Sequence

import evaluate

from goft_cli.metrics.signature import of_numbers


class CombinedScore(evaluate.Metric):
    """Mean of the linear and the rank correlation."""

    def _info(self) -> evaluate.MetricInfo:
        return of_numbers("(Pearson + Spearman) / 2, from -1 to 1; a constant's correlation is 0.")

    def _compute(  # pyright: ignore[reportIncompatibleMethodOverride] - takes no options
        self, predictions: Sequence[float], references: Sequence[float]
    ) -> dict[str, float]:
        from goft_cli import metrics

        scores = metrics.compute(["pearson", "spearman"], predictions, references)
        return {"combined_score": (scores["pearson"] + scores["spearman"]) / 2}
