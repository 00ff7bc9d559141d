"""What a metric takes, in the words that `evaluate` wants of it."""

from __future__ import annotations

import datasets
import evaluate


def of_labels(description: str) -> evaluate.MetricInfo:
    """Describe a metric of label ids."""
    return _described(description, "label ids", "int64")


def of_numbers(description: str) -> evaluate.MetricInfo:
    """Describe a metric of numbers."""
    return _described(description, "numbers", "float64")


def _described(description: str, values: str, dtype: str) -> evaluate.MetricInfo:
    columns = {name: datasets.Value(dtype) for name in ("predictions", "references")}
    return evaluate.MetricInfo(
        description=description,
        citation="",
        inputs_description=f"predictions, references: {values}.",
        features=datasets.Features(columns),
    )
