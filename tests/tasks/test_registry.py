"""Metrics go through `evaluate` and leave nothing behind; names that do not fit are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import evaluate
import pytest

from goft_cli.system.errors import GoftError
from goft_cli.tasks import metrics
from goft_cli.tasks.metrics import REGISTRY, SQUAD, Metric

METRICS = [*REGISTRY.values(), SQUAD]
LABELS = ([0, 1, 1, 0], [0, 1, 0, 0])
TEXTS = (["a dog", "cat"], [["dog"], ["bird", "fish"]])


def example(metric: Metric) -> tuple[list[Any], list[Any]]:
    """Return predictions and references that a metric takes."""
    return TEXTS if metric is SQUAD else LABELS


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.function.__name__)
def test_evaluate_computes_it_and_leaves_nothing_behind(
    metric: Metric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    asked, found = [], evaluate.Metric.compute

    def compute(module: evaluate.Metric, **rows: Any) -> dict[str, Any] | None:  # noqa: ANN401
        """Keep the description; evaluate wants a docstring to add to."""
        asked.append(module.description)
        return found(module, **rows)

    monkeypatch.setattr(evaluate.Metric, "compute", compute)
    assert metric.compute(*example(metric)) == metric.function(*example(metric))
    assert asked == [metric.function.__doc__]
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_metric_is_answered_with_the_choices() -> None:
    choices = "accuracy, combined_score, f1, matthews_correlation, pearson, spearman"
    with pytest.raises(GoftError, match=f"unknown metric 'acuracy'; choose from {choices}$"):
        metrics.check_names(["acuracy"], headline="acuracy", classes=2)


def test_the_headline_must_be_computed() -> None:
    with pytest.raises(GoftError, match=r"task.headline=f1 is not among task.metrics \(accuracy\)"):
        metrics.check_names(["accuracy"], headline="f1", classes=2)


@pytest.mark.parametrize(
    ("name", "classes"), [("accuracy", 0), ("matthews_correlation", 0), ("f1", 0), ("f1", 3)]
)
def test_a_metric_that_does_not_fit_the_labels_is_refused(name: str, classes: int) -> None:
    with pytest.raises(GoftError, match=rf"task\.metrics: {name} .*{classes}"):
        metrics.check_names([name], headline=name, classes=classes)


@pytest.mark.parametrize("classes", [0, 2, 3])
def test_a_correlation_takes_numbers_and_ordered_classes(classes: int) -> None:
    metrics.check_names(["pearson"], headline="pearson", classes=classes)
