"""Metrics as `evaluate.Metric` modules that ship with the package and need no network.

One folder per metric, in the layout that `evaluate.load("PATH/TO/metrics/accuracy")` reads too. The
folder's name is the metric's name in a task's YAML; adding a folder adds a metric.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from goft_cli.errors import GoftError

Values = np.ndarray | Sequence[Any]

OF_TEXTS = {"squad"}
"""Metrics of texts; the others are of labels and numbers, for a task to choose from."""

OF_NUMBERS = {"combined_score", "pearson", "spearman"}
"""Metrics of numbers; the others need labels."""
OF_TWO_CLASSES = {"f1"}


def available() -> list[str]:
    """Return the names of all metrics of labels and numbers."""
    found = {path.parent.name for path in Path(__file__).parent.glob("*/*.py")}
    return sorted(found - OF_TEXTS)


def check_names(names: Sequence[str], *, headline: str, classes: int) -> None:
    """Refuse metrics that do not exist or fit, and a headline that is not among those computed.

    Args:
        names: which metrics.
        headline: the one that stands for a run.
        classes: of the task; 0 where it predicts a number.

    Raises:
        GoftError: naming the metric and the choices.
    """
    for name in names:
        if name not in available():
            raise GoftError(
                f"task.metrics: unknown metric {name!r}",
                f"choose from {', '.join(available())}",
            )
        if (not classes and name not in OF_NUMBERS) or (classes > 2 and name in OF_TWO_CLASSES):
            raise GoftError(
                f"task.metrics: {name} is no metric of a task with task.labels of {classes} "
                "classes",
                "choose another",
            )
    if headline not in names:
        raise GoftError(
            f"task.headline={headline} is not among task.metrics ({', '.join(names)})",
            "add it there",
        )


def compute(names: Sequence[str], predictions: Values, references: Values) -> dict[str, float]:
    """Compute metrics of one set of predictions.

    Args:
        names: which metrics.
        predictions: (rows,) label ids, numbers for a correlation, or texts.
        references: (rows,) the truth, alike; for texts a list of true ones each.

    Returns:
        value by name, in the order of `names`; a metric may have several values.

    Raises:
        GoftError: there are no rows, or not as many predictions as references.
    """
    if len(predictions) != len(references) or len(predictions) == 0:
        raise GoftError(
            f"metrics: {len(predictions)} predictions for {len(references)} references",
            "expected as many of both, and at least one",
        )
    found = [_compute(name, predictions, references) for name in names]
    return {key: value for scores in found for key, value in scores.items()}


def _compute(name: str, predictions: Values, references: Values) -> dict[str, float]:
    import evaluate

    module = import_module(f"{__name__}.{name}.{name}")
    classes = [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, evaluate.Metric) and value.__module__ == module.__name__
    ]
    # The constructor creates its cache folder even when it keeps all in memory; a folder of its own
    # means that parallel processes never meet and that a read-only home does no harm.
    with tempfile.TemporaryDirectory(prefix="goft-metrics-") as folder:
        metric = classes[0](keep_in_memory=True, cache_dir=folder)
        scores = metric.compute(predictions=predictions, references=references) or {}
    return {key: float(value) for key, value in scores.items()}
