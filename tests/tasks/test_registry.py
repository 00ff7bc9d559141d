"""Metrics are computed by `evaluate` and leave no files; names that do not fit are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import evaluate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.config.choices import Target
from goft_cli.config.task import LESS_IS_BETTER
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
        """Record the description; `evaluate` appends to this docstring, so one must exist."""
        asked.append(module.description)
        return found(module, **rows)

    monkeypatch.setattr(evaluate.Metric, "compute", compute)
    assert metric.compute(*example(metric)) == metric.function(*example(metric))
    assert asked == [metric.function.__doc__]
    assert list(tmp_path.iterdir()) == []


def test_unknown_metrics_are_answered_together_with_the_choices() -> None:
    problem = r"unknown metric 'acuracy'; unknown metric 'cohen_kapa'"
    remedy = r"pass task.metrics=\[accuracy,cohen_kappa\] task.headline=accuracy, or choose from"
    with pytest.raises(GoftError, match=f"{problem}; {remedy} accuracy, .*, weighted_f1$"):
        metrics.check_names(["acuracy", "cohen_kapa"], headline="acuracy", target=Target.two)


def test_the_headline_must_be_computed() -> None:
    problem = r"task.headline=f1 is not among task.metrics \(accuracy\)"
    with pytest.raises(GoftError, match=problem + r"; pass task.metrics=\[accuracy,f1\]$"):
        metrics.check_names(["accuracy"], headline="f1", target=Target.two)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("accuracy", Target.number),
        ("matthews_correlation", Target.number),
        ("f1", Target.number),
        ("f1", Target.many),
        ("recall", Target.many),
    ],
)
def test_a_metric_that_does_not_fit_the_labels_is_refused(name: str, target: Target) -> None:
    with pytest.raises(GoftError, match=rf"task\.metrics: {name} .*{target.value}"):
        metrics.check_names([name], headline=name, target=target)


@given(
    st.lists(st.sampled_from([*REGISTRY, "acc", "F1", "rmsee", "nonesuch"]), min_size=1),
    st.sampled_from(Target),
)
def test_the_words_of_a_remedy_are_accepted(names: list[str], target: Target) -> None:
    try:
        metrics.check_names(names[1:], headline=names[0], target=target)
    except GoftError as refusal:
        words = refusal.remedy.removeprefix("pass ").partition(", or ")[0].split()
        given_words = dict(word.split("=") for word in words)
        better = given_words["task.metrics"].strip("[]").split(",")
        headline = given_words.get("task.headline", names[0])
        metrics.check_names(better, headline=headline, target=target)
        if "task.headline" in given_words:
            less = given_words.get("task.greater_is_better") == "false"
            assert less == (headline in LESS_IS_BETTER)


@pytest.mark.parametrize("target", [Target.number, Target.two, Target.many])
def test_a_correlation_takes_numbers_and_ordered_classes(target: Target) -> None:
    metrics.check_names(["pearson"], headline="pearson", target=target)
