"""Matthews correlation, as GLUE's CoLA reports it."""

from __future__ import annotations

from collections.abc import Sequence

import evaluate

from goft_cli.metrics.signature import of_labels


class MatthewsCorrelation(evaluate.Metric):
    """Correlation of predicted and true labels, for any number of classes."""

    def _info(self) -> evaluate.MetricInfo:
        return of_labels("From -1 to 1; 0 where predictions or references are all the same.")

    def _compute(  # pyright: ignore[reportIncompatibleMethodOverride] - takes no options
        self, predictions: Sequence[int], references: Sequence[int]
    ) -> dict[str, float]:
        from sklearn.metrics import matthews_corrcoef

        # scikit-learn warns about a lone label, though the answer, 0, is defined.
        if len({*predictions, *references}) == 1:
            return {"matthews_correlation": 0.0}
        return {"matthews_correlation": float(matthews_corrcoef(references, predictions))}
