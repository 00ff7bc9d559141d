"""The metrics equal scikit-learn, scipy and their own formulas written in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics as sklearn_metrics

from goft_cli.system.errors import GoftError
from goft_cli.tasks import metrics

EPSILON = np.finfo(np.float64).eps
LABELS = ("accuracy", "f1", "matthews_correlation")
NUMBERS = ("pearson", "spearman", "combined_score")


AVERAGES = ("macro_f1", "macro_precision", "macro_recall", "weighted_f1", "balanced_accuracy")
ERRORS = ("mae", "mse", "rmse", "r2")


def label_pairs(classes: int) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    def pair(rows: int) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
        ids = arrays(np.int64, rows, elements=st.integers(0, classes - 1))
        return st.tuples(ids, ids)

    return st.integers(1, 60).flatmap(pair)


def number_pairs() -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    # Sixteenths: ties occur, and sums of squares are exact, so the tolerance is that of the result.
    sixteenths = st.integers(-160, 160).map(lambda n: n / 16)

    def pair(rows: int) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
        values = arrays(np.float64, rows, elements=sixteenths)
        return st.tuples(values, values)

    return st.integers(2, 60).flatmap(pair)


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / math.sqrt((x @ x) * (y @ y)))


def ranks(x: np.ndarray) -> np.ndarray:
    """Return average ranks: values below, plus the mean place among the equal ones."""
    below = (x[None, :] < x[:, None]).sum(axis=1)
    equal = (x[None, :] == x[:, None]).sum(axis=1)
    return below + (equal + 1) / 2


def confusion(predictions: np.ndarray, references: np.ndarray) -> tuple[int, int, int, int]:
    """Count true and false positives and negatives of label 1."""
    hit, positive = predictions == references, predictions == 1
    counts = (hit & positive, hit & ~positive, ~hit & positive, ~hit & ~positive)
    tp, tn, fp, fn = (int(np.sum(count)) for count in counts)
    return tp, tn, fp, fn


@settings(deadline=None, max_examples=20)
@given(label_pairs(classes=2))
def test_label_metrics_equal_their_formulas(pair: tuple[np.ndarray, np.ndarray]) -> None:
    tp, tn, fp, fn = confusion(*pair)
    squared = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    expected = {
        "accuracy": (tp + tn) / (tp + tn + fp + fn),
        "f1": 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0,
        "matthews_correlation": (tp * tn - fp * fn) / math.sqrt(squared) if squared else 0.0,
    }
    # Three roundings (product, root, quotient) in either computation.
    assert metrics.compute(LABELS, *pair) == pytest.approx(expected, rel=8 * EPSILON)


@settings(deadline=None, max_examples=15)
@given(label_pairs(classes=4))
def test_label_metrics_equal_scikit_learn(pair: tuple[np.ndarray, np.ndarray]) -> None:
    predictions, references = pair
    assume(len({*predictions, *references}) > 1)
    assert metrics.compute(["accuracy", "matthews_correlation"], *pair) == {
        "accuracy": sklearn_metrics.accuracy_score(references, predictions),
        "matthews_correlation": sklearn_metrics.matthews_corrcoef(references, predictions),
    }


def by_hand(predictions: np.ndarray, references: np.ndarray) -> dict[str, float]:
    """Return the averages over classes, each class against the rest."""
    rows = []
    for label in sorted({*predictions, *references}):
        tp, _, fp, fn = confusion(predictions == label, references == label)
        precision, recall = tp / max(tp + fp, 1), tp / max(tp + fn, 1)
        rows.append((precision, recall, 2 * tp / (2 * tp + fp + fn), tp + fn))
    table = np.array(rows)
    precision, recall, f1, support = table.T
    return {
        "macro_f1": f1.mean(),
        "macro_precision": precision.mean(),
        "macro_recall": recall.mean(),
        "weighted_f1": (f1 * support).sum() / support.sum(),
        "balanced_accuracy": recall[support > 0].mean(),
    }


@settings(deadline=None, max_examples=20)
@given(label_pairs(classes=4))
def test_averages_over_classes_equal_their_formulas(pair: tuple[np.ndarray, np.ndarray]) -> None:
    # Sums of at most four quotients.
    assert metrics.compute(AVERAGES, *pair) == pytest.approx(by_hand(*pair), rel=16 * EPSILON)


@settings(deadline=None, max_examples=20)
@given(label_pairs(classes=8))
def test_metrics_of_sets_equal_their_formulas(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """The bits of an id from 0 to 7 are a set of up to three labels."""
    predictions, references = (ids[:, None] >> np.arange(3) & 1 for ids in pair)
    tp, _, fp, fn = confusion(predictions.ravel() == 1, references.ravel() == 1)
    each = [confusion(p == 1, r == 1) for p, r in zip(predictions.T, references.T, strict=True)]
    expected = {
        "micro_f1": 2 * tp / max(2 * tp + fp + fn, 1),
        "micro_precision": tp / max(tp + fp, 1),
        "micro_recall": tp / max(tp + fn, 1),
        "macro_f1": np.mean([2 * t / max(2 * t + p + n, 1) for t, _, p, n in each]),
        "exact_match": np.mean(pair[0] == pair[1]),
    }
    found = metrics.compute([*expected], predictions, references)
    assert found == pytest.approx(expected, rel=16 * EPSILON)


@settings(deadline=None, max_examples=20)
@given(number_pairs())
def test_errors_equal_their_formulas(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    assume(np.ptp(y) > 0)
    mse = np.mean((x - y) ** 2)
    expected = {"mae": np.mean(abs(x - y)), "mse": mse, "rmse": mse**0.5}
    expected["r2"] = 1 - mse / np.var(y)
    # The variance of 60 rows, |y| <= 10, is at least 1/60 of (1/16)^2.
    assert metrics.compute(ERRORS, x, y) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ["r2", "rmse"])
def test_a_single_row_has_a_defined_error(name: str) -> None:
    assert metrics.compute([name], np.array([2.0]), np.array([2.0])) == {name: 0.0}


@settings(deadline=None, max_examples=20)
@given(number_pairs())
def test_correlations_equal_scipy_and_their_formulas(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    assume(np.ptp(x) > 0 and np.ptp(y) > 0)
    found = metrics.compute(NUMBERS, x, y)
    assert found["pearson"] == stats.pearsonr(x, y)[0]
    assert found["spearman"] == stats.spearmanr(x, y)[0]
    linear, rank = pearson(x, y), pearson(ranks(x), ranks(y))
    expected = {"pearson": linear, "spearman": rank, "combined_score": (linear + rank) / 2}
    # Centring loses up to rows * eps of the largest value against the spread: 60 rows, |x| <= 10
    # and a spread of at least 1/16.
    assert found == pytest.approx(expected, abs=60 * 160 * EPSILON)


@pytest.mark.parametrize("name", LABELS)
def test_a_single_class_has_a_defined_score(name: str) -> None:
    zeros, ones = np.zeros(5, dtype=int), np.ones(5, dtype=int)
    perfect = {"accuracy": 1.0, "f1": 1.0, "matthews_correlation": 0.0}
    wrong = {"accuracy": 0.0, "f1": 0.0, "matthews_correlation": 0.0}
    assert metrics.compute([name], ones, ones) == {name: perfect[name]}
    assert metrics.compute([name], zeros, ones) == {name: wrong[name]}
    assert metrics.compute([name], ones, zeros) == {name: wrong[name]}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_a_constant_has_no_correlation(name: str, value: float) -> None:
    constant, varied = np.full(4, value), np.arange(4.0)
    assert metrics.compute([name], constant, varied) == {name: 0.0}
    assert metrics.compute([name], varied, constant) == {name: 0.0}
    assert metrics.compute([name], constant[:1], varied[:1]) == {name: 0.0}


def test_nearly_constant_predictions_are_no_warning() -> None:
    nearly = np.array([1.0, 1.0, 1.0 + EPSILON, 1.0])
    assert -1 <= metrics.compute(["pearson"], nearly, np.arange(4.0))["pearson"] <= 1


def test_a_nan_stays_visible() -> None:
    found = metrics.compute(["pearson"], np.array([1.0, math.nan, 2.0]), np.arange(3.0))
    assert math.isnan(found["pearson"])


def test_single_precision_outputs_are_accepted() -> None:
    outputs = np.array([0.5, 1.5, 1.0], dtype=np.float32)
    assert metrics.compute(["spearman"], outputs, np.array([1, 3, 2])) == {"spearman": 1.0}


@pytest.mark.parametrize(("predictions", "references"), [([], []), ([1], [1, 0])])
def test_no_rows_or_unequal_rows_are_refused(predictions: list[int], references: list[int]) -> None:
    sentence = f"{len(predictions)} predictions for {len(references)} references"
    with pytest.raises(GoftError, match=sentence):
        metrics.compute(["accuracy"], np.array(predictions), np.array(references))
