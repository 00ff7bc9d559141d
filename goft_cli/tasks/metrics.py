"""Metrics of labels, numbers and answers, computed by `evaluate`; they need no network.

A metric's name in a task's YAML is that of its function; a function in `REGISTRY` adds a metric.
"""

from __future__ import annotations

import re
import string
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from goft_cli.system.errors import GoftError

if TYPE_CHECKING:  # names of metrics are checked without it
    import numpy as np

PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")

Values: TypeAlias = "np.ndarray | Sequence[Any]"


@dataclass(frozen=True)
class Metric:
    """What `evaluate` is told of a metric.

    Attributes:
        function: from predictions and references, lists of equal length, to value by name; its name
            and its docstring are the metric's.
        dtype: of a prediction, as `datasets` names it.
        several: whether a reference is a list of true values.
        two_classes: whether it is defined for two classes alone.
    """

    function: Callable[[Sequence[Any], Sequence[Any]], dict[str, float]]
    dtype: str = "int64"
    several: bool = False
    two_classes: bool = False

    def compute(self, predictions: Values, references: Values) -> dict[str, float]:
        """Compute the metric of (rows,) predictions and references, each of the metric's dtype."""
        if len(predictions) != len(references) or len(predictions) == 0:
            raise GoftError(
                f"metrics: {len(predictions)} predictions for {len(references)} references",
                "expected as many of both, and at least one",
            )
        # The constructor creates its cache folder even when it keeps all in memory; a folder of its
        # own keeps parallel processes apart, and works where the home folder is read-only.
        with tempfile.TemporaryDirectory(prefix="goft-metrics-") as folder:
            return self._compute_in(folder, predictions, references)

    def _compute_in(self, folder: str, predictions: Values, references: Values) -> dict[str, float]:
        import datasets
        import evaluate

        metric, value = self, datasets.Value(self.dtype)
        reference = datasets.List(value) if self.several else value
        info = evaluate.MetricInfo(
            description=str(self.function.__doc__),
            citation="",
            features=datasets.Features({"predictions": value, "references": reference}),
        )

        class Module(evaluate.Metric):
            def _info(self) -> evaluate.MetricInfo:
                return info

            def _compute(  # pyright: ignore[reportIncompatibleMethodOverride] - takes no options
                self, predictions: Sequence[Any], references: Sequence[Any]
            ) -> dict[str, float]:
                return metric.function(predictions, references)

        module = Module(keep_in_memory=True, cache_dir=folder)
        return module.compute(predictions=predictions, references=references) or {}


def compute(names: Sequence[str], predictions: Values, references: Values) -> dict[str, float]:
    """Compute metrics of (rows,) label ids or numbers; value by name, in the order of `names`."""
    found = [REGISTRY[name].compute(predictions, references) for name in names]
    return {name: value for scores in found for name, value in scores.items()}


def check_names(names: Sequence[str], *, headline: str, classes: int) -> None:
    """Refuse metrics that do not exist or fit, and a headline that is not among those computed.

    A task that predicts a number has 0 classes.
    """
    for name in names:
        if name not in REGISTRY:
            raise GoftError(
                f"task.metrics: unknown metric {name!r}", f"choose from {', '.join(REGISTRY)}"
            )
        metric = REGISTRY[name]
        of_labels = metric.dtype == "int64"
        if (not classes and of_labels) or (classes > 2 and metric.two_classes):
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


def accuracy(predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
    """Share of predictions that equal their reference, from 0 to 1."""
    from sklearn.metrics import accuracy_score

    return {"accuracy": float(accuracy_score(references, predictions))}


def combined_score(predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
    """GLUE's one number for STS-B: (Pearson + Spearman) / 2."""
    linear, rank = pearson(predictions, references), spearman(predictions, references)
    return {"combined_score": (linear["pearson"] + rank["spearman"]) / 2}


def f1(predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
    """2 TP / (2 TP + FP + FN) of label 1, as for GLUE's MRPC and QQP; 0 where that is 0 / 0."""
    from sklearn.metrics import f1_score

    score = f1_score(
        references,
        predictions,
        pos_label=1,
        zero_division=0.0,  # pyright: ignore[reportArgumentType] - a number is documented
    )
    return {"f1": float(score)}


def matthews_correlation(predictions: Sequence[int], references: Sequence[int]) -> dict[str, float]:
    """GLUE's for CoLA, from -1 to 1; 0 where predictions or references are all the same."""
    from sklearn.metrics import matthews_corrcoef

    # scikit-learn warns about a lone label, though the answer, 0, is defined.
    if len({*predictions, *references}) == 1:
        return {"matthews_correlation": 0.0}
    return {"matthews_correlation": float(matthews_corrcoef(references, predictions))}


def pearson(predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
    """Linear correlation, from -1 to 1; 0 where predictions or references are all the same."""
    return {"pearson": _correlation("pearsonr", predictions, references)}


def spearman(predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
    """Rank correlation, from -1 to 1; 0 where predictions or references are all the same."""
    return {"spearman": _correlation("spearmanr", predictions, references)}


def _correlation(test: str, predictions: Sequence[float], references: Sequence[float]) -> float:
    from scipy import stats

    # Undefined, and NaN by scipy. 0, as for Matthews, keeps the best checkpoint well ordered.
    if len(set(predictions)) == 1 or len(set(references)) == 1:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        return float(getattr(stats, test)(predictions, references).statistic)


REGISTRY = {
    metric.function.__name__: metric
    for metric in (
        Metric(accuracy),
        Metric(combined_score, "float64"),
        Metric(f1, two_classes=True),
        Metric(matthews_correlation),
        Metric(pearson, "float64"),
        Metric(spearman, "float64"),
    )
}
"""The choices of `task.metrics`, by name."""


def squad(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """exact_match and f1 over normalised words, from 0 to 100, against the best true answer."""
    pairs = [
        (words(text), [words(answer) for answer in answers])
        for text, answers in zip(predictions, references, strict=True)
    ]
    return {"exact_match": percent(exact_match, pairs), "f1": percent(word_f1, pairs)}


SQUAD = Metric(squad, "string", several=True)


def words(text: str) -> list[str]:
    """Normalise a text: lower case, then no punctuation, then no articles.

    The order matters: "the-end" loses its hyphen first and then has no article to lose.
    """
    return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()


def exact_match(prediction: list[str], answer: list[str]) -> float:
    """Return 1 for the same words in the same order, else 0."""
    return float(prediction == answer)


def word_f1(prediction: list[str], answer: list[str]) -> float:
    """Return the harmonic mean of precision and recall of words; 0 where none is shared.

    Two texts without a word share none: v1.1 knows no empty answers.
    """
    shared = sum((Counter(prediction) & Counter(answer)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(prediction), shared / len(answer)
    return 2 * precision * recall / (precision + recall)


def percent(
    measure: Callable[[list[str], list[str]], float],
    pairs: Sequence[tuple[list[str], list[list[str]]]],
) -> float:
    """Average a measure over all predictions, each held against its best answer."""
    # Not sum(), which compensates rounding from Python 3.12 on: the official script does not.
    total = 0.0
    for prediction, answers in pairs:
        total += max(measure(prediction, answer) for answer in answers)
    return 100.0 * total / len(pairs)
