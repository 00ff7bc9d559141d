"""F1 of the positive class, as GLUE's MRPC and QQP report it."""

from __future__ import annotations

from collections.abc import Sequence

import evaluate

from goft_cli.metrics.signature import of_labels


class F1(evaluate.Metric):
    """Harmonic mean of precision and recall of label 1, in a two-class task."""

    def _info(self) -> evaluate.MetricInfo:
        return of_labels("2 TP / (2 TP + FP + FN) of label 1; 0 where nothing is or is called 1.")

    def _compute(  # pyright: ignore[reportIncompatibleMethodOverride] - takes no options
        self, predictions: Sequence[int], references: Sequence[int]
    ) -> dict[str, float]:
        from sklearn.metrics import f1_score

        score = f1_score(
            references,
            predictions,
            pos_label=1,
            zero_division=0.0,  # pyright: ignore[reportArgumentType] - a number is documented
        )
        return {"f1": float(score)}
