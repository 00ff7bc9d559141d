"""Share of rows that are right."""

from __future__ import annotations

from collections.abc import Sequence

import evaluate

from goft_cli.metrics.signature import of_labels


class Accuracy(evaluate.Metric):
    """Share of predictions that equal their reference."""

    def _info(self) -> evaluate.MetricInfo:
        return of_labels("Share of predictions that equal their reference, from 0 to 1.")

    def _compute(  # pyright: ignore[reportIncompatibleMethodOverride] - takes no options
        self, predictions: Sequence[int], references: Sequence[int]
    ) -> dict[str, float]:
        from sklearn.metrics import accuracy_score

        return {"accuracy": float(accuracy_score(references, predictions))}
