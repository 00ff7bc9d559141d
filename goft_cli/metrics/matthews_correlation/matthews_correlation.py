"""Matthews correlation, as GLUE's CoLA reports it."""

from __future__ import annotations

from collections.abc import Sequence

import datasets
import evaluate


class MatthewsCorrelation(evaluate.Metric):
    """Correlation of predicted and true labels, for any number of classes."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="From -1 to 1; 0 where predictions or references are all the same.",
            citation="",
            inputs_description="predictions, references: label ids.",
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(  # pyright: ignore[reportIncompatibleMethodOverride] - takes no options
        self, predictions: Sequence[int], references: Sequence[int]
    ) -> dict[str, float]:
        from sklearn.metrics import matthews_corrcoef

        # scikit-learn warns about a lone label, though the answer, 0, is defined.
        if len({*predictions, *references}) == 1:
            return {"matthews_correlation": 0.0}
        return {"matthews_correlation": float(matthews_corrcoef(references, predictions))}
