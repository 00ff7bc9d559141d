"""Spearman's correlation, as GLUE's STS-B reports it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import datasets
import evaluate


class Spearman(evaluate.Metric):
    """Rank correlation of predicted and true values."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="From -1 to 1; 0 where predictions or references are all the same.",
            citation="",
            inputs_description="predictions, references: numbers.",
            features=datasets.Features(
                {"predictions": datasets.Value("float64"), "references": datasets.Value("float64")}
            ),
        )

    def _compute(  # pyright: ignore[reportIncompatibleMethodOverride] - takes no options
        self, predictions: Sequence[float], references: Sequence[float]
    ) -> dict[str, float]:
        from scipy import stats

        # Undefined for a constant; scipy says NaN. 0, as for Matthews, ranks such a model as one
        # that knows nothing and keeps the choice of the best checkpoint well ordered.
        if len(set(predictions)) == 1 or len(set(references)) == 1:
            return {"spearman": 0.0}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.NearConstantInputWarning)
            result = stats.spearmanr(predictions, references)
        correlation = result.statistic  # pyright: ignore[reportAttributeAccessIssue] - untyped
        return {"spearman": float(correlation)}
